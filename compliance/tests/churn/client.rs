//! One of those who act at random.

use std::time::Instant;

use compliance::{Desk, Exit};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::apps::{APPS, FILE};
use crate::dice::Dice;
use crate::list::{self, Row};

/// Asks for anything, and looks at each answer.
pub(crate) struct Client {
    desk: Desk,
    dice: Dice,
    done: usize,
}

impl Client {
    pub(crate) fn new(desk: Desk, dice: Dice) -> Self {
        Self { desk, dice, done: 0 }
    }

    /// How much it has asked.
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    pub(crate) fn act(&mut self) {
        let app = self.dice.pick(APPS).name;
        match self.dice.roll(20) {
            0..=4 => self.ask(&["start", FILE, "--only", app]),
            5 => self.ask(&["start", app]),
            6 => self.ask(&["stop", app]),
            7 | 8 => self.ask(&["restart", app]),
            9 | 10 => self.ask(&["reload", app]),
            11 => self.ask(&["delete", app]),
            12 | 13 => self.scale(app),
            14 | 15 => self.kill_a_worker(),
            16 => self.one_of_several(),
            17 => self.ask(&["ls"]),
            18 => drop(list::read(&self.desk)),
            _ => self.something_else(app),
        }
        self.done += 1;
    }

    fn scale(&mut self, app: &str) {
        let to = *self.dice.pick(&["1", "2", "3", "4", "+1", "-1"]);
        self.ask(&["scale", app, to]);
    }

    /// As the kernel does when there is no memory left.
    fn kill_a_worker(&mut self) {
        let rows = list::read(&self.desk);
        let pids: Vec<u32> = rows.iter().filter_map(|row| row.pid).collect();
        if pids.is_empty() {
            return;
        }
        let pid = i32::try_from(*self.dice.pick(&pids)).ok().and_then(Pid::from_raw);
        // Gone meanwhile, which is as well.
        if let Ok(pidfd) = pidfd_open(pid.expect("not 0"), PidfdFlags::empty()) {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }

    /// Workers by their numbers, which may be gone.
    fn one_of_several(&mut self) {
        let rows: Vec<Row> = list::read(&self.desk);
        if rows.is_empty() {
            return;
        }
        let id = self.dice.pick(&rows).id.to_string();
        let what = *self.dice.pick(&["stop", "restart", "reload", "describe", "delete"]);
        self.ask(&[what, &id]);
    }

    fn something_else(&mut self, app: &str) {
        match self.dice.roll(8) {
            0 => self.ask(&["reset", app]),
            1 => self.ask(&["flush", app]),
            2 => self.ask(&["save", "--force"]),
            3 => self.ask(&["restart", "all"]),
            4 => self.ask(&["reloadLogs"]),
            5 => self.ask(&["logs", app, "--nostream", "--lines", "5"]),
            6 => self.ask(&["startOrReload", FILE]),
            _ => self.ask(&["ports"]),
        }
    }

    /// Refusals are well, for others do something else at the same time; faults are not.
    fn ask(&self, words: &[&str]) {
        let asked = Instant::now();
        let exit = self.desk.ask(words.iter().copied());
        // Shown where the test fails.
        println!("{:?} {words:?} {:?} {}", asked.elapsed(), exit.code, exit.stderr.trim());
        assert!(is_an_answer(&exit), "tine {words:?}: {exit:?}");
    }
}

/// 2 would be words that are no command, 3 trouble with the manager, 101 a panic.
fn is_an_answer(exit: &Exit) -> bool {
    match exit.code {
        Some(0) => true,
        Some(1) => !exit.stderr.trim().is_empty() && !exit.stderr.contains("panicked"),
        _ => false,
    }
}
