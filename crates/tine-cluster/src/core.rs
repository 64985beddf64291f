//! Decisions without a clock, without I/O, without a runtime.
//!
//! News come in by method calls together with the time; what is to be done comes out as values. The
//! same calls at the same times give the same answers, so a test needs neither processes nor waiting.
//!
//! | module | decides |
//! |---|---|
//! | [`worker`] | one worker's life: state × event → state, action |
//! | [`instance`] | what becomes of a place when its worker has ended: start again, when, or give up |
//! | [`backoff`] | how long to wait before trying again |
//! | [`restart`] | whether an ended worker is followed by another one |
//! | [`ready`] | when a worker counts as ready |
//! | [`registry`] | which socket a worker gets for an address |
//! | [`closing`] | when a seat that nobody holds is closed |
//! | [`order`] | where each socket stands in the kernel's list of a group |
//! | [`generations`] | how long an old generation is kept beside the new one, and who gets how many turns |
//! | [`rollout`] | in which steps the workers of an app are replaced, new before old |
//! | [`handover`] | which worker gets an accepted connection, when the primary hands them over |

pub mod backoff;
pub mod closing;
pub mod generations;
pub mod handover;
pub mod instance;
pub mod order;
pub mod ready;
pub mod registry;
pub mod restart;
pub mod rollout;
pub mod worker;

use std::time::{Duration, Instant};

/// Further ahead than any process runs, and not so far that a clock overflows.
const FOR_EVER: Duration = Duration::from_hours(24 * 365 * 100);

/// `now + wait`, where somebody may want to wait for ever ([`Duration::MAX`]).
fn after(now: Instant, wait: Duration) -> Instant {
    now + wait.min(FOR_EVER)
}
