//! The end of the manager, with all its apps.

use std::process::ExitCode;

use tokio::sync::mpsc;

use super::{Manager, Ways, Word, dispatch::Work};
use crate::{
    api::apps::AppResponse,
    control::Replies,
    daemon::{
        left,
        order::{Query, Todo},
        say, state,
    },
};

/// Who waits for it.
#[derive(Debug, Default)]
pub(super) struct Ending {
    waiting: Vec<Replies>,
}

impl Manager {
    /// Begins to end; the second time, what still runs is killed.
    pub(super) fn end(&mut self, asked: Option<Replies>) {
        if let Some(ending) = &mut self.ending {
            ending.waiting.extend(asked);
            for app in self.apps.values() {
                let _ = app.queries.try_send(Query::Kill);
            }
            return;
        }
        self.ending = Some(Ending { waiting: asked.into_iter().collect() });
        let numbers: Vec<u32> = self.apps.keys().copied().collect();
        let works: Vec<Work> =
            numbers.into_iter().filter_map(|it| self.work(it, Todo::End)).collect();
        let heard = self.words.clone();
        tokio::spawn(super::dispatch::carry_out(works, None, heard));
    }

    pub(super) fn is_over(&self) -> bool {
        (self.ending.is_some() || self.leaving.is_some()) && self.apps.is_empty()
    }

    /// Nothing is left, and nobody follows.
    pub(super) async fn finish(
        &mut self,
        ways: Ways,
        heard: &mut mpsc::Receiver<Word>,
    ) -> anyhow::Result<ExitCode> {
        self.forget_state(heard).await;
        self.farewell().await;
        self.keeper.forget(left::CONTROL);
        self.keeper.end_journal();
        let _ = std::fs::remove_file(ways.directory.daemon_socket());
        drop(ways.questions);
        let _ = ways.server.await;
        Ok(ExitCode::SUCCESS)
    }

    /// An end like this leaves nothing to be brought back.
    async fn forget_state(&mut self, heard: &mut mpsc::Receiver<Word>) {
        while self.noting {
            match heard.recv().await {
                Some(Word::Noted(error)) => self.noted(error),
                Some(
                    Word::Gone(_)
                    | Word::NoteAgain
                    | Word::Checked(..)
                    | Word::Applicable(..)
                    | Word::Adoptable(..),
                ) => {}
                None => break,
            }
        }
        if let Err(error) = state::remove(&self.shared.home.state_file()) {
            say(&format!("the list of apps could not be removed: {error}"));
        }
    }

    /// Tells whoever asked for the end that it has come.
    async fn farewell(&mut self) {
        for client in self.ending.take().unwrap_or_default().waiting {
            let _ = client.send(AppResponse::Done(Vec::new())).await;
        }
    }
}
