//! Files that are there as a whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

use super::{Saved, VERSION};
use crate::daemon::events::now;

/// A list that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum StateError {
    /// It is there and cannot be read.
    #[error("read {}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What it says has no sense any more.
    #[error("{} cannot be understood ({reason}), and was set aside as {}", path.display(), aside.display())]
    Broken {
        /// Which file.
        path: PathBuf,
        /// Where it is now.
        aside: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It was written by a later tine.
    #[error(
        "{} was written by a newer tine (version {version} of the list, this one reads up to {VERSION}): \
         use that tine, or move the file away",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Of the list.
        version: u32,
    },
}

#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// What the file says; `None` if there is none.
pub(in crate::daemon) fn read(path: &Path) -> Result<Option<Saved>, StateError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::Io { path: path.to_owned(), source }),
    };
    let head: Head = serde_json::from_slice(&bytes).map_err(|error| broken(path, &error))?;
    if head.version > VERSION {
        return Err(StateError::Newer { path: path.to_owned(), version: head.version });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| broken(path, &error))
}

fn broken(path: &Path, error: &serde_json::Error) -> StateError {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".broken-{}", now()));
    let aside = PathBuf::from(aside);
    let reason = error.to_string();
    match fs::rename(path, &aside) {
        Ok(()) => StateError::Broken { path: path.to_owned(), aside, reason },
        Err(source) => StateError::Io { path: path.to_owned(), source },
    }
}

/// Puts it in place of what was there: readable by its owner only, and on the disk when this returns.
pub(in crate::daemon) fn replace(path: &Path, saved: &Saved) -> io::Result<()> {
    let new = written(path, saved)?;
    fs::rename(new, path)?;
    settle(path)
}

/// Likewise, and keeps what was there.
pub(in crate::daemon) fn replace_keeping(path: &Path, old: &Path, saved: &Saved) -> io::Result<()> {
    let new = written(path, saved)?;
    match fs::rename(path, old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(new, path)?;
    settle(path)
}

fn written(path: &Path, saved: &Saved) -> io::Result<PathBuf> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut options = OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&new)?;
    let bytes = serde_json::to_vec(saved)?;
    let result = file.write_all(&bytes).and_then(|()| file.sync_all());
    if result.is_err() {
        // On a full disk half of it takes room that others need.
        let _ = fs::remove_file(&new);
    }
    result.map(|()| new)
}

/// The directory has to be written too.
fn settle(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Whether there was one.
pub(in crate::daemon) fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
