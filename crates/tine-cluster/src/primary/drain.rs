//! Watches the connections of a leaving worker end, and closes the idle ones kindly.
//!
//! Needs no help from the program: its queue is read from the seat, its connections from the kernel's
//! table of sockets, and an idle keep-alive connection is ended by closing the *reading* side of it
//! through a duplicate: the server sees the client's end of stream, and a request that came just
//! before is still read and answered.

use std::time::{Duration, Instant};

use tine_linux::{
    sock_diag::{self, Inode},
    tree,
};

use super::{
    channel::Order,
    event::What,
    leaving::{self, Cut, Look},
    seats::Seats,
    settings::ProgramKind,
    task::Task,
    worker::Talk,
};
use crate::{
    core::worker::Life,
    id::{SeatId, WorkerId},
};

/// So long before the drain's end, or for its last quarter, idle UNIX connections are ended.
const LAST_CALL: Duration = Duration::from_secs(1);
/// From the end of the channel to that of the process, if it does not work meanwhile.
const LAST_STEPS: Duration = Duration::from_millis(200);

impl Task {
    /// Whether nothing is left that the worker has to finish. What can be ended kindly is ended.
    pub(super) fn is_drained(&mut self, id: WorkerId) -> bool {
        let seats = self.seats.registry().held_by(id);
        // In this order: a handshake that ends in between is queued.
        if self.has_handshakes(id, &seats) || self.has_queue(id, &seats) {
            return false;
        }
        self.ask_to_leave(id);
        let busy = self.open_connections(id);
        busy == 0 && self.has_left(id)
    }

    /// Whether connections wait that this worker has to accept: in a seat of its own, or in one that
    /// is shared when all are leaving. What waits for a worker that will be followed, while nobody else
    /// serves, waits for its successor: there would be no end to it.
    fn has_queue(&self, id: WorkerId, seats: &[SeatId]) -> bool {
        let followed = self.workers.get(&id).is_some_and(|worker| worker.is_followed);
        let waits = |seat: &SeatId| self.seats.waiting(*seat).is_some_and(|length| length > 0);
        let leaves = |seat: &SeatId| {
            let holders = self.seats.registry().seat(*seat).map(|seat| seat.holders.as_slice());
            holders == Some(&[id][..]) || self.is_stopping()
        };
        let left_to_another = |seat: &SeatId| {
            followed && !self.seats.is_succeeded(*seat) && !self.seats.has_others(*seat)
        };
        let in_seats =
            seats.iter().any(|seat| leaves(seat) && !left_to_another(seat) && waits(seat));
        in_seats || (self.is_stopping() && self.has_handing_queue(waits))
    }

    /// Whether connections wait that the primary has accepted, or has to accept, for the workers.
    fn has_handing_queue(&self, waits: impl Fn(&SeatId) -> bool) -> bool {
        self.handing.iter().any(|(listener, handing)| {
            let mut seats = self.seats.registry().seats_of(*listener);
            handing.is_busy() || seats.any(|(seat, _)| waits(&seat))
        })
    }

    /// Workers with a channel are told to go, once: they close their listeners, and end when they are
    /// done; one that is to be told by a message, in that message, when it has finished. Not before their queue is empty, for what is queued then would be stranded.
    fn ask_to_leave(&mut self, id: WorkerId) {
        if self.is_told_by_message(id) {
            return self.leave_handing(id);
        }
        let Some(worker) = self.workers.get_mut(&id) else { return };
        // Node reads it as soon as it runs.
        let will_hear = worker.disconnecting && worker.talk == Talk::Silent;
        if worker.talk != Talk::Speaks && !will_hear {
            return;
        }
        worker.exited_after_disconnect = true;
        worker.talk = Talk::ToldToLeave(Instant::now());
        self.leave_handing(id);
        self.order(id, Order::Leave);
    }

    /// Whether a worker that was told to leave has had its time to end by itself. Node closes its channel
    /// when it has finished everything; programs of other kinds may keep theirs open to their end, and have
    /// as long for the word as for the signal. Who works at its exit, or waits for a processor, is let.
    fn has_left(&self, id: WorkerId) -> bool {
        let patience = self.settings.patience.kill;
        let Some(worker) = self.workers.get(&id) else { return true };
        if worker.disconnecting {
            // It goes by itself, or when its time is up.
            return false;
        }
        match (worker.talk, worker.kind) {
            (Talk::ToldToLeave(_), ProgramKind::Node) => false,
            (Talk::ToldToLeave(since), ProgramKind::Other) => since.elapsed() >= patience,
            (Talk::Closed(since), _) => {
                let rests = || since.elapsed() >= LAST_STEPS && !tree::is_at_work(worker.pid());
                since.elapsed() >= patience || rests()
            }
            (Talk::Silent | Talk::Speaks, _) => true,
        }
    }

