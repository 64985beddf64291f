//! Binds a UNIX path as another process would: from its working directory, with its umask, and the
//! file belonging to its user.
//!
//! The three are attributes of a thread, once it has left the set that threads share
//! (`unshare(CLONE_FS)`); so a short-lived thread takes them on, and nobody else notices.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    fs::{Mode, OFlags},
    process::Pid,
};

use crate::{foreign, socket};

/// Where and as whom a path is bound.
#[derive(Clone, Debug)]
pub struct Place {
    directory: PathBuf,
    umask: u32,
    user: u32,
    group: u32,
}

/// `sun_path` has 108 bytes, the last of them for the zero (unix(7)).
const LONGEST_PATH: usize = 107;

/// `struct sockaddr_un`.
fn unix_address(path: &OsStr) -> Vec<u8> {
    let family = libc::sa_family_t::try_from(libc::AF_UNIX).expect("a small constant");
    [&family.to_ne_bytes()[..], path.as_bytes(), &[0]].concat()
}

impl Place {
    /// The place of that process now.
    ///
    /// # Errors
    ///
    /// When it is gone, or not ours to look at.
    pub fn of(process: Pid) -> io::Result<Self> {
        let (user, group) = foreign::filesystem_ids(process)?;
        let directory = foreign::working_directory(process);
        Ok(Self { directory, umask: foreign::umask(process)?, user, group })
    }

    /// `bind(2)` — binds `socket` to `address` as seen from this place.
    ///
    /// # Errors
    ///
    /// As `bind(2)` tells, or `chdir(2)` when the directory is gone.
    pub fn bind(&self, socket: BorrowedFd<'_>, address: &[u8]) -> io::Result<()> {
        let attempt = || -> io::Result<()> {
            self.take_on()?;
            socket::bind_raw(socket, address)
        };
        thread::scope(|scope| {
            let thread =
                thread::Builder::new().name("place".into()).spawn_scoped(scope, attempt)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the binding thread panicked")))
        })
    }

    /// Binds `socket` to a path, however long: what does not fit into an address is bound from its
    /// own directory, and then `getsockname` shows the last part only.
    ///
    /// # Errors
    ///
    /// As `bind(2)` and `chdir(2)` tell.
    pub fn bind_path(&self, socket: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
        if path.as_os_str().len() <= LONGEST_PATH {
            return self.bind(socket, &unix_address(path.as_os_str()));
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let directory = self.directory.join(path.parent().unwrap_or(path));
        let place = Self { directory, ..self.clone() };
        place.bind(socket, &unix_address(name))
    }

    /// Makes this place the calling thread's own.
    fn take_on(&self) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.directory, flags, Mode::empty())?;
        // SAFETY: `CLONE_FS` alone: the thread gets a copy of directory, root and umask; no memory
        // and no descriptors are unshared.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }?;
        rustix::process::fchdir(directory.as_fd())?;
        rustix::process::umask(Mode::from_raw_mode(self.umask));
        self.become_owner();
        Ok(())
    }

    /// Files made by this thread belong to the other process's user, where that is another one and
    /// this process may say so. `setfsuid(2)` reports no errors; without the right it does nothing,
    /// and without the right the other process could not run as another user either.
    fn become_owner(&self) {
        // SAFETY: takes a number; changes the calling thread only.
        unsafe { libc::setfsgid(self.group) };
        // SAFETY: takes a number; changes the calling thread only.
        unsafe { libc::setfsuid(self.user) };
    }
}
