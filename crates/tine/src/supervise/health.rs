//! Asks workers whether they are well.
//!
//! ```text
//!   the app ──Subjects──▶ ┌───────┐ ──Verdict──▶ the app
//!                         │ round │ ──▶ probe, probe, probe …
//!   every interval ─────▶ └───────┘
//! ```
//!
//! `exec` asks each worker: it is told its pid. `http` and `tcp` go to the port that all workers share,
//! where nobody can choose who answers: they ask the app as a whole, unless it has one worker only. So
//! of several workers one that is ill is found by `exec`, or if it keeps its clients waiting.
//!
//! A worker on trial of a reload is asked itself, whoever shares its port: by `Trial`.
//!
//! [`Pulse`] decides, [`Verdict`]s are told when something changes.

mod probe;
mod pulse;
mod trial;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::process::Pid;
use tine_cluster::primary::Program;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{self, MissedTickBehavior},
};

use crate::spec::Health;
use probe::Probe;
pub use probe::ProbeError;
pub(crate) use probe::reachable;
pub use pulse::{Change, Pulse};
pub(crate) use trial::{Trial, Tried};

/// Who is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Workers that run and are ready; those that are leaving are left alone.
    pub workers: Vec<Subject>,
    /// The first address that the app listens on.
    pub address: Option<SocketAddr>,
}

/// One worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its id.
    pub id: u32,
    /// Its first process.
    pub pid: Pid,
    /// When it started.
    pub since: Instant,
}

/// Somebody is ill, or well: for the first time or again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which worker; `None`: the app as a whole.
    pub worker: Option<u32>,
    /// How it is.
    pub healthy: bool,
    /// Why it is ill, as a sentence.
    pub reason: String,
}

/// Checks until it is dropped.
#[derive(Debug)]
pub struct Checks {
    task: JoinHandle<()>,
}

/// So many workers are asked at the same time.
const AT_ONCE: usize = 8;

impl Checks {
    /// Begins to ask, after one interval. `program` is whose environment, directory and user a command
    /// has. Ends when `subjects` has no sender any more. Verdicts wait for their reader; there is at
    /// most one for each worker and round.
    ///
    /// # Errors
    ///
    /// When the probe makes no sense.
    pub fn start(
        health: &Health,
        program: &Program,
        subjects: watch::Receiver<Subjects>,
        tell: mpsc::UnboundedSender<Verdict>,
    ) -> Result<Self, ProbeError> {
        let probe = Probe::new(&health.probe, program)?;
        let round = Round {
            probe,
            interval: health.interval.duration().max(Duration::from_millis(100)),
            timeout: health.timeout.duration(),
            fresh: Pulse::new(health.threshold, health.grace.duration()),
            pulses: BTreeMap::new(),
            tell,
        };
        Ok(Self { task: tokio::spawn(round.run(subjects)) })
    }
}

impl Checks {
    /// Whether such a check could be made.
    ///
    /// # Errors
    ///
    /// When the probe makes no sense.
    pub fn check(health: &Health, program: &Program) -> Result<(), ProbeError> {
        Probe::new(&health.probe, program).map(|_probe| ())
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A worker's process, or the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    App,
    Worker(u32, i32),
}

struct Round {
    probe: Probe,
    interval: Duration,
    timeout: Duration,
    fresh: Pulse,
    pulses: BTreeMap<Whose, Pulse>,
    tell: mpsc::UnboundedSender<Verdict>,
}

impl Round {
    async fn run(mut self, mut subjects: watch::Receiver<Subjects>) {
        let mut rounds = time::interval_at(time::Instant::now() + self.interval, self.interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            if subjects.has_changed().is_err() {
                return;
            }
            let now = subjects.borrow_and_update().clone();
            self.ask_all(&now).await;
        }
    }

    async fn ask_all(&mut self, subjects: &Subjects) {
        let asked = asked(subjects, self.probe.is_of_one_worker());
        self.pulses.retain(|whose, _| asked.iter().any(|(known, _)| known == whose));
        let mut waiting = asked.into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_ONCE
                && let Some((whose, subject)) = waiting.next()
            {
                let (probe, within, address) = (self.probe.clone(), self.timeout, subjects.address);
                running.spawn(async move {
                    (whose, subject.since, probe.attempt(address, subject.pid, within).await)
                });
            }
            let Some(done) = running.join_next().await else { return };
            if let Ok((whose, since, outcome)) = done {
                self.heard(whose, outcome, since.elapsed());
            }
        }
    }

    fn heard(&mut self, whose: Whose, outcome: Result<(), String>, age: Duration) {
        let pulse = self.pulses.entry(whose).or_insert_with(|| self.fresh.clone());
        let Some(change) = pulse.heard(outcome, age) else { return };
        let worker = match whose {
            Whose::App => None,
            Whose::Worker(id, _) => Some(id),
        };
        let (healthy, reason) = match change {
            Change::Well => (true, String::new()),
            Change::Ill { failures, reason } => {
                (false, format!("{failures} checks in a row failed, the last because {reason}"))
            }
        };
        // The task is about to be ended if nobody listens.
        let _ = self.tell.send(Verdict { worker, healthy, reason });
    }
}

