//! A worker's `listen`.

use rustix::io::Errno;
use tine_linux::seccomp::Notification;

use super::Answer;
use crate::{
    id::{SeatId, WorkerId},
    primary::{caller, task::Task},
};

/// At least this many connections may wait, as Node's own primary has it: a server that asked for five
/// had one process in mind that does nothing else.
const LEAST_BACKLOG: i32 = 511;

impl Task {
    pub(super) fn on_listen(
        &mut self,
        worker: WorkerId,
        notification: &Notification,
        (fd, backlog): (i32, i32),
    ) -> Option<Answer> {
        let inode = caller::inode(notification.thread?, fd).ok()??;
        let seat = self.seats.find(inode)?;
        if !self.trap_of(worker)?.is_waiting(notification) {
            return None;
        }
        if self.listens_beside(worker, seat) {
            return Some(Answer::Result(Err(Errno::ADDRINUSE)));
        }
        let mut result = self.listen(seat, backlog);
        if result == Err(Errno::ADDRINUSE) && self.close_abandoned_beside(seat) {
            result = self.listen(seat, backlog);
        }
        if result.is_ok() {
            self.seat_listens(worker, seat);
            self.presume_others(seat);
        }
        Some(Answer::Result(result))
    }

    fn listen(&self, seat: SeatId, backlog: i32) -> Result<(), Errno> {
        let socket = self.seats.socket(seat).ok_or(Errno::BADF)?;
        rustix::net::listen(socket, backlog.max(LEAST_BACKLOG))
    }

    fn close_abandoned_beside(&mut self, seat: SeatId) -> bool {
        let key = self.seats.listener_of(seat).map(|(_, listener)| &listener.key);
        let place = key.and_then(|key| Some((key.transport, key.endpoint.port()?)));
        place.is_some_and(|(transport, port)| self.close_abandoned(transport, port))
    }

    /// The seat's socket listens: into the group, into rotation.
    pub(in crate::primary) fn seat_listens(&mut self, worker: WorkerId, seat: SeatId) {
        let told = self.seats.joined(seat).and_then(|()| {
            let serves = self.workers.get(&worker).is_some_and(|worker| worker.life.serves())
                && !self.is_aside(worker);
            if serves { self.seats.open(seat) } else { Ok(()) }
        });
        if let Err(error) = told {
            self.trouble(worker, "put a seat into rotation", std::io::Error::other(error));
        }
        let listener = self.seats.listener_of(seat).map(|(id, _)| id);
        if listener.is_some_and(|listener| self.seats.is_loading(listener)) {
            self.unannounced.push((worker, seat));
        } else {
            self.worker_listens(worker, seat);
        }
    }
}
