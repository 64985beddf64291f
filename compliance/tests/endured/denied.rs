//! A successor that may not take descriptors out of the workers, as where Yama keeps `pidfd_getfd` and
//! `ptrace` for ancestors: a filter denies it here to everybody, so that what the watchdog keeps has to do.

use compliance::{Home, Serving, Who, skip};

use crate::going_on::{followed, goes_on, is_followed, kill_one, start_other};
use crate::loaded::Loaded;

fn a_killed_manager_costs_nothing(serving: Serving, options: &[&str]) {
    if let Some(missing) = serving.missing(Who::User) {
        return skip(&format!("no {missing} here"));
    }
    let home = Home::without("pidfd_getfd", Who::User);
    let app = Loaded::start_in(home, serving, options);
    let others = start_other(&app.home);
    let manager = app.home.manager().expect("it runs");
    app.home.kill(manager);
    followed(&app.home, manager);
    let killed = kill_one(&app.home, &others);
    is_followed(&app.home, &others, killed);
    goes_on(app);
}

#[test]
fn without_pidfd_getfd_a_killed_manager_costs_an_ordinary_users_python_nothing() {
    a_killed_manager_costs_nothing(Serving::Python, &[]);
}

#[test]
fn without_pidfd_getfd_a_killed_manager_costs_an_ordinary_users_node_nothing() {
    a_killed_manager_costs_nothing(Serving::Node, &[]);
}
