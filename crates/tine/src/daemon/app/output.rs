//! What an app's workers write.

use std::{collections::BTreeMap, time::Instant};

use tine_cluster::{id::WorkerId, primary::Output};
use tokio::sync::oneshot;

use super::App;
use crate::{
    daemon::say,
    logs::{LogSettings, LogTrouble, LogWriter, Source, Stream},
};

/// So many lines explain a failure.
const LINES: usize = 15;

impl App {
    /// The app's files as they are to be now.
    pub(super) fn log_settings(&self) -> LogSettings {
        let instances = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        LogSettings::of(&self.spec.name, instances, &self.spec.logs, self.shared.home.root())
    }

    /// Writes as the spec says from now on.
    pub(super) fn configure_logs(&mut self) {
        let settings = self.log_settings();
        match &self.logs {
            Some(logs) => logs.configure(settings),
            None => self.start_logs(settings),
        }
    }

    fn start_logs(&mut self, settings: LogSettings) {
        let tell = self.inputs.troubles.0.clone();
        let report = move |trouble: LogTrouble| {
            // The app may have gone.
            let _ = tell.send(said(&trouble));
        };
        match LogWriter::start(settings, report) {
            Ok(logs) => self.logs = Some(logs),
            Err(error) => say(&format!("{}: its output is lost: {error}", self.spec.name)),
        }
    }

    /// A worker has started, and this is what it will write, and read.
    pub(super) fn capture(&mut self, id: u32, worker: WorkerId, output: Option<Output>) {
        let Some(output) = output else { return };
        if let Some(input) = output.input {
            self.stdins.add(worker, input);
        }
        let Some(logs) = &self.logs else { return };
        let worker = self.log_number(worker);
        for (stream, fd) in [(Stream::Out, output.out), (Stream::Error, output.err)] {
            logs.add(Source { id, worker, stream, fd });
        }
    }

    /// Numbers of workers begin anew with each cluster.
    fn log_number(&self, worker: WorkerId) -> u64 {
        u64::from(self.clusters) << 32 | u64::from(worker.0)
    }

    /// Waits until all that was written has been read.
    async fn settle_logs(&mut self) {
        let Some(logs) = &self.logs else { return };
        let (tell, settled) = oneshot::channel();
        logs.settle(move || {
            let _ = tell.send(());
        });
        let _ = self.during(settled).await;
    }

    /// What the worker with this id has written last.
    pub(super) async fn last_lines_of_id(&mut self, id: u32) -> Vec<String> {
        self.settle_logs().await;
        self.logs.as_ref().map(|logs| texts(logs.last_lines_of_id(id, LINES))).unwrap_or_default()
    }

    /// What this worker has written last; with a time, what it had written last by then.
    pub(super) async fn last_lines_of(
        &mut self,
        worker: WorkerId,
        by: Option<Instant>,
    ) -> Vec<String> {
        self.settle_logs().await;
        let number = self.log_number(worker);
        let Some(logs) = &self.logs else { return Vec::new() };
        texts(match by {
            Some(by) => logs.last_lines_by(number, LINES, by),
            None => logs.last_lines(number, LINES),
        })
    }

    /// Of every worker, by id; what is read by now.
    pub(super) fn last_lines(&self) -> BTreeMap<u32, Vec<String>> {
        let Some(logs) = &self.logs else { return BTreeMap::new() };
        let ids = self.slots.values().map(|slot| slot.id);
        ids.map(|id| (id, texts(logs.last_lines_of_id(id, LINES)))).collect()
    }

    /// Returns when everything is in the files.
    pub(super) async fn close_logs(&mut self) {
        if let Some(logs) = self.logs.take() {
            let _ = tokio::task::spawn_blocking(|| logs.close()).await;
        }
    }
}

fn texts(lines: Vec<crate::logs::LastLine>) -> Vec<String> {
    lines.into_iter().map(|line| line.text).collect()
}

/// As a sentence.
fn said(trouble: &LogTrouble) -> String {
    match trouble {
        LogTrouble::Full { path, error } => {
            format!("{} has no room, and the workers wait: {error}", path.display())
        }
        LogTrouble::Lost { path, error } => {
            format!("{} cannot be written, and the output is lost: {error}", path.display())
        }
        LogTrouble::Works { path, lost: 0 } => format!("{} is written again", path.display()),
        LogTrouble::Works { path, lost } => {
            format!("{} is written again; {lost} bytes were lost", path.display())
        }
        LogTrouble::Archive { path, error } => {
            format!("{} could not be set aside: {error}", path.display())
        }
    }
}
