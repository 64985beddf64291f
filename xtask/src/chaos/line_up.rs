//! Who is put to the test, with what.

use std::fmt;

use compliance::{Serving, Who};

use super::scenario::Scenario;

/// What keeps the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    Tine(Mechanism),
    Pm2,
    Gunicorn,
    /// A careful user's own primary.
    NodeCluster,
}

/// Forced, with the policy that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Ebpf,
    Cbpf,
    OneQueue,
    HandOver,
}

/// A program under a system, as a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) system: System,
    pub(crate) serving: Serving,
    pub(crate) who: Who,
}

impl Mechanism {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ebpf => "kernel-ebpf",
            Self::Cbpf => "kernel-cbpf",
            Self::OneQueue => "one-queue",
            Self::HandOver => "hand-over",
        }
    }

    pub(crate) fn policy(self) -> &'static str {
        match self {
            Self::Ebpf | Self::HandOver => "rr",
            Self::Cbpf => "random",
            Self::OneQueue => "shared",
        }
    }

    pub(crate) fn is_of_the_kernel(self) -> bool {
        matches!(self, Self::Ebpf | Self::Cbpf)
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tine(mechanism) => write!(f, "tine {}", mechanism.name()),
            Self::Pm2 => f.write_str("pm2"),
            Self::Gunicorn => f.write_str("gunicorn"),
            Self::NodeCluster => f.write_str("Node's cluster"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.who {
            Who::Root => "root",
            Who::User => "user",
        };
        write!(f, "{}, {}, {who}", self.system, self.serving.name())
    }
}

impl Entry {
    /// As `--only` wants it.
    pub(crate) fn name(self, scenario: Scenario) -> String {
        format!("{self}: {scenario}")
    }

    pub(crate) fn mechanism(self) -> Option<Mechanism> {
        match self.system {
            System::Tine(mechanism) => Some(mechanism),
            System::Pm2 | System::Gunicorn | System::NodeCluster => None,
        }
    }

    /// Whether the system has something of this kind.
    fn has(self, scenario: Scenario) -> bool {
        match self.system {
            System::Tine(_) | System::Pm2 => true,
            System::Gunicorn => scenario != Scenario::Restart,
            System::NodeCluster => !matches!(scenario, Scenario::Restart | Scenario::Update),
        }
    }
}

/// What stands for a row's entry until it has been found by its name.
pub(crate) fn first() -> Entry {
    Entry { system: System::Tine(Mechanism::Ebpf), serving: Serving::Node, who: Who::Root }
}

/// Every mechanism and every program as each user who may have it, though not all with all.
fn all() -> Vec<Entry> {
    use Mechanism::{Cbpf, Ebpf, HandOver, OneQueue};
    let mut entries = Vec::new();
    let mut add = |system, serving, who| entries.push(Entry { system, serving, who });
    for serving in Serving::ALL {
        add(System::Tine(Ebpf), serving, Who::Root);
        add(System::Tine(Cbpf), serving, Who::User);
    }
    add(System::Tine(Cbpf), Serving::Node, Who::Root);
    for mechanism in [OneQueue, HandOver] {
        for who in [Who::Root, Who::User] {
            add(System::Tine(mechanism), Serving::Node, who);
        }
    }
    add(System::Tine(OneQueue), Serving::Python, Who::User);
    add(System::Tine(OneQueue), Serving::Go, Who::Root);
    add(System::Pm2, Serving::Node, Who::Root);
    add(System::Pm2, Serving::NodeHandlers, Who::Root);
    add(System::NodeCluster, Serving::Node, Who::Root);
    add(System::Gunicorn, Serving::Python, Who::Root);
    entries
}

/// The rows that have all the words of the first kind and none of the second.
pub(crate) fn chosen(words: &[String], others: &[String]) -> Vec<(Entry, Scenario)> {
    let rows = all().into_iter().flat_map(|entry| Scenario::ALL.map(|scenario| (entry, scenario)));
    let rows = rows.filter(|(entry, scenario)| entry.has(*scenario));
    let wanted = |name: &str| {
        let has = |word: &String| name.contains(word.as_str());
        words.iter().all(has) && !others.iter().any(has)
    };
    rows.filter(|(entry, scenario)| wanted(&entry.name(*scenario))).collect()
}
