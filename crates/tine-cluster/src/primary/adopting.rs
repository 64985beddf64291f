//! Goes on with a cluster that another process began, from what was kept of it.
//!
//! A worker that serves goes on serving, and hears nothing of it. One that did not serve yet is replaced:
//! what it had asked for may have been heard by the one before, and never answered. A reload that was under
//! way is given up, as one that failed.

mod estate;

use std::{
    collections::BTreeMap,
    io,
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::process::Pid;
use tine_linux::{cgroup::Cgroup, process::Process, seccomp};

use super::{
    channel::{self, Dialect, Since},
    ends::Ends,
    event::{Output, What},
    handing::Handing,
    keep::AdoptError,
    keeping::moment,
    output,
    records::{Has, Talked, WorkerRecord, WorkerState},
    settings::{ProgramKind, Stdio},
    taken::Taken,
    task::Task,
    watch,
    worker::{Flow, Talk, Worker},
};
use crate::{
    core::{
        instance::{Filling, Place},
        worker::{Event as LifeEvent, Life},
    },
    id::{ListenerId, SeatId, WorkerId},
    policy::Mechanism,
};
pub(super) use estate::Estate;
use estate::{Heir, Was};

impl Task {
    /// Takes all of it over. After an error nothing has been done to any worker.
    pub(super) fn take_over(&mut self, mut estate: Estate) -> Result<(), AdoptError> {
        self.is_successor = true;
        self.means.go_on(estate.cluster.number);
        self.last_worker = estate.cluster.last_worker;
        self.ever_listened = estate.cluster.ever_listened;
        self.ever_ran = true;
        self.take_over_listeners(&mut estate)?;
        let heirs: Vec<(WorkerId, Heir)> =
            std::mem::take(&mut estate.workers).into_iter().collect();
        let mut states = BTreeMap::new();
        for (id, heir) in heirs {
            let state = heir.state.clone();
            self.take_over_worker(id, heir).map_err(|error| error.of(&format!("worker/{id}")))?;
            states.insert(id, state);
        }
        self.take_over_places(&estate);
        let cluster = estate.cluster;
        self.asks.adopt(cluster.bound, cluster.last_name);
        self.node.adopt(cluster.data);
        self.seats.go_on((cluster.next_listener, cluster.next_seat));
        self.open_handings(&states).map_err(|error| Was::Io(error).of("cluster"))?;
        self.paths.adopt(cluster.files);
        self.keeping.knows(estate.keys);
        self.keeping.all = true;
        for (id, state) in states {
            self.go_on_with(id, state);
        }
        self.rotate_all();
        self.keep_records();
        Ok(())
    }

    fn take_over_listeners(&mut self, estate: &mut Estate) -> Result<(), AdoptError> {
        for (id, (record, balancer)) in std::mem::take(&mut estate.listeners) {
            let group = estate.groups.remove(&id).unwrap_or_default();
            let policy = record.choice.policy;
            let adopted = self.seats.adopt_listener(id, record, (group, balancer));
            adopted.map_err(|error| {
                Was::Io(io::Error::other(error)).of(&format!("listener/{}", id.0))
            })?;
            if self.seats.is_loading(id) {
                self.load_program(id, policy);
            }
        }
        for (id, (record, mut now, socket)) in std::mem::take(&mut estate.seats) {
            // Its listener was forgotten just before the end.
            if self.seats.registry().listener(record.listener).is_none() {
                continue;
            }
            now.holders.retain(|holder| estate.workers.contains_key(holder));
            let adopted = self.seats.adopt_seat(id, record.listener, (now, socket));
            adopted.map_err(|error| Was::Io(error).of(&format!("seat/{}", id.0)))?;
        }
        Ok(())
    }

    fn take_over_worker(&mut self, id: WorkerId, heir: Heir) -> Result<(), Was> {
        let Heir { record, process, mut ends, way, state, calls } = heir;
        let pid = Pid::from_raw(record.pid).ok_or(Was::Descriptors)?;
        let process = Process::adopt(pid, process);
        let mut worker =
            Worker::new((id, record.instance), record.kind, process, record.mark.clone());
        worker.is_foreign = true;
        born(&mut worker, &record);
        worker.ends = way.map(|way| Ends::adopt(way, record.has.len() + 1));
        worker.cgroup = record.cgroup.as_ref().and_then(|path| Cgroup::adopt(path).ok());
        set(&mut worker, state.as_ref());
        let trap = ends.remove(&Has::Trap).map(seccomp::Listener::new);
        worker.trap = trap.transpose().map_err(Was::Io)?.map(Arc::new);
        watch::exit(id, &worker.process, self.news.clone()).map_err(Was::Io)?;
        if let Some(trap) = &worker.trap {
            worker.taken = calls.map(|calls| Arc::new(Taken::adopt(calls)));
            let trap = (Arc::clone(trap), worker.taken.clone());
            watch::trap(id, trap, self.news.clone()).map_err(Was::Io)?;
        }
        let closed = state.as_ref().is_some_and(|state| state.talk == Talked::Closed);
        if let Some(end) = ends.remove(&Has::Channel).filter(|_| !closed) {
            let dialect = match record.kind {
                ProgramKind::Node => Dialect::Node,
                ProgramKind::Other => Dialect::Native,
            };
            let greeted = worker.talk != Talk::Silent;
            let since = Since::Before { greeted };
            let opened =
                channel::open(id, (dialect, since), UnixStream::from(end), self.news.clone());
            worker.channel = Some(opened.map_err(Was::Io)?);
        }
        let pipes = ends.remove(&Has::Out).zip(ends.remove(&Has::Err));
        let input = ends.remove(&Has::Input);
        let pipes = pipes.map(|(out, err)| Output { out, err, input });
        self.take_over_output(&mut worker, pipes);
        self.workers.insert(id, worker);
        Ok(())
    }

    fn take_over_output(&self, worker: &mut Worker, pipes: Option<Output>) {
        let Some(pipes) = pipes else {
            worker.output = Flow::Ended(Vec::new());
            return;
        };
        if matches!(self.program.stdio, Stdio::Pipes { .. }) {
            worker.output = Flow::Ended(Vec::new());
            worker.pipes = Some(pipes);
        } else {
            let who = (worker.id, worker.instance);
            output::read(who, pipes, self.lines.clone(), self.news.clone());
        }
    }

    /// Those that the owner knows, and those that it had begun to add: where a worker is, there is a place.
    fn take_over_places(&mut self, estate: &Estate) {
        let moment @ (now, _) = moment();
        let known = self.settings.instances;
        let begun = self.workers.values().map(|worker| worker.instance.0 + 1).max();
        let count = begun.map_or(known, |begun| begun.max(known));
        let recorded = |number: u32| match estate.places.get(&number) {
            Some(record) => Place::recorded(*record, moment),
            None if number < known => Place::wanted(now),
            None => Place::default(),
        };
        self.places = (0..count).map(recorded).collect();
        // Filled by a worker of which nothing is known: it ended in the moment of the other end.
        for place in &mut self.places {
            if let Filling::Worker(worker) = place.filling()
                && !self.workers.contains_key(&worker)
            {
                place.start_anew(now);
            }
        }
    }

    /// Under hand-over this process accepts, for those who listen.
    fn open_handings(
        &mut self,
        states: &BTreeMap<WorkerId, Option<WorkerState>>,
    ) -> io::Result<()> {
        let handed = |(id, listener): (ListenerId, &crate::core::registry::Listener)| {
            (listener.choice.mechanism == Mechanism::HandOver).then_some(id)
        };
        let listeners: Vec<ListenerId> =
            self.seats.registry().listeners().filter_map(handed).collect();
        for listener in listeners {
            let seat = self.seats.registry().seats_of(listener).next().map(|(seat, _)| seat);
            let Some(seat) = seat else { continue };
            let Some(socket) = self.seats.socket(seat) else { continue };
            let socket = socket.try_clone_to_owned()?;
            let mut handing = Handing::open(listener, socket, self.news.clone())?;
            for (worker, state) in states {
                let given = state.iter().flat_map(|state| &state.given);
                let names = given.filter(|(_, given)| *given == seat);
                names.for_each(|(name, _)| handing.join(*worker, name));
            }
            self.handing.insert(listener, handing);
        }
        Ok(())
    }

    /// The worker goes on as it was, or is replaced.
    fn go_on_with(&mut self, id: WorkerId, state: Option<WorkerState>) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let (pid, lived, ready) = (worker.pid(), worker.lived(), worker.ready);
        let (output, instance) = (worker.pipes.take(), worker.instance);
        let in_place = self.place(instance).is_some_and(|it| it.filling() == Filling::Worker(id));
        self.tell(id, What::Adopted { pid, lived, ready, in_place, output });
        let Some(state) = state else { return self.replace(id) };
        for (name, seat) in &state.given {
            self.asks.adopt_given(id, name, *seat);
        }
        if !state.declared.is_empty() {
            self.declared.insert(id, state.declared.clone());
        }
        let there = |seat: &&SeatId| self.seats.registry().seat(**seat).is_some();
        let listens: Vec<SeatId> = state.listens.iter().filter(there).copied().collect();
        for seat in listens {
            self.worker_listens(id, seat);
        }
        self.publish();
        match (state.leaves, state.on_trial || !state.ready) {
            (true, _) => self.ask_to_go(id),
            (false, true) if state.on_trial => self.retire(id),
            (false, true) => self.replace(id),
            (false, false) => {}
        }
    }

    /// It has not served yet: another one begins from the beginning.
    fn replace(&mut self, id: WorkerId) {
        let instance = self.instance_of(id);
        let now = Instant::now();
        if let Some(place) = self.place(instance)
            && place.filling() == Filling::Worker(id)
            && place.restart(now).is_some()
            && let Some(worker) = self.workers.get_mut(&id)
        {
            worker.asked = true;
        }
        self.step(id, LifeEvent::Kill);
    }

    /// The kernel has the rotation that it was told last; what was recorded may be one step behind.
    fn rotate_all(&mut self) {
        let all: Vec<ListenerId> = self.seats.registry().listeners().map(|(id, _)| id).collect();
        for listener in all {
            if let Err(error) = self.seats.rotate(listener) {
                self.trouble(WorkerId(0), "rotate a group again", io::Error::other(error));
            }
        }
    }
}

