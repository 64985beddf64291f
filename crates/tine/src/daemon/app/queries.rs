//! What is answered at once.

use rustix::process::Signal;
use tine_cluster::{id::WorkerId, json::Json, primary::Cluster};
use tine_linux::process::Process;
use tokio::sync::oneshot;

use super::{App, actions::shown, change::Reloading, pid_file, stdin::Told};
use crate::{
    api::apps::{AppDetails, AppView, Detail, WorkerView},
    daemon::{
        order::{Query, Which},
        slot::{Counts, Empty, Slot},
    },
    foreground::ports,
    logs::{LogSettings, Stream},
};

impl App {
    pub(super) fn answer(&mut self, query: Query) {
        match query {
            Query::View { detail, answer } => self.show(detail, answer),
            Query::Ports(answer) => self.report_ports(answer),
            Query::Reset(which, answer) => {
                let slots = self.slots.values_mut().filter(|slot| which.has(slot.id));
                slots.for_each(|slot| slot.counts = Counts::default());
                let _ = answer.send(());
            }
            Query::Signal { which, signal, answer } => {
                let _ = answer.send(self.signal(&which, signal));
            }
            Query::Send { id, line, message, answer } => self.send((id, message), line, answer),
            Query::Trigger { which, action, answer } => self.trigger(&which, &action, answer),
            Query::Unwatch(answer) => {
                self.unwatch();
                let _ = answer.send(());
            }
            Query::Flush(which, answer) => {
                self.flush(&which);
                let _ = answer.send(());
            }
            Query::ReopenLogs => {
                if let Some(logs) = &self.logs {
                    logs.reopen();
                }
            }
            Query::Interrupt => self.interrupted = true,
            Query::CancelReload => {
                self.reloading = Reloading::CalledOff;
                self.spawn_for(|cluster| async move {
                    let _ = cluster.cancel_reload().await;
                });
            }
            Query::Ended(pid, exit) => self.child_ended(pid, exit),
            Query::Kill => self.spawn_for(|cluster| async move {
                let _ = cluster.kill().await;
            }),
        }
    }

    /// Also of an app that has not run yet.
    fn flush(&mut self, which: &Which) {
        if self.logs.is_none() {
            self.configure_logs();
        }
        let ids = self.slots.values().map(|slot| slot.id).filter(|id| which.has(*id)).collect();
        if let Some(logs) = &self.logs {
            logs.flush(ids);
        }
    }

