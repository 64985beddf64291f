//! What a command says to the manager, and shows of it.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use anyhow::{anyhow, bail};

use super::{outcome, print, print_json, show::Show, table};
use crate::{
    api::apps::{AppRequest, AppResponse, AppView, Detail, Outcome, Target},
    client::{Client, Meanwhile},
    home::{Home, RunDir},
    render::{Screen, harmless},
    watchdog::{is_list_of_this_boot, journal_is_there},
};

/// One command's business with the manager.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) home: Home,
    pub(super) show: Show,
    pub(super) screen: Screen,
    client: Option<Client>,
}

/// Nobody has ended what a manager has left, in this boot of the machine.
fn was_killed(home: &Home) -> anyhow::Result<bool> {
    let directory = home.run_dir_if_there()?;
    let is_written_down = |directory: &RunDir| journal_is_there(&directory.journal());
    // Where that is not valid, as after a full disk, the list still names the workers.
    Ok(directory.is_some_and(|it| is_written_down(&it) || is_list_of_this_boot(&home.state_file())))
}

impl Session {
    /// With the manager that runs, if one does. If it was killed with its watchdog, another one is started:
    /// workers may live on.
    pub(super) fn find(show: &Show, screen: Screen) -> anyhow::Result<Self> {
        let home = Home::from_env()?;
        let client = match Client::connect(&home)? {
            None if was_killed(&home)? => Some(Client::connect_or_start(&home)?),
            client => client,
        };
        Ok(Self { home, show: show.clone(), screen, client })
    }

    /// With the manager; if none runs, one is started.
    pub(super) fn open(show: &Show, screen: Screen) -> anyhow::Result<Self> {
        let home = Home::from_env()?;
        let client = Some(Client::connect_or_start(&home)?);
        Ok(Self { home, show: show.clone(), screen, client })
    }

    /// Starts the manager if none runs.
    pub(super) fn start_manager(&mut self) -> anyhow::Result<()> {
        if self.client.is_none() {
            self.client = Some(Client::connect_or_start(&self.home)?);
        }
        Ok(())
    }

    /// That somebody can be asked.
    pub(super) fn require_manager(&self) -> anyhow::Result<()> {
        if self.has_manager() { Ok(()) } else { Err(no_manager()) }
    }

    /// Whether anybody can be asked.
    pub(super) const fn has_manager(&self) -> bool {
        self.client.is_some()
    }

    /// Asks; what is told meanwhile is shown on a terminal.
    pub(super) fn ask(&mut self, request: &AppRequest) -> anyhow::Result<AppResponse> {
        let quiet = self.show.is_silent() || self.show.json;
        let client = self.client.as_mut().ok_or_else(no_manager)?;
        let mut line = Progress::new(quiet);
        let answer = client.ask(request, &mut |news| line.hear(news));
        line.clear();
        Ok(answer?)
    }

    /// What became of it, for each app.
    pub(super) fn act(&mut self, request: &AppRequest) -> anyhow::Result<Vec<Outcome>> {
        match self.ask(request)? {
            AppResponse::Done(outcomes) => Ok(outcomes),
            other => Err(unexpected(&other)),
        }
    }

    /// The apps that these words mean, or all; none without a manager.
    pub(super) fn apps(
        &mut self,
        detail: Detail,
        targets: &[Target],
    ) -> anyhow::Result<Vec<AppView>> {
        if self.client.is_none() && targets.is_empty() {
            return Ok(Vec::new());
        }
        match self.ask(&AppRequest::List { detail, targets: targets.to_vec() })? {
            AppResponse::Apps(apps) => Ok(apps),
            other => Err(unexpected(&other)),
        }
    }

    /// Does it, says what became of it, and shows the table.
    pub(super) fn carry_out(mut self, request: &AppRequest) -> anyhow::Result<ExitCode> {
        let outcomes = self.act(request)?;
        self.finish(&outcomes)
    }

    /// Says what became of it, and shows the table.
    pub(super) fn finish(mut self, outcomes: &[Outcome]) -> anyhow::Result<ExitCode> {
        let code = self.tell(outcomes)?;
        if !self.show.json && !self.show.is_silent() {
            let apps = self.apps(Detail::Row, &[])?;
            print(&table::table(&apps, &self.show, self.screen))?;
        }
        Ok(code)
    }

    /// Says what became of it.
    pub(super) fn tell(&self, outcomes: &[Outcome]) -> anyhow::Result<ExitCode> {
        if self.show.json {
            print_json(&outcomes)?;
        } else {
            if !self.show.is_silent() {
                print(&outcome::successes(outcomes))?;
            }
            eprint!("{}", outcome::failures(outcomes));
        }
        let failed = outcomes.iter().any(outcome::has_failed);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn no_manager() -> anyhow::Error {
    anyhow!("no app is known, for no manager runs; `tine start SCRIPT` starts both")
}

/// A manager that answers something else than what was asked.
pub(super) fn unexpected(answer: &AppResponse) -> anyhow::Error {
    let text = serde_json::to_string(answer).unwrap_or_default();
    let start: String = text.chars().take(100).collect();
    anyhow!("the manager answers something else than it was asked: {start}")
}

/// A line that is overwritten, on a terminal only; notices stay, and are shown wherever they go.
struct Progress {
    shown: bool,
    quiet: bool,
    is_terminal: bool,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        Self { shown: false, quiet, is_terminal: std::io::stderr().is_terminal() }
    }

    /// A terminal that is gone needs no progress.
    fn hear(&mut self, news: Meanwhile<'_>) {
        match news {
            _ if self.quiet => {}
            Meanwhile::Progress(text) if self.is_terminal => {
                let _ = write!(std::io::stderr(), "\r\x1b[K{}", harmless(text));
                self.shown = true;
            }
            Meanwhile::Progress(_) => {}
            Meanwhile::Notice(text) => {
                self.clear();
                let _ = writeln!(std::io::stderr(), "tine: {}", harmless(text));
            }
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// For commands that mean nothing without words.
pub(super) fn need(words: &[String], what: &str) -> anyhow::Result<()> {
    if words.is_empty() {
        bail!("{what}");
    }
    Ok(())
}
