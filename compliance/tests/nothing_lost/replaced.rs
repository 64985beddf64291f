//! Workers replaced in good order: nobody is turned away, whatever the program does or does not do.

use std::time::Duration;

use compliance::{Serving, Version, Who};

use crate::loaded::Loaded;

/// Reloads twice; everybody is new, and the new version alone serves.
fn reloaded(serving: Serving, who: Who, options: &[&str]) {
    let Some(app) = Loaded::start(serving, who, options) else { return };
    for version in [2, 3] {
        app.becomes(Version::Serves(version));
        app.must("reload app");
        let after = app.serves(version);
        assert!(after.is_disjoint(&app.before), "{after:?} after {:?}", app.before);
    }
    app.nothing_was_lost();
}

macro_rules! reloaded {
    ($($fact:ident: $serving:ident $who:ident $options:expr,)*) => { $(
        #[test]
        fn $fact() {
            reloaded(Serving::$serving, Who::$who, &$options);
        }
    )* };
}

reloaded! {
    a_reload_of_node_without_handlers_loses_nothing_as_root: Node Root [],
    a_reload_of_node_without_handlers_loses_nothing_as_user: Node User ["--policy", "random"],
    a_reload_of_node_with_handlers_loses_nothing: NodeHandlers Root [],
    a_reload_of_node_under_hand_over_loses_nothing: Node User ["--mechanism", "hand-over"],
    a_reload_of_python_loses_nothing: Python User [],
    a_reload_of_static_go_loses_nothing_as_root: Go Root [],
    a_reload_of_static_go_loses_nothing_as_user: Go User [],
    a_reload_of_ruby_loses_nothing: Ruby Root [],
    a_reload_of_java_loses_nothing: Java User [],
    // Row C: a request takes longer than a worker has between the signal and SIGKILL.
    requests_longer_than_the_kill_timeout_are_answered: Node Root ["--kill-timeout", "50ms"],
    requests_of_go_longer_than_the_kill_timeout_are_answered: Go User ["--kill-timeout", "50ms"],
}

/// Two workers each: all of them are replaced, but which pids answered tells nothing of instances.
#[test]
fn a_reload_of_nginx_loses_nothing() {
    let Some(app) = Loaded::start(Serving::Nginx, Who::Root, &[]) else { return };
    app.becomes(Version::Serves(2));
    app.must("reload app");
    app.serves(2);
    app.nothing_was_lost();
}

#[test]
fn a_restart_keeps_clients_waiting_and_loses_none() {
    let Some(app) = Loaded::start(Serving::Node, Who::Root, &[]) else { return };
    app.becomes(Version::Serves(2));
    app.must("restart app");
    app.serves(2);
    app.nothing_was_lost();
}

#[test]
fn workers_come_and_go_without_a_loss() {
    for serving in [Serving::Node, Serving::Go] {
        let Some(app) = Loaded::start(serving, Who::User, &["--policy", "random"]) else { return };
        app.must("scale app 5");
        app.servers(5);
        app.must("scale app 2");
        app.must("scale app 4");
        app.servers(4);
        app.nothing_was_lost();
    }
}

/// Far more than a busy machine does to anybody, and less than the start takes.
const HALF_A_BOOT: Duration = Duration::from_millis(1500);

#[test]
fn while_new_workers_boot_for_three_seconds_the_old_ones_serve() {
    let options = ["--env", "BOOT=3000"];
    let Some(app) = Loaded::start(Serving::Node, Who::Root, &options) else { return };
    app.becomes(Version::Serves(2));
    app.must("reload app --parallel 2");
    app.serves(2);
    let tally = app.nothing_was_lost();
    assert!(tally.stalls.longest() < HALF_A_BOOT, "nobody was answered: {:?}", tally.stalls);
}
