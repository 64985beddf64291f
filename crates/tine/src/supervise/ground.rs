//! What this host and this process give to every app, found out once, and what they forbid.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tine_cluster::{
    policy::{self, Abilities, Acquisition, NotToBeHad},
    primary::{ProgramKind, Settings},
};
use tine_linux::host::{self, Host};

/// What is the same for all apps of a manager.
#[derive(Clone, Copy, Debug)]
pub struct Ground {
    /// What the policies may count on.
    pub abilities: Abilities,
    /// Whether programs other than node can share a port.
    pub can_trap_binds: bool,
    /// How many descriptors workers may have, softly and firmly: what this process had, before it
    /// allowed itself more.
    pub file_limit: Option<(u64, u64)>,
}

/// Settings that cannot be had here.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The mechanism that was asked for.
    #[error(transparent)]
    Mechanism(#[from] NotToBeHad),
    /// An address to be passed with port 0.
    #[error(
        "an address to listen on needs a port other than 0: workers could not be told which one it \
         became"
    )]
    AnyPort,
    /// A program that shares its port only if its calls are trapped.
    #[error(
        "this host does not let `bind` be trapped, which programs other than node need in order to \
         share a port (seccomp user notification, Linux 5.9); `tine doctor` says what is missing. What \
         still works: node scripts, and programs that take sockets passed with --listen"
    )]
    NoTrap,
}

/// What the policies may count on, on this host.
#[must_use]
pub fn abilities(host: &Host) -> Abilities {
    Abilities { ebpf: host.ebpf_load.is_yes() }
}

impl Ground {
    /// Makes the probes that apps depend on, and raises this process's own limit of descriptors as far as it may: a manager
    /// of many workers needs many.
    #[must_use]
    pub fn prepare() -> Self {
        Self {
            abilities: Abilities { ebpf: host::ebpf_load().is_yes() },
            can_trap_binds: host::can_trap_binds(),
            file_limit: raise_file_limit(),
        }
    }

    /// Refuses what can be known to be impossible before anything starts. Whether a program other than
    /// node has a channel shows only when it listens.
    ///
    /// # Errors
    ///
    /// With what is missing here.
    pub fn check(&self, settings: &Settings) -> Result<(), Unfit> {
        let by = match settings.program.kind {
            ProgramKind::Node => Acquisition::NodeChannel,
            ProgramKind::Other => Acquisition::Native,
        };
        policy::choose(settings.policy, settings.mechanism, self.abilities, by)?;
        if settings.listen.iter().any(|address| address.port() == 0) {
            return Err(Unfit::AnyPort);
        }
        let listens_itself =
            settings.program.kind == ProgramKind::Other && settings.listen.is_empty();
        if listens_itself && !self.can_trap_binds {
            return Err(Unfit::NoTrap);
        }
        Ok(())
    }
}

fn raise_file_limit() -> Option<(u64, u64)> {
    let found = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: found.maximum, maximum: found.maximum };
    setrlimit(Resource::Nofile, raised).ok()?;
    Some((found.current?, found.maximum.unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use tine_cluster::primary::Program;

    use super::*;

    fn ground(can_trap_binds: bool) -> Ground {
        Ground { abilities: Abilities { ebpf: false }, can_trap_binds, file_limit: None }
    }

    #[test]
    fn without_the_trap_only_node_and_passed_sockets_are_allowed() {
        let mut settings = Settings::new(Program::new("/bin/server"), 2);
        assert!(ground(true).check(&settings).is_ok());
        assert!(matches!(ground(false).check(&settings), Err(Unfit::NoTrap)));
        settings.listen = vec!["127.0.0.1:8080".parse().unwrap()];
        assert!(ground(false).check(&settings).is_ok());
        settings.listen = vec!["127.0.0.1:0".parse().unwrap()];
        assert!(matches!(ground(true).check(&settings), Err(Unfit::AnyPort)));
        let node = Settings::new(Program::node("/bin/node", "server.js"), 2);
        assert!(ground(false).check(&node).is_ok());
    }

    #[test]
    fn a_mechanism_that_needs_a_right_is_refused_without_it() {
        let mut settings = Settings::new(Program::new("/bin/server"), 2);
        settings.mechanism = Some(policy::Mechanism::KernelEbpf);
        assert!(matches!(ground(true).check(&settings), Err(Unfit::Mechanism(_))));
    }
}
