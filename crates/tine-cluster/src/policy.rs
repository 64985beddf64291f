//! Who gets the next connection ([`Policy`]), and how that is carried out ([`Mechanism`]).
//!
//! The two are chosen once per listener by [`choose`], from what was asked for, what the host and
//! the user allow ([`Abilities`]) and how the worker came to its seat ([`Acquisition`]).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Who gets the next connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// One worker after the other, passing over those that are busy. The default.
    #[default]
    Rr,
    /// Any worker, uniformly.
    Random,
    /// The same worker for the same client address, as long as that worker is in rotation.
    Sticky,
    /// All workers accept from one queue: whoever comes first.
    Shared,
}

impl Policy {
    /// What Node's primary makes of `NODE_CLUSTER_SCHED_POLICY`: `rr`, and `none` for one queue that
    /// all workers accept from. `None` for any other word, which Node takes for unset.
    ///
    /// It reads no environment itself:
    ///
    /// ```
    /// use tine_cluster::policy::Policy;
    ///
    /// let said = std::env::var("NODE_CLUSTER_SCHED_POLICY").ok();
    /// let policy = said.as_deref().and_then(Policy::of_node).unwrap_or_default();
    /// # let _ = policy;
    /// assert_eq!(Policy::of_node("none"), Some(Policy::Shared));
    /// ```
    #[must_use]
    pub fn of_node(word: &str) -> Option<Self> {
        match word {
            "rr" => Some(Self::Rr),
            "none" => Some(Self::Shared),
            _ => None,
        }
    }
}

/// How a policy is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// An eBPF program in the kernel picks the seat and sees the accept queues.
    KernelEbpf,
    /// A classic BPF program in the kernel picks the seat; needs no privilege.
    KernelCbpf,
    /// The kernel's own hash over the sockets of a group: what UDP gets, where a turn per datagram
    /// would tear flows apart. Chosen by itself only.
    KernelHash,
    /// One socket, every worker accepts from it.
    OneQueue,
    /// The primary accepts and passes each connection to a worker.
    HandOver,
}

/// How a worker comes to its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acquisition {
    /// `bind(2)` and `listen(2)` of an unmodified program, trapped.
    BindTrap,
    /// `queryServer` on Node's own channel.
    NodeChannel,
    /// The worker side of this crate.
    Native,
    /// Bound before the start and passed in the manner of systemd.
    ListenFds,
}

/// What this host allows this user to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// eBPF programs may be loaded and attached to sockets.
    pub ebpf: bool,
}

#[cfg(feature = "tokio")]
impl Abilities {
    /// What this process may do here. It is tried: a program is loaded into the kernel, and goes at once.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self { ebpf: tine_linux::host::ebpf_load().is_yes() }
    }
}

macro_rules! words {
    ($type:ident, $what:literal, $($variant:ident = $word:literal),+) => {
        impl $type {
            /// The word that names it on the command line and in JSON.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord {
                        word: word.to_owned(),
                        what: $what,
                        known: &[$($word),+],
                    }),
                }
            }
        }
    };
}

words!(Policy, "policy", Rr = "rr", Random = "random", Sticky = "sticky", Shared = "shared");
words!(
    Mechanism,
    "mechanism",
    KernelEbpf = "kernel-ebpf",
    KernelCbpf = "kernel-cbpf",
    KernelHash = "kernel-hash",
    OneQueue = "one-queue",
    HandOver = "hand-over"
);
words!(
    Acquisition,
    "acquisition",
    BindTrap = "bind-trap",
    NodeChannel = "node-channel",
    Native = "native",
    ListenFds = "listen-fds"
);

/// A word that names no policy, mechanism or acquisition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{word}` is no {what}; there are {}", known.join(", "))]
pub struct UnknownWord {
    word: String,
    what: &'static str,
    known: &'static [&'static str],
}