/// Each worker, or one of them for all: the oldest, so that an app is young only if all of it is.
fn asked(subjects: &Subjects, each: bool) -> Vec<(Whose, Subject)> {
    let of = |worker: &Subject| (Whose::Worker(worker.id, worker.pid.as_raw_pid()), *worker);
    if each || subjects.workers.len() == 1 {
        return subjects.workers.iter().map(of).collect();
    }
    let oldest = subjects.workers.iter().min_by_key(|worker| worker.since);
    oldest.map(|worker| (Whose::App, *worker)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, path::PathBuf};

    use super::*;
    use crate::spec::{HealthProbe, Millis};

    fn subject(id: u32) -> Subject {
        // A pid for each that no probe of these tests asks for anything.
        let pid = Pid::from_raw(100_000 + i32::try_from(id).unwrap()).unwrap();
        Subject { id, pid, since: Instant::now() }
    }

    fn health(probe: HealthProbe) -> Health {
        Health {
            probe,
            interval: Millis(100),
            timeout: Millis(2000),
            threshold: 2,
            grace: Millis(0),
        }
    }

    fn program() -> Program {
        let mut program = Program::new("/bin/true");
        program.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        program
    }

    struct Checked {
        subjects: watch::Sender<Subjects>,
        verdicts: mpsc::UnboundedReceiver<Verdict>,
        _checks: Checks,
    }

    impl Checked {
        fn start(probe: HealthProbe, workers: &[u32], address: Option<SocketAddr>) -> Self {
            let workers = workers.iter().map(|id| subject(*id)).collect();
            let (subjects, seen) = watch::channel(Subjects { workers, address });
            let (tell, verdicts) = mpsc::unbounded_channel();
            let checks = Checks::start(&health(probe), &program(), seen, tell).unwrap();
            Self { subjects, verdicts, _checks: checks }
        }

        async fn next(&mut self) -> Verdict {
            let next = time::timeout(Duration::from_secs(30), self.verdicts.recv()).await;
            next.expect("a verdict within 30 seconds").expect("checks go on")
        }
    }

    #[tokio::test]
    async fn an_app_whose_port_falls_silent_is_ill_as_a_whole_and_well_again_later() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let probe = HealthProbe::Tcp(String::new());
        let mut checked = Checked::start(probe, &[4, 5], Some(address));
        let first = checked.next().await;
        assert_eq!(first, Verdict { worker: None, healthy: true, reason: String::new() });
        drop(listener);
        let ill = checked.next().await;
        assert_eq!((ill.worker, ill.healthy), (None, false));
        assert!(ill.reason.starts_with("2 checks in a row failed"), "{}", ill.reason);
        let _again = TcpListener::bind(address).unwrap();
        while !checked.next().await.healthy {}
    }

    #[tokio::test]
    async fn a_command_finds_the_one_worker_that_is_ill_and_a_new_one_in_its_place_is_well() {
        let file = Flag::new("one");
        let line = format!("test $TINE_WORKER_PID != $(cat {})", file.0.display());
        std::fs::write(&file.0, subject(5).pid.as_raw_pid().to_string()).unwrap();
        let mut checked = Checked::start(HealthProbe::Exec(line), &[4, 5, 6], None);
        let mut seen = BTreeMap::new();
        while seen.len() < 3 {
            let verdict = checked.next().await;
            seen.insert(verdict.worker, verdict.healthy);
        }
        assert_eq!(seen, [(Some(4), true), (Some(5), false), (Some(6), true)].into());
        let replaced = Subject { pid: subject(7).pid, ..subject(5) };
        checked.subjects.send_modify(|subjects| subjects.workers = vec![replaced]);
        while !checked.next().await.healthy {}
    }

    #[tokio::test]
    async fn a_single_worker_is_named_also_by_a_check_of_its_port() {
        let mut checked = Checked::start(HealthProbe::Tcp(String::new()), &[9], None);
        let verdict = checked.next().await;
        assert_eq!((verdict.worker, verdict.healthy), (Some(9), false));
    }

    #[tokio::test]
    async fn checks_end_with_those_who_wanted_them() {
        let mut checked = Checked::start(HealthProbe::Tcp(String::new()), &[], None);
        drop(checked.subjects);
        let end = time::timeout(Duration::from_secs(30), checked.verdicts.recv()).await;
        assert_eq!(end.expect("the task ends"), None);
    }

    /// A file of one test, gone with it.
    struct Flag(PathBuf);

    impl Flag {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("tine-health-{name}-{}", std::process::id())))
        }
    }

    impl Drop for Flag {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}
