//! Keeps what was set aside within its limits, and compresses it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use flate2::{Compression, GzBuilder};
use rustix::fs::{FlockOperation, flock};
use rustix::process::setpriority_process;

use super::LogSettings;
use super::archive::{Archive, archives_of_app, compressed_names, half_done, is_of_base};
use super::settings::halves;

/// Logs shrink to a tenth already at this level; higher ones take twice as long for little more.
const LEVEL: u32 = 3;

/// So often an archive is looked at that somebody still holds.
const TRIES: u32 = 10;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Removes the oldest archives of one file until there are no more than so many.
pub(super) fn prune_file(archives: Vec<Archive>, keep: u32) -> io::Result<()> {
    let over = archives.len().saturating_sub(keep as usize);
    archives.into_iter().take(over).try_for_each(|archive| remove(&archive.path))
}

/// Removes the oldest archives of an app until all of its files fit into its total.
pub(super) fn prune_app(settings: &LogSettings) -> io::Result<()> {
    let total = settings.rotation.total;
    if total == 0 {
        return Ok(());
    }
    let archives = archives_of_app(settings);
    let set_aside: u64 = archives.iter().map(|archive| archive.size).sum();
    let mut all = set_aside + current_sizes(settings);
    for archive in archives {
        if all <= total {
            break;
        }
        remove(&archive.path)?;
        all -= archive.size;
    }
    Ok(())
}

/// Whether there is anything for [`keep`] to do.
pub(super) fn is_wanted(settings: &LogSettings) -> bool {
    let plain = |archive: &Archive| !archive.compressed;
    !half_done(settings).is_empty()
        || (settings.rotation.compress && archives_of_app(settings).iter().any(plain))
}

/// Compresses what is not yet compressed, the oldest first, behind all other work of the machine; and
/// before that takes away what a crash left half done.
///
/// # Errors
///
/// The path that was worked on. What was to be compressed is still there then, as it was.
pub(super) fn keep(settings: &LogSettings) -> Result<(), (PathBuf, io::Error)> {
    // Without it the work is done all the same.
    let _ = setpriority_process(Some(rustix::thread::gettid()), 19);
    for half in half_done(settings) {
        remove(&half).map_err(|error| (half, error))?;
    }
    if !settings.rotation.compress {
        return Ok(());
    }
    // What is set aside meanwhile is the next keeper's.
    for archive in archives_of_app(settings).into_iter().filter(|archive| !archive.compressed) {
        match compress(&archive.path) {
            // It was too old to be kept.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(|error| (archive.path, error))?,
        }
    }
    Ok(())
}

fn compress(plain: &Path) -> io::Result<()> {
    let mut from = File::open(plain)?;
    if !is_let_go(&from) {
        // Another app writes to the same file and does not know yet that it was set aside.
        return Ok(());
    }
    let (compressed, half) = compressed_names(plain);
    if !compressed.exists() {
        let packed = pack(&mut from, &half).and_then(|()| fs::rename(&half, &compressed));
        packed.inspect_err(|_| drop(fs::remove_file(&half)))?;
    }
    // Without this a file that was removed as too old meanwhile would come back.
    fs::remove_file(plain).inspect_err(|_| drop(fs::remove_file(&compressed)))
}

