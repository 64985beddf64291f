//! What every worker of a manager takes, looked at once for all of them, and only while somebody wants
//! to know.
//!
//! ```text
//!   each app ──its workers──▶ ┌───────┐ ──Samples──▶ each app that has a limit
//!                             │ meter │
//!   a list is asked for ────▶ └───────┘ ──Samples──▶ the list
//! ```

use std::{collections::BTreeMap, io, mem, sync::Arc, time::Instant};

use rustix::process::Pid;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task, time,
};

use super::sampler::{Interest, Sample, Sampler};

/// The last look at every worker, by id.
pub type Samples = Arc<BTreeMap<u32, Sample>>;

/// Asks and tells the task that looks. Cheap to clone; the task ends with the last one.
#[derive(Clone, Debug)]
pub struct Meter {
    tell: mpsc::UnboundedSender<Told>,
    samples: watch::Receiver<Samples>,
}

#[derive(Debug)]
enum Told {
    Workers { app: u32, workers: Vec<(u32, Pid)>, always: bool },
    Asked(oneshot::Sender<Samples>),
}

impl Meter {
    /// Starts the task on the current runtime.
    ///
    /// # Errors
    ///
    /// When there is no `/proc`.
    pub fn start() -> io::Result<Self> {
        // Bounded by what starts and ends, and by those who wait for an answer.
        let (tell, told) = mpsc::unbounded_channel();
        let (publish, samples) = watch::channel(Samples::default());
        let work = Work {
            sampler: Some(Sampler::new()?),
            apps: BTreeMap::new(),
            interest: Interest::default(),
            last: None,
            publish,
        };
        tokio::spawn(work.run(told));
        Ok(Self { tell, samples })
    }

    /// The workers of an app that run: their ids and first processes; none, to be forgotten. With
    /// `always` they are looked at every second from now on, and otherwise when somebody asks.
    pub fn workers(&self, app: u32, workers: Vec<(u32, Pid)>, always: bool) {
        // The task is there as long as this is.
        let _ = self.tell.send(Told::Workers { app, workers, always });
    }

    /// What they take, not longer ago than a second. Memory is that of this moment, time on the CPU the
    /// average since the look before, or of the worker's life.
    pub async fn samples(&self) -> Samples {
        let (answer, answered) = oneshot::channel();
        let _ = self.tell.send(Told::Asked(answer));
        answered.await.unwrap_or_default()
    }

    /// Every look from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Samples> {
        self.samples.clone()
    }
}

struct Work {
    /// Away while it looks.
    sampler: Option<Sampler>,
    apps: BTreeMap<u32, App>,
    interest: Interest,
    last: Option<Instant>,
    publish: watch::Sender<Samples>,
}

struct App {
    workers: Vec<(u32, Pid)>,
    always: bool,
}

impl Work {
    async fn run(mut self, mut told: mpsc::UnboundedReceiver<Told>) {
        loop {
            let due = self.due();
            let asked = tokio::select! {
                told = told.recv() => match told {
                    Some(told) => self.hear(told),
                    None => return,
                },
                () = until(due) => None,
            };
            if self.is_stale(asked.is_some()) {
                self.look().await;
            }
            if let Some(answer) = asked {
                // Whoever asked may have gone.
                let _ = answer.send(self.publish.borrow().clone());
            }
        }
    }

    fn hear(&mut self, told: Told) -> Option<oneshot::Sender<Samples>> {
        match told {
            Told::Workers { app, workers, always: _ } if workers.is_empty() => {
                self.apps.remove(&app);
                None
            }
            Told::Workers { app, workers, always } => {
                self.apps.insert(app, App { workers, always });
                None
            }
            Told::Asked(answer) => {
                self.interest.asked(Instant::now());
                Some(answer)
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let limits = self.apps.values().any(|app| app.always);
        let last = self.last.unwrap_or_else(Instant::now);
        self.interest.next(limits, last)
    }

    /// Whether it is time for a look; `asked`: somebody waits for one.
    fn is_stale(&self, asked: bool) -> bool {
        let now = Instant::now();
        match self.last {
            None => asked || self.apps.values().any(|app| app.always),
            Some(last) if asked => now >= last + Interest::PERIOD,
            Some(_) => self.due().is_some_and(|due| due <= now),
        }
    }

    /// On another thread, for it takes some milliseconds.
    async fn look(&mut self) {
        let Some(mut sampler) = mem::take(&mut self.sampler) else { return };
        let workers: Vec<(u32, Pid)> =
            self.apps.values().flat_map(|app| app.workers.iter().copied()).collect();
        let looked = task::spawn_blocking(move || {
            let found = sampler.sample(&workers);
            (sampler, found)
        });
        // Both fail only when the process ends, or has no `/proc` any more.
        let Ok((sampler, found)) = looked.await else { return };
        self.sampler = Some(sampler);
        self.last = Some(Instant::now());
        let found = found.unwrap_or_default().into_iter();
        self.publish.send_replace(Arc::new(found.map(|sample| (sample.id, sample)).collect()));
    }
}

/// That moment; without one, never.
pub(crate) async fn until(due: Option<Instant>) {
    let Some(due) = due else { return std::future::pending().await };
    time::sleep_until(due.into()).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn who_asks_gets_what_there_is_now_and_again_what_is_a_second_old() {
        let meter = Meter::start().unwrap();
        assert!(meter.samples().await.is_empty());
        let own = rustix::process::getpid();
        meter.workers(1, vec![(7, own)], false);
        let deadline = Instant::now() + LONG;
        // Looking goes on for a while after a question, so it is seen by and by.
        let mut seen = meter.subscribe();
        while !seen.borrow_and_update().contains_key(&7) {
            time::timeout_at(deadline.into(), seen.changed()).await.unwrap().unwrap();
        }
        assert!(meter.samples().await[&7].memory > 100_000);
    }

    #[tokio::test]
    async fn an_app_with_a_limit_is_looked_at_without_any_question_and_a_gone_one_never() {
        let meter = Meter::start().unwrap();
        let mut seen = meter.subscribe();
        meter.workers(1, vec![(7, rustix::process::getpid())], true);
        for _ in 0..2 {
            time::timeout(LONG, seen.changed()).await.unwrap().unwrap();
            assert_eq!(seen.borrow_and_update().keys().copied().collect::<Vec<_>>(), [7]);
        }
        meter.workers(1, Vec::new(), false);
        while !meter.samples().await.is_empty() {
            task::yield_now().await;
        }
    }
}