/// The policy that a listener really gets, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What the listener gets; differs from what was asked for only when [`Self::degraded`].
    pub policy: Policy,
    /// How it is carried out.
    pub mechanism: Mechanism,
    /// The policy asked for is not to be had here, and the nearest one was taken.
    pub degraded: bool,
}

/// A mechanism that was asked for by name and is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotToBeHad {
    /// The kernel refuses eBPF to this user.
    #[error(
        "the mechanism kernel-ebpf needs root or the capabilities bpf and perfmon; \
         `tine doctor` shows the command that grants them"
    )]
    NoEbpf,
    /// A program that binds by itself cannot take connections from a channel.
    #[error(
        "the mechanism hand-over needs a worker that takes connections over a channel (node or a \
         tine-cluster worker); this program listens by itself"
    )]
    NoChannel,
    /// The mechanism cannot carry out this policy.
    #[error(
        "the mechanism {mechanism} cannot carry out the policy {policy}; it goes with {}",
        goes_with(*mechanism)
    )]
    Mismatch {
        /// What was asked for.
        policy: Policy,
        /// What cannot do it.
        mechanism: Mechanism,
    },
}

const fn goes_with(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::KernelEbpf => "--policy rr or sticky",
        Mechanism::KernelCbpf => "--policy random or sticky",
        Mechanism::KernelHash => "none: it is taken for datagrams by itself",
        Mechanism::OneQueue => "--policy shared",
        Mechanism::HandOver => "--policy rr",
    }
}

/// Chooses the mechanism for TCP listeners of an app.
///
/// `forced` is a mechanism asked for by name: it is taken or refused, never replaced.
///
/// # Errors
///
/// When `forced` cannot be had by this user, by this kind of worker, or for this policy.
pub fn choose(
    policy: Policy,
    forced: Option<Mechanism>,
    abilities: Abilities,
    acquisition: Acquisition,
) -> Result<Choice, NotToBeHad> {
    let has_channel = matches!(acquisition, Acquisition::NodeChannel | Acquisition::Native);
    if let Some(mechanism) = forced {
        check(policy, mechanism, abilities, has_channel)?;
        let degraded = policy == Policy::Rr && mechanism == Mechanism::KernelCbpf;
        let policy = if degraded { Policy::Random } else { policy };
        return Ok(Choice { policy, mechanism, degraded });
    }
    let sure = |mechanism| Choice { policy, mechanism, degraded: false };
    Ok(match (policy, abilities.ebpf, has_channel) {
        (Policy::Shared, _, _) => sure(Mechanism::OneQueue),
        (Policy::Random, _, _) => sure(Mechanism::KernelCbpf),
        (Policy::Rr | Policy::Sticky, true, _) => sure(Mechanism::KernelEbpf),
        (Policy::Sticky, false, _) => sure(Mechanism::KernelCbpf),
        (Policy::Rr, false, true) => sure(Mechanism::HandOver),
        (Policy::Rr, false, false) => {
            Choice { policy: Policy::Random, mechanism: Mechanism::KernelCbpf, degraded: true }
        }
    })
}

fn check(
    policy: Policy,
    mechanism: Mechanism,
    abilities: Abilities,
    has_channel: bool,
) -> Result<(), NotToBeHad> {
    let fits = match mechanism {
        Mechanism::KernelEbpf => matches!(policy, Policy::Rr | Policy::Sticky),
        Mechanism::KernelCbpf => policy != Policy::Shared,
        Mechanism::OneQueue => policy == Policy::Shared,
        Mechanism::HandOver => policy == Policy::Rr,
        Mechanism::KernelHash => false,
    };
    if !fits {
        return Err(NotToBeHad::Mismatch { policy, mechanism });
    }
    match mechanism {
        Mechanism::KernelEbpf if !abilities.ebpf => Err(NotToBeHad::NoEbpf),
        Mechanism::HandOver if !has_channel => Err(NotToBeHad::NoChannel),
        Mechanism::KernelEbpf
        | Mechanism::KernelCbpf
        | Mechanism::KernelHash
        | Mechanism::OneQueue
        | Mechanism::HandOver => Ok(()),
    }
}

