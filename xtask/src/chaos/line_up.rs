//! Who is put to the test, with what.

use std::fmt;
use std::path::Path;

use compliance::{Serving, Target, Who};

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
    /// By client address.
    StickyEbpf,
    /// Likewise.
    StickyCbpf,
    OneQueue,
    HandOver,
}

/// Where the program listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    V4,
    V6,
    /// A UNIX path.
    Path,
}

/// A program under a system, as a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) system: System,
    pub(crate) serving: Serving,
    pub(crate) who: Who,
    pub(crate) at: At,
}

impl Mechanism {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ebpf | Self::StickyEbpf => "kernel-ebpf",
            Self::Cbpf | Self::StickyCbpf => "kernel-cbpf",
            Self::OneQueue => "one-queue",
            Self::HandOver => "hand-over",
        }
    }

    pub(crate) fn policy(self) -> &'static str {
        match self {
            Self::Ebpf | Self::HandOver => "rr",
            Self::Cbpf => "random",
            Self::StickyEbpf | Self::StickyCbpf => "sticky",
            Self::OneQueue => "shared",
        }
    }

    fn is_sticky(self) -> bool {
        matches!(self, Self::StickyEbpf | Self::StickyCbpf)
    }

    /// Whether new connections come to the workers without the manager.
    pub(crate) fn is_of_the_kernel(self) -> bool {
        self != Self::HandOver
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tine(mechanism) if mechanism.is_sticky() => {
                write!(f, "tine {} sticky", mechanism.name())
            }
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
            Who::Capable => "user with capabilities",
        };
        let at = match self.at {
            At::V4 => "",
            At::V6 => " on [::1]",
            At::Path => " at a path",
        };
        write!(f, "{}, {}{at}, {who}", self.system, self.serving.name())
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

    /// Where it is asked.
    pub(crate) fn target(self, port: u16, folder: &Path) -> Target {
        let several = self.mechanism().is_some_and(Mechanism::is_sticky);
        match self.at {
            At::V4 if several => Target::Several(port),
            At::V4 => Target::V4(port),
            At::V6 => Target::V6(port),
            At::Path => Target::Unix(folder.join("app.sock")),
        }
    }

    /// Whether the system has something of this kind. What only tine has is played with two of the programs.
    fn has(self, scenario: Scenario) -> bool {
        if !scenario.is_common() {
            let few = matches!(self.serving, Serving::Node | Serving::Python);
            // There a worker keeps idle clients for its whole drain, half a minute: six such reloads are too much.
            let is_slow = self.at == At::Path && scenario.at_least() > 1;
            return few && self.mechanism().is_some() && !is_slow;
        }
        match self.system {
            System::Tine(_) | System::Pm2 => true,
            System::Gunicorn => scenario != Scenario::Restart,
            System::NodeCluster => !matches!(scenario, Scenario::Restart | Scenario::Update),
        }
    }
}

/// At the usual place.
pub(crate) fn entry(system: System, serving: Serving, who: Who) -> Entry {
    Entry { system, serving, who, at: At::V4 }
}

/// What stands for a row's entry until it has been found by its name.
pub(crate) fn first() -> Entry {
    entry(System::Tine(Mechanism::Ebpf), Serving::Node, Who::Root)
}

/// Every mechanism and every program as each user who may have it, though not all with all.
fn all() -> Vec<Entry> {
    use Mechanism::{Cbpf, Ebpf, HandOver, OneQueue, StickyCbpf, StickyEbpf};
    let mut entries = Vec::new();
    let mut add = |system, serving, who| entries.push(entry(system, serving, who));
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
    for serving in [Serving::Node, Serving::Python] {
        add(System::Tine(Ebpf), serving, Who::Capable);
        add(System::Tine(StickyEbpf), serving, Who::Root);
        add(System::Tine(StickyCbpf), serving, Who::User);
    }
    add(System::Pm2, Serving::Node, Who::Root);
    add(System::Pm2, Serving::NodeHandlers, Who::Root);
    add(System::NodeCluster, Serving::Node, Who::Root);
    add(System::Gunicorn, Serving::Python, Who::Root);
    let elsewhere = [
        (Ebpf, At::V6, Who::Root),
        (Cbpf, At::V6, Who::User),
        (OneQueue, At::Path, Who::Root),
        (OneQueue, At::Path, Who::User),
    ];
    entries.extend(elsewhere.map(|(mechanism, at, who)| Entry {
        at,
        ..entry(System::Tine(mechanism), Serving::Node, who)
    }));
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
