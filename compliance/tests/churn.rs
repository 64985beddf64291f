//! Four clients that do anything at any time to a handful of apps: afterwards the list says what runs,
//! nothing is left of what was deleted, and the manager is as small as it was.
//!
//! `TINE_CHURN=1800` churns for half an hour instead of half a minute. The seed is told; `TINE_CHURN_SEED`
//! has the same choices made again, though not at the same moments.
#![forbid(unsafe_code)]

#[path = "churn/apps.rs"]
mod apps;
#[path = "churn/client.rs"]
mod client;
#[path = "churn/dice.rs"]
mod dice;
#[path = "churn/list.rs"]
mod list;
#[path = "churn/size.rs"]
mod size;

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use compliance::{Desk, Tine, descendants, eventually, needs};

use crate::apps::APPS;
use crate::client::Client;
use crate::dice::Dice;
use crate::list::Row;
use crate::size::Size;

const CLIENTS: u64 = 4;
/// As long as a test may well take.
const QUICK: u64 = 32;
/// All that is made once is made by then: the largest list, every reader's buffer. A long run warms up for as long
/// as it is measured: in eight minutes the allocator comes to hold four MiB more, and then stays there.
const WARM_UP: Duration = Duration::from_secs(8);
/// The longest stop and the longest start may be under way, on a busy machine.
const SETTLING: Duration = Duration::from_secs(30);
/// An answer for which nothing has to be done; it takes milliseconds on a machine with nothing else to do.
const AT_ONCE: Duration = Duration::from_secs(2);

mod alone {
    use super::*;

    #[test]
    fn whatever_clients_do_at_once_list_and_processes_agree_and_nothing_is_left() {
        needs("python3");
        needs("node");
        let seed = seed();
        println!("TINE_CHURN_SEED={seed}");
        let mut tine = Tine::command(["daemon", "--foreground"]);
        for (name, text) in apps::files() {
            tine = tine.file(name, text);
        }
        let tine = tine.start();
        let desk = tine.desk();
        eventually("the manager answers", || desk.ask(["ping"]).code == Some(0));

        let measured = length() / 2;
        churn(&desk, seed, WARM_UP.max(measured));
        settled(&tine);
        emptied(&tine);
        let before = Size::of(tine.manager());
        churn(&desk, seed.wrapping_add(CLIENTS), measured);
        settled(&tine);
        emptied(&tine);
        before.is_kept(tine.manager());
        answers_at_once(&desk);

        assert_eq!(desk.ask(["kill"]).code, Some(0));
        assert_eq!(tine.wait().code, Some(0));
    }
}

fn seed() -> u64 {
    let chosen = std::env::var("TINE_CHURN_SEED").ok();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    chosen.map_or_else(now, |seed| seed.parse().expect("TINE_CHURN_SEED is a number"))
}

fn length() -> Duration {
    let seconds = std::env::var("TINE_CHURN").ok();
    let seconds = seconds.map(|text| text.parse().expect("TINE_CHURN is a number of seconds"));
    Duration::from_secs(seconds.unwrap_or(QUICK))
}

/// All clients at once, each with a seed of its own.
fn churn(desk: &Desk, seed: u64, time: Duration) {
    let end = Instant::now() + time;
    let clients = (0..CLIENTS).map(|number| {
        let mut client = Client::new(desk.clone(), Dice::new(seed.wrapping_add(number)));
        thread::spawn(move || {
            while Instant::now() < end {
                client.act();
            }
            client.done()
        })
    });
    let clients: Vec<_> = clients.collect();
    let done: usize = clients.into_iter().map(|client| client.join().expect("no failure")).sum();
    println!("{done} commands in {time:?}");
}

/// The list and the processes agree once nothing is under way any more.
fn settled(tine: &Tine) {
    let desk = tine.desk();
    // Those that end by themselves would never settle.
    let _ = desk.ask(["stop", "churn-crasher"]);
    let mut last = None;
    let begun = Instant::now();
    let end = begun + SETTLING;
    while Instant::now() < end {
        last = disagreement(tine, &list::read(&desk));
        if last.is_none() {
            return println!("settled after {:?}", begun.elapsed());
        }
    }
    panic!("{last:?} after {SETTLING:?}");
}

/// What the list says and is not so, or is so and it does not say.
fn disagreement(tine: &Tine, rows: &[Row]) -> Option<String> {
    if let Some(row) = rows.iter().find(|row| !row.is_settled()) {
        return Some(format!("not settled: {row:?}"));
    }
    for app in APPS {
        let of_it: Vec<&Row> = rows.iter().filter(|row| row.name == app.name).collect();
        if of_it.iter().any(|row| row.instances != of_it.len()) {
            return Some(format!("too few or too many: {of_it:?}"));
        }
    }
    let mut nobodys = tine.started();
    let manager = tine.manager();
    let listed = rows.iter().filter_map(|row| row.pid);
    let of_apps: Vec<u32> =
        listed.flat_map(|pid| descendants(pid).into_iter().chain([pid])).collect();
    nobodys.retain(|pid| *pid != manager && !of_apps.contains(pid));
    let names: Vec<String> = nobodys.iter().map(|pid| size::command_line(*pid)).collect();
    (!nobodys.is_empty()).then(|| format!("in nobody's list: {names:?}"))
}

/// Deletes everything, and sees nothing of it left.
fn emptied(tine: &Tine) {
    let desk = tine.desk();
    let begun = Instant::now();
    let deleted = desk.ask(["delete", "all"]);
    println!("deleted after {:?}", begun.elapsed());
    assert!(matches!(deleted.code, Some(0 | 1)), "{deleted:?}");
    assert!(list::read(&desk).is_empty());
    let manager = tine.manager();
    let left: Vec<u32> = tine.started().into_iter().filter(|pid| *pid != manager).collect();
    let names: Vec<String> = left.iter().map(|pid| size::command_line(*pid)).collect();
    // Some may have ended since they were found.
    let runs = |pid: &u32| compliance::is_alive(*pid);
    assert!(!left.iter().any(runs), "deleted, and still there: {left:?} {names:?}");
}

/// At least once of a few times: the machine may have something else to do for seconds.
fn answers_at_once(desk: &Desk) {
    let ping = |_| {
        let asked = Instant::now();
        assert_eq!(desk.ask(["ping"]).code, Some(0));
        asked.elapsed()
    };
    let took: Vec<Duration> = (0..5).map(ping).collect();
    println!("answers took {took:?}");
    assert!(took.iter().any(|took| *took < AT_ONCE), "answers took {took:?}");
}
