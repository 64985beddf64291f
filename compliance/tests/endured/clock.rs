//! A clock that is set while everything runs: libfaketime shows another one to `tine`.

use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use compliance::{Home, Serving, eventually, skip};

use crate::going_on::{followed, goes_on, is_followed, kill_one, start_other};
use crate::loaded::{Loaded, pace};
use crate::memory::who;

const HOURS: i64 = 6 * 3600;
/// What restarts one app, in seconds.
const EVERY: u64 = 2;

/// The servers have the machine's clock: the library makes Python's sleep fail.
const UNTOUCHED: [&str; 2] = ["--env", "LD_PRELOAD="];

fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let mut files = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    files.find(|file| file.exists())
}

/// The clock is so many seconds off from now on.
fn set(home: &Home, seconds: i64) {
    home.write("clock", &format!("{seconds:+}"));
}

/// One worker of an app, as `jlist` has it.
fn view(home: &Home, app: &str) -> serde_json::Value {
    let listed = home.tine(["jlist"]);
    let list: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
    let workers = list.as_array().cloned().unwrap_or_default();
    workers.into_iter().find(|it| it["name"] == app).unwrap_or_default()
}

fn restarts(home: &Home) -> u64 {
    view(home, "often")["pm2_env"]["restart_time"].as_u64().unwrap_or_default()
}

/// It is restarted as often as time goes by, and goes on being so.
fn is_restarted_as_ever(home: &Home, how: &str) {
    let (before, since) = (restarts(home), Instant::now());
    eventually("the schedule goes on", || restarts(home) >= before + 3);
    let (count, time) = (restarts(home) - before, since.elapsed().as_secs());
    assert!(count <= time / EVERY + 2, "{how}: {count} in {time} s");
}

/// Nobody has an age that comes of the clock.
fn ages_are_right(app: &Loaded, seconds: i64) {
    let started = view(&app.home, "app")["pm2_env"]["pm_uptime"].as_i64().expect("it runs");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let age = i64::try_from(now).expect("some years") / 1000 + seconds - started / 1000;
    assert!((-2..3000).contains(&age), "{age} s");
}

#[test]
fn a_clock_that_is_set_by_hours_costs_nothing_and_schedules_go_on() {
    let Some(library) = library() else { return skip("no libfaketime here") };
    if let Some(missing) = Serving::Python.missing(who()) {
        return skip(&format!("no {missing} here"));
    }
    let env = [
        ("LD_PRELOAD", library.to_str().expect("a path of the system's")),
        ("FAKETIME_TIMESTAMP_FILE", "{}/clock"),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ];
    let home = Home::with_env(who(), &env);
    set(&home, 0);
    let app = Loaded::start_in(home, Serving::Python, &UNTOUCHED, pace(Serving::Python));
    let others = start_other(&app.home);
    let schedule = format!("*/{EVERY} * * * * *");
    let started = app.home.tine(["start", "--name", "often", "--cron", &schedule, "other.sh"]);
    assert_eq!(started.code, Some(0), "{started:?}");
    let manager = app.home.manager().expect("it runs");
    for seconds in [HOURS, -HOURS] {
        set(&app.home, seconds);
        is_restarted_as_ever(&app.home, &format!("{seconds} s off"));
        ages_are_right(&app, seconds);
    }
    let killed = kill_one(&app.home, &others);
    is_followed(&app.home, &others, killed);
    assert_eq!(app.home.manager(), Some(manager), "it is the same one");
    app.home.kill(manager);
    set(&app.home, HOURS);
    followed(&app.home, manager);
    is_restarted_as_ever(&app.home, "under the next manager");
    ages_are_right(&app, HOURS);
    goes_on(app);
}