    fn spawn_for<F: Future<Output = ()> + Send + 'static>(&self, work: impl FnOnce(Cluster) -> F) {
        if let Some(runs) = &self.runs {
            tokio::spawn(work(runs.cluster.clone()));
        }
    }

    /// The addresses are the cluster's to tell.
    fn show(&self, detail: Detail, answer: oneshot::Sender<AppView>) {
        let mut view = self.view(detail);
        let cluster = self.runs.as_ref().map(|runs| runs.cluster.clone());
        let meter = self.shared.meter.clone();
        tokio::spawn(async move {
            let samples = meter.samples().await;
            for worker in &mut view.workers {
                if let Some(sample) = samples.get(&worker.id).filter(|_| worker.pid.is_some()) {
                    (worker.memory, worker.cpu) = (sample.memory, sample.cpu);
                }
            }
            if let Some(cluster) = cluster
                && let Ok(report) = cluster.report().await
            {
                view.ports = report.listeners.iter().map(|it| it.address.clone()).collect();
                if let Some(full) = &mut view.full {
                    full.listeners = report.listeners.into_iter().map(ports::listener).collect();
                }
            }
            let _ = answer.send(view);
        });
    }

    fn view(&self, detail: Detail) -> AppView {
        let logs = self.log_settings();
        let full = || AppDetails {
            events: self.history.all(),
            listeners: Vec::new(),
            last_lines: self.last_lines(),
            verified: self.losses.verified.clone(),
        };
        AppView {
            name: self.spec.name.clone(),
            namespace: self.spec.namespace.clone(),
            number: self.number,
            workers: self.slots.values().map(|slot| self.worker(slot, &logs, detail)).collect(),
            exec_mode: self.spec.exec_mode,
            ports: Vec::new(),
            watching: self.runs.is_some() && self.spec.watch.is_some(),
            note: self.state_note(),
            old_version: self.old_version(),
            cut: self.losses.cut_ever,
            spec: (detail != Detail::Row).then(|| Box::new(self.spec.as_ref().clone())),
            full: (detail == Detail::Full).then(|| Box::new(full())),
        }
    }

    fn worker(&self, slot: &Slot, logs: &LogSettings, detail: Detail) -> WorkerView {
        let told = slot.current.filter(|_| detail != Detail::Row);
        let told = told.and_then(|running| self.programs.told(running.worker));
        let delay = match slot.empty {
            Empty::Waiting { until } if slot.current.is_none() => Some(until),
            Empty::Waiting { .. } | Empty::Stopped | Empty::GivenUp => None,
        };
        let delay = delay.map(|until| until.saturating_duration_since(std::time::Instant::now()));
        WorkerView {
            id: slot.id,
            instance: slot.instance,
            pid: slot.current.map(|running| running.pid.as_raw_pid()),
            status: slot.status(),
            restarts: slot.counts.total,
            restarts_by_reason: slot.counts.by_reason.clone(),
            unstable_restarts: slot.counts.unstable,
            started_at: slot.began(),
            created_at: slot.created_at,
            exit_code: slot.exit_code,
            cut: slot.cut,
            delay: delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            memory: 0,
            cpu: 0.0,
            out_log: logs.file(Stream::Out, slot.id),
            err_log: logs.file(Stream::Error, slot.id),
            combined_log: logs.combined_file(slot.id),
            pid_file: Some(pid_file::path(&self.spec, slot.id, &self.shared.home)),
            exec_path: self.facts.exec_path.clone(),
            interpreter: self.facts.interpreter.clone(),
            args: self.facts.args.clone(),
            told: shown(told),
        }
    }

    fn report_ports(&self, answer: oneshot::Sender<Option<crate::api::PortsReport>>) {
        let name = self.spec.name.clone();
        let Some(runs) = &self.runs else {
            let _ = answer.send(None);
            return;
        };
        let cluster = runs.cluster.clone();
        tokio::spawn(async move {
            let report = cluster.report().await.ok();
            let _ = answer.send(report.map(|report| ports::ports(name, report)));
        });
    }

    /// To the first process of each worker that runs.
    fn signal(&self, which: &Which, signal: Signal) -> Result<(), String> {
        let slots = self.slots.values().filter(|slot| which.has(slot.id));
        let running: Vec<_> = slots.filter_map(|slot| slot.current).collect();
        if running.is_empty() {
            return Err("no worker of it runs".to_owned());
        }
        for worker in running {
            // The cluster waits for it, so the number is its own as long as it is in place.
            let sent = Process::open(worker.pid).and_then(|process| process.signal(signal));
            sent.map_err(|error| format!("signal the process {}: {error}", worker.pid))?;
        }
        Ok(())
    }

    fn send(&mut self, (id, message): (u32, bool), line: String, answer: Told) {
        let running = self.slots.values().find(|slot| slot.id == id).and_then(|slot| slot.current);
        let (Some(running), Some(runs)) = (running, &self.runs) else {
            let _ = answer.send(Err(format!("worker {id} does not run")));
            return;
        };
        if message {
            tokio::spawn(tell(runs.cluster.clone(), running.worker, line, answer));
        } else {
            self.stdins.write(running.worker, &line, answer);
        }
    }
}

/// A message on its channel: what is JSON arrives as what it says, all else as a string.
async fn tell(cluster: Cluster, worker: WorkerId, line: String, answer: Told) {
    let message = serde_json::from_str(&line).unwrap_or(serde_json::Value::String(line));
    let sent = match Json::of(&message) {
        Ok(message) => cluster.send(worker, &message).await,
        Err(error) => Err(error.into()),
    };
    let _ = answer.send(sent.map_err(|error| error.to_string()));
}
