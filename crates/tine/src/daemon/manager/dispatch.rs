//! Has the tasks of apps do their work, all at the same time, and gathers what became of it.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use super::{Manager, Word};
use crate::{
    api::apps::{AppResponse, Outcome},
    control::Replies,
    daemon::{
        app::Card,
        order::{Order, Query, Todo},
    },
    spec::Millis,
};

/// An app that is to come after others waits for them no longer than this.
const AFTER: Duration = Duration::from_mins(1);

/// Work for one app.
#[derive(Debug)]
pub(super) struct Work {
    pub number: u32,
    pub orders: mpsc::Sender<Order>,
    pub queries: mpsc::Sender<Query>,
    pub card: watch::Receiver<Card>,
    /// Apps that must be up before.
    pub after: Vec<watch::Receiver<Card>>,
    pub todo: Todo,
    /// Connections have so long to finish this once.
    pub drain_timeout: Option<Millis>,
}

impl Manager {
    /// `None`: there is no such app.
    pub(super) fn work(&self, number: u32, todo: Todo) -> Option<Work> {
        let app = self.apps.get(&number)?;
        Some(Work {
            number,
            orders: app.orders.clone(),
            queries: app.queries.clone(),
            card: app.card.clone(),
            after: Vec::new(),
            todo,
            drain_timeout: None,
        })
    }

    /// Carries it out, and answers with all outcomes.
    pub(super) fn dispatch(&self, works: Vec<Work>, replies: Replies) {
        self.dispatch_with(works, Vec::new(), replies);
    }

    /// Likewise, after outcomes that are known already.
    pub(super) fn dispatch_with(&self, works: Vec<Work>, known: Vec<Outcome>, replies: Replies) {
        let heard = self.words.clone();
        tokio::spawn(async move {
            let mut outcomes = known;
            outcomes.extend(carry_out(works, Some(replies.clone()), heard).await);
            let _ = replies.send(AppResponse::Done(outcomes)).await;
        });
    }
}

/// Gives the outcomes in the order of the works.
pub(super) async fn carry_out(
    works: Vec<Work>,
    progress: Option<Replies>,
    heard: mpsc::Sender<Word>,
) -> Vec<Outcome> {
    let mut all = JoinSet::new();
    for (place, work) in works.into_iter().enumerate() {
        let (progress, heard) = (progress.clone(), heard.clone());
        all.spawn(async move { (place, carry_out_one(work, progress, heard).await) });
    }
    let mut outcomes = all.join_all().await;
    outcomes.sort_by_key(|(place, _)| *place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

async fn carry_out_one(
    mut work: Work,
    progress: Option<Replies>,
    heard: mpsc::Sender<Word>,
) -> Outcome {
    let is_last = matches!(work.todo, Todo::Delete | Todo::End | Todo::Leave(_));
    work.hurry_others().await;
    if let Err(outcome) = work.wait_for_others(progress.as_ref()).await {
        return outcome;
    }
    let outcome = work.order(progress).await;
    if is_last {
        let _ = heard.send(Word::Gone(work.number)).await;
    }
    outcome
}

impl Work {
    fn name(&self) -> String {
        self.card.borrow().spec.name.clone()
    }

    fn failed(&self, error: &str) -> Outcome {
        let (app, done) = (self.name(), "failed".to_owned());
        let ids = self.card.borrow().ids.clone();
        Outcome { app, ids, done, error: Some(error.to_owned()), ..Outcome::default() }
    }

    /// What is under way and would be undone anyhow need not be waited for.
    async fn hurry_others(&self) {
        match self.todo {
            Todo::Stop(_) | Todo::Delete | Todo::End => {
                let _ = self.queries.send(Query::Interrupt).await;
                let _ = self.queries.send(Query::CancelReload).await;
            }
            Todo::Start(_)
            | Todo::Restart { .. }
            | Todo::Reload { .. }
            | Todo::Rollback
            | Todo::Promote
            | Todo::Scale(_)
            | Todo::Leave(_) => {}
        }
    }

    async fn wait_for_others(&mut self, progress: Option<&Replies>) -> Result<(), Outcome> {
        for mut other in std::mem::take(&mut self.after) {
            let name = other.borrow().spec.name.clone();
            if let Some(progress) = progress.filter(|_| !other.borrow().is_up) {
                let text = format!("{} waits for {name}", self.name());
                let _ = progress.try_send(AppResponse::Progress(text));
            }
            let up = timeout(AFTER, other.wait_for(|card| card.is_up)).await;
            if !matches!(up, Ok(Ok(_))) {
                return Err(self.failed(&format!("it comes after `{name}`, which is not ready")));
            }
        }
        Ok(())
    }

    /// An order comes after the one before, however long that takes.
    fn tell_of_the_wait(&self, progress: Option<&Replies>) {
        let Some(progress) = progress.filter(|_| self.card.borrow().reloads) else { return };
        let hint = match &self.todo {
            // Then it ends in a moment.
            Todo::Reload { rolling, .. } if rolling.force => return,
            Todo::Stop(_) | Todo::Delete | Todo::End | Todo::Leave(_) => return,
            Todo::Reload { .. } => "; --force calls it off",
            Todo::Start(_)
            | Todo::Restart { .. }
            | Todo::Rollback
            | Todo::Promote
            | Todo::Scale(_) => "",
        };
        let text = format!("{}: waits for the reload that runs{hint}", self.name());
        // One who does not read misses it.
        let _ = progress.try_send(AppResponse::Notice(text));
    }

    async fn order(&mut self, progress: Option<Replies>) -> Outcome {
        self.tell_of_the_wait(progress.as_ref());
        let todo = std::mem::replace(&mut self.todo, Todo::End);
        let (answer, outcome) = oneshot::channel();
        let order = Order { todo, drain_timeout: self.drain_timeout, progress, answer };
        let gone = "it was deleted meanwhile";
        if self.orders.send(order).await.is_err() {
            return self.failed(gone);
        }
        outcome.await.unwrap_or_else(|_| self.failed(gone))
    }
}
