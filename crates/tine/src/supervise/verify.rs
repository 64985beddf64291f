//! Asks an app as its clients do, while its workers are replaced, and counts what that costs them.
//!
//! ```text
//!   the app ──begin──▶ ┌─ a thread of its own ──────────────────────────────┐
//!                      │ every 20 ms: a new connection and a request on it   │
//!                      │ every 50 ms: a request on a connection that is kept │──▶ Account
//!   the app ──end────▶ └─────────────────────────────────────────────────────┘
//! ```
//!
//! New requests are sent at their time, whether or not others have been answered. The thread has a
//! runtime of its own, so that what the manager does meanwhile is not taken for the app's slowness.

mod account;
mod client;

use std::{
    future::pending,
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

pub use account::{Account, Fate, Loss};
use client::{Kept, Sent};
pub use client::{Place, Question};

/// Between two requests on new connections.
const NEW: Duration = Duration::from_millis(20);
/// Between two requests on the connection that is kept.
const KEPT: Duration = Duration::from_millis(50);

/// Why nothing can be verified.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The app does not serve before the reload.
    #[error("nobody answers on {place} as it is: {loss}")]
    Silent {
        /// Where.
        place: Place,
        /// What came instead of an answer.
        loss: Loss,
    },
    /// No thread, or no runtime for it.
    #[error("start to verify")]
    Start(#[source] std::io::Error),
}

/// Requests that go on until [`Self::end`].
#[derive(Debug)]
pub struct Verification {
    question: Question,
    end: oneshot::Sender<()>,
    account: oneshot::Receiver<Account>,
    began: Instant,
}

impl Verification {
    /// Asks once, to learn what the app speaks, and then on and on.
    ///
    /// # Errors
    ///
    /// When nobody answers even now.
    pub async fn begin(place: Place, path: String) -> Result<Self, VerifyError> {
        let question = client::learn(place.clone(), path).await;
        let question = question.map_err(|loss| VerifyError::Silent { place, loss })?;
        let (end, ended) = oneshot::channel();
        let (tell, account) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(VerifyError::Start)?;
        let asked = question.clone();
        let work = move || {
            // Whoever wanted to know may have gone.
            let _ = tell.send(runtime.block_on(ask(asked, ended)));
        };
        let thread = thread::Builder::new().name("tine-verify".to_owned()).spawn(work);
        thread.map_err(VerifyError::Start)?;
        Ok(Self { question, end, account, began: Instant::now() })
    }

    /// What is asked, and where.
    #[must_use]
    pub const fn question(&self) -> &Question {
        &self.question
    }

    /// Ends it, when what was sent is answered or lost. Gives how long it went on as well.
    pub async fn end(self) -> (Account, Duration) {
        let _ = self.end.send(());
        let account = self.account.await.unwrap_or_default();
        (account, self.began.elapsed())
    }
}

/// Asks until it is told to end, or nobody is there any more who could tell.
async fn ask(question: Question, mut ended: oneshot::Receiver<()>) -> Account {
    let mut account = Account::default();
    // As many as are under way, which have a deadline each.
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut new = time::interval(NEW);
    new.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asking = JoinSet::new();
    let (stop_kept, stopped) = oneshot::channel();
    let kept = tokio::spawn(keep_asking(question.clone(), tell.clone(), stopped));
    loop {
        tokio::select! {
            _ = &mut ended => break,
            _ = new.tick() => {
                let (question, tell) = (question.clone(), tell.clone());
                asking.spawn(async move {
                    let _ = tell.send(client::ask_once(&question).await);
                });
            }
            Some(sent) = told.recv() => account.add(sent),
            Some(_) = asking.join_next() => {}
        }
    }
    drop(stop_kept);
    drop(tell);
    while asking.join_next().await.is_some() {}
    let _ = kept.await;
    while let Some(sent) = told.recv().await {
        account.add(sent);
    }
    account
}

/// Uses one connection as long as it is there; with an app that is only connected to, none.
async fn keep_asking(
    question: Question,
    tell: mpsc::UnboundedSender<Sent>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut kept = Kept::new(question);
    let mut turn = time::interval(KEPT);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            _ = turn.tick() => {}
        }
        let Some(sent) = kept.ask().await else { return pending_until(stopped).await };
        let _ = tell.send(sent);
    }
}

async fn pending_until(stopped: oneshot::Receiver<()>) {
    tokio::select! {
        _ = stopped => {}
        () = pending() => {}
    }
}
