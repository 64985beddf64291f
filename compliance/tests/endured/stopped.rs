//! A manager that stands still.

use std::time::{Duration, Instant};

use compliance::{Serving, Who, eventually};
use rustix::process::Signal;

use crate::going_on::{goes_on, is_followed, kill_one, start_other};
use crate::loaded::{Loaded, WORKERS};

/// How long it stands still: longer than a command waits to be greeted, which is ten seconds.
/// `TINE_TEST_STOPPED=60` makes it a minute.
fn pause() -> Duration {
    let told = std::env::var("TINE_TEST_STOPPED").ok().and_then(|it| it.parse().ok());
    Duration::from_secs(told.unwrap_or(12))
}

#[test]
fn a_manager_that_stands_still_costs_nothing_and_goes_on_where_it_was() {
    let Some(app) = Loaded::start(Serving::Node, Who::User, &[]) else { return };
    let others = start_other(&app.home);
    let (manager, watchdog) = (app.home.manager(), app.home.watchdog());
    app.home.signal(manager.expect("it runs"), Signal::STOP);
    let since = Instant::now();
    let killed = kill_one(&app.home, &others);
    let desk = app.home.desk();
    let command = std::thread::spawn(move || desk.ask(["ls"]));
    eventually("the time is over", || {
        app.servers(WORKERS);
        since.elapsed() >= pause()
    });
    let refused = command.join().expect("it ends by itself");
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.stderr.contains("the manager does not answer"), "{refused:?}");
    assert_eq!(
        (app.home.manager(), app.home.watchdog()),
        (manager, watchdog),
        "nobody has followed"
    );
    app.home.signal(manager.expect("it runs"), Signal::CONT);
    is_followed(&app.home, &others, killed);
    assert_eq!(
        (app.home.manager(), app.home.watchdog()),
        (manager, watchdog),
        "nobody has followed"
    );
    goes_on(app);
}
