//! A manager that stands still.

use std::time::{Duration, Instant};

use compliance::{Home, KeepAlive, Pace, Serving, Who, eventually, skip};
use rustix::process::Signal;

use crate::going_on::{goes_on, is_followed, kill_one, start_other};
use crate::loaded::{Loaded, pace};

/// How long it stands still: longer than a command waits to be greeted, which is ten seconds.
/// `TINE_TEST_STOPPED=60` makes it a minute.
fn pause() -> Duration {
    let told = std::env::var("TINE_TEST_STOPPED").ok().and_then(|it| it.parse().ok());
    Duration::from_secs(told.unwrap_or(12))
}

/// Under the kernel's mechanisms new connections are served meanwhile.
fn stands_still(serving: Serving, options: &[&str], new_are_served: bool) {
    if let Some(missing) = serving.missing(Who::User) {
        return skip(&format!("no {missing} here"));
    }
    let usual = pace(serving);
    let pace = Pace { patience: usual.patience + pause(), ..usual };
    let app = Loaded::start_in(Home::new(Who::User), serving, options, pace);
    let others = start_other(&app.home);
    let (manager, watchdog) = (app.home.manager(), app.home.watchdog());
    app.home.signal(manager.expect("it runs"), Signal::STOP);
    let since = Instant::now();
    let killed = kill_one(&app.home, &others);
    let desk = app.home.desk();
    let command = std::thread::spawn(move || desk.ask(["ls"]));
    eventually("the time is over", || {
        if new_are_served {
            let new = KeepAlive::connect(app.port).and_then(|mut new| new.get());
            assert!(new.is_ok(), "{new:?}");
        }
        // Also on kept ones.
        app.servers(1);
        since.elapsed() >= pause()
    });
    let refused = command.join().expect("it ends by itself");
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.stderr.contains("the manager does not answer"), "{refused:?}");
    let both = || (app.home.manager(), app.home.watchdog());
    assert_eq!(both(), (manager, watchdog), "nobody has followed");
    app.home.signal(manager.expect("it runs"), Signal::CONT);
    is_followed(&app.home, &others, killed);
    assert_eq!(both(), (manager, watchdog), "nobody has followed");
    goes_on(app);
}

#[test]
fn a_manager_that_stands_still_costs_python_nothing_and_goes_on_where_it_was() {
    stands_still(Serving::Python, &[], true);
}

#[test]
fn a_manager_that_stands_still_costs_node_nothing_and_goes_on_where_it_was() {
    stands_still(Serving::Node, &["--mechanism", "kernel-cbpf"], true);
}

#[test]
fn while_a_manager_stands_still_that_hands_connections_over_new_ones_wait_and_none_is_lost() {
    stands_still(Serving::Node, &["--mechanism", "hand-over"], false);
}
