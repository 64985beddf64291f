//! Tells the owner what happens, in the order in which a person would.

use std::{
    ffi::OsStr,
    io,
    os::{fd::BorrowedFd, unix::ffi::OsStrExt},
};

use tine_linux::sock_diag::UnixName;

use super::{
    budget::{Permit, Said},
    event::{Event, ListeningAddress, What},
    messages::Reply,
    task::Task,
    worker::Flow,
};
use crate::{
    address::Transport,
    core::worker::Event as LifeEvent,
    descriptor::Descriptor,
    id::{Instance, SeatId, WorkerId},
    policy::NotToBeHad,
};

/// An event on its way to the owner.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) event: Event,
    /// What it takes up of its worker's budget until then.
    _permit: Option<Permit>,
}

/// What Node programs say when they can serve: `process.send('ready')`.
const READY: &str = "\"ready\"";

impl Task {
    /// The worker listens on one more address.
    pub(super) fn worker_listens(&mut self, id: WorkerId, seat: SeatId) {
        if !self.told_listening.insert((id, seat)) {
            return;
        }
        let Some(what) = self.listening(id, seat) else { return };
        let Some((listener_id, listener)) = self.seats.listener_of(seat) else { return };
        let tcp = listener.key.transport == Transport::Tcp;
        let port = tcp.then(|| listener.key.endpoint.port()).flatten();
        let declared = self.declared.get(&id).is_some_and(|seats| seats.contains(&seat));
        let name = self.seats.socket(seat).and_then(unix_name);
        self.ever_listened |= !declared;
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.listened = true;
            worker.ports.extend(port);
            worker.names.extend(name);
        }
        self.join_handing(id, listener_id);
        self.step(id, LifeEvent::Listening);
        self.tell(id, what);
    }

    /// What is told of a worker that listens there.
    fn listening(&self, id: WorkerId, seat: SeatId) -> Option<What> {
        let (_, listener) = self.seats.listener_of(seat)?;
        let said = self.workers.get(&id).and_then(|worker| worker.addresses.get(&seat).cloned());
        Some(What::Listening {
            key: listener.key.clone(),
            address: said.unwrap_or_else(|| ListeningAddress::from(&listener.key)),
            choice: listener.choice,
            acquisition: listener.acquisition,
        })
    }

    /// The owner was behind, and may have caught up: then it hears how things are.
    pub(super) fn tell_what_was_missed(&mut self) {
        self.behind.retain(|id| *id == WorkerId(0) || self.workers.contains_key(id));
        for id in self.behind.clone() {
            let worker = self.workers.get_mut(&id);
            let instance = worker.as_ref().and_then(|worker| worker.instance.filled());
            let quota = worker.map_or(&mut self.quota, |worker| &mut worker.quota);
            let Some(events) = quota.catch_up() else { continue };
            self.behind.remove(&id);
            if events > 0 {
                self.send((id, instance), What::Missed { events }, None);
            }
            let told = self.told_listening.range((id, SeatId(0))..=(id, SeatId(u32::MAX)));
            for (_, seat) in told {
                if let Some(what) = self.listening(id, *seat) {
                    self.send((id, instance), what, None);
                }
            }
        }
    }

    pub(super) fn instance_of(&self, id: WorkerId) -> Instance {
        self.workers.get(&id).map(|worker| worker.instance).unwrap_or_default()
    }

    pub(super) const fn is_stopping(&self) -> bool {
        self.stopping
    }

    pub(super) fn tell(&mut self, id: WorkerId, what: What) {
        self.tell_with(id, what, None);
    }

    fn tell_with(&mut self, id: WorkerId, what: What, permit: Option<Permit>) {
        if !matches!(what, What::Message { .. }) {
            self.keeping.touch(id);
        }
        let worker = self.workers.get_mut(&id);
        let instance = worker.as_ref().and_then(|worker| worker.instance.filled());
        let quota = worker.map_or(&mut self.quota, |worker| &mut worker.quota);
        let Some(admitted) = quota.admit(&what) else {
            let whose = if self.workers.contains_key(&id) { id } else { WorkerId(0) };
            self.behind.insert(whose);
            return;
        };
        if admitted.missed > 0 {
            self.send((id, instance), What::Missed { events: admitted.missed }, None);
        }
        self.send((id, instance), what, permit.or(admitted.permit));
    }

    fn send(
        &self,
        (worker, instance): (WorkerId, Option<Instance>),
        what: What,
        permit: Option<Permit>,
    ) {
        // Nobody wants to know: the cluster goes on.
        let _ = self.tell.send(Told { event: Event { worker, instance, what }, _permit: permit });
    }

    pub(super) fn tell_of(&self, worker: WorkerId, instance: Instance, what: What) {
        self.send((worker, Some(instance)), what, None);
    }

    /// The worker's program says something to its owner.
    pub(super) fn said(&mut self, id: WorkerId, said: Said) {
        self.speaks(id);
        if said.message.get() == READY {
            self.says_ready(id);
        }
        let descriptor = said.fd.map(Descriptor::try_from);
        if let Some(Err(_)) = &descriptor {
            let error = io::Error::new(io::ErrorKind::InvalidData, "it is no socket");
            self.trouble(id, "take what came with a message", error);
        }
        let channel = self.workers.get(&id).and_then(|worker| worker.channel.as_ref());
        let reply =
            said.seq.zip(channel).map(|(seq, channel)| Reply::new(seq, channel.mailbox(id)));
        let descriptor = descriptor.and_then(Result::ok);
        let what = What::Message { message: said.message, descriptor, reply };
        self.tell_with(id, what, said.permit);
    }

    /// The worker's program says that it can serve.
    pub(super) fn says_ready(&mut self, id: WorkerId) {
        self.keeping.touch(id);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.said_ready = true;
        }
    }

    /// The worker's channel has ended, or was ended for this reason.
    pub(super) fn disconnected(&mut self, id: WorkerId, broken: Option<String>) {
        self.announce_of(id);
        let spoke = self.workers.get(&id).is_some_and(super::worker::Worker::is_connected);
        match broken {
            None => self.channel_closed(id),
            Some(error) => self.channel_broken(id, error),
        }
        self.publish();
        if spoke {
            self.tell(id, What::Disconnected);
        }
        self.tell_what_waited(id);
    }

    pub(super) fn trouble(&mut self, id: WorkerId, doing: &'static str, error: io::Error) {
        self.tell(id, What::Trouble { doing, error });
    }

    pub(super) fn unfit(&mut self, id: WorkerId, reason: NotToBeHad) {
        self.tell(id, What::Unfit { reason });
    }

    /// Told when the worker's last words were: its last line, and its last message.
    pub(super) fn tell_after_output(&mut self, id: WorkerId, what: What) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.later.push(what);
            self.tell_what_waited(id);
        }
    }

    pub(super) fn output_ended(&mut self, id: WorkerId, last: Vec<Vec<u8>>) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.output = Flow::Ended(last);
            self.tell_what_waited(id);
        }
    }

    fn tell_what_waited(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(last) = worker.last_words().map(<[_]>::to_vec) else { return };
        for what in std::mem::take(&mut worker.later) {
            self.tell(id, with_last_lines(what, &last));
        }
    }
}

/// As the kernel calls what is accepted there.
fn unix_name(socket: BorrowedFd<'_>) -> Option<UnixName> {
    let address = rustix::net::getsockname(socket).ok()?;
    let address = rustix::net::SocketAddrUnix::try_from(address).ok()?;
    let path = address.path_bytes().map(|path| UnixName::Path(OsStr::from_bytes(path).into()));
    path.or_else(|| Some(UnixName::Abstract(address.abstract_name()?.to_vec())))
}

fn with_last_lines(what: What, last: &[Vec<u8>]) -> What {
    match what {
        What::GivenUp { early_ends, exit, .. } => {
            What::GivenUp { early_ends, exit, last_lines: last.to_vec() }
        }
        other => other,
    }
}
