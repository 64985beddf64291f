//! Calls whose socket cannot be looked at, because something has run out.
//!
//! Such a call is not left to the kernel: a second worker would be told that its address is in use, a
//! first one would get it for itself alone. It is told what is the matter.

use std::{ffi::OsString, io, os::unix::ffi::OsStringExt};

use rustix::{io::Errno, process::Pid};
use tine_linux::{foreign, seccomp::Notification};

use super::Answer;
use crate::{
    address::{Endpoint, ListenKey, Transport},
    id::WorkerId,
    primary::{
        caller::{self, RawAddress},
        task::Task,
    },
};

impl Task {
    /// `None`: the socket or its process is gone, or not what it seemed.
    pub(super) fn unseen(
        &mut self,
        (worker, notification): (WorkerId, &Notification),
        (fd, address): (i32, &RawAddress),
        error: &io::Error,
    ) -> Option<Answer> {
        let errno = exhausted(error)?;
        let key = key(notification.thread?, fd, address)?;
        if !self.trap_of(worker)?.is_waiting(notification) {
            return None;
        }
        self.refused(worker, key, errno);
        Some(Answer::Result(Err(errno)))
    }
}

/// Whether there was too little of something: descriptors, of this process or at all, or memory.
fn exhausted(error: &io::Error) -> Option<Errno> {
    let errno = Errno::from_io_error(error)?;
    let lacks = matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS);
    lacks.then_some(errno)
}

/// What the call is about, as well as that can be told without the socket.
fn key(thread: Pid, fd: i32, address: &RawAddress) -> Option<ListenKey> {
    let protocol = foreign::socket_protocol(thread, fd).ok()?;
    let transport = caller::protocol_named(&protocol).map(|(transport, _)| transport);
    let endpoint = match address {
        RawAddress::Inet(inet) => Endpoint::inet(*inet, false),
        RawAddress::Path(path) => Endpoint::Path(OsString::from_vec(path.clone()).into()),
        RawAddress::Abstract(name) => Endpoint::Abstract(name.clone()),
        RawAddress::Other => return None,
    };
    Some(ListenKey { transport: transport.unwrap_or(Transport::UnixStream), endpoint })
}
