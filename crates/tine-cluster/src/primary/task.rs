//! The task that owns a cluster's state.
//!
//! Its loop waits for one [`Input`] at a time and handles it without waiting; the decisions are
//! [`crate::core`]'s, this module carries them out.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tine_linux::{balance::KernelOffsets, process::Exit, seccomp, spawn::SpawnError, tree};
use tokio::sync::mpsc;

use super::{
    asks::Asks,
    event::{Ending, Event, What},
    handing::Handing,
    input::{Command, Input, News},
    paths::Paths,
    seats::Seats,
    settings::Settings,
    start::Means,
    worker::{Output, Worker},
};
use crate::{
    core::{
        instance::{Filling, Next, Place},
        worker::{Action, Event as LifeEvent, Life},
    },
    id::{Instance, ListenerId, SeatId, WorkerId},
    policy::NotToBeHad,
};

/// How often a leaving worker is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How often the seats are looked at.
const ROUND: Duration = Duration::from_secs(1);
/// News that may wait; more make the small tasks wait.
const NEWS: usize = 256;

/// All that a cluster is.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) settings: Settings,
    pub(super) means: Means,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) seats: Seats,
    pub(super) paths: Paths,
    pub(super) handing: BTreeMap<ListenerId, Handing>,
    pub(super) asks: Asks,
    pub(super) declared: BTreeMap<WorkerId, Vec<SeatId>>,
    /// Of which seats it was told that a worker listens there.
    pub(super) told_listening: BTreeSet<(WorkerId, SeatId)>,
    /// Seats that listen before their listener's policy has taken hold.
    pub(super) unannounced: Vec<(WorkerId, SeatId)>,
    /// Where this kernel keeps what the programs read, once known.
    pub(super) offsets: Option<KernelOffsets>,
    pub(super) node: super::node::Servers,
    pub(super) news: mpsc::Sender<News>,
    pub(super) lines: mpsc::Sender<Event>,
    places: Vec<Place>,
    inbox: mpsc::Receiver<News>,
    tell: mpsc::UnboundedSender<Event>,
    last_worker: u32,
    stopping: bool,
    ever_ran: bool,
    last_failure: Option<Exit>,
    next_round: Instant,
}

impl Task {
    pub(super) fn new(
        settings: Settings,
        tell: mpsc::UnboundedSender<Event>,
        lines: mpsc::Sender<Event>,
    ) -> Self {
        let (news, inbox) = mpsc::channel(NEWS);
        let places = (0..settings.instances).map(|_| Place::default()).collect();
        Self {
            settings,
            means: Means::find(),
            workers: BTreeMap::new(),
            seats: Seats::default(),
            paths: Paths::default(),
            handing: BTreeMap::new(),
            asks: Asks::default(),
            declared: BTreeMap::new(),
            told_listening: BTreeSet::new(),
            unannounced: Vec::new(),
            offsets: None,
            node: super::node::Servers::default(),
            news,
            lines,
            places,
            inbox,
            tell,
            last_worker: 0,
            stopping: false,
            ever_ran: false,
            last_failure: None,
            next_round: Instant::now() + ROUND,
        }
    }

