//! A cluster of real workers, for the tests of the primary.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tine_cluster::{
    id::WorkerId,
    json::Json,
    primary::{Cluster, Event, Events, Program, Settings, What},
};

/// Nothing here takes long; a test that fails should not take for ever.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// A directory of its own for each test, which goes with it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tine-cluster-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A running cluster whose events are looked through in their order.
pub(crate) struct Tested {
    pub(crate) cluster: Cluster,
    pub(crate) events: Events,
}

impl Tested {
    pub(crate) fn start(mut settings: Settings) -> Self {
        settings.workers_die_with_manager = true;
        let (cluster, events) = Cluster::start(settings);
        Self { cluster, events }
    }

    /// One that only forks.
    pub(crate) fn forks(program: Program) -> Self {
        Self::start(Settings::new(program, 0))
    }

    /// The next event that is no line of output; those are shown.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let event = tokio::time::timeout(DEADLINE, self.events.next()).await;
            let event = event.expect("something happens in time").expect("the cluster runs");
            match event.what {
                What::Output { line, .. } => eprintln!("{}", String::from_utf8_lossy(&line)),
                _ => return event,
            }
        }
    }

    /// The first event for which `wanted` has something; those before are passed over.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(&mut Event) -> Option<T>) -> T {
        loop {
            let mut event = self.next().await;
            if let Some(found) = wanted(&mut event) {
                return found;
            }
        }
    }

    /// What the worker's program says next.
    pub(crate) async fn message(&mut self, worker: WorkerId) -> Json {
        self.until(|event| match &event.what {
            What::Message { message, .. } if event.worker == worker => Some(message.clone()),
            _ => None,
        })
        .await
    }

    /// Waits until the worker has ended: code or signal, and `exitedAfterDisconnect`.
    pub(crate) async fn exit(&mut self, worker: WorkerId) -> (tine_linux::process::Exit, bool) {
        self.until(|event| match event.what {
            What::Exited { exit, exited_after_disconnect, .. } if event.worker == worker => {
                Some((exit, exited_after_disconnect))
            }
            _ => None,
        })
        .await
    }
}

/// `future`, which has to come to an end in time.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it ends in time")
}
