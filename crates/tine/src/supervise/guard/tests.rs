use std::{fs, path::PathBuf, time::Duration};

use rustix::process::Pid;
use tokio::time::timeout;

use super::*;
use crate::{
    spec::{Health, HealthProbe, Millis, Watch},
    supervise::health::Subject,
};

struct Watched {
    guard: Guard,
    demands: mpsc::UnboundedReceiver<Demand>,
    meter: Meter,
}

impl Watched {
    fn start(spec: &AppSpec) -> Self {
        let mut program = Program::new("/bin/true");
        program.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        let meter = Meter::start().unwrap();
        let (tell, demands) = mpsc::unbounded_channel();
        let guard = Guard::of_running(spec, &program, &meter, tell).unwrap();
        Self { guard, demands, meter }
    }

    /// Worker 7, which is this very process.
    fn with_own_process(self) -> Self {
        let pid = rustix::process::getpid();
        let workers = vec![subject(7, pid)];
        self.guard.watch_over(Subjects { workers, address: None });
        self.meter.workers(1, vec![(7, pid)], true);
        self
    }

    async fn next(&mut self) -> Demand {
        let next = timeout(Duration::from_secs(30), self.demands.recv()).await;
        next.expect("a demand within 30 seconds").expect("the guard goes on")
    }
}

fn subject(id: u32, pid: Pid) -> Subject {
    Subject { id, pid, since: Instant::now() }
}

#[tokio::test]
async fn a_worker_that_uses_more_than_it_may_is_to_be_replaced() {
    let spec = AppSpec { max_memory_restart: Some(1 << 20), ..AppSpec::default() };
    let mut watched = Watched::start(&spec).with_own_process();
    let Demand::Replace { workers, why, text } = watched.next().await else { panic!() };
    assert_eq!((workers, why), ([7].into(), Why::Memory));
    assert!(text.ends_with(" MB of memory, more than the 1.0 MB that are allowed"), "{text}");
}

#[tokio::test]
async fn a_worker_whose_check_fails_is_to_be_replaced_and_of_several_behind_a_port_all() {
    let health = |probe| Health {
        probe,
        interval: Millis(100),
        timeout: Millis(5000),
        threshold: 1,
        grace: Millis(0),
    };
    let exec = HealthProbe::Exec("echo full; false".to_owned());
    let spec = AppSpec { health: Some(health(exec)), ..AppSpec::default() };
    let mut watched = Watched::start(&spec).with_own_process();
    let Demand::Replace { workers, why, text } = watched.next().await else { panic!() };
    assert_eq!((workers, why), ([7].into(), Why::Health));
    assert!(text.contains("code 1: full"), "{text}");
    let spec = AppSpec { health: Some(health(HealthProbe::Tcp(String::new()))), ..spec };
    let mut watched = Watched::start(&spec);
    let pid = rustix::process::getpid();
    let workers = vec![subject(1, pid), subject(2, pid)];
    watched.guard.watch_over(Subjects { workers, address: None });
    let demand = watched.next().await;
    assert!(
        matches!(demand, Demand::Renew { how: Action::Reload, why: Why::Health, .. }),
        "{demand:?}"
    );
}

#[tokio::test]
async fn changed_files_are_named_and_the_app_says_what_follows() {
    let top = std::env::temp_dir().join(format!("tine-guard-{}", std::process::id()));
    fs::create_dir_all(&top).unwrap();
    let watch = Watch {
        paths: vec![top.clone()],
        delay: Millis(20),
        action: Action::Reload,
        ..Watch::default()
    };
    let spec = AppSpec { watch: Some(watch), ..AppSpec::default() };
    let mut watched = Watched::start(&spec);
    assert!(matches!(watched.next().await, Demand::Note { what: "watch", .. }));
    fs::write(top.join("server.js"), "new").unwrap();
    let text = format!("changed: {}", top.join("server.js").display());
    let expected = Demand::Renew { how: Action::Reload, why: Why::Watch, text };
    assert_eq!(watched.next().await, expected);
    fs::remove_dir_all(&top).unwrap();
}

#[tokio::test]
async fn files_that_cannot_be_watched_are_told_and_nothing_else_follows() {
    let watch = Watch { paths: vec![PathBuf::from("/no/where")], ..Watch::default() };
    let spec = AppSpec { watch: Some(watch), ..AppSpec::default() };
    let Demand::Note { text, .. } = Watched::start(&spec).next().await else { panic!() };
    assert_eq!(text, "there is no `/no/where` to watch");
}

#[tokio::test]
async fn a_schedule_demands_also_for_an_app_that_does_not_run() {
    let spec = AppSpec { cron_restart: Some("* * * * * *".to_owned()), ..AppSpec::default() };
    let (tell, mut demands) = mpsc::unbounded_channel();
    let _guard = Guard::of_stopped(&spec, tell).unwrap();
    for _ in 0..2 {
        let demand = timeout(Duration::from_secs(30), demands.recv()).await.unwrap().unwrap();
        assert!(matches!(demand, Demand::Renew { why: Why::Cron, .. }), "{demand:?}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_before() {
    let program = Program::new("/bin/true");
    let mut spec = AppSpec { cron_restart: Some("99 * * * *".to_owned()), ..AppSpec::default() };
    assert!(matches!(check(&spec, &program), Err(GuardError::Cron(_))));
    spec.cron_restart = None;
    assert_eq!(check(&spec, &program), Ok(()));
    spec.health = Some(Health {
        probe: HealthProbe::Tcp("nowhere".to_owned()),
        interval: Millis(1),
        timeout: Millis(1),
        threshold: 1,
        grace: Millis(0),
    });
    assert!(matches!(check(&spec, &program), Err(GuardError::Health(_))));
}
