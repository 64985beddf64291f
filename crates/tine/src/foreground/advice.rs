//! What went wrong, in words, and what to do about it where that is known.

use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};
use tine_cluster::address::{Endpoint, ListenKey};
use tine_linux::spawn::{SpawnError, Step};

/// Why a worker may not listen there. Who has an address that is in use is told apart.
pub(super) fn refused(key: &ListenKey, errno: Errno) -> String {
    let advice = match (errno, &key.endpoint) {
        (Errno::ACCESS, Endpoint::Inet { address, .. }) => format!(
            "; so low a port is not for this user: choose another, or open it for all (`sudo sysctl \
             net.ipv4.ip_unprivileged_port_start={}`)",
            address.port()
        ),
        (Errno::ACCESS, Endpoint::Path(_)) => "; this user may not write in that directory".into(),
        (Errno::ADDRNOTAVAIL, _) => {
            "; no interface of this host has that address (`ip address` shows \
             those that there are)"
                .into()
        }
        _ => String::new(),
    };
    with_remedy(&errno.into()) + &advice
}

/// What the kernel said, and what is to be done about it, if that is known.
pub(super) fn with_remedy(error: &std::io::Error) -> String {
    format!("{error}{}", remedy(error))
}

fn remedy(error: &std::io::Error) -> String {
    if Errno::from_io_error(error) != Some(Errno::MFILE) {
        return String::new();
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    format!(
        "; tine has used up the {limit} descriptors that it may have: give it more (`ulimit -n`, or \
         LimitNOFILE= of its systemd unit)"
    )
}

/// Says why, and where there is something to be done, what.
pub(super) fn not_started(error: &SpawnError) -> String {
    let mut text = format!("could not be started: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    match error {
        SpawnError::Prepare { source, .. } => text.push_str(&remedy(source)),
        SpawnError::Child { step, source } => text.push_str(hint(*step, source)),
        _ => {}
    }
    text
}

fn hint(step: Step, source: &std::io::Error) -> &'static str {
    match (step, source.kind()) {
        (Step::Execute, std::io::ErrorKind::NotFound) => {
            "; the interpreter in its first line, or its loader, is missing"
        }
        (Step::Execute, _) if source.raw_os_error() == Some(8) => {
            "; it is neither a binary for this machine nor does it begin with `#!`: say with \
             --interpreter what runs it"
        }
        (Step::Filter, std::io::ErrorKind::ResourceBusy) => {
            "; a supervisor of another kind (or another tine) watches this process already, and the \
             kernel allows one: start tine outside of it"
        }
        (Step::Filter | Step::NoNewPrivileges, _) => {
            "; seccomp user notification is refused here (`tine doctor` says more). What still works: \
             node scripts, and programs that take sockets passed with --listen"
        }
        _ => "",
    }
}
