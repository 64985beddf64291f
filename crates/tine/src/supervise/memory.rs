//! Which workers are replaced because they use too much memory. Reads nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rustix::process::Pid;

use super::sampler::Sample;

/// A worker over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overuse {
    /// Which, by the id of its sample.
    pub worker: u32,
    /// Bytes that it used.
    pub memory: u64,
    /// Bytes that it may use.
    pub limit: u64,
}

/// Looks at the samples of one app's workers.
///
/// A worker is named once: it is being replaced then, the new one before the old one goes, and both
/// count until that is done. Where the new one is over the limit at once, its instance is left alone
/// for a while that doubles each time: an app that does not fit into its limit at all shall not be
/// replaced every second.
#[derive(Clone, Debug)]
pub struct MemoryGuard {
    limit: u64,
    instances: BTreeMap<u32, Replaced>,
}

#[derive(Clone, Copy, Debug)]
struct Replaced {
    /// The process that was named.
    pid: Pid,
    at: Instant,
    /// Before this time after [`Self::at`] the next process is left alone.
    pause: Duration,
}

impl MemoryGuard {
    /// The first pause after a worker that was over the limit too soon.
    const FIRST: Duration = Duration::from_secs(2);
    /// No pause is longer.
    const LONGEST: Duration = Duration::from_mins(2);

    /// For an app whose workers may use so many bytes each.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self { limit, instances: BTreeMap::new() }
    }

    /// The workers that are to be replaced now. `processes` are the first processes of the workers
    /// that run, by id.
    pub fn look(
        &mut self,
        samples: &[Sample],
        processes: &[(u32, Pid)],
        now: Instant,
    ) -> Vec<Overuse> {
        let processes: BTreeMap<u32, Pid> = processes.iter().copied().collect();
        let over = samples.iter().filter(|sample| sample.memory > self.limit);
        let mut found = Vec::new();
        for Sample { id, memory, .. } in over {
            let Some(pid) = processes.get(id) else { continue };
            if let Some(next) = next(self.instances.get(id), *pid, now) {
                self.instances.insert(*id, next);
                found.push(Overuse { worker: *id, memory: *memory, limit: self.limit });
            }
        }
        found
    }
}

/// What is remembered of a worker that is replaced now; `None`: it is left alone.
fn next(before: Option<&Replaced>, pid: Pid, now: Instant) -> Option<Replaced> {
    let first = Replaced { pid, at: now, pause: MemoryGuard::FIRST };
    let Some(before) = before else { return Some(first) };
    let since = now.saturating_duration_since(before.at);
    if before.pid == pid {
        // It is being replaced. If nothing has come of that for long, once more.
        return (since >= MemoryGuard::LONGEST).then_some(first);
    }
    if since >= 2 * MemoryGuard::LONGEST {
        return Some(first);
    }
    let pause = (before.pause * 2).min(MemoryGuard::LONGEST);
    (since >= before.pause).then_some(Replaced { pid, at: now, pause })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: i32) -> Pid {
        Pid::from_raw(raw).unwrap()
    }

    /// Samples of workers 0, 1, …, whose processes are 100, 101, … on top of `base`.
    fn look(guard: &mut MemoryGuard, memory: &[u64], base: i32, now: Instant) -> Vec<u32> {
        let mut samples = Vec::new();
        let mut processes = Vec::new();
        for (id, memory) in (0..).zip(memory) {
            samples.push(Sample { id, cpu: 0.0, memory: *memory });
            processes.push((id, pid(base + i32::try_from(id).unwrap())));
        }
        guard.look(&samples, &processes, now).iter().map(|over| over.worker).collect()
    }

    #[test]
    fn a_worker_over_the_limit_is_named_once_and_the_others_never() {
        let (mut guard, now) = (MemoryGuard::new(100), Instant::now());
        assert_eq!(look(&mut guard, &[100, 101, 50], 100, now), [1]);
        assert_eq!(look(&mut guard, &[100, 200, 50], 100, now + Duration::from_secs(1)), [0; 0]);
        // Another process has taken its place, and is well.
        assert_eq!(look(&mut guard, &[100, 50, 50], 200, now + Duration::from_secs(2)), [0; 0]);
    }

    #[test]
    fn an_app_that_never_fits_is_replaced_more_and_more_seldom() {
        let (mut guard, start) = (MemoryGuard::new(100), Instant::now());
        let mut named = Vec::new();
        for second in 0..600 {
            // Each second a new process, and each too large.
            let base = 100 + i32::try_from(second).unwrap();
            if !look(&mut guard, &[500], base, start + Duration::from_secs(second)).is_empty() {
                named.push(second);
            }
        }
        assert_eq!(named, [0, 2, 6, 14, 30, 62, 126, 246, 366, 486]);
    }

    #[test]
    fn a_worker_whose_replacement_came_to_nothing_is_named_again() {
        let (mut guard, now) = (MemoryGuard::new(100), Instant::now());
        assert_eq!(look(&mut guard, &[500], 100, now), [0]);
        assert_eq!(look(&mut guard, &[500], 100, now + MemoryGuard::LONGEST), [0]);
    }

    #[test]
    fn a_worker_that_grew_for_long_is_replaced_at_once() {
        let (mut guard, now) = (MemoryGuard::new(100), Instant::now());
        for hour in 0..3 {
            let now = now + Duration::from_hours(hour);
            let base = 100 + i32::try_from(hour).unwrap();
            assert_eq!(look(&mut guard, &[500], base, now), [0], "hour {hour}");
        }
    }
}
