//! An honest load: requests are due at fixed times, whether or not the last one was answered.
//!
//! One thread holds all connections. Every request has a path of its own, which its answer repeats
//! beside the pid, the version and a thousand known characters; every byte is compared. What an answer
//! took counts from when its request was due, so a server that stands still is not spared the requests
//! that it kept from being sent.

mod connection;
mod pace;
mod run;
mod stall;
mod tally;
mod target;

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

pub use pace::{Kind, Pace};
pub use stall::Stalls;
pub use tally::{Count, Failure, Outcome, Tally};
pub use target::Target;

/// A load that runs, on a thread of its own, until [`Load::stop`].
#[derive(Debug)]
pub struct Load {
    words: Sender<Word>,
    thread: JoinHandle<Tally>,
}

/// What the load is asked.
#[derive(Debug)]
enum Word {
    Look(Sender<Look>),
    Stop,
}

/// What is to be seen of a load that runs.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Who has answered since the last look.
    pub pids: BTreeSet<u32>,
    /// The versions that answered since the last look.
    pub versions: BTreeSet<String>,
    /// Requests that are not yet answered, of which nobody knows to whom they went: on connections that nobody
    /// has answered on before.
    pub in_flight: usize,
    /// Requests on such connections since the start.
    pub asked: usize,
    /// Requests answered since the start.
    pub answered: usize,
}

impl Load {
    /// Asks the servers of `compliance/servers` there; a number is a port of 127.0.0.1.
    #[must_use]
    pub fn start(target: impl Into<Target>, pace: Pace) -> Self {
        let (words, heard) = mpsc::channel();
        let target = target.into();
        let thread = thread::spawn(move || run::run(&target, &pace, &heard));
        Self { words, thread }
    }

    /// What there is to be seen now.
    #[must_use]
    pub fn look(&self) -> Look {
        let (answer, look) = mpsc::channel();
        self.words.send(Word::Look(answer)).expect("it runs until it is stopped");
        look.recv().expect("it answers as long as it runs")
    }

    /// Sends no more requests, waits for the answers to those sent, and says how all of them fared.
    #[must_use]
    pub fn stop(self) -> Tally {
        self.words.send(Word::Stop).expect("it runs until it is stopped");
        self.thread.join().expect("it does not panic")
    }
}
