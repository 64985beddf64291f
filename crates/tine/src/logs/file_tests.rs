//! Tests of log files, and a folder for these and others.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;

use super::*;
use crate::spec::Millis;

/// A folder that goes with its test.
pub(in crate::logs) struct Folder(PathBuf);

impl Folder {
    pub(in crate::logs) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tine-logs-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(in crate::logs) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `app-out.log` and `app-error.log` in the folder.
pub(in crate::logs) fn settings(folder: &Folder) -> LogSettings {
    let spec = crate::spec::LogSpec {
        out_file: Some(folder.path("app-out.log")),
        error_file: Some(folder.path("app-error.log")),
        merge: Some(true),
        ..Default::default()
    };
    LogSettings::of("app", 1, &spec, &folder.0)
}

/// 2026-11-22 22:11:05 UTC.
const NOW: u64 = 1_795_385_465;

struct Writing {
    settings: LogSettings,
    file: LogFile,
    now: SystemTime,
    tick: Instant,
}

impl Writing {
    fn new(folder: &Folder) -> Self {
        let file = LogFile::new(folder.path("app-out.log"));
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        Self { settings: settings(folder), file, now, tick: Instant::now() }
    }

    fn write(&mut self, lines: &str) -> Vec<LogTrouble> {
        self.act(|file, moment| file.write(lines.as_bytes(), moment))
    }

    fn act(&mut self, act: impl FnOnce(&mut LogFile, &mut Moment<'_>)) -> Vec<LogTrouble> {
        let (settings, now, tick) = (&self.settings, self.now, self.tick);
        let mut moment = Moment { settings, now, tick, troubles: Vec::new(), rotated: false };
        act(&mut self.file, &mut moment);
        moment.troubles
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.tick += time;
    }

    /// What was set aside, the oldest first, and the file.
    fn texts(&self) -> Vec<String> {
        let archives = archives_of(&self.file.path).into_iter().map(|archive| archive.path);
        let paths = archives.chain([self.file.path.clone()]);
        paths.map(|path| fs::read_to_string(path).unwrap()).collect()
    }
}

#[test]
fn files_and_folders_below_the_home_are_the_owners_alone() {
    let folder = Folder::new();
    let mut writing = Writing::new(&folder);
    writing.file = LogFile::new(folder.path("logs/deep/app.log"));
    assert_eq!(writing.write("a\n"), []);
    let mode = |name: &str| fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("logs"), mode("logs/deep"), mode("logs/deep/app.log")], [0o700, 0o700, 0o600]);
}

#[test]
fn a_file_is_set_aside_before_the_line_that_would_make_it_too_large() {
    let folder = Folder::new();
    let mut writing = Writing::new(&folder);
    writing.settings.rotation.size = 8;
    writing.write("one\ntwo\nthree\na line of its own\nx\n");
    writing.write("y\n");
    assert_eq!(writing.texts(), ["one\ntwo\n", "three\n", "a line of its own\n", "x\ny\n"]);
}

#[test]
fn no_more_than_so_many_are_kept() {
    let folder = Folder::new();
    let mut writing = Writing::new(&folder);
    (writing.settings.rotation.size, writing.settings.rotation.keep) = (1, 2);
    writing.write("1\n2\n3\n4\n5\n");
    assert_eq!(writing.texts(), ["3\n", "4\n", "5\n"]);
    writing.settings.rotation.keep = 0;
    writing.write("6\n");
    assert_eq!(writing.texts(), ["6\n"]);
}

#[test]
fn a_file_of_another_day_is_set_aside_before_the_next_line() {
    let folder = Folder::new();
    let mut writing = Writing::new(&folder);
    writing.settings.rotation.age = Some(Millis::from_secs(86_400));
    writing.write("today\n");
    let local = DateTime::<Local>::from(writing.now).naive_local();
    let midnight = (local.date() + chrono::Days::new(1)).and_time(chrono::NaiveTime::MIN);
    let left = (midnight - local).to_std().unwrap();
    writing.pass(left / 2);
    writing.write("still\n");
    writing.pass(left);
    writing.write("tomorrow\n");
    writing.pass(Duration::from_hours(7 * 24));
    writing.write("next week\n");
    assert_eq!(writing.texts(), ["today\nstill\n", "tomorrow\n", "next week\n"]);
}

#[test]
fn a_clock_that_is_set_has_a_file_set_aside_once_and_none_is_lost() {
    let folder = Folder::new();
    let mut writing = Writing::new(&folder);
    writing.settings.rotation.age = Some(Millis::from_secs(3600));
    writing.write("before\n");
    writing.now += Duration::from_hours(6);
    for line in ["later\n", "later still\n", "and later\n"] {
        writing.write(line);
    }
    writing.now -= Duration::from_hours(12);
    for line in ["earlier\n", "earlier still\n"] {
        writing.write(line);
    }
    writing.pass(Duration::from_hours(1));
    writing.write("an hour later\n");
    assert_eq!(
        writing.texts(),
        [
            "before\n",
            "later\nlater still\nand later\n",
            "earlier\nearlier still\n",
            "an hour later\n"
        ]
    );
}

#[test]
fn a_file_that_was_moved_away_is_made_anew_within_a_second_or_when_told() {
    let folder = Folder::new();
    let mut writing = Writing::new(&folder);
    writing.write("a\n");
    fs::rename(folder.path("app-out.log"), folder.path("app-out.log.1")).unwrap();
    writing.write("b\n");
    writing.pass(LOOK);
    writing.write("c\n");
    fs::rename(folder.path("app-out.log"), folder.path("app-out.log.2")).unwrap();
    writing.act(LogFile::reopen);
    writing.write("d\n");
    let text = |name: &str| fs::read_to_string(folder.path(name)).unwrap();
    assert_eq!(text("app-out.log.1"), "a\nb\n");
    assert_eq!([text("app-out.log.2"), text("app-out.log")], ["c\n", "d\n"]);
}

#[test]
fn a_flushed_file_is_empty_and_written_on() {
    let folder = Folder::new();
    let mut writing = Writing::new(&folder);
    writing.write("a\nb\n");
    assert_eq!(writing.act(LogFile::flush), []);
    assert_eq!(fs::metadata(folder.path("app-out.log")).unwrap().len(), 0);
    writing.write("c\n");
    assert_eq!(writing.texts(), ["c\n"]);
}

#[test]
fn where_nothing_can_be_written_it_is_said_once_and_the_worker_goes_on() {
    let folder = Folder::new();
    fs::write(folder.path("wall"), "").unwrap();
    let mut writing = Writing::new(&folder);
    let path = folder.path("wall/app.log");
    writing.file = LogFile::new(path.clone());
    let told = writing.write("a\n");
    assert!(matches!(told.as_slice(), [LogTrouble::Lost { .. }]), "{told:?}");
    assert_eq!(writing.write("b\n"), []);
    writing.pass(RETRY.1);
    assert_eq!(writing.write("c\n"), []);
    assert!(writing.file.waits_until().is_none());
    fs::remove_file(folder.path("wall")).unwrap();
    writing.pass(RETRY.1);
    assert_eq!(writing.write("d\n"), [LogTrouble::Works { path, lost: 6 }]);
    assert_eq!(fs::read_to_string(folder.path("wall/app.log")).unwrap(), "d\n");
}
