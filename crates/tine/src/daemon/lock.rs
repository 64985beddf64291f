//! One manager for each home.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::home::RunDir;

/// A manager that is just ending gets so long to be gone.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Held as long as the manager or its watchdog lives: the kernel lets go of it whatever their end.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Goes on with the lock of the manager before.
pub(super) fn inherit(directory: &RunDir, descriptor: OwnedFd) -> anyhow::Result<Lock> {
    let mut file = File::from(descriptor);
    let path = directory.daemon_lock();
    write_pid(&mut file).with_context(|| format!("write to {}", path.display()))?;
    Ok(Lock { file })
}

/// Takes the lock of this home, and writes the own pid into it.
pub(super) fn take(directory: &RunDir) -> anyhow::Result<Lock> {
    let path = directory.daemon_lock();
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
    let mut file = file.with_context(|| format!("open the lock {}", path.display()))?;
    let until = Instant::now() + PATIENCE;
    while !try_lock(&file).with_context(|| format!("lock {}", path.display()))? {
        if std::os::unix::net::UnixStream::connect(directory.daemon_socket()).is_ok() {
            bail!("a manager runs already, with pid {}", holder(&mut file));
        }
        if Instant::now() > until {
            bail!(
                "a manager with pid {} has the lock of this home and does not answer: end it first",
                holder(&mut file)
            );
        }
        sleep(LOOK_AGAIN);
    }
    write_pid(&mut file).with_context(|| format!("write to {}", path.display()))?;
    Ok(Lock { file })
}

fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn holder(file: &mut File) -> String {
    let mut pid = String::new();
    let _ = file.read_to_string(&mut pid);
    pid.trim().to_owned()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
