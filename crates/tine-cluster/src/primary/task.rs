//! The task that owns a cluster's state.
//!
//! Its loop waits for one [`Input`] at a time and handles it without waiting; the decisions are
//! [`crate::core`]'s, this module carries them out.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::Pid;
use tine_linux::{balance::KernelOffsets, cgroup::Cgroup, process::Exit, seccomp};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    asks::Asks,
    beside::Kept,
    census::Census,
    event::{Ending, Event},
    gate::Sinks,
    habits::Habits,
    handing::Handing,
    input::{Command, Input, News},
    inspect::Inspectors,
    keeping::Keeping,
    letters::Mailbox,
    owner::Waiter,
    paths::Paths,
    presumed::Presumed,
    quota::Quota,
    reach::Sight,
    readiness::Unready,
    restarting::Restarting,
    rolling::Rolling,
    seats::Seats,
    settings::{Program, Settings},
    start::Means,
    telling::Told,
    worker::Worker,
};
use crate::{
    core::{
        instance::{Filling, Place},
        worker::{Event as LifeEvent, Life},
    },
    id::{Instance, ListenerId, SeatId, WorkerId},
};

/// How often a leaving worker is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How often the seats are looked at.
const ROUND: Duration = Duration::from_secs(1);
/// News that may wait; more make the small tasks wait.
const NEWS: usize = 256;
/// So many news are heard before it is looked what is due. They are seldom more than one; under load
/// the looking would cost more than the hearing.
const AT_ONCE: usize = 64;

/// All that a cluster is.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set once")]
#[derive(Debug)]
pub(super) struct Task {
    pub(super) settings: Settings,
    /// What workers run that start from now on.
    pub(super) program: Arc<Program>,
    pub(super) inspectors: Inspectors,
    pub(super) means: Means,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) seats: Seats,
    pub(super) paths: Paths,
    pub(super) handing: BTreeMap<ListenerId, Handing>,
    pub(super) asks: Asks,
    pub(super) declared: BTreeMap<WorkerId, Vec<SeatId>>,
    /// Of which seats it was told that a worker listens there.
    pub(super) told_listening: BTreeSet<(WorkerId, SeatId)>,
    /// A child has ended that may be nobody's worker.
    pub(super) reap_wanted: bool,
    pub(super) census: Census,
    pub(super) sinks: Sinks,
    pub(super) presumed: Presumed,
    /// Seats that listen before their listener's policy has taken hold.
    pub(super) unannounced: Vec<(WorkerId, SeatId)>,
    /// Where this kernel keeps what the programs read, once known.
    pub(super) offsets: Option<KernelOffsets>,
    pub(super) node: super::node::Servers,
    pub(super) news: mpsc::Sender<News>,
    pub(super) lines: mpsc::Sender<Event>,
    pub(super) places: Vec<Place>,
    pub(super) inbox: mpsc::Receiver<News>,
    pub(super) tell: mpsc::UnboundedSender<Told>,
    pub(super) mailboxes: watch::Sender<BTreeMap<WorkerId, Mailbox>>,
    /// Of what concerns no worker.
    pub(super) quota: Quota,
    /// Those of whom not everything was told.
    pub(super) behind: BTreeSet<WorkerId>,
    pub(super) waiters: Vec<Waiter>,
    /// Listeners that nobody held, and nobody was to ask for, at the last look.
    pub(super) unwanted: Vec<ListenerId>,
    pub(super) rolling: Option<Rolling>,
    pub(super) kept: Option<Kept>,
    pub(super) restarting: Vec<Restarting>,
    pub(super) unready: Unready,
    pub(super) habits: Habits,
    pub(super) sight: Sight,
    /// Some worker has listened by its own doing.
    pub(super) ever_listened: bool,
    pub(super) last_worker: u32,
    pub(super) stopping: bool,
    /// The owner may start workers at any time: that there are none is not the end.
    pub(super) lives_on: bool,
    pub(super) ever_ran: bool,
    pub(super) last_failure: Option<Exit>,
    pub(super) keeping: Keeping,
    /// It goes on with what another process began: nothing is to be started first.
    pub(super) is_successor: bool,
    /// Its workers are to be left alone, and whoever wants that waits.
    pub(super) leaving: Option<oneshot::Sender<()>>,
    /// How processes ended that are no children of this one.
    pub(super) ends: HashMap<Pid, Exit>,
    next_round: Instant,
    next_look: Instant,
}

