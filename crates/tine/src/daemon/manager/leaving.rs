//! The end of a manager whose workers live on, because another one follows.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use rustix::process::Rlimit;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use super::{Manager, Ways, dispatch::Work};
use crate::{
    api::apps::{AppResponse, Outcome},
    control::Replies,
    daemon::{
        app::Card,
        left::{self, Alive},
        order::{Departure, Query, Todo, Which},
        say,
        slot::Slot,
        strays,
    },
    watchdog::{News, replace_watchdog},
};

/// Answers that are under way get so long to arrive.
const ANSWERS: Duration = Duration::from_secs(1);

/// Who follows.
#[derive(Debug)]
pub(super) enum Next {
    /// A manager of this program, from the watchdog, which will be one of that program too.
    Program(PathBuf),
    /// One that this process forks, as the watchdog that it becomes itself.
    Own,
}

/// A manager on its way.
#[derive(Debug)]
pub(super) struct Leaving {
    next: Next,
    /// Who waits for it.
    waiting: Option<Replies>,
    outcomes: Vec<Outcome>,
    /// An app has been left: the list stays as it was.
    is_settled: bool,
}

impl Leaving {
    pub(super) const fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Comes back only when this process is to end.
    pub(super) async fn end(self, manager: &Manager, mut ways: Ways) -> anyhow::Result<ExitCode> {
        if let Some(waiting) = &self.waiting {
            let _ = waiting.try_send(AppResponse::Done(self.outcomes));
        }
        drop(self.waiting);
        ways.questions.close();
        // Nobody has begun with these: they are the next manager's.
        while let Ok(question) = ways.questions.try_recv() {
            let _ = question.replies.try_send(AppResponse::Again);
        }
        drop(ways.questions);
        let _ = timeout(ANSWERS, ways.server).await;
        match self.next {
            Next::Program(program) => {
                manager.keeper.become_program(&program);
                Ok(ExitCode::SUCCESS)
            }
            Next::Own => {
                // A watchdog has the mask of whoever started it all.
                let mask = rustix::fs::Mode::from_raw_mode(manager.shared.place.umask);
                rustix::process::umask(mask);
                let error = replace_watchdog(&manager.keeper, &manager.file_limit());
                Err(error).context("become the watchdog")
            }
        }
    }
}

impl Manager {
    /// Every app finishes what it has to do, and then all of them leave their workers alone.
    pub(super) fn leave(&mut self, next: Next, waiting: Option<Replies>) {
        let (here, mut all_here) = mpsc::channel(1);
        let (go, gone) = watch::channel(false);
        let works = self.apps.keys().filter_map(|number| {
            let departure = Departure { here: here.clone(), go: gone.clone() };
            self.work(*number, Todo::Leave(departure))
        });
        let works: Vec<Work> = works.collect();
        let cards = self.cards();
        let outcomes = cards.iter().map(handed_over).collect();
        self.leaving = Some(Leaving { next, waiting, outcomes, is_settled: false });
        let heard = self.words.clone();
        tokio::spawn(async move {
            tokio::spawn(super::dispatch::carry_out(works, None, heard));
            drop(here);
            // Ends when the last of them has dropped its own.
            let _ = all_here.recv().await;
            let _ = go.send(true);
            go.closed().await;
        });
    }

    /// An app has left its workers alone.
    pub(super) fn left_alone(&mut self, number: u32) {
        self.state_changed();
        if let Some(leaving) = &mut self.leaving {
            leaving.is_settled = true;
        }
        self.apps.remove(&number);
    }

    pub(super) fn heard_of(&mut self, news: News) {
        match news {
            News::Gone if self.ending.is_some() || self.leaving.is_some() => {}
            News::Gone => {
                say("the watchdog was killed; this process takes its place");
                self.leave(Next::Own, None);
            }
            News::Ended(pid, exit) => {
                for app in self.apps.values() {
                    let query = Query::Ended(pid, exit);
                    if let Err(mpsc::error::TrySendError::Full(query)) = app.queries.try_send(query)
                    {
                        let queries = app.queries.clone();
                        tokio::spawn(async move { queries.send(query).await });
                    }
                }
                self.keeper.heard_of(pid);
            }
        }
    }

    /// Goes on with workers that live.
    pub(super) fn take_over(&mut self, alive: Alive) {
        let Alive { saved, mut store, ends, before, mut lost, .. } = alive;
        let strays = strays::end(&store, self.shared.watchdog);
        if strays > 0 {
            say(&format!("{strays} processes that no app knows of were killed"));
        }
        self.shared.ids.store(saved.next_id, std::sync::atomic::Ordering::Relaxed);
        for app in saved.apps {
            let number = app.number;
            self.next_number = self.next_number.max(number + 1);
            let slots = app.workers.iter().map(Slot::of_before).collect();
            let items = store.take_below(&left::app_key(number));
            let left = crate::daemon::app::Left {
                items,
                ends: ends.clone(),
                processes: app.processes,
                before: before.clone(),
                lost: lost.remove(&number),
            };
            let previous = app.previous;
            let plan = crate::daemon::app::Plan {
                number,
                spec: app.spec,
                previous,
                slots,
                left: Some(left),
            };
            self.apps.insert(number, crate::daemon::app::spawn(plan, self.shared.clone()));
        }
        for (pid, _) in &ends {
            self.keeper.heard_of(*pid);
        }
        self.before = Some(before);
    }

    /// What this process began with.
    fn file_limit(&self) -> Rlimit {
        let limit = self.shared.place.ground.file_limit;
        let (soft, hard) = limit.unzip();
        Rlimit { current: soft, maximum: hard.filter(|hard| *hard != u64::MAX) }
    }
}

fn handed_over(card: &Card) -> Outcome {
    Outcome {
        app: card.spec.name.clone(),
        ids: card.ids.iter().copied().filter(|id| Which::All.has(*id)).collect(),
        done: "handed over".to_owned(),
        error: None,
        ..Outcome::default()
    }
}
