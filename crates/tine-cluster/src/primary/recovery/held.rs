//! What workers hold.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::process::Pid;
use tine_linux::{foreign, process::Process, tree::Table};

use super::WhyLost;
use crate::primary::{
    ends::{self, Named},
    records::{EndsRecord, WorkerRecord},
};

/// A balancer's program and its maps.
pub(super) const PROGRAM: usize = 5;

/// A worker's own, as in its record; the way into what it holds; and what its group needs.
type Held = (Vec<OwnedFd>, OwnedFd, Vec<Named>);

/// All that the worker holds for a successor.
pub(super) fn ends(
    process: &Process,
    record: &WorkerRecord,
    place: Option<&EndsRecord>,
) -> Result<Held, WhyLost> {
    let place = place.ok_or(WhyLost::Never)?;
    let number = i32::try_from(place.number).map_err(|_| WhyLost::Closed)?;
    let socket = foreign::duplicate(process, number).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => WhyLost::Refused(error),
        _ => WhyLost::Closed,
    })?;
    let mut all = ends::look(socket).map_err(|_| WhyLost::Closed)?;
    let own = all.iter().position(|(name, _)| name == ends::OWN).ok_or(WhyLost::Closed)?;
    let (_, mut own) = all.swap_remove(own);
    let way = own.pop().ok_or(WhyLost::Closed)?;
    let inodes = ends::inodes(own.iter().map(AsFd::as_fd)).map_err(|_| WhyLost::Closed)?;
    if inodes != place.inodes || own.len() != record.has.len() {
        return Err(WhyLost::Closed);
    }
    // A worker says nothing about others.
    all.retain(|(name, _)| name.starts_with("listener/") || name.starts_with("seat/"));
    let process = process.as_fd().try_clone_to_owned().map_err(WhyLost::Refused)?;
    own.insert(0, process);
    Ok((own, way, all))
}

/// The socket with this inode, from the worker with this first process.
pub(super) fn socket(worker: Pid, inode: u64, table: &Table) -> Option<OwnedFd> {
    let members = table.members(Some(worker), None);
    members.iter().find_map(|member| socket_of(member.pid, inode))
}

fn socket_of(pid: Pid, inode: u64) -> Option<OwnedFd> {
    let process = Process::open(pid).ok()?;
    let sockets = foreign::sockets(pid).ok()?;
    let (number, _) = sockets.into_iter().find(|(_, other)| *other == inode)?;
    let socket = foreign::duplicate(&process, number).ok()?;
    // The number may have come to mean another one meanwhile.
    (rustix::fs::fstat(&socket).ok()?.st_ino == inode).then_some(socket)
}