/// The mechanism for sockets without connections, which no primary can hand over and whose flows
/// must stay together: by client address if asked for, one socket if asked for, else the kernel's own
/// hash of both ends.
#[must_use]
pub fn choose_for_datagrams(policy: Policy) -> Choice {
    let (policy, mechanism) = match policy {
        Policy::Shared => (policy, Mechanism::OneQueue),
        Policy::Sticky => (policy, Mechanism::KernelCbpf),
        Policy::Rr | Policy::Random => (Policy::Random, Mechanism::KernelHash),
    };
    Choice { policy, mechanism, degraded: false }
}

/// The mechanism for UNIX paths, which the kernel gives to one socket only: one queue, or hand-over
/// when that was asked for by name.
///
/// # Errors
///
/// When hand-over was asked for and the worker has no channel.
pub fn choose_for_paths(
    forced: Option<Mechanism>,
    acquisition: Acquisition,
) -> Result<Choice, NotToBeHad> {
    if forced == Some(Mechanism::HandOver) {
        return choose(Policy::Rr, forced, Abilities::default(), acquisition);
    }
    Ok(Choice { policy: Policy::Shared, mechanism: Mechanism::OneQueue, degraded: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Abilities = Abilities { ebpf: true };
    const USER: Abilities = Abilities { ebpf: false };

    fn auto(policy: Policy, abilities: Abilities, by: Acquisition) -> (Policy, Mechanism, bool) {
        let choice = choose(policy, None, abilities, by).unwrap();
        (choice.policy, choice.mechanism, choice.degraded)
    }

    #[test]
    fn the_table_of_the_design_holds() {
        use Acquisition::{BindTrap, Native, NodeChannel};
        use Mechanism::{HandOver, KernelCbpf, KernelEbpf, OneQueue};
        use Policy::{Random, Rr, Shared, Sticky};
        for by in [BindTrap, NodeChannel, Native] {
            assert_eq!(auto(Rr, ROOT, by), (Rr, KernelEbpf, false));
            assert_eq!(auto(Sticky, ROOT, by), (Sticky, KernelEbpf, false));
            assert_eq!(auto(Sticky, USER, by), (Sticky, KernelCbpf, false));
            for who in [ROOT, USER] {
                assert_eq!(auto(Random, who, by), (Random, KernelCbpf, false));
                assert_eq!(auto(Shared, who, by), (Shared, OneQueue, false));
            }
        }
        assert_eq!(auto(Rr, USER, NodeChannel), (Rr, HandOver, false));
        assert_eq!(auto(Rr, USER, Native), (Rr, HandOver, false));
        assert_eq!(auto(Rr, USER, BindTrap), (Random, KernelCbpf, true));
    }

    #[test]
    fn a_forced_mechanism_is_taken_or_refused_never_replaced() {
        let forced = |policy, mechanism, who| {
            choose(policy, Some(mechanism), who, Acquisition::BindTrap).map(|c| c.mechanism)
        };
        assert_eq!(forced(Policy::Rr, Mechanism::KernelEbpf, USER), Err(NotToBeHad::NoEbpf));
        assert_eq!(forced(Policy::Rr, Mechanism::HandOver, ROOT), Err(NotToBeHad::NoChannel));
        assert_eq!(
            forced(Policy::Sticky, Mechanism::OneQueue, ROOT),
            Err(NotToBeHad::Mismatch { policy: Policy::Sticky, mechanism: Mechanism::OneQueue })
        );
        assert_eq!(forced(Policy::Sticky, Mechanism::KernelCbpf, ROOT), Ok(Mechanism::KernelCbpf));
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        let error = "round".parse::<Policy>().unwrap_err();
        assert_eq!(error.to_string(), "`round` is no policy; there are rr, random, sticky, shared");
    }
}
