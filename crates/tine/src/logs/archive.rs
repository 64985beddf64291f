//! Files that were set aside: `api-out-0.log.20261122T221105.123Z`, and `….gz` once compressed.
//!
//! The name holds when the file was set aside (UTC), and names only ever go up: so their order is
//! the order of their lines, whatever the clock does, and nothing is renamed a second time.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDateTime, Utc};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::LogSettings;
use super::settings::halves;

const STAMP: &str = "%Y%m%dT%H%M%S%.3fZ";
const STAMP_LENGTH: usize = "20261122T221105.123Z".len();
/// What is being compressed; a crash may leave it.
pub(super) const HALF: &str = ".gz.tmp";

/// A file that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Archive {
    /// As it is on disk, with `.gz` if so.
    pub(super) path: PathBuf,
    pub(super) stamp: String,
    pub(super) compressed: bool,
    pub(super) size: u64,
}

/// Looks at a folder that changes all the time are given up after so many.
const LOOKS: usize = 100;

/// The archives of one file, the oldest first. Of one that is there twice, after a crash, the
/// compressed one is complete and is the one that counts.
///
/// One that is compressed while the folder is read may be missed under both of its names, `readdir(3)`
/// promises nothing about names that come and go meanwhile: the next look finds it. So there are two that
/// found the same.
pub(super) fn archives_of(file: &Path) -> Vec<Archive> {
    let stamps = |found: &[Archive]| -> Vec<String> {
        found.iter().map(|archive| archive.stamp.clone()).collect()
    };
    let mut before = seen_of(file);
    for _ in 0..LOOKS {
        let now = seen_of(file);
        if stamps(&now) == stamps(&before) {
            return now;
        }
        before = now;
    }
    before
}

/// What one look shows.
fn seen_of(file: &Path) -> Vec<Archive> {
    let Some(name) = file.file_name().map(|name| name.to_string_lossy().into_owned()) else {
        return Vec::new();
    };
    let mut found = in_folder(file, |found| found == name);
    found.sort_by(|one, other| {
        one.stamp.cmp(&other.stamp).then(other.compressed.cmp(&one.compressed))
    });
    found.dedup_by(|later, first| later.stamp == first.stamp);
    found
}

/// The archives of all files of an app, those of workers that are gone too; the oldest first.
pub(super) fn archives_of_app(settings: &LogSettings) -> Vec<Archive> {
    let mut all = Vec::new();
    for base in settings.bases() {
        let (stem, extension) = halves(base);
        all.extend(in_folder(base, |name| is_of_base(name, &stem, &extension)));
    }
    all.sort_by(|one, other| one.stamp.cmp(&other.stamp));
    all
}

/// What compressing left behind when it was cut short.
pub(super) fn half_done(settings: &LogSettings) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for base in settings.bases() {
        let (stem, extension) = halves(base);
        for (path, name) in entries(base) {
            let Some(plain) = name.strip_suffix(HALF) else { continue };
            if split(plain).is_some_and(|(log, _, _)| is_of_base(log, &stem, &extension)) {
                all.push(path);
            }
        }
    }
    all
}

/// What an archive of the file at this path was set aside as, from its name, whatever was put after.
pub(super) fn stamp_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    split(name).map(|(_, stamp, _)| stamp.to_owned())
}

