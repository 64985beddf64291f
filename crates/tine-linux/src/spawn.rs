//! Starts a program: everything that happens between `fork` and `execve`.
//!
//! The parent prepares all memory; the child, which may share its memory image with threads that
//! hold locks, makes system calls only. What goes wrong in the child is told to the parent with the
//! step and the error; the parent never has a child that is half set up.

mod child;
mod rights;

pub use rights::User;

use std::{
    ffi::{CString, NulError, OsStr},
    fmt, io,
    io::Read,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
        unix::net::UnixStream,
    },
    path::Path,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal},
};
use thiserror::Error;

use crate::{
    process::Process,
    seccomp::{Listener, Trap},
};
use child::Plan;
use rights::Rights;

/// A program to start. Environment and descriptors are given whole: nothing is inherited unasked.
#[derive(Debug)]
pub struct Spawn<'a> {
    program: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    directory: Option<CString>,
    fds: Vec<(BorrowedFd<'a>, u32)>,
    trap: Option<Trap>,
    cgroup: Option<BorrowedFd<'a>>,
    dies_with_parent: Option<Signal>,
    listen_pid: bool,
    rights: Rights,
}

/// A started program.
#[derive(Debug)]
#[must_use = "a child that nobody holds is never waited for"]
pub struct Spawned {
    /// The new process, leader of a session of its own.
    pub process: Process,
    /// Where its trapped calls arrive, if a trap was asked for.
    pub listener: Option<Listener>,
}

/// A step of the child, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// `setsid(2)`.
    Session = 1,
    /// `prctl(PR_SET_PDEATHSIG)`.
    ParentDeath = 2,
    /// Beginning in the cgroup.
    Cgroup = 3,
    /// `dup2(2)` of the descriptors into their places.
    Descriptors = 4,
    /// `chdir(2)`.
    Directory = 5,
    /// `prctl(PR_SET_NO_NEW_PRIVS)`.
    NoNewPrivileges = 6,
    /// `seccomp(2)`.
    Filter = 7,
    /// Sending the filter's listener to the parent.
    SendListener = 8,
    /// `execve(2)`.
    Execute = 9,
    /// `setrlimit(2)`.
    Limits = 10,
    /// `setgroups(2)`, `setresgid(2)` and `setresuid(2)`.
    User = 11,
    /// `setpriority(2)`.
    Priority = 12,
}

