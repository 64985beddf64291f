//! A successor that may not take descriptors out of the workers, as where Yama keeps `pidfd_getfd` and
//! `ptrace` for ancestors: a filter denies it here to everybody, so that what the watchdog keeps has to do.

use compliance::{Home, KeepAlive, Pace, Serving, Who, skip};

use crate::going_on::{followed, goes_on, is_followed, kill_one, start_other};
use crate::loaded::{Loaded, pace};

/// Without a look at its connections a worker that leaves has them until their clients or its time end them, so
/// the load keeps none; some others are kept over the manager's end.
fn a_killed_manager_costs_nothing(serving: Serving) {
    if let Some(missing) = serving.missing(Who::User) {
        return skip(&format!("no {missing} here"));
    }
    let home = Home::without("pidfd_getfd", Who::User);
    let app = Loaded::start_in(home, serving, &[], Pace { connections: 0, ..pace(serving) });
    let others = start_other(&app.home);
    let mut kept: Vec<KeepAlive> = (0..6).map(|_| ask_on_new(app.port)).collect();
    let manager = app.home.manager().expect("it runs");
    app.home.kill(manager);
    let while_there_is_none: Vec<_> = kept.iter_mut().map(KeepAlive::get).collect();
    followed(&app.home, manager);
    let afterwards: Vec<_> = kept.iter_mut().map(KeepAlive::get).collect();
    for answer in while_there_is_none.iter().chain(&afterwards) {
        assert!(answer.is_ok(), "{while_there_is_none:?} {afterwards:?}");
    }
    drop(kept);
    let killed = kill_one(&app.home, &others);
    is_followed(&app.home, &others, killed);
    goes_on(app);
}

fn ask_on_new(port: u16) -> KeepAlive {
    let mut connection = KeepAlive::connect(port).expect("it listens");
    connection.get().expect("an answer");
    connection
}

#[test]
fn without_pidfd_getfd_a_killed_manager_costs_an_ordinary_users_python_nothing() {
    a_killed_manager_costs_nothing(Serving::Python);
}

#[test]
fn without_pidfd_getfd_a_killed_manager_costs_an_ordinary_users_node_nothing() {
    a_killed_manager_costs_nothing(Serving::Node);
}
