//! Waits until nobody writes any more. Reads no clock.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::Changed;

/// So many paths are named; the others are counted.
const NAMED: usize = 32;

/// Collects changes until there was none for a while.
#[derive(Clone, Debug)]
pub(super) struct Quiet {
    delay: Duration,
    open: Option<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    first: Instant,
    last: Instant,
    paths: BTreeSet<PathBuf>,
    /// Beside those that are named.
    more: usize,
}

impl Quiet {
    pub(super) const fn new(delay: Duration) -> Self {
        Self { delay, open: None }
    }

    /// A file changed.
    pub(super) fn saw(&mut self, path: PathBuf, now: Instant) {
        let fresh = || Open { first: now, last: now, paths: BTreeSet::new(), more: 0 };
        let open = self.open.get_or_insert_with(fresh);
        open.last = now;
        if open.paths.len() < NAMED {
            open.paths.insert(path);
        } else if !open.paths.contains(&path) {
            open.more += 1;
        }
    }

    /// When to look again; `None`: not before something changes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let open = self.open.as_ref()?;
        Some((open.last + self.delay).min(open.first + self.longest()))
    }

    /// Somebody who writes without end does not keep others waiting for ever.
    fn longest(&self) -> Duration {
        (self.delay * 10).max(Duration::from_secs(10))
    }

    /// What changed, once it is over.
    pub(super) fn over(&mut self, now: Instant) -> Option<Changed> {
        if self.deadline()? > now {
            return None;
        }
        let Open { paths, more, .. } = self.open.take()?;
        Some(Changed { paths: paths.into_iter().collect(), more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(200);

    #[test]
    fn many_changes_close_together_are_one() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut quiet = Quiet::new(DELAY);
        assert_eq!(quiet.deadline(), None);
        quiet.saw("a".into(), at(0));
        quiet.saw("b".into(), at(150));
        quiet.saw("a".into(), at(300));
        assert_eq!(quiet.over(at(499)), None);
        assert_eq!(quiet.deadline(), Some(at(500)));
        let changed = quiet.over(at(500)).unwrap();
        assert_eq!(changed.paths, [PathBuf::from("a"), "b".into()]);
        assert_eq!((changed.more, quiet.over(at(900))), (0, None));
    }

    #[test]
    fn who_never_stops_writing_is_heard_all_the_same() {
        let start = Instant::now();
        let mut quiet = Quiet::new(DELAY);
        let mut told = Vec::new();
        for ms in (0..25_000).step_by(100) {
            quiet.saw("log".into(), start + Duration::from_millis(ms));
            told.extend(quiet.over(start + Duration::from_millis(ms)).map(|_| ms));
        }
        assert_eq!(told, [10_000, 20_100]);
    }

    #[test]
    fn of_thousands_of_files_some_are_named_and_the_rest_is_counted() {
        let now = Instant::now();
        let mut quiet = Quiet::new(DELAY);
        for n in 0..5000 {
            quiet.saw(format!("{n}").into(), now);
        }
        let changed = quiet.over(now + DELAY).unwrap();
        assert_eq!(changed.paths.len() + changed.more, 5000);
    }
}