/// Why a program was not started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// A descriptor or process could not be made.
    #[error("{doing}")]
    Prepare {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The child failed before it became the program.
    #[error("{step}")]
    Child {
        /// How far it came.
        step: Step,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl Clone for SpawnError {
    /// `io::Error` has no copy: of one that is no number of the kernel's, kind and words are kept.
    fn clone(&self) -> Self {
        let copy = |error: &io::Error| match error.raw_os_error() {
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::new(error.kind(), error.to_string()),
        };
        match self {
            Self::Prepare { doing, source } => Self::Prepare { doing, source: copy(source) },
            Self::Child { step, source } => Self::Child { step: *step, source: copy(source) },
        }
    }
}

impl SpawnError {
    /// The step at which the child failed, if it came so far.
    #[must_use]
    pub const fn step(&self) -> Option<Step> {
        match self {
            Self::Child { step, .. } => Some(*step),
            Self::Prepare { .. } => None,
        }
    }
}

impl<'a> Spawn<'a> {
    /// The file to execute; no search in `PATH`. Its name is the first argument as well, until
    /// [`Self::arg0`] changes that.
    ///
    /// # Errors
    ///
    /// When the path has a zero byte.
    pub fn new(program: &Path) -> Result<Self, NulError> {
        let program = CString::new(program.as_os_str().as_bytes())?;
        Ok(Self {
            args: vec![program.clone()],
            program,
            env: Vec::new(),
            directory: None,
            fds: Vec::new(),
            trap: None,
            cgroup: None,
            dies_with_parent: None,
            listen_pid: false,
            rights: Rights::default(),
        })
    }

    /// Adds an argument.
    ///
    /// # Errors
    ///
    /// When it has a zero byte.
    pub fn arg(&mut self, arg: &OsStr) -> Result<&mut Self, NulError> {
        self.args.push(CString::new(arg.as_bytes())?);
        Ok(self)
    }

    /// What the program shall think it is called: `argv[0]`.
    ///
    /// # Errors
    ///
    /// When it has a zero byte.
    pub fn arg0(&mut self, name: &OsStr) -> Result<&mut Self, NulError> {
        self.args[0] = CString::new(name.as_bytes())?;
        Ok(self)
    }

    /// Adds a variable to the environment, which begins empty.
    ///
    /// # Errors
    ///
    /// When name or value have a zero byte.
    pub fn env(&mut self, name: &OsStr, value: &OsStr) -> Result<&mut Self, NulError> {
        self.env.push(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?);
        Ok(self)
    }

    /// The working directory; the parent's own when not said.
    ///
    /// # Errors
    ///
    /// When the path has a zero byte.
    pub fn directory(&mut self, path: &Path) -> Result<&mut Self, NulError> {
        self.directory = Some(CString::new(path.as_os_str().as_bytes())?);
        Ok(self)
    }

    /// Lets the program have `fd` under this number. Each number may be given once.
    pub fn fd(&mut self, fd: BorrowedFd<'a>, number: u32) -> &mut Self {
        self.fds.push((fd, number));
        self
    }

    /// Installs the bind trap; the program and its children run under it for good.
    ///
    /// Sets `no_new_privs` unless this process has `CAP_SYS_ADMIN`, as `seccomp(2)` demands; the
    /// program's own setuid helpers then stop working.
    pub fn trap(&mut self, trap: Trap) -> &mut Self {
        self.trap = Some(trap);
        self
    }

    /// Lets the program be born in a cgroup: its open directory. To move it there later would make the
    /// kernel wait for all processors, some ten milliseconds.
    pub fn cgroup(&mut self, directory: BorrowedFd<'a>) -> &mut Self {
        self.cgroup = Some(directory);
        self
    }

    /// The kernel sends this signal to the program when the **thread** that started it ends
    /// (`PR_SET_PDEATHSIG`): only for callers whose starting thread lives as long as they do.
    pub fn dies_with_parent(&mut self, signal: Signal) -> &mut Self {
        self.dies_with_parent = Some(signal);
        self
    }

    /// Sets `LISTEN_PID` to the program's own pid, as `sd_listen_fds(3)` demands.
    pub fn listen_pid(&mut self) -> &mut Self {
        self.listen_pid = true;
        self
    }

    /// Forks, sets the child up and executes the program. Returns when the program runs.
    ///
    /// # Errors
    ///
    /// With the step that failed; then there is no child.
    pub fn start(&self) -> Result<Spawned, SpawnError> {
        let (mut ours, theirs) = UnixStream::pair().map_err(prepare("make a socket pair"))?;
        let mut plan = Plan::new(self, &theirs).map_err(prepare("number the descriptors"))?;
        let process = plan.fork()?;
        drop(theirs);
        // The child speaks only if a trap was asked for or something failed; end of file means that
        // the program has taken over.
        let told = receive(&mut ours);
        match told {
            Ok(Told { failure: None, listener }) => finish(process, listener, self.trap.is_some()),
            Ok(Told { failure: Some((step, errno)), .. }) => {
                reap(&process);
                Err(SpawnError::Child { step, source: errno.into() })
            }
            Err(source) => {
                reap(&process);
                Err(SpawnError::Prepare { doing: "hear from the child", source })
            }
        }
    }
}

fn prepare(doing: &'static str) -> impl FnOnce(io::Error) -> SpawnError {
    move |source| SpawnError::Prepare { doing, source }
}

fn finish(
    process: Process,
    listener: Option<OwnedFd>,
    wanted: bool,
) -> Result<Spawned, SpawnError> {
    let listener = match listener {
        Some(fd) => Some(Listener::new(fd).map_err(prepare("ask for notification sizes"))?),
        // The child ended between two steps without a word: somebody killed it. It is a child that
        // has ended like any other, and its parent will find that out by waiting for it.
        None if wanted => None,
        None => None,
    };
    Ok(Spawned { process, listener })
}

/// Waits for a child that has failed and is about to exit, or has exited.
fn reap(process: &Process) {
    let _ = process.signal(Signal::KILL);
    let options = rustix::process::WaitIdOptions::EXITED;
    let _ = rustix::process::waitid(rustix::process::WaitId::Pid(process.pid()), options);
}

/// What the child said before it became the program.
struct Told {
    listener: Option<OwnedFd>,
    failure: Option<(Step, Errno)>,
}

fn receive(from: &mut UnixStream) -> io::Result<Told> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
    let mut first = [0u8; 1];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::io::retry_on_intr(|| {
        recvmsg(
            &*from,
            &mut [io::IoSliceMut::new(&mut first)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    if got.flags.contains(ReturnFlags::CTRUNC) {
        // Our own table of descriptors is full: without its listener the program would run untrapped.
        return Err(Errno::MFILE.into());
    }
    let listener = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let mut rest = Vec::new();
    if listener.is_none() {
        rest.extend_from_slice(&first[..got.bytes]);
    }
    from.read_to_end(&mut rest)?;
    Ok(Told { listener, failure: failure_in(&rest) })
}

/// Reads the five bytes of a failure: step and errno.
fn failure_in(bytes: &[u8]) -> Option<(Step, Errno)> {
    let [step, errno @ ..] = bytes else { return None };
    let errno = i32::from_ne_bytes(errno.try_into().ok()?);
    Some((Step::from_byte(*step)?, Errno::from_raw_os_error(errno)))
}

impl Step {
    const ALL: [Self; 12] = [
        Self::Session,
        Self::ParentDeath,
        Self::Cgroup,
        Self::Descriptors,
        Self::Directory,
        Self::NoNewPrivileges,
        Self::Filter,
        Self::SendListener,
        Self::Execute,
        Self::Limits,
        Self::User,
        Self::Priority,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u8 == byte)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "begin a session",
            Self::ParentDeath => "ask to end with the parent",
            Self::Cgroup => "begin in the cgroup",
            Self::Descriptors => "put the descriptors in place",
            Self::Directory => "enter the working directory",
            Self::NoNewPrivileges => "give up new privileges",
            Self::Filter => "install the seccomp filter",
            Self::SendListener => "send the filter's listener",
            Self::Execute => "execute the program",
            Self::Limits => "set the limits",
            Self::User => "become the user",
            Self::Priority => "set the priority",
        })
    }
}

/// The parent's own pid, for the child to see whether the parent still lives.
fn own_pid() -> Pid {
    rustix::process::getpid()
}
