//! Reloads an app and asks it meanwhile, as its clients do; counts what was cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tine_cluster::{id::WorkerId, primary::ListenerReport};
use tokio::time::Instant;

use super::App;
use crate::{
    api::{apps::Outcome, reload::Rolling, verify::Verified},
    causes::causes,
    daemon::{
        events::now,
        order::{Alter, Which},
    },
    spec::HealthProbe,
    supervise::{
        health::reachable,
        verify::{Account, Place, Question, Verification},
    },
};

/// The events of a worker that has gone are on their way.
const NEWS: Duration = Duration::from_secs(2);

/// What clients have lost as workers left.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Connections that were cut under the order that is or was carried out last, by the worker's id.
    pub(super) cut: BTreeMap<u32, u64>,
    /// Those of workers that the app has no more included.
    pub(super) cut_ever: u64,
    /// Workers that are told to leave.
    pub(super) leavers: BTreeSet<WorkerId>,
    /// What the last reload has cost that was looked at.
    pub(super) verified: Option<Box<Verified>>,
}

impl App {
    /// As [`App::reload`], with an account of what it cost.
    pub(super) async fn reload_verified(
        &mut self,
        which: &Which,
        alter: Alter,
        how: &Rolling,
    ) -> Outcome {
        let Some(place) = self.place_to_ask().await else {
            let error = "it listens on nothing that could be asked: reload it without --verify";
            return self.failed(error, &Which::All);
        };
        let path = self.path_to_ask();
        let verification = match self.during(Verification::begin(place, path)).await {
            Ok(verification) => verification,
            Err(error) => return self.failed(causes(&error), &Which::All),
        };
        let question = verification.question().clone();
        let outcome = self.reload(which, alter, how).await;
        self.settle_leavers().await;
        let (account, lasted) = self.during(verification.end()).await;
        let verified = Box::new(Verified {
            cut: self.losses.cut.clone(),
            failed: outcome.error.is_some(),
            ..verified(&question, &account, lasted)
        });
        self.losses.verified = Some(verified.clone());
        Outcome { verified: Some(verified), ..outcome }
    }

    /// Waits for the last that is told of workers that have left.
    pub(super) async fn settle_leavers(&mut self) {
        let deadline = Instant::now() + NEWS;
        self.until(deadline, |app| app.losses.leavers.is_empty()).await;
    }

    /// The first port over which connections come, or else the first path.
    async fn place_to_ask(&mut self) -> Option<Place> {
        let cluster = self.runs.as_ref()?.cluster.clone();
        let report = self.during(async move { cluster.report().await }).await.ok()?;
        let tcp = report.listeners.iter().find_map(tcp);
        tcp.or_else(|| report.listeners.iter().find_map(unix))
    }

    /// That of its health check, if it is one over HTTP.
    fn path_to_ask(&self) -> String {
        let probe = self.spec.health.as_ref().map(|health| &health.probe);
        let Some(HealthProbe::Http(url)) = probe else { return "/".to_owned() };
        let host_and_path = url.strip_prefix("http://").unwrap_or(url);
        let path = host_and_path.find('/').map(|slash| &host_and_path[slash..]);
        path.unwrap_or("/").to_owned()
    }
}

fn tcp(listener: &ListenerReport) -> Option<Place> {
    let address = (listener.kind == "tcp").then(|| listener.address.parse().ok())??;
    Some(Place::Tcp(reachable(address)))
}

fn unix(listener: &ListenerReport) -> Option<Place> {
    let path = listener.address.strip_prefix("unix:").filter(|path| path.starts_with('/'))?;
    (listener.kind == "unix").then(|| Place::Unix(path.into()))
}

fn verified(question: &Question, account: &Account, lasted: Duration) -> Verified {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let lost = account.lost();
    Verified {
        at: now(),
        failed: false,
        address: question.place.to_string(),
        path: question.path.clone(),
        lasted: micros(lasted) / 1000,
        sent: account.sent(),
        lost: lost.values().sum(),
        causes: lost.iter().map(|(loss, count)| (loss.word().to_owned(), *count)).collect(),
        retried: account.retried(),
        errors: account.errors(),
        longest_wait: micros(account.longest_wait()),
        usual_wait: micros(account.usual_wait()),
        cut: BTreeMap::new(),
    }
}