    /// Runs the cluster to its end.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Ending {
        for instance in (0..self.settings.instances).map(Instance) {
            self.fill(instance);
        }
        let mut abandoned = false;
        while !self.is_over() {
            let deadline = tokio::time::Instant::from_std(self.deadline());
            let input = tokio::select! {
                command = commands.recv(), if !abandoned => {
                    command.map_or(Input::Abandoned, Input::Command)
                }
                Some(news) = self.inbox.recv() => Input::News(news),
                () = tokio::time::sleep_until(deadline) => Input::Tick,
            };
            abandoned |= matches!(input, Input::Abandoned);
            self.handle(input);
        }
        self.ending()
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Command(command) => self.command(command),
            // Nobody can stop it any more, so it stops.
            Input::Abandoned => self.stop(),
            Input::News(news) => self.hear(news),
            Input::Tick => {}
        }
        self.tick(Instant::now());
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Stop => self.stop(),
            Command::Kill => self.kill(),
            Command::Signal(signal) => self.signal(signal),
            Command::ReapOrphans => self.reap_orphans(),
            Command::Report(answer) => {
                // Whoever asked may have given up.
                let _ = answer.send(self.report());
            }
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Exited(worker) => self.exited(worker),
            News::FilterGone(worker) => {
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.filter_is_gone();
                }
            }
            News::Trapped(worker, notification) => self.trapped(worker, notification),
            News::OutputEnded(worker, last) => self.output_ended(worker, &last),
            News::Node(worker, event) => self.node_said(worker, *event),
            News::Native(worker, event) => self.native_said(worker, event),
            News::Answered { worker, listener, accepted } => {
                self.answered(worker, listener, accepted);
            }
            News::ChannelClosed(worker) => self.channel_closed(worker),
            News::ChannelBroken(worker, error) => self.misbehaved(worker, error),
            News::Accepted(listener, connection) => self.accepted(listener, connection),
            News::Loaded(listener, result) => self.program_loaded(listener, *result),
            News::AcceptPaused(listener, reason) => self.accept_paused(listener, reason),
        }
    }

    // === Time ===

    /// What is due is done.
    fn tick(&mut self, now: Instant) {
        let due: Vec<WorkerId> = self.leaving(|life| life.deadline().is_some_and(|at| at <= now));
        for worker in due {
            self.step(worker, LifeEvent::Deadline);
        }
        self.look_at_the_leaving();
        let due = (0u32..).zip(&self.places).filter(|(_, place)| place.is_due(now));
        let due: Vec<Instance> = due.map(|(number, _)| Instance(number)).collect();
        for instance in due {
            self.fill(instance);
        }
        self.hand_over(now);
        if self.next_round <= now {
            self.next_round = now + ROUND;
            self.look_at_the_seats();
        }
    }

    fn leaving(&self, which: impl Fn(Life) -> bool) -> Vec<WorkerId> {
        let leaving = self.workers.values().filter(|worker| which(worker.life));
        leaving.map(|worker| worker.id).collect()
    }

    /// When something is due.
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let lives = self.workers.values().filter_map(|worker| worker.life.deadline());
        let looks = self.workers.values().filter(|w| !w.life.serves()).map(|_| now + LOOK);
        let places = self.places.iter().filter_map(|place| match place.filling() {
            Filling::Waiting { until } => Some(until),
            Filling::Empty | Filling::Worker(_) | Filling::Finished | Filling::GivenUp => None,
        });
        let handing = self.handing.values().filter_map(Handing::poll_timeout);
        let round = (!self.seats.is_empty()).then_some(self.next_round);
        let all = lives.chain(looks).chain(places).chain(handing).chain(round);
        all.min().unwrap_or(now + Duration::from_hours(1))
    }

    // === Instances ===

    fn fill(&mut self, instance: Instance) {
        match self.start_worker(instance) {
            Ok(id) => self.filled(instance, id),
            Err(error) => self.not_started(instance, error),
        }
    }

    fn filled(&mut self, instance: Instance, id: WorkerId) {
        self.ever_ran = true;
        if let Some(place) = self.place(instance) {
            place.filled(id);
        }
        if let Some(pid) = self.workers.get(&id).map(Worker::pid) {
            self.tell(id, What::Started { pid });
        }
        self.open_declared(id);
    }

    fn not_started(&mut self, instance: Instance, error: SpawnError) {
        let worker = WorkerId(self.last_worker);
        self.tell_of(worker, instance, What::NotStarted { error });
        let limits = self.settings.limits;
        // What cannot be executed at the very first try is a mistake that waiting does not mend.
        let next = if self.ever_ran {
            self.place(instance).map(|p| p.failed_to_start(Instant::now(), &limits))
        } else {
            self.place(instance).map(Place::give_up)
        };
        match next {
            Some(Next::Restart(after)) => {
                self.tell_of(worker, instance, What::Restarting { after });
            }
            Some(Next::GiveUp { early_ends }) => {
                let what = What::GivenUp { early_ends, exit: None, last_lines: Vec::new() };
                self.tell_of(worker, instance, what);
            }
            Some(Next::Rest) | None => {}
        }
    }

    fn place(&mut self, instance: Instance) -> Option<&mut Place> {
        self.places.get_mut(usize::try_from(instance.0).ok()?)
    }

    pub(super) fn next_worker(&mut self) -> WorkerId {
        self.last_worker += 1;
        WorkerId(self.last_worker)
    }

    // === A worker's life ===

    /// One step of a worker's life, with what follows from it.
    pub(super) fn step(&mut self, id: WorkerId, event: LifeEvent) {
        let patience = self.settings.patience;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let (life, action) = worker.life.step(event, Instant::now(), &patience);
        worker.life = life;
        match action {
            Action::None => {}
            Action::Drain => self.begin_drain(id),
            Action::Terminate => self.terminate(id),
            Action::Kill => self.kill_worker(id),
            Action::Release => self.release(id),
        }
    }

    fn begin_drain(&mut self, id: WorkerId) {
        self.tell(id, What::Draining);
        if let Err(error) = self.seats.drain(id) {
            self.trouble(id, "take a seat out of rotation", io::Error::other(error));
        }
        self.leave_handing(id);
    }

    fn terminate(&mut self, id: WorkerId) {
        let signal = self.settings.stop_signal;
        self.tell_cut(id);
        let Some(worker) = self.workers.get(&id) else { return };
        if let Err(error) = worker.terminate(signal) {
            self.trouble(id, "send the stop signal", error);
        }
    }

    /// A drain that did not come to its end cuts connections.
    fn tell_cut(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let connections = std::mem::take(&mut worker.open_connections);
        if connections > 0 && worker.exit.is_none() {
            self.tell(id, What::Cut { connections });
        }
    }

    fn kill_worker(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        if let Err(error) = worker.kill() {
            self.trouble(id, "kill a worker", error);
        }
    }

    /// The first process ended: its instance gets a successor, if it is to have one.
    fn exited(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Ok(Some(exit)) = worker.process.try_wait() else { return };
        worker.exit = Some(exit);
        let (instance, end) = (worker.instance, worker.end(exit));
        if let Some(channel) = &worker.channel {
            channel.read_to_end();
        }
        if !end.asked && !end.clean {
            self.last_failure = Some(exit);
        }
        let what = What::Exited { exit, lived: end.lived, asked: end.asked };
        self.tell_after_output(id, what);
        let limits = self.settings.limits;
        let stopping = self.stopping;
        let next = self.place(instance).map(|place| {
            if stopping { place.rest() } else { place.ended(end, Instant::now(), &limits) }
        });
        self.tell_next(id, next, exit);
        if let Err(error) = self.seats.drain(id) {
            self.trouble(id, "take a seat out of rotation", io::Error::other(error));
        }
        self.step(id, LifeEvent::Exited);
        self.look_at(id);
    }

    fn tell_next(&mut self, id: WorkerId, next: Option<Next>, exit: Exit) {
        match next {
            Some(Next::Restart(after)) => self.tell_after_output(id, What::Restarting { after }),
            Some(Next::GiveUp { early_ends }) => {
                let exit = Some(exit);
                let what = What::GivenUp { early_ends, exit, last_lines: Vec::new() };
                self.tell_after_output(id, what);
            }
            Some(Next::Rest) | None => {}
        }
    }

    /// Nothing of it is left: its seats go to others, or wait for its successor.
    fn release(&mut self, id: WorkerId) {
        for seat in self.seats.registry().held_by(id) {
            self.let_go(seat, id);
        }
        self.forget_given(id);
        self.declared.remove(&id);
        self.restore_paths();
    }

    pub(super) fn let_go(&mut self, seat: SeatId, id: WorkerId) {
        if let Err(error) = self.seats.let_go(seat, id) {
            self.trouble(id, "give a seat to the others", io::Error::other(error));
        }
    }

    /// Those that are leaving: is there anything left of them, or of their connections?
    fn look_at_the_leaving(&mut self) {
        for id in self.leaving(|life| !life.serves()) {
            self.look_at(id);
        }
        self.workers.retain(|_, worker| {
            worker.life != Life::Gone || matches!(worker.output, Output::Flowing(_))
        });
    }

    fn look_at(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        match worker.life {
            Life::Draining { .. } => {
                if self.is_drained(id) {
                    self.step(id, LifeEvent::Drained);
                }
            }
            Life::Ended { .. } | Life::Killed | Life::Stopping { .. } if worker.is_gone() => {
                self.step(id, LifeEvent::TreeGone);
            }
            Life::Killed => self.kill_again(id),
            Life::Starting
            | Life::Online
            | Life::Stopping { .. }
            | Life::Ended { .. }
            | Life::Gone => {}
        }
    }

    /// Something survived: forked in the moment of the kill, or hidden from the process table's
    /// ancestry, in which case it is a child of this subreaper by now.
    fn kill_again(&mut self, id: WorkerId) {
        self.kill_worker(id);
        self.reap_orphans();
        let last = self.workers.values().all(|worker| !worker.life.serves());
        if !(self.settings.owns_all_children && last) {
            return;
        }
        let own = rustix::process::getpid();
        for entry in tree::processes().unwrap_or_default() {
            if entry.parent == Some(own) && !entry.zombie && !self.is_leader(entry.pid) {
                let roots = tree::Roots { leader: entry.pid, mark: None, reaper: own };
                // What cannot be killed now is tried again at the next look.
                let _ = roots.signal(Signal::KILL);
            }
        }
    }

    fn is_leader(&self, pid: rustix::process::Pid) -> bool {
        self.workers.values().any(|worker| worker.exit.is_none() && worker.pid() == pid)
    }

    fn reap_orphans(&mut self) {
        // Without /proc there are no orphans to be found.
        let _ = tree::reap_orphans(|pid| self.is_leader(pid));
    }

    /// It said something wrong on its channel: it is ended, and its successor may do better.
    pub(super) fn misbehaved(&mut self, id: WorkerId, error: String) {
        self.tell(id, What::Misbehaved { error });
        self.step(id, LifeEvent::Kill);
    }

    // === Requests ===

    fn stop(&mut self) {
        self.stopping = true;
        self.places.iter_mut().for_each(Place::cancel);
        if let Err(error) = self.seats.close_gates() {
            self.trouble(WorkerId(0), "close the listeners to new connections", error);
        }
        let all: Vec<WorkerId> = self.workers.keys().copied().collect();
        for worker in all {
            self.ask_to_go(worker);
        }
    }

    fn ask_to_go(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.asked = true;
        }
        self.step(id, LifeEvent::Stop);
    }

    fn kill(&mut self) {
        self.stop();
        let all: Vec<WorkerId> = self.workers.keys().copied().collect();
        for worker in all {
            self.step(worker, LifeEvent::Kill);
        }
    }

    fn signal(&mut self, signal: Signal) {
        for worker in self.workers.values() {
            // One that has ended needs no signal.
            let _ = worker.process.signal(signal);
        }
    }

    // === Telling ===

    /// The worker listens on one more address.
    pub(super) fn worker_listens(&mut self, id: WorkerId, seat: SeatId) {
        if !self.told_listening.insert((id, seat)) {
            return;
        }
        let Some((listener_id, listener)) = self.seats.listener_of(seat) else { return };
        let what = What::Listening {
            key: listener.key.clone(),
            choice: listener.choice,
            acquisition: listener.acquisition,
        };
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.listened = true;
        }
        self.join_handing(id, listener_id);
        self.step(id, LifeEvent::Listening);
        self.tell(id, what);
    }

    pub(super) fn instance_of(&self, id: WorkerId) -> Instance {
        self.workers.get(&id).map(|worker| worker.instance).unwrap_or_default()
    }

    pub(super) const fn is_stopping(&self) -> bool {
        self.stopping
    }

    pub(super) fn tell(&self, id: WorkerId, what: What) {
        let instance = self.workers.get(&id).map(|worker| worker.instance).unwrap_or_default();
        self.tell_of(id, instance, what);
    }

    fn tell_of(&self, worker: WorkerId, instance: Instance, what: What) {
        // Nobody wants to know: the cluster goes on.
        let _ = self.tell.send(Event { worker, instance, what });
    }

    pub(super) fn trouble(&self, id: WorkerId, doing: &'static str, error: io::Error) {
        self.tell(id, What::Trouble { doing, error });
    }

    pub(super) fn unfit(&self, id: WorkerId, reason: NotToBeHad) {
        self.tell(id, What::Unfit { reason });
    }

    /// Told when the worker's last words were.
    fn tell_after_output(&mut self, id: WorkerId, what: What) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match &mut worker.output {
            Output::Flowing(later) => later.push(what),
            Output::Ended(last) => {
                let what = with_last_lines(what, last);
                self.tell(id, what);
            }
        }
    }

    fn output_ended(&mut self, id: WorkerId, last: &[Vec<u8>]) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let before = std::mem::replace(&mut worker.output, Output::Ended(last.to_vec()));
        if let Output::Flowing(later) = before {
            for what in later {
                self.tell(id, with_last_lines(what, last));
            }
        }
    }

    // === The end ===

    fn is_over(&self) -> bool {
        let waits = |place: &Place| matches!(place.filling(), Filling::Waiting { .. });
        self.workers.is_empty() && !self.places.iter().any(waits)
    }

    fn ending(&self) -> Ending {
        if self.stopping {
            return Ending::Stopped;
        }
        if !self.ever_ran {
            return Ending::NeverStarted;
        }
        Ending::Finished { code: self.last_failure.map_or(0, Exit::shell_code) }
    }

    pub(super) fn trap_of(&self, id: WorkerId) -> Option<&Arc<seccomp::Listener>> {
        self.workers.get(&id)?.trap.as_ref()
    }
}

fn with_last_lines(what: What, last: &[Vec<u8>]) -> What {
    match what {
        What::GivenUp { early_ends, exit, .. } => {
            What::GivenUp { early_ends, exit, last_lines: last.to_vec() }
        }
        other => other,
    }
}
