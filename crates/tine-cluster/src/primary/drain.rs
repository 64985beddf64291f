//! Watches the connections of a leaving worker end, and closes the idle ones kindly.
//!
//! Needs no help from the program: its queue is read from the seat, its connections from the kernel's
//! table of sockets, and an idle keep-alive connection is ended by closing the *reading* side of it
//! through a duplicate: the server sees the client's end of stream, and a request that came just
//! before is still read and answered.

use std::{
    collections::{BTreeSet, HashSet},
    time::{Duration, Instant},
};

use rustix::process::Pid;
use tine_linux::{
    foreign,
    process::Process,
    sock_diag::{self, Inode, TcpState},
    socket, tree,
};

use super::{channel::Order, settings::ProgramKind, task::Task, worker::Talk};
use crate::id::{SeatId, WorkerId};

/// From the end of the channel to that of the process, if it does not work meanwhile.
const LAST_STEPS: Duration = Duration::from_millis(200);

impl Task {
    /// Whether nothing is left that the worker has to finish. What can be ended kindly is ended.
    pub(super) fn is_drained(&mut self, id: WorkerId) -> bool {
        let seats = self.seats.registry().held_by(id);
        if self.has_queue(id, &seats) {
            return false;
        }
        self.ask_to_leave(id);
        let busy = self.open_connections(id);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.open_connections = busy;
        }
        busy == 0 && self.has_left(id)
    }

    /// Whether connections wait that this worker has to accept: in a seat of its own, or in one that
    /// is shared when all are leaving. What waits for a worker that will be followed, while nobody else
    /// serves, waits for its successor: there would be no end to it.
    fn has_queue(&self, id: WorkerId, seats: &[SeatId]) -> bool {
        let followed = self.workers.get(&id).is_some_and(|worker| worker.is_followed);
        let waits = |seat: &SeatId| self.seats.queue(*seat).is_some_and(|length| length > 0);
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
    /// told that their client has nothing more to say; but not if the owner disconnects a worker of
    /// Node's, which ends what is idle in its protocol by itself, and a websocket is not.
    fn open_connections(&mut self, id: WorkerId) -> usize {
        let table = self.table_for(id);
        let Some(worker) = self.workers.get(&id) else { return 0 };
        let open = connections(&worker.ports);
        if open.is_empty() {
            return 0;
        }
        let leave_alone = worker.disconnecting && worker.kind == ProgramKind::Node;
        let close = if leave_alone { |_, _| Ok(()) } else { close_if_idle };
        worker.members(&table).into_iter().map(|pid| each_of(pid, &open, close)).sum()
    }
}

/// The established connections that came in by these ports, whoever holds them.
fn connections(ports: &BTreeSet<u16>) -> HashSet<Inode> {
    let all = ports.iter().filter_map(|port| sock_diag::tcp_connections(Some(*port)).ok());
    let open = all.flatten().filter(|connection| {
        matches!(connection.state, TcpState::Established | TcpState::CloseWait)
    });
    open.map(|connection| connection.inode).filter(|inode| *inode != Inode(0)).collect()
}

/// Does this to each of these connections that the process holds; gives how many there are.
fn each_of(pid: Pid, open: &HashSet<Inode>, close: fn(Pid, i32) -> std::io::Result<()>) -> usize {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let mut count = 0;
    for entry in entries.flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(Some(inode)) = foreign::socket_inode(pid, number) else { continue };
        if u32::try_from(inode).is_ok_and(|inode| open.contains(&Inode(inode))) {
            count += 1;
            // What may not be looked at ends by itself, or at the drain's end.
            let _ = close(pid, number);
        }
    }
    count
}

fn close_if_idle(pid: Pid, number: i32) -> std::io::Result<()> {
    let connection = foreign::duplicate(&Process::open(pid)?, number)?;
    if socket::is_idle_connection(&connection)? {
        rustix::net::shutdown(&connection, rustix::net::Shutdown::Read)?;
    }
    Ok(())
}
