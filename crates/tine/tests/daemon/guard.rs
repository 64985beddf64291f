//! What the manager does for its apps without being asked: schedules, files, health, memory.

use std::fs;

use crate::manager::{Manager, pids, server, shell, sleeper, targets};
use tine::{
    api::apps::{AppRequest, AppView, Status, WorkerView},
    spec::{Action, Health, HealthProbe, Millis, Watch},
};

fn by(worker: &WorkerView, reason: &str) -> u32 {
    worker.restarts_by_reason.get(reason).copied().unwrap_or(0)
}

/// Whether somebody was told so.
fn told(app: &AppView, what: &str, part: &str) -> bool {
    let events = &app.full.as_ref().expect("all was asked for").events;
    events.iter().any(|event| event.what == what && event.text.contains(part))
}

fn all_online(app: &AppView) -> bool {
    app.workers.iter().all(|worker| worker.status == Status::Online)
}

#[test]
fn what_workers_take_is_shown_and_what_does_not_run_takes_nothing() {
    let manager = Manager::new();
    let busy = shell("busy", "while :; do :; done");
    manager.start(vec![busy, sleeper("idle", 1)]).unwrap();
    manager.until("both are measured", |apps| {
        let (busy, idle) = (&apps[0].workers[0], &apps[1].workers[0]);
        busy.cpu > 5.0 && busy.memory > 100_000 && idle.memory > 100_000 && idle.cpu < 5.0
    });
    manager.done(&AppRequest::Stop(targets(&["all"])));
    let apps = manager.list();
    assert!(apps.iter().all(|app| app.workers[0].memory == 0 && app.workers[0].cpu < 0.1));
}

#[test]
fn a_worker_that_uses_too_much_memory_is_replaced_and_the_others_stay() {
    crate::manager::needs_python();
    let manager = Manager::new();
    let mut hungry = crate::manager::shell("hungry", "");
    // The second instance takes 60 MB, but only the first time.
    let mark = manager.root.join("was-hungry");
    let program = format!(
        "import os, time\n\
         greedy = os.environ['NODE_APP_INSTANCE'] == '1' and not os.path.exists('{0}')\n\
         if greedy: open('{0}', 'w').close()\n\
         time.sleep(0.5)\n\
         kept = bytearray(b'x' * 60_000_000) if greedy else None\n\
         time.sleep(1000)",
        mark.display()
    );
    hungry.set("script", "python3");
    hungry.set("args", ["-c", &program]);
    hungry.set("instances", tine::spec::Instances::Count(2));
    hungry.set("max_memory_restart", 50_000_000);
    manager.start(vec![hungry]).unwrap();
    let before = pids(&manager.list()[0]);
    let apps = manager.until("it is replaced", |apps| {
        by(&apps[0].workers[1], "memory") == 1 && all_online(&apps[0])
    });
    assert_eq!(pids(&apps[0])[0], before[0]);
    assert_ne!(pids(&apps[0])[1], before[1]);
    assert_eq!((apps[0].workers[0].restarts, apps[0].workers[1].restarts), (0, 1));
    assert!(told(&apps[0], "memory", "more than the 47.6 MB that are allowed"), "{apps:#?}");
}

#[test]
fn changed_files_restart_an_app_until_it_is_stopped() {
    let manager = Manager::new();
    let files = manager.root.join("src");
    fs::create_dir(&files).unwrap();
    let mut app = sleeper("one", 2);
    let paths = vec![files.clone()];
    app.set("watch", Watch { paths, delay: Millis(20), ..Watch::default() });
    manager.start(vec![app]).unwrap();
    manager
        .until("it is watched", |apps| apps[0].watching && told(&apps[0], "watch", "are watched"));
    fs::write(files.join("server.js"), "new").unwrap();
    let apps = manager.until("it is restarted", |apps| {
        apps[0].workers.iter().all(|worker| by(worker, "watch") == 1) && all_online(&apps[0])
    });
    assert!(told(&apps[0], "watch", "src/server.js"), "{apps:#?}");
    manager.done(&AppRequest::Stop(targets(&["one"])));
    assert!(!manager.list()[0].watching);
}

