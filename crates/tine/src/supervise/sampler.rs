//! How much of the CPU and of the memory each worker takes, with all that descends from it.
//!
//! One pass over the process table serves all workers. It is made only while somebody wants to know:
//! see [`Interest`]. Reading (`table`) and reckoning ([`Reckoner`]) are apart.

mod reckoner;
mod table;

use std::{
    io,
    time::{Duration, Instant},
};

use rustix::process::Pid;

pub use reckoner::Reckoner;
pub use table::{Line, Table};

/// What one worker takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The worker's id, as it was given.
    pub id: u32,
    /// In percent of one CPU since the last pass; at the first one, since it started. 250 means two and
    /// a half CPUs.
    pub cpu: f32,
    /// Resident bytes. Pages that several of its processes share are counted for each of them.
    pub memory: u64,
}

/// Reads the process table, and remembers the pass before.
#[derive(Debug)]
pub struct Sampler {
    table: Table,
    reckoner: Reckoner,
}

impl Sampler {
    /// Has seen nothing yet.
    ///
    /// # Errors
    ///
    /// When there is no `/proc`.
    pub fn new() -> io::Result<Self> {
        Ok(Self { table: Table::open()?, reckoner: Reckoner::new(ticks_per_second()) })
    }

    /// Looks at all workers: their ids and first processes. Those that are gone get no sample.
    ///
    /// Takes about 10 µs for each process of the machine, and waits for nobody.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn sample(&mut self, workers: &[(u32, Pid)]) -> io::Result<Vec<Sample>> {
        if workers.is_empty() {
            self.reckoner.forget();
            return Ok(Vec::new());
        }
        let lines = self.table.read()?;
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let uptime = Duration::try_from(uptime).unwrap_or_default();
        Ok(self.reckoner.reckon(workers, &lines, uptime))
    }
}

fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// Who wants to know, and so whether there is anything to do at all.
///
/// An app with a limit of memory is looked at every second, for as long as it runs. Somebody who asks
/// for a list will ask again: looking goes on for a while after.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interest {
    asked: Option<Instant>,
}

impl Interest {
    /// For so long after a question looking goes on.
    pub const LASTS: Duration = Duration::from_secs(5);
    /// From one pass to the next.
    pub const PERIOD: Duration = Duration::from_secs(1);

    /// Somebody asked.
    pub fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// When the next pass is due, after one at `last`; `None`: not before somebody asks.
    #[must_use]
    pub fn next(&self, limits: bool, last: Instant) -> Option<Instant> {
        let due = last + Self::PERIOD;
        let wanted = self.asked.is_some_and(|asked| due <= asked + Self::LASTS);
        (limits || wanted).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn pid(child: &Child) -> Pid {
        Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
    }

    /// Ends its process with the test.
    struct Running(Child);

    impl Running {
        fn shell(line: &str) -> Self {
            let mut shell = Command::new("/bin/sh");
            // What it would read never comes.
            Self(shell.args(["-c", line]).stdin(Stdio::piped()).spawn().unwrap())
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            let group =
                rustix::process::pidfd_open(pid(&self.0), rustix::process::PidfdFlags::empty());
            if let Ok(held) = group {
                let _ = rustix::process::pidfd_send_signal(held, rustix::process::Signal::KILL);
            }
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_worker_that_works_takes_a_cpu_and_one_that_waits_takes_none() {
        let busy = Running::shell("while :; do :; done");
        let idle = Running::shell("read x");
        let workers = [(7, pid(&busy.0)), (8, pid(&idle.0)), (9, Pid::from_raw(i32::MAX).unwrap())];
        let mut look = Sampler::new().unwrap();
        look.sample(&workers).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let samples = look.sample(&workers).unwrap();
            assert_eq!(samples.iter().map(|sample| sample.id).collect::<Vec<_>>(), [7, 8]);
            assert!(samples.iter().all(|sample| sample.memory > 50_000), "{samples:?}");
            if samples[0].cpu > 20.0 && samples[1].cpu < 10.0 {
                return;
            }
            assert!(Instant::now() < deadline, "{samples:?}");
        }
    }

    #[test]
    fn looking_ends_when_nobody_asks_any_more_and_no_app_has_a_limit() {
        let start = Instant::now();
        let mut interest = Interest::default();
        assert_eq!(interest.next(false, start), None);
        assert_eq!(interest.next(true, start), Some(start + Interest::PERIOD));
        interest.asked(start);
        assert_eq!(interest.next(false, start), Some(start + Interest::PERIOD));
        assert_eq!(interest.next(false, start + Interest::LASTS), None);
    }
}