/// When it was started, by this process's clock.
fn born(worker: &mut Worker, record: &WorkerRecord) {
    worker.started_at = UNIX_EPOCH + Duration::from_millis(record.at);
    // The clock may have been set since then.
    let by_clock = || SystemTime::now().duration_since(worker.started_at).unwrap_or_default();
    let lived = tine_linux::tree::age(record.started).unwrap_or_else(|_| by_clock());
    let now = Instant::now();
    worker.started = now.checked_sub(lived).unwrap_or(now);
}

fn set(worker: &mut Worker, state: Option<&WorkerState>) {
    let Some(state) = state else { return };
    worker.listened = state.listened;
    worker.life = if state.listened { Life::Online } else { Life::Starting };
    worker.asked = state.asked;
    worker.retired = state.retired;
    worker.said_ready = state.said_ready;
    worker.ready = state.ready;
    worker.exited_after_disconnect = state.exited_after_disconnect;
    worker.ports = state.ports.iter().copied().collect();
    worker.addresses = state.addresses.iter().cloned().collect();
    worker.talk = match state.talk {
        Talked::Silent => Talk::Silent,
        Talked::Speaks => Talk::Speaks,
        Talked::ToldToLeave => Talk::ToldToLeave(Instant::now()),
        Talked::Closed => Talk::Closed(Instant::now()),
    };
}