#[test]
fn a_reload_by_changed_files_has_the_new_worker_before_the_old_one_goes() {
    let manager = Manager::new();
    let files = manager.root.join("src");
    fs::create_dir(&files).unwrap();
    let mut app = sleeper("one", 1);
    let (paths, action) = (vec![files.clone()], Action::Reload);
    app.set("watch", Watch { paths, delay: Millis(20), action, ..Watch::default() });
    manager.start(vec![app]).unwrap();
    manager.until("it is watched", |apps| told(&apps[0], "watch", "are watched"));
    fs::write(files.join("server.js"), "new").unwrap();
    let apps = manager.until("it is reloaded", |apps| by(&apps[0].workers[0], "watch") == 1);
    let events = &apps[0].full.as_ref().unwrap().events;
    let starts = events.iter().filter(|event| event.what == "start").count();
    let stops = events.iter().filter(|event| event.what == "stop").count();
    assert!(starts == 2 && stops <= 1, "{events:#?}");
}

#[test]
fn an_unhealthy_worker_is_replaced_and_it_is_told_why() {
    let manager = Manager::new();
    let mut app = sleeper("one", 2);
    let mark = manager.root.join("ill");
    // Whoever is named in the file is ill.
    let line = format!("! grep -qs \"^$TINE_WORKER_PID$\" {}", mark.display());
    app.set(
        "health",
        Health {
            probe: HealthProbe::Exec(line),
            interval: Millis(100),
            timeout: Millis(5000),
            threshold: 2,
            grace: Millis(0),
        },
    );
    manager.start(vec![app]).unwrap();
    manager.until("they are well", |apps| told(&apps[0], "healthy", "answers"));
    let before = pids(&manager.list()[0]);
    fs::write(&mark, format!("{}\n", before[1].unwrap())).unwrap();
    let apps = manager.until("one is replaced", |apps| {
        by(&apps[0].workers[1], "health") == 1 && all_online(&apps[0])
    });
    assert_eq!(pids(&apps[0])[0], before[0]);
    assert!(told(&apps[0], "health", "2 checks in a row failed"), "{apps:#?}");
}

#[test]
fn a_check_of_a_path_goes_to_the_port_that_the_app_listens_on() {
    let manager = Manager::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut app = server("web", port, 1);
    let checked = |path: &str| Health {
        probe: HealthProbe::Http(path.to_owned()),
        interval: Millis(100),
        timeout: Millis(5000),
        threshold: 1,
        grace: Millis(0),
    };
    app.set("health", checked("/"));
    manager.start(vec![app]).unwrap();
    manager.until("it is well", |apps| told(&apps[0], "healthy", "answers"));
    let mut change = tine::api::apps::Change { targets: vec!["web".into()], ..Default::default() };
    change.patch.set("health", checked("/no-such-page"));
    manager.done(&AppRequest::Restart(change));
    manager.until("it is ill", |apps| {
        told(&apps[0], "health", "GET /no-such-page was answered with 404")
    });
}

#[test]
fn a_schedule_restarts_an_app_and_starts_one_that_was_stopped() {
    let manager = Manager::new();
    let mut app = sleeper("one", 1);
    app.set("cron_restart", "* * * * * *");
    manager.start(vec![app]).unwrap();
    let apps = manager.until("it is restarted", |apps| by(&apps[0].workers[0], "cron") >= 1);
    assert!(told(&apps[0], "cron", "its schedule"), "{apps:#?}");
    manager.done(&AppRequest::Stop(targets(&["one"])));
    manager.until("it is started", |apps| all_online(&apps[0]));
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_starts() {
    let manager = Manager::new();
    let mut app = sleeper("one", 1);
    app.set("cron_restart", "99 * * * *");
    let outcome = manager.start(vec![app]);
    let text = format!("{outcome:?}");
    assert!(text.contains("`99` is no minute"), "{text}");
    assert_eq!(manager.list(), []);
}
