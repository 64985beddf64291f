//! From two looks at the process table to what each worker takes. Reads nothing.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use rustix::process::Pid;

use super::{Line, Sample};

/// Remembers the look before.
#[derive(Debug)]
pub struct Reckoner {
    ticks_per_second: u64,
    /// When that was, since the boot.
    at: Option<Duration>,
    /// What each worker had used then, and since when it had run: a number alone may be reused.
    before: BTreeMap<u32, Used>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    pid: Pid,
    started: u64,
    ticks: u64,
}

/// All processes of one worker together.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    ticks: u64,
    memory: u64,
}

impl Reckoner {
    /// Has seen nothing yet. `ticks_per_second` is the unit of [`Line::ticks`].
    #[must_use]
    pub fn new(ticks_per_second: u64) -> Self {
        Self { ticks_per_second: ticks_per_second.max(1), at: None, before: BTreeMap::new() }
    }

    /// Begins anew.
    pub fn forget(&mut self) {
        self.at = None;
        self.before.clear();
    }

    /// What each worker has taken since the last time, or since it started if it is new. `uptime` is
    /// the time since the boot at which `lines` were read.
    ///
    /// Time that ended children had used counts when a living process of the worker has waited for
    /// them.
    pub fn reckon(
        &mut self,
        workers: &[(u32, Pid)],
        lines: &[Line],
        uptime: Duration,
    ) -> Vec<Sample> {
        let of_pid: HashMap<Pid, &Line> = lines.iter().map(|line| (line.pid, line)).collect();
        let sums = sums(workers, lines, &of_pid);
        let since = self.at.replace(uptime);
        let mut now = BTreeMap::new();
        let mut samples = Vec::new();
        for (id, pid) in workers {
            let Some(first) = of_pid.get(pid) else { continue };
            let sum = sums.get(pid).copied().unwrap_or_default();
            let used = Used { pid: *pid, started: first.started, ticks: sum.ticks };
            let before =
                self.before.get(id).filter(|old| (old.pid, old.started) == (*pid, first.started));
            let (ticks, time) = match (before, since) {
                (Some(old), Some(since)) => {
                    (used.ticks.saturating_sub(old.ticks), uptime.saturating_sub(since))
                }
                (None, _) | (_, None) => {
                    (used.ticks, uptime.saturating_sub(self.time(used.started)))
                }
            };
            samples.push(Sample { id: *id, cpu: self.percent(ticks, time), memory: sum.memory });
            now.insert(*id, used);
        }
        self.before = now;
        samples
    }

    fn time(&self, ticks: u64) -> Duration {
        Duration::from_millis(ticks * 1000 / self.ticks_per_second)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a percentage of a few digits")]
    fn percent(&self, ticks: u64, over: Duration) -> f32 {
        // A shorter time than the unit in which it is counted tells nothing.
        let over = over.max(self.time(1));
        (self.time(ticks).as_secs_f64() / over.as_secs_f64() * 100.0) as f32
    }
}

/// What belongs to each worker: its first process, that one's session, and all that descends from
/// either.
fn sums(workers: &[(u32, Pid)], lines: &[Line], of_pid: &HashMap<Pid, &Line>) -> HashMap<Pid, Sum> {
    let leaders: HashMap<i32, Pid> =
        workers.iter().map(|(_, pid)| (pid.as_raw_pid(), *pid)).collect();
    let mut owners = Owners { leaders, of_pid, known: HashMap::new() };
    let mut sums: HashMap<Pid, Sum> = HashMap::new();
    for line in lines {
        if let Some(owner) = owners.of(line) {
            let sum = sums.entry(owner).or_default();
            sum.ticks += line.ticks;
            sum.memory += line.memory;
        }
    }
    sums
}

struct Owners<'a> {
    leaders: HashMap<i32, Pid>,
    of_pid: &'a HashMap<Pid, &'a Line>,
    known: HashMap<Pid, Option<Pid>>,
}

