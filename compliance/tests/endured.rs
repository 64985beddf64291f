//! What may befall a manager beside its death, under a load whose every answer is compared byte for byte: no
//! memory, no descriptors, no time of the processor for a while, a clock that is set, and no right to take over what it needs.
//!
//! A full disk, a broken list and a manager that is killed are in `crates/tine/tests/daemon`.
#![forbid(unsafe_code)]

#[path = "endured/ancestors.rs"]
mod ancestors;
#[path = "endured/clock.rs"]
mod clock;
#[path = "endured/denied.rs"]
mod denied;
#[path = "endured/descriptors.rs"]
mod descriptors;
#[path = "endured/going_on.rs"]
mod going_on;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "nothing_lost/loaded.rs"]
mod loaded;
#[path = "endured/memory.rs"]
mod memory;
#[path = "endured/stopped.rs"]
mod stopped;