impl Task {
    pub(super) fn new(
        settings: Settings,
        (tell, lines): (mpsc::UnboundedSender<Told>, mpsc::Sender<Event>),
        mailboxes: watch::Sender<BTreeMap<WorkerId, Mailbox>>,
    ) -> Self {
        let (news, inbox) = mpsc::channel(NEWS);
        let places = (0..settings.instances).map(|_| Place::default()).collect();
        let keeping = Keeping::new(settings.keeper.clone());
        Self {
            program: Arc::new(settings.program.clone()),
            inspectors: Inspectors::default(),
            lives_on: settings.lives_on || settings.instances == 0,
            means: Means::find(settings.owner),
            sight: Sight::new(settings.reach.clone()),
            settings,
            workers: BTreeMap::new(),
            seats: Seats::default(),
            paths: Paths::default(),
            handing: BTreeMap::new(),
            asks: Asks::default(),
            declared: BTreeMap::new(),
            told_listening: BTreeSet::new(),
            reap_wanted: false,
            census: Census::default(),
            sinks: Sinks::default(),
            presumed: Presumed::default(),
            unannounced: Vec::new(),
            offsets: None,
            node: super::node::Servers::default(),
            news,
            lines,
            places,
            inbox,
            tell,
            mailboxes,
            quota: Quota::default(),
            behind: BTreeSet::new(),
            waiters: Vec::new(),
            unwanted: Vec::new(),
            rolling: None,
            kept: None,
            restarting: Vec::new(),
            unready: Unready::default(),
            habits: Habits::default(),
            ever_listened: false,
            last_worker: 0,
            stopping: false,
            ever_ran: false,
            last_failure: None,
            keeping,
            is_successor: false,
            leaving: None,
            ends: HashMap::new(),
            next_round: Instant::now() + ROUND,
            next_look: Instant::now(),
        }
    }

