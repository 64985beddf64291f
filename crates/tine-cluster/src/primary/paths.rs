//! UNIX paths: one socket, which all workers share.
//!
//! Programs tidy up: they unlink a stale file before they bind, and their own when they leave. With N
//! workers both would cut the others off, for a socket is found by its file. So the first bind also
//! makes a hidden second link to the file, from which the name is restored.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt, fs::PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{io::Errno, net::SocketFlags, process::Pid};
use tine_linux::{foreign, place::Place};

use super::{
    caller::CallersSocket,
    probe::errno,
    records::FileRecord,
    task::Task,
    trap::{Answer, Asked},
};
use crate::{
    address::{Endpoint, ListenKey, Transport},
    core::registry::Claim,
    id::{SeatId, WorkerId},
    policy::Acquisition,
};

/// The files of a cluster's sockets.
#[derive(Debug, Default)]
pub(super) struct Paths {
    files: BTreeMap<SeatId, File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    hidden: PathBuf,
    /// Device and inode: whether what is there is still this socket's.
    identity: (u64, u64),
}

impl Paths {
    /// The seat's socket has this file.
    fn remember(&mut self, seat: SeatId, file: Option<File>) {
        if let Some(file) = file {
            self.files.insert(seat, file);
        }
    }

    /// Puts the name back if it was removed. Whether the name is the socket's then.
    fn restore(&self, seat: SeatId) -> bool {
        let Some(file) = self.files.get(&seat) else { return true };
        match identity(&file.path) {
            Ok(found) => found == file.identity,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::hard_link(&file.hidden, &file.path).is_ok()
            }
            Err(_) => false,
        }
    }

    /// The socket is closed: nobody could connect to its file any more.
    pub(super) fn forget(&mut self, seat: SeatId) {
        if let Some(file) = self.files.remove(&seat) {
            file.remove();
        }
    }
}

impl Paths {
    /// For a successor.
    pub(super) fn record(&self) -> Vec<FileRecord> {
        let record = |(seat, file): (&SeatId, &File)| FileRecord {
            seat: *seat,
            path: file.path.clone(),
            hidden: file.hidden.clone(),
            identity: file.identity,
        };
        self.files.iter().map(record).collect()
    }

    /// From a predecessor.
    pub(super) fn adopt(&mut self, records: Vec<FileRecord>) {
        for FileRecord { seat, path, hidden, identity } in records {
            self.files.insert(seat, File { path, hidden, identity });
        }
    }

    /// They stay where they are.
    pub(super) fn leave(&mut self) {
        self.files.clear();
    }
}

impl Drop for Paths {
    fn drop(&mut self) {
        self.files.values().for_each(File::remove);
    }
}

impl File {
    /// The file of a socket that was bound to this path just now. `None`: it is gone already, unlinked
    /// by another worker that tidied up before its own bind; nobody can find the socket.
    fn of(path: &Path) -> Option<Self> {
        let hidden = hidden_name(path);
        // Left by a manager that had this pid before.
        let _ = fs::remove_file(&hidden);
        // Where there are no hard links nothing can be restored; everything else works.
        let linked = fs::hard_link(path, &hidden);
        let identity = identity(if linked.is_ok() { &hidden } else { path }).ok()?;
        Some(Self { path: path.to_owned(), hidden, identity })
    }

    fn remove(&self) {
        // What was removed already need not be.
        let _ = fs::remove_file(&self.hidden);
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// `.NAME.tine-PID` beside it.
fn hidden_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let own = format!(".tine-{}", rustix::process::getpid());
    path.with_file_name([OsStr::new("."), name, OsStr::new(&own)].join(OsStr::new("")))
}

/// The path as everybody would name it: absolute, and without links in its directory.
fn resolve(process: Pid, path: &[u8]) -> io::Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(path));
    let absolute = fs::read_link(foreign::working_directory(process))?.join(path);
    let name = absolute.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let directory = absolute.parent().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(fs::canonicalize(directory)?.join(name))
}

