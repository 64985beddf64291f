//! What is done to an app while it serves.

use std::fmt;

/// Milliseconds after a command has begun when its manager is killed, one after the other: a worker of node boots
/// in the tenth of a second, and all are replaced in one or two. Which moments these are decides nothing.
pub(crate) const AMIDST: [u64; 3] = [60, 200, 700];

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
    /// The manager, at one moment or another of a reload; then the reload again.
    KillAmidstReload,
    /// Likewise, of a scale to two more; then back.
    KillAmidstScale,
    KillAmidstRestart,
    /// Both at once; then the next command.
    KillBoth,
    KillWatchdog,
}

impl Scenario {
    pub(crate) const ALL: [Self; 14] = [
        Self::Steady,
        Self::Reload,
        Self::ReloadCrash,
        Self::ReloadSilent,
        Self::Scale,
        Self::Restart,
        Self::KillWorker,
        Self::KillManager,
        Self::Update,
        Self::KillAmidstReload,
        Self::KillAmidstScale,
        Self::KillAmidstRestart,
        Self::KillBoth,
        Self::KillWatchdog,
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
            | Self::Update
            | Self::KillBoth
            | Self::KillWatchdog => true,
            Self::Reload
            | Self::Scale
            | Self::Restart
            | Self::KillWorker
            | Self::KillAmidstReload
            | Self::KillAmidstScale
            | Self::KillAmidstRestart => false,
        }
    }

    /// Whether those in whose place tine is used have something of this kind.
    pub(crate) fn is_common(self) -> bool {
        match self {
            Self::Steady
            | Self::Reload
            | Self::ReloadCrash
            | Self::ReloadSilent
            | Self::Scale
            | Self::Restart
            | Self::KillWorker
            | Self::KillManager
            | Self::Update => true,
            Self::KillAmidstReload
            | Self::KillAmidstScale
            | Self::KillAmidstRestart
            | Self::KillBoth
            | Self::KillWatchdog => false,
        }
    }

    /// How often it is done however long that takes.
    pub(crate) fn at_least(self) -> usize {
        let has_moments = matches!(
            self,
            Self::KillAmidstReload | Self::KillAmidstScale | Self::KillAmidstRestart
        );
        if has_moments { AMIDST.len() } else { 1 }
    }

    /// Whether workers end before others have begun: clients wait for the boot.
    pub(crate) fn stops_first(self) -> bool {
        matches!(self, Self::Restart | Self::KillAmidstRestart)
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
            Self::KillAmidstReload => "kill the manager amidst a reload",
            Self::KillAmidstScale => "kill the manager amidst a scale",
            Self::KillAmidstRestart => "kill the manager amidst a restart",
            Self::KillBoth => "kill the manager and its watchdog",
            Self::KillWatchdog => "kill the watchdog",
        })
    }
}