/// A worker that is started just now has every file of ours, locks included, until its exec(2): so who
/// holds it may let go at once.
fn is_let_go(file: &File) -> bool {
    (0..TRIES).any(|before| {
        if before > 0 {
            thread::sleep(PAUSE);
        }
        flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

/// The whole file, on disk before the plain one goes, and as old as that.
fn pack(from: &mut File, half: &Path) -> io::Result<()> {
    let to = File::options().write(true).create(true).truncate(true).mode(0o600).open(half)?;
    let mut gzip = GzBuilder::new().write(BufWriter::new(to), Compression::new(LEVEL));
    io::copy(from, &mut gzip)?;
    let mut to = gzip.finish()?;
    to.flush()?;
    let to = to.into_inner().map_err(io::IntoInnerError::into_error)?;
    to.set_modified(from.metadata()?.modified()?)?;
    to.sync_all()
}

fn current_sizes(settings: &LogSettings) -> u64 {
    let sizes = settings.bases().into_iter().flat_map(|base| {
        let (stem, extension) = halves(base);
        let folder = base.parent().map(fs::read_dir).into_iter().flatten().flatten().flatten();
        folder.filter_map(move |entry| {
            let name = entry.file_name().into_string().ok()?;
            let of_app = is_of_base(&name, &stem, &extension);
            of_app.then(|| entry.metadata().ok()).flatten().map(|metadata| metadata.len())
        })
    });
    sizes.sum()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::MultiGzDecoder;

    use super::super::archive::archives_of;
    use super::super::file::tests::{Folder, settings};
    use super::*;

    fn stamped(folder: &Folder, second: u32) -> PathBuf {
        folder.path(&format!("app-out.log.20261122T2211{second:02}.000Z"))
    }

    #[test]
    fn what_was_set_aside_is_compressed_whole_and_keeps_its_time() {
        let folder = Folder::new();
        let plain = stamped(&folder, 5);
        let text = "a line of a log\n".repeat(10_000);
        fs::write(&plain, &text).unwrap();
        let modified = fs::metadata(&plain).unwrap().modified().unwrap();
        keep(&settings(&folder)).unwrap();

        assert!(!plain.exists() && !is_wanted(&settings(&folder)));
        let compressed = File::open(compressed_names(&plain).0).unwrap();
        assert_eq!(compressed.metadata().unwrap().modified().unwrap(), modified);
        let mut unpacked = String::new();
        MultiGzDecoder::new(compressed).read_to_string(&mut unpacked).unwrap();
        assert!(unpacked == text);
    }

    #[test]
    fn what_a_crash_left_half_compressed_is_made_anew() {
        let folder = Folder::new();
        let (plain, done) = (stamped(&folder, 5), stamped(&folder, 6));
        fs::write(&plain, "text\n").unwrap();
        fs::write(compressed_names(&plain).1, [0x1f, 0x8b, 8]).unwrap();
        // Killed after the rename: both are there, and the compressed one is whole.
        fs::write(&done, "more\n").unwrap();
        fs::write(compressed_names(&done).0, "packed").unwrap();
        keep(&settings(&folder)).unwrap();

        assert!(half_done(&settings(&folder)).is_empty());
        let archives = archives_of(&folder.path("app-out.log"));
        assert!(archives.len() == 2 && archives.iter().all(|archive| archive.compressed));
        assert_eq!(fs::read(&archives[1].path).unwrap(), b"packed");
    }

    #[test]
    fn a_file_that_somebody_still_writes_to_is_left_alone() {
        let folder = Folder::new();
        let plain = stamped(&folder, 5);
        fs::write(&plain, "text\n").unwrap();
        let writer = File::open(&plain).unwrap();
        flock(&writer, FlockOperation::LockShared).unwrap();
        keep(&settings(&folder)).unwrap();
        assert!(plain.exists());
        drop(writer);
        keep(&settings(&folder)).unwrap();
        assert!(!plain.exists());
    }

    #[test]
    fn the_oldest_go_first_when_there_are_too_many_or_they_are_too_large() {
        let folder = Folder::new();
        for second in 0..6 {
            fs::write(stamped(&folder, second), [b'x'; 100]).unwrap();
        }
        let file = folder.path("app-out.log");
        prune_file(archives_of(&file), 5).unwrap();
        assert_eq!(archives_of(&file)[0].path, stamped(&folder, 1));
        fs::write(&file, [b'x'; 50]).unwrap();
        let mut settings = settings(&folder);
        settings.rotation.total = 260;
        prune_app(&settings).unwrap();
        let left: Vec<_> = archives_of(&file).into_iter().map(|archive| archive.path).collect();
        assert_eq!(left, [stamped(&folder, 4), stamped(&folder, 5)]);
    }
}