impl Owners<'_> {
    /// Climbs until somebody is known, and remembers the answer for all on the way.
    fn of(&mut self, line: &Line) -> Option<Pid> {
        let mut way = Vec::new();
        let mut at = *line;
        let owner = loop {
            if let Some(known) = self.known.get(&at.pid) {
                break *known;
            }
            way.push(at.pid);
            let leader = self.leaders.get(&at.pid.as_raw_pid()).or(self.leaders.get(&at.session));
            if let Some(leader) = leader {
                break Some(*leader);
            }
            // The lines were read one after the other, so parents may seem to go round in a circle.
            let parent = Pid::from_raw(at.parent).filter(|parent| !way.contains(parent));
            match parent.and_then(|parent| self.of_pid.get(&parent)) {
                Some(parent) => at = **parent,
                None => break None,
            }
        };
        self.known.extend(way.into_iter().map(|pid| (pid, owner)));
        owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: i32) -> Pid {
        Pid::from_raw(raw).unwrap()
    }

    fn line(raw: i32, parent: i32, session: i32, ticks: u64) -> Line {
        Line { pid: pid(raw), parent, session, ticks, started: 100, memory: 1000 }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn look(reckoner: &mut Reckoner, lines: &[Line], at: u64) -> Vec<(u32, f32, u64)> {
        let samples = reckoner.reckon(&[(0, pid(10)), (1, pid(20))], lines, seconds(at));
        samples.iter().map(|sample| (sample.id, sample.cpu, sample.memory)).collect()
    }

    #[test]
    fn a_worker_is_its_session_and_all_that_descends_from_it() {
        let lines = [
            line(14, 13, 14, 1), // below an orphan of the session
            line(10, 5, 10, 1),
            line(11, 10, 10, 1),
            line(12, 11, 12, 1), // a session of its own, but a descendant
            line(13, 1, 10, 1),  // an orphan of the session
            line(20, 5, 20, 1),
            line(30, 1, 30, 1), // a stranger
            line(5, 1, 5, 1),   // the manager
        ];
        let mut reckoner = Reckoner::new(100);
        let memory: Vec<u64> =
            look(&mut reckoner, &lines, 11).iter().map(|found| found.2).collect();
        assert_eq!(memory, [5000, 1000]);
    }

    #[test]
    fn the_first_look_tells_the_time_since_the_start_and_the_next_ones_what_came_since() {
        let mut reckoner = Reckoner::new(100);
        // Started one second after the boot.
        let found = look(&mut reckoner, &[line(10, 5, 10, 250), line(20, 5, 20, 0)], 11);
        assert_eq!(found, [(0, 25.0, 1000), (1, 0.0, 1000)]);
        let found = look(&mut reckoner, &[line(10, 5, 10, 300), line(20, 5, 20, 300)], 13);
        assert_eq!(found, [(0, 25.0, 1000), (1, 150.0, 1000)]);
    }

    #[test]
    fn a_child_that_ended_and_was_waited_for_stays_counted_and_one_that_was_not_takes_nothing_back()
    {
        let mut reckoner = Reckoner::new(100);
        look(&mut reckoner, &[line(10, 5, 10, 100), line(11, 10, 10, 50)], 11);
        // Waited for: its time is now its parent's.
        let found = look(&mut reckoner, &[line(10, 5, 10, 160)], 12);
        assert_eq!(found, [(0, 10.0, 1000)]);
        look(&mut reckoner, &[line(10, 5, 10, 160), line(12, 10, 10, 90)], 13);
        let found = look(&mut reckoner, &[line(10, 5, 10, 160)], 14);
        assert_eq!(found, [(0, 0.0, 1000)]);
    }

    #[test]
    fn a_new_process_in_the_place_of_a_worker_begins_anew() {
        let mut reckoner = Reckoner::new(100);
        look(&mut reckoner, &[line(10, 5, 10, 5000)], 100);
        let again = Line { started: 10_000, ..line(10, 5, 10, 50) };
        let found = look(&mut reckoner, &[again], 101);
        assert_eq!(found, [(0, 50.0, 1000)]);
    }

    #[test]
    fn parents_that_go_round_in_a_circle_are_nobodys() {
        let lines = [line(10, 5, 10, 1), line(40, 41, 40, 1), line(41, 40, 41, 1)];
        let mut reckoner = Reckoner::new(100);
        assert_eq!(look(&mut reckoner, &lines, 11).len(), 1);
    }
}
