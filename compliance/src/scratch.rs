//! A folder that one run has for itself, and that an ordinary user can read.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::build;
use crate::spawn;
use crate::who::{NOBODY, Who};

/// The folder; removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// An empty folder but for copies of the hello servers, owned by `who`.
    pub(crate) fn new(who: Who) -> io::Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/tine-test-{}-{count}", process::id()));
        fs::create_dir(&path)?;
        let scratch = Self { path };
        fs::set_permissions(&scratch.path, fs::Permissions::from_mode(0o755))?;
        if who.drops_rights() {
            chown(&scratch.path, Some(NOBODY), Some(NOBODY))?;
        }
        for entry in fs::read_dir(build::servers())? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                scratch.copy(&entry.path())?;
            }
        }
        Ok(scratch)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A name that no other run has.
    pub(crate) fn mark(&self) -> String {
        self.path.display().to_string()
    }

    /// Puts a file or a whole folder here, under its own name, readable by all.
    pub(crate) fn copy(&self, from: &Path) -> io::Result<PathBuf> {
        let to = self.path.join(from.file_name().expect("a file to copy has a name"));
        copy_tree(from, &to)?;
        Ok(to)
    }

    /// Writes a file, of mode 755 so that it may be a script.
    pub(crate) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.path.join(name);
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            fs::create_dir(folder)?;
            open_to_all(folder)?;
        }
        fs::write(&path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // At worst a few files stay in /tmp.
        drop(fs::remove_dir_all(&self.path));
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        copy_file(from, to)?;
        return open_to_all(to);
    }
    fs::create_dir(to)?;
    open_to_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy_tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// What can be executed is copied by cp(1): a child that another thread of this process forks meanwhile
/// would hold a file that we write, and until its own exec whoever executes that file is told `ETXTBSY`.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    if fs::metadata(from)?.permissions().mode() & 0o111 == 0 {
        return fs::copy(from, to).map(drop);
    }
    let status = spawn::spawn(Command::new("cp").arg("--").args([from, to]))?.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("cp: {status}"))) }
}

/// What its owner may read and execute, all may.
fn open_to_all(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode | (mode & 0o500) >> 6))
}