    /// Runs the cluster to its end.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Ending {
        self.begin();
        // No program waits for that.
        self.means.sweep();
        let mut abandoned = false;
        let mut due = pin!(tokio::time::sleep_until(self.deadline().into()));
        while !self.is_over() && self.leaving.is_none() {
            let deadline = tokio::time::Instant::from_std(self.deadline());
            if deadline != due.deadline() {
                due.as_mut().reset(deadline);
            }
            let input = tokio::select! {
                command = commands.recv(), if !abandoned => {
                    command.map_or(Input::Abandoned, Input::Command)
                }
                Some(news) = self.inbox.recv() => Input::News(news),
                () = &mut due => Input::Tick,
            };
            abandoned |= matches!(input, Input::Abandoned);
            self.handle(input);
        }
        self.end()
    }

    fn begin(&mut self) {
        if self.is_successor {
            // Connections may be waiting already.
            self.tick(Instant::now());
            return self.keep_records();
        }
        self.keeping.all = true;
        for instance in (0..self.settings.instances).map(Instance) {
            if !self.settings.vacant.contains(&instance) {
                self.fill(instance);
            }
        }
        self.keep_records();
    }

    fn end(mut self) -> Ending {
        let Some(done) = self.leaving.take() else {
            self.keeping.forget_all();
            return self.ending();
        };
        // Nothing of what the successor goes on with is tidied up.
        self.paths.leave();
        let cgroups = self.workers.values_mut().filter_map(|worker| worker.cgroup.take());
        cgroups.for_each(Cgroup::leave);
        drop(self);
        let _ = done.send(());
        Ending::Left
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Command(command) => {
                self.keeping.all |= !matches!(command, Command::Report(_));
                self.command(command);
            }
            // Nobody can stop it any more, so it stops.
            Input::Abandoned => self.stop(),
            Input::News(news) => self.hear_all(news),
            Input::Tick => {}
        }
        self.tick(Instant::now());
        self.keep_records();
    }

    /// Hears this and what has come meanwhile.
    fn hear_all(&mut self, first: News) {
        self.hear(first);
        for _ in 1..AT_ONCE {
            match self.inbox.try_recv() {
                Ok(news) => self.hear(news),
                Err(_) => break,
            }
        }
    }

    fn hear(&mut self, news: News) {
        if let Some(worker) = news.touches() {
            self.keeping.touch(worker);
        }
        match news {
            News::Exited(worker) => self.exited(worker),
            News::FilterGone(worker) => {
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.filter_is_gone();
                }
            }
            News::Trapped(worker, notification) => self.trapped(worker, notification),
            News::TrappedBefore(worker, notification) => self.trapped_before(worker, notification),
            News::OutputEnded(worker, last) => self.output_ended(worker, last),
            News::Node(worker, event) => self.node_said(worker, *event),
            News::Native(worker, event) => self.native_said(worker, event),
            News::Said(worker, said) => self.said(worker, *said),
            News::SaysReady(worker, sender) => self.said_ready_by(worker, sender),
            News::Answered { worker, handed, accepted } => self.answered(worker, handed, accepted),
            News::Unaccepted { worker, handed, error } => self.unaccepted(worker, handed, error),
            News::ChannelClosed(worker) => self.disconnected(worker, None),
            News::ChannelBroken(worker, error) => self.disconnected(worker, Some(error)),
            News::Acceptable(listener) => self.acceptable(listener),
            News::Loaded(listener, result) => self.program_loaded(listener, *result),
        }
    }

    // === Time ===

    /// What is due is done.
    fn tick(&mut self, now: Instant) {
        let due: Vec<WorkerId> = self.leaving(|life| life.deadline().is_some_and(|at| at <= now));
        for worker in due {
            self.step(worker, LifeEvent::Deadline);
        }
        // Before those that have gone are forgotten: they may have had last words.
        self.roll(now);
        self.look_at_the_unready(now);
        if self.next_look <= now {
            self.next_look = now + LOOK;
            self.ask_how_they_ended();
            self.look_at_the_leaving();
            if std::mem::take(&mut self.reap_wanted) {
                self.reap_orphans();
            }
        }
        self.look_at_the_kept(now);
        for instance in self.due_instances(now) {
            self.fill(instance);
        }
        self.look_at_the_presumed(now);
        self.hand_over(now);
        if let Err(error) = self.seats.close_due(now) {
            self.trouble(WorkerId(0), "give a seat to the others", std::io::Error::other(error));
        }
        if self.next_round <= now {
            self.next_round = now + ROUND;
            self.look_at_the_seats();
            self.tell_what_was_missed();
        }
    }

    /// Instances whose next worker is due. Not before nothing is left of the last one, which may hold
    /// what the next one needs: a seat with its queue, a lock, a file.
    fn due_instances(&self, now: Instant) -> Vec<Instance> {
        let places = (0u32..).zip(&self.places).filter(|(_, place)| place.is_due(now));
        let due = places.map(|(number, _)| Instance(number));
        due.filter(|instance| !self.is_occupied(*instance)).collect()
    }

    pub(super) fn is_occupied(&self, instance: Instance) -> bool {
        self.workers.values().any(|worker| worker.occupies(instance))
    }

    pub(super) fn leaving(&self, which: impl Fn(Life) -> bool) -> Vec<WorkerId> {
        let leaving = self.workers.values().filter(|worker| which(worker.life));
        leaving.map(|worker| worker.id).collect()
    }

    /// When something is due.
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let lives = self.workers.values().filter_map(|worker| worker.life.deadline());
        let looks = self.workers.values().filter(|w| !w.life.serves()).map(|_| self.next_look);
        let unknown = self.workers.values().any(|worker| worker.ended_unknown.is_some());
        let reaping = (self.reap_wanted || unknown).then_some(self.next_look);
        let places =
            (0u32..).zip(&self.places).filter_map(|(number, place)| match place.filling() {
                // Its last worker's end will be seen at a look.
                Filling::Waiting { .. } if self.is_occupied(Instance(number)) => None,
                Filling::Waiting { until } => Some(until),
                Filling::Empty | Filling::Worker(_) | Filling::Finished | Filling::GivenUp => None,
            });
        let handing = self.handing.values().filter_map(Handing::poll_timeout);
        let closing = self.seats.poll_timeout();
        let has_rounds = !self.seats.is_empty() || !self.behind.is_empty();
        let round = has_rounds.then_some(self.next_round);
        let all = lives
            .chain(looks)
            .chain(places)
            .chain(handing)
            .chain(closing)
            .chain(round)
            .chain(reaping)
            .chain(self.rolling_timeout())
            .chain(self.keeping.poll_timeout())
            .chain(self.kept_timeout())
            .chain(self.unready_timeout())
            .chain(self.presumed.deadline());
        all.min().unwrap_or(now + Duration::from_hours(1))
    }

    // === The end ===

    fn is_over(&self) -> bool {
        if self.lives_on && !self.stopping {
            return false;
        }
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