    /// How many connections of our listeners the worker's processes hold. The idle ones among them are
    /// told that their client has nothing more to say; but where node was told to go, it ends what is
    /// idle in its protocol by itself, and a websocket is not.
    fn open_connections(&mut self, id: WorkerId) -> usize {
        let Some(worker) = self.workers.get(&id) else { return 0 };
        let how = match (worker.kind, worker.talk) {
            (ProgramKind::Node, _) if worker.disconnecting => None,
            (ProgramKind::Node, Talk::ToldToLeave(_)) => Some(Look::CloseAfterNode),
            (ProgramKind::Node | ProgramKind::Other, _) => Some(Look::Close),
        };
        let last_call = matches!(worker.life, Life::Draining { until }
            if until.saturating_duration_since(Instant::now()) <= self.last_call());
        self.look_at_connections(id, how, last_call)
    }

    /// How long before the drain's end.
    fn last_call(&self) -> Duration {
        LAST_CALL.min(self.settings.patience.drain / 4)
    }

    /// Without a `how` they are only counted.
    fn look_at_connections(&mut self, id: WorkerId, how: Option<Look>, last_call: bool) -> usize {
        let table = self.table_for(id);
        let Some(worker) = self.workers.get_mut(&id) else { return 0 };
        let members = worker.members(&table);
        match how {
            Some(how) => {
                let sight = &self.sight;
                leaving::look((worker, sight), &members, (how, last_call), &mut self.habits)
            }
            None => leaving::held(worker, &members).len(),
        }
    }

    // === What is cut ===

    /// The worker's time is up: what it has open now is cut, unless it ends on its own yet.
    pub(super) fn note_cut(&mut self, id: WorkerId) {
        let table = self.table_for(id);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.exit.is_none() {
            let members = worker.members(&table);
            worker.leaving.cut = Cut::of(worker, members);
        }
    }

    /// It was told to stop, and may finish what it has before it does.
    pub(super) fn look_at_the_cut(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if !matches!(worker.life, Life::Stopping { .. }) || worker.exit.is_some() {
            return;
        }
        let Some(before) = worker.leaving.cut.take() else { return };
        self.note_cut(id);
        if let Some(worker) = self.workers.get_mut(&id)
            && !before.can_be_counted_again()
        {
            worker.leaving.cut = Some(before);
        }
    }

    /// It has ended.
    pub(super) fn tell_cut(&mut self, id: WorkerId) {
        let cut = self.workers.get_mut(&id).and_then(|worker| worker.leaving.cut.take());
        if let Some(Cut { connections, .. }) = cut {
            self.tell(id, What::Cut { connections });
        }
    }

    // === Handshakes ===

    /// Whether clients have been answered by a seat of the worker and have not said their last word of
    /// the handshake: it will be queued there. Where the kernel moves it to another seat, nobody has to
    /// wait for it, nor where a successor has the same seat.
    fn has_handshakes(&mut self, id: WorkerId, seats: &[SeatId]) -> bool {
        let Some(worker) = self.workers.get_mut(&id) else { return false };
        if worker.ports.is_empty() || worker.exit.is_some() {
            return false;
        }
        let (registry, followed) = (self.seats.registry(), worker.is_followed);
        let ends_there = |seat: &SeatId| {
            let alone = registry.seat(*seat).is_some_and(|it| it.holders == [id]);
            alone
                && match (self.seats.is_succeeded(*seat), followed) {
                    (true, _) => !self.seats.migrates_at(*seat),
                    (false, true) => false,
                    (false, false) => !self.seats.can_close(*seat),
                }
        };
        if !self.stopping && !seats.iter().any(ends_there) {
            return false;
        }
        let now = leaving::handshakes(&worker.ports);
        worker.leaving.handshakes.go_on(&now)
    }
}

impl Seats {
    /// How many connections wait in the seat's queue, of UNIX paths too; for these the kernel has to be
    /// asked for all together.
    fn waiting(&self, seat: SeatId) -> Option<u32> {
        self.queue(seat).or_else(|| unix_queue(self.inode(seat)?))
    }
}

fn unix_queue(inode: u64) -> Option<u32> {
    let inode = Inode(u32::try_from(inode).ok()?);
    let all = sock_diag::unix_listeners().ok()?;
    all.into_iter().find(|listener| listener.inode == inode).map(|listener| listener.queue)
}