impl Task {
    pub(super) fn bind_path(&mut self, asked: Asked<'_>, path: &[u8], bytes: &[u8]) -> Answer {
        let process = asked.caller.process.pid();
        // In another root the same path is another file.
        if !foreign::shares_root(process).unwrap_or(false) {
            return Answer::Pass;
        }
        // A directory that is not there: the kernel has the right words for it.
        let Ok(path) = resolve(process, path) else { return Answer::Pass };
        let transport = asked.socket.transport;
        let key = ListenKey { transport, endpoint: Endpoint::Path(path.clone()) };
        match self.seats.claim(&key, asked.worker) {
            Claim::First | Claim::Join(_) => {
                let bind = |socket: BorrowedFd<'_>| -> io::Result<Bound> {
                    Place::of(process)?.bind(socket, bytes)?;
                    Ok(File::of(&path).map_or(Bound::Lost, |file| Bound::Here(Some(file))))
                };
                let result = self.bind_unix(asked, &key, bind);
                let result = result.map(|seat| self.bound(asked.worker, seat));
                if let Err(errno) = result {
                    self.refused(asked.worker, key, errno);
                }
                Answer::Result(result)
            }
            Claim::Take(seat) | Claim::Mine(seat) => self.share_path(asked, seat),
        }
    }

    /// The path is a seat's already: its socket is shared, unless something else lies there now, or
    /// the worker has it open and wants a second one.
    fn share_path(&mut self, asked: Asked<'_>, seat: SeatId) -> Answer {
        let known = self.seats.registry().seat(seat);
        let given = known.is_some_and(|seat| seat.holders.contains(&asked.worker));
        let held = given && self.still_holds(asked.worker, seat);
        if held || !self.paths.restore(seat) {
            return Answer::Pass;
        }
        Answer::Result(self.share(asked, seat))
    }

    pub(super) fn bind_abstract(
        &mut self,
        asked: Asked<'_>,
        name: Vec<u8>,
        bytes: &[u8],
    ) -> Answer {
        let transport = asked.socket.transport;
        let key = ListenKey { transport, endpoint: Endpoint::Abstract(name) };
        match self.seats.claim(&key, asked.worker) {
            Claim::First | Claim::Join(_) => {
                let bind = |socket: BorrowedFd<'_>| {
                    tine_linux::socket::bind_raw(socket, bytes).map(|()| Bound::Here(None))
                };
                let result = self.bind_unix(asked, &key, bind);
                let result = result.map(|seat| self.bound(asked.worker, seat));
                if let Err(errno) = result {
                    self.refused(asked.worker, key, errno);
                }
                Answer::Result(result)
            }
            Claim::Take(seat) | Claim::Mine(seat) => self.share_path(asked, seat),
        }
    }

    /// Binds the caller's socket, or one in its place, and makes it the listener's only seat.
    fn bind_unix(
        &mut self,
        asked: Asked<'_>,
        key: &ListenKey,
        bind: impl Fn(BorrowedFd<'_>) -> io::Result<Bound>,
    ) -> Result<SeatId, Errno> {
        if asked.socket.transport != key.transport || !is_unix(asked.socket) {
            return Err(Errno::INVAL);
        }
        let (fd, file) = bind_somehow(asked.socket, bind)?;
        let listener = self.new_listener(asked.worker, key, Acquisition::BindTrap)?;
        if !fd.is_callers {
            let put = self.put(asked, fd.socket.as_fd());
            put.inspect_err(|_| self.seats.forget_if_empty(listener))?;
        }
        let seat = self.new_seat(asked.worker, listener, fd.socket)?;
        self.paths.remember(seat, file);
        self.was_bound(asked, seat);
        Ok(seat)
    }

    /// Binds a path that a worker asked for over its channel.
    pub(super) fn bind_new_path(
        &mut self,
        worker: WorkerId,
        by: Acquisition,
        path: &Path,
        add_mode: u32,
    ) -> Result<SeatId, Errno> {
        let pid = self.workers.get(&worker).map(super::worker::Worker::pid).ok_or(Errno::SRCH)?;
        let transport = Transport::UnixStream;
        let resolved = resolve(pid, path.as_os_str().as_bytes()).map_err(errno)?;
        let key = ListenKey { transport, endpoint: Endpoint::Path(resolved.clone()) };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let family = rustix::net::AddressFamily::UNIX;
        let kind = rustix::net::SocketType::STREAM;
        let socket = rustix::net::socket_with(family, kind, flags, None)?;
        let bound = Place::of(pid).and_then(|place| place.bind_path(socket.as_fd(), path));
        if let Err(error) = bound {
            let errno = errno(error);
            self.refused(worker, key, errno);
            return Err(errno);
        }
        add_permissions(&resolved, add_mode).map_err(errno)?;
        let listener = self.new_listener(worker, &key, by)?;
        let seat = self.new_seat(worker, listener, socket)?;
        self.paths.remember(seat, File::of(&resolved));
        Ok(seat)
    }

    /// Names that a leaving worker removed are put back for the others.
    pub(super) fn restore_paths(&self) {
        for seat in self.paths.files.keys() {
            let holders = self.seats.registry().seat(*seat).map(|seat| &seat.holders);
            let serves = |id: &WorkerId| self.workers.get(id).is_some_and(|w| w.life.serves());
            if holders.is_some_and(|holders| holders.iter().any(serves)) {
                self.paths.restore(*seat);
            }
        }
    }
}

/// What became of a bind.
enum Bound {
    /// The socket can be found, by its file if it has one.
    Here(Option<File>),
    /// Its file is gone already.
    Lost,
}

/// A bound socket.
struct BoundSocket {
    socket: OwnedFd,
    /// It is a duplicate of the caller's own.
    is_callers: bool,
}

/// How often a name that others unlink is fought for. Each of them unlinks it once.
const ATTEMPTS: usize = 64;

/// Binds the caller's socket; where it is out of reach, or has lost its name in the same moment, a new
/// one that is to take its place.
fn bind_somehow(
    callers: &CallersSocket,
    bind: impl Fn(BorrowedFd<'_>) -> io::Result<Bound>,
) -> Result<(BoundSocket, Option<File>), Errno> {
    let own = callers.own.as_ref().map(|own| own.try_clone().map_err(errno)).transpose()?;
    let mut next = own.map(|socket| BoundSocket { socket, is_callers: true });
    for _ in 0..ATTEMPTS {
        let bound = match next.take() {
            Some(own) => own,
            None => BoundSocket { socket: callers.another().map_err(errno)?, is_callers: false },
        };
        if let Bound::Here(file) = bind(bound.socket.as_fd()).map_err(errno)? {
            return Ok((bound, file));
        }
    }
    Err(Errno::ADDRINUSE)
}

const fn is_unix(socket: &CallersSocket) -> bool {
    match socket.transport {
        Transport::UnixStream | Transport::UnixSeqPacket | Transport::UnixDatagram => true,
        Transport::Tcp | Transport::Udp => false,
    }
}

fn add_permissions(path: &Path, add: u32) -> io::Result<()> {
    if add == 0 {
        return Ok(());
    }
    let mut permissions = fs::metadata(path)?.permissions();
    permissions.set_mode(permissions.mode() | add);
    fs::set_permissions(path, permissions)
}
