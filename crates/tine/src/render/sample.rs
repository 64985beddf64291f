//! An app as a manager tells of it, for the tests of what is shown.

use std::collections::BTreeMap;

use crate::{
    api::apps::{AppView, Status, WorkerView},
    spec::{AppSpec, Instances},
};

/// When the samples are looked at.
pub(super) const NOW: u64 = 1_795_000_000_000;

pub(super) fn worker(id: u32, instance: u32, status: Status) -> WorkerView {
    let runs = matches!(status, Status::Online | Status::Launching | Status::Stopping);
    WorkerView {
        id,
        instance,
        pid: runs.then(|| 4711 + i32::try_from(id).expect("a small number")),
        status,
        restarts: 0,
        restarts_by_reason: BTreeMap::new(),
        unstable_restarts: 0,
        started_at: Some(NOW - 90_000),
        created_at: NOW - 100_000,
        exit_code: None,
        delay: None,
        memory: if runs { 37_120_000 } else { 0 },
        cpu: if runs { 0.3 } else { 0.0 },
        out_log: Some("/root/.tine/logs/api-out.log".into()),
        err_log: Some("/dev/null".into()),
        combined_log: None,
        pid_file: Some(format!("/root/.tine/pids/api-{id}.pid").into()),
        exec_path: "/srv/api/server.js".into(),
        args: None,
        told: None,
        interpreter: "node".into(),
    }
}

pub(super) fn spec() -> AppSpec {
    AppSpec {
        name: "api".into(),
        script: "server.js".into(),
        cwd: "/srv/api".into(),
        instances: Instances::Count(2),
        args: vec!["--port".into(), "8003".into()],
        inherited: [("PATH", "/usr/bin"), ("USER", "root")]
            .map(|(k, v)| (k.into(), v.into()))
            .into(),
        env: [("NODE_ENV".to_owned(), "production".to_owned())].into(),
        ..AppSpec::default()
    }
}

/// Two workers, one of which was given up.
pub(super) fn app() -> AppView {
    let mut errored = worker(1, 1, Status::Errored);
    errored.restarts = 17;
    errored.restarts_by_reason = [("crash".to_owned(), 16), ("asked".to_owned(), 1)].into();
    errored.exit_code = Some(1);
    AppView {
        name: "api".into(),
        namespace: "default".into(),
        number: 0,
        workers: vec![worker(0, 0, Status::Online), errored],
        ports: vec!["0.0.0.0:8003".into(), "[::]:8003".into(), "127.0.0.1:9000".into()],
        watching: false,
        exec_mode: None,
        note: None,
        spec: None,
        full: None,
    }
}
