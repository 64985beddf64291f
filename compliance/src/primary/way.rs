//! Which primary is under test, and how it gives connections to workers.

use std::env;
use std::path::{Path, PathBuf};

use crate::build;
use crate::who::Who;

/// Node's own primary, or ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnderTest {
    /// The `cluster` module of the interpreter that runs the workers.
    Node,
    /// The example `foreign-primary`.
    Tine,
}

/// A primary with a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    under_test: UnderTest,
    policy: &'static str,
    mechanism: Option<&'static str>,
}

/// The ways in which workers take turns: over the channel, or each with a socket of its own.
pub const IN_TURN: [Way; 3] = [Way::NODE_RR, Way::HAND_OVER, Way::KERNEL_RR];
/// The others. That the kernel chooses a worker is nothing that Node has, and nothing that a worker can tell
/// from one socket for all.
pub const IN_ANY_ORDER: [Way; 4] = [Way::NODE_NONE, Way::ONE_QUEUE, Way::RANDOM, Way::STICKY];

impl Way {
    /// `cluster.SCHED_RR`.
    pub const NODE_RR: Self = Self::node("rr");
    /// `cluster.SCHED_NONE`.
    pub const NODE_NONE: Self = Self::node("none");
    /// Our primary accepts, as Node's does.
    pub const HAND_OVER: Self = Self::tine("rr", "hand-over");
    /// The kernel goes round; each worker has a socket of its own.
    pub const KERNEL_RR: Self = Self::tine("rr", "kernel-ebpf");
    /// The kernel takes any worker.
    pub const RANDOM: Self = Self::tine("random", "kernel-cbpf");
    /// The kernel takes the same worker for the same client.
    pub const STICKY: Self = Self::tine("sticky", "kernel-cbpf");
    /// One socket for all workers.
    pub const ONE_QUEUE: Self = Self::tine("shared", "one-queue");

    const fn node(policy: &'static str) -> Self {
        Self { under_test: UnderTest::Node, policy, mechanism: None }
    }

    const fn tine(policy: &'static str, mechanism: &'static str) -> Self {
        Self { under_test: UnderTest::Tine, policy, mechanism: Some(mechanism) }
    }

    /// Whose primary it is.
    #[must_use]
    pub fn under_test(self) -> UnderTest {
        self.under_test
    }

    /// Whether it is Node's own.
    #[must_use]
    pub fn is_node(self) -> bool {
        self.under_test == UnderTest::Node
    }

    /// Whether idle workers get connections strictly one after the other.
    #[must_use]
    pub fn takes_turns(self) -> bool {
        self.policy == "rr"
    }

    /// Whether connections come over the channel, so that no worker holds a listening socket.
    #[must_use]
    pub fn hands_over(self) -> bool {
        self == Self::NODE_RR || self == Self::HAND_OVER
    }

    /// Whether `listening` comes when the policy has taken hold, a few milliseconds after the worker said so.
    pub(crate) fn tells_listening_late(self) -> bool {
        self.mechanism == Some("kernel-ebpf")
    }

    pub(crate) fn policy(self) -> &'static str {
        self.policy
    }

    pub(crate) fn mechanism(self) -> Option<&'static str> {
        self.mechanism
    }

    /// Whether `UNDER_TEST` names this primary, or nothing, and this user can have the mechanism.
    #[must_use]
    pub fn is_wanted(self) -> bool {
        let named = match env::var("UNDER_TEST").as_deref() {
            Ok("node") => self.is_node(),
            Ok("tine") => !self.is_node(),
            Ok(other) => panic!("UNDER_TEST is node or tine, not {other:?}"),
            Err(_) => true,
        };
        named && (self != Self::KERNEL_RR || Who::Root.missing().is_none())
    }
}

/// A program that runs workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it has to be told before a script.
    pub(crate) options: &'static [&'static str],
}

impl Interpreter {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The `node` of this system, or the one that `NODE_UNDER_TEST` names: `node26`.
    #[must_use]
    pub fn system() -> Self {
        if let Ok(name) = env::var("NODE_UNDER_TEST") {
            return Self::installed(&name);
        }
        let Some(path) = Who::Root.find("node") else { crate::cut_short("no node here") };
        Self { path, options: &[] }
    }

    /// One of those that `compliance/peers/install` installs: `node22`, `bun`, `deno`.
    #[must_use]
    pub fn installed(name: &str) -> Self {
        let folder = peer(name);
        let places = [folder.join("bin/node"), folder.join("bin").join(name), folder.join(name)];
        let mut places = places.into_iter();
        match places.find(|path| path.is_file()) {
            Some(path) if name == "deno" => {
                Self { path, options: &["run", "-A", "--unstable-detect-cjs"] }
            }
            Some(path) => Self { path, options: &[] },
            None => crate::cut_short(&format!("no {name} here (compliance/peers/install)")),
        }
    }
}

/// Where `compliance/peers/install` puts the npm package of this name; it may not be there.
#[must_use]
pub fn peer(name: &str) -> PathBuf {
    build::peers().join(name)
}