/// Sets a file aside under a new name, which is later than `last` and than all there are.
pub(super) fn set_aside(file: &Path, now: SystemTime, last: Option<&str>) -> io::Result<String> {
    let mut stamp = stamp_after(now, last);
    for _ in 0..1000 {
        match renameat_with(CWD, file, CWD, named(file, &stamp), RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(stamp),
            Err(rustix::io::Errno::EXIST) => stamp = stamp_after(now, Some(&stamp)),
            // Not every file system knows the flag; one writer, and names that only go up, do without.
            Err(rustix::io::Errno::INVAL) if !named(file, &stamp).exists() => {
                fs::rename(file, named(file, &stamp))?;
                return Ok(stamp);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn named(file: &Path, stamp: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(stamp);
    name.into()
}

fn stamp_after(now: SystemTime, last: Option<&str>) -> String {
    let stamp = DateTime::<Utc>::from(now).format(STAMP).to_string();
    match last {
        Some(last) if *stamp <= *last => next_stamp(last).unwrap_or(stamp),
        Some(_) | None => stamp,
    }
}

/// One millisecond later.
fn next_stamp(stamp: &str) -> Option<String> {
    let time = NaiveDateTime::parse_from_str(stamp, STAMP).ok()?;
    Some((time + Duration::from_millis(1)).format(STAMP).to_string())
}

fn in_folder(file: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<Archive> {
    let archive = |(path, name): (PathBuf, String)| {
        let (log, stamp, compressed) = split(&name)?;
        let size = is_wanted(log).then(|| fs::metadata(&path).ok())??.len();
        Some(Archive { path, stamp: stamp.to_owned(), compressed, size })
    };
    entries(file).filter_map(archive).collect()
}

/// What lies beside a file.
fn entries(file: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    let folder = file.parent().map(fs::read_dir).into_iter().flatten().flatten().flatten();
    folder.filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?)))
}

/// An archive's name as the log's, the stamp, and whether it is compressed.
fn split(name: &str) -> Option<(&str, &str, bool)> {
    let (plain, compressed) = name.strip_suffix(".gz").map_or((name, false), |plain| (plain, true));
    let dot = plain.len().checked_sub(STAMP_LENGTH + 1)?;
    let (log, stamp) = (plain.get(..dot)?, plain.get(dot..)?.strip_prefix('.')?);
    NaiveDateTime::parse_from_str(stamp, STAMP).ok()?;
    Some((log, stamp, compressed))
}

/// Whether a log's name is `stem.log`, or `stem-3.log`.
pub(super) fn is_of_base(log: &str, stem: &str, extension: &str) -> bool {
    let middle = log.strip_prefix(stem).and_then(|rest| rest.strip_suffix(extension));
    middle.is_some_and(|middle| {
        let id = middle.strip_prefix('-').unwrap_or("x");
        middle.is_empty() || (!id.is_empty() && id.bytes().all(|digit| digit.is_ascii_digit()))
    })
}

/// The name of an archive once it is compressed, and while it is.
pub(super) fn compressed_names(plain: &Path) -> (PathBuf, PathBuf) {
    let with = |ending: &OsStr| {
        let mut name = plain.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    (with(OsStr::new(".gz")), with(OsStr::new(HALF)))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::file::tests::Folder;
    use super::*;

    #[test]
    fn names_go_up_although_the_clock_goes_back() {
        let folder = Folder::new();
        let file = folder.path("a.log");
        let now = UNIX_EPOCH + Duration::from_secs(1_795_385_465);
        let mut last = None;
        for (number, back) in [0, 0, 3600].into_iter().enumerate() {
            fs::write(&file, number.to_string()).unwrap();
            let now = now - Duration::from_secs(back);
            last = Some(set_aside(&file, now, last.as_deref()).unwrap());
        }
        let archives = archives_of(&file);
        let texts = archives.iter().map(|archive| fs::read_to_string(&archive.path).unwrap());
        assert_eq!(texts.collect::<String>(), "012");
        assert_eq!(archives[0].stamp, "20261122T221105.000Z");
    }

    #[test]
    fn a_name_that_is_taken_is_not_replaced() {
        let folder = Folder::new();
        let file = folder.path("a.log");
        let taken = folder.path("a.log.20261122T221105.000Z");
        fs::write(&taken, "old").unwrap();
        fs::write(&file, "new").unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_795_385_465);
        assert_eq!(set_aside(&file, now, None).unwrap(), "20261122T221105.001Z");
        assert_eq!(fs::read_to_string(taken).unwrap(), "old");
    }

    #[test]
    fn only_what_tine_set_aside_of_this_file_is_an_archive_of_it() {
        let folder = Folder::new();
        for name in [
            "a.log",
            "a.log.1",
            "a.log.20261122T221105.000Z",
            "a.log.20261122T221105.000Z.gz",
            "a.log.20261122T221106.000Z.gz",
            "a.log.20261122T221107.000Z.gz.tmp",
            "aa.log.20261122T221105.000Z",
            "a-3.log.20261122T221104.000Z",
        ] {
            fs::write(folder.path(name), "").unwrap();
        }
        let found = archives_of(&folder.path("a.log"));
        let stamps: Vec<_> =
            found.iter().map(|archive| (archive.stamp.as_str(), archive.compressed)).collect();
        assert_eq!(stamps, [("20261122T221105.000Z", true), ("20261122T221106.000Z", true)]);

        let mut settings = super::super::file::tests::settings(&folder);
        settings.out = Some(folder.path("a.log"));
        assert_eq!(archives_of_app(&settings).len(), 4);
        assert_eq!(half_done(&settings), [folder.path("a.log.20261122T221107.000Z.gz.tmp")]);
    }
}
