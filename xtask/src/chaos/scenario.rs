//! What is done to an app while it serves.

use std::fmt;

/// Something that is done again and again while the load lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scenario {
    /// Nothing: what the load and the machine make of each other by themselves.
    Steady,
    Reload,
    /// To a version that ends at once.
    ReloadCrash,
    /// To a version that never listens.
    ReloadSilent,
    /// Two workers more, four less, two more.
    Scale,
    Restart,
    KillWorker,
    KillManager,
    /// A new manager in place of the old one.
    Update,
}

impl Scenario {
    pub(crate) const ALL: [Self; 9] = [
        Self::Steady,
        Self::Reload,
        Self::ReloadCrash,
        Self::ReloadSilent,
        Self::Scale,
        Self::Restart,
        Self::KillWorker,
        Self::KillManager,
        Self::Update,
    ];

    pub(crate) fn first() -> Self {
        Self::Steady
    }

    /// Whether all who served before are to serve afterwards.
    pub(crate) fn leaves_workers_alone(self) -> bool {
        match self {
            Self::Steady
            | Self::ReloadCrash
            | Self::ReloadSilent
            | Self::KillManager
            | Self::Update => true,
            Self::Reload | Self::Scale | Self::Restart | Self::KillWorker => false,
        }
    }

    /// Whether it is to fail, and say so.
    pub(crate) fn is_broken(self) -> bool {
        matches!(self, Self::ReloadCrash | Self::ReloadSilent)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Steady => "nothing",
            Self::Reload => "reload",
            Self::ReloadCrash => "reload to one that crashes",
            Self::ReloadSilent => "reload to one that never listens",
            Self::Scale => "scale",
            Self::Restart => "restart",
            Self::KillWorker => "kill workers",
            Self::KillManager => "kill the manager",
            Self::Update => "update the manager",
        })
    }
}
