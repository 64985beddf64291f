//! The process above the manager.

use std::fs;

use super::*;

#[test]
fn a_manager_whose_watchdog_is_killed_becomes_the_watchdog() {
    let manager = Manager::new();
    let port = free_port();
    succeeds_to_start(&manager, vec![server(&manager, "python", port, 2)]);
    let load = Load::on(port);
    let before = manager.list();
    let (old, watchdog) = (manager.pid().unwrap(), manager.watchdog());
    kill_process(watchdog, Signal::KILL).unwrap();
    gone(watchdog);
    let after = manager.until("it is taken over", |apps| {
        manager.pid() != Some(old) && apps.first().is_some_and(all_online)
    });
    assert_eq!(pids(&after[0]), pids(&before[0]));
    assert_eq!(manager.watchdog(), old);
    replace(&manager);
    let after = manager.until("it is taken over", |apps| all_online(&apps[0]));
    assert_eq!(pids(&after[0]), pids(&before[0]));
    everything_works(&manager, &load, "python");
    load.end();
}

#[test]
fn a_watchdog_with_many_workers_is_small() {
    let manager = Manager::new();
    succeeds_to_start(&manager, vec![sleeper("one", 8)]);
    let status = fs::read_to_string(format!("/proc/{}/status", manager.watchdog())).unwrap();
    let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kilobytes: u64 = own.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(kilobytes < 8192, "{own}");
}
