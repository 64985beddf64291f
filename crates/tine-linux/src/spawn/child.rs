//! The child's side of [`super::Spawn`].
//!
//! Between `fork` and `execve` only async-signal-safe calls are made (`signal-safety(7)`): the
//! parent may have threads, and a lock that one of them held at the fork stays locked here. All
//! memory is laid out by [`Plan::new`] before the fork.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd},
    os::unix::net::UnixStream,
    ptr,
};

use rustix::process::Pid;

use super::{Spawn, SpawnError, Step, own_pid, prepare, rights::Numbers};
use crate::{
    cbpf::{Insn, Program},
    checked,
    process::Process,
};

pub(super) type Number = libc::c_int;

/// Everything the child needs, laid out before the fork.
pub(super) struct Plan<'a> {
    program: &'a CString,
    args: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    /// `LISTEN_PID=` and room for the digits, which only the child knows. `env` points into it.
    listen_pid: Option<Box<[u8]>>,
    directory: Option<&'a CString>,
    /// Source and place of each descriptor; the child first lifts the sources above every place.
    fds: Vec<(Number, Number)>,
    above: Number,
    talk: Number,
    cgroup: Option<Number>,
    filter: Option<Vec<Insn>>,
    dies_with_parent: Option<Number>,
    rights: Numbers,
    parent: Pid,
    null: Number,
    _null_owner: rustix::fd::OwnedFd,
}

const LISTEN_PID: &[u8] = b"LISTEN_PID=";
const PID_DIGITS: usize = 10;

impl<'a> Plan<'a> {
    pub(super) fn new(spawn: &'a Spawn<'_>, talk: &UnixStream) -> io::Result<Self> {
        let place = |number: u32| Number::try_from(number).map_err(io::Error::other);
        let fds = spawn
            .fds
            .iter()
            .map(|(fd, number)| Ok((fd.as_raw_fd(), place(*number)?)))
            .collect::<io::Result<Vec<_>>>()?;
        let above = fds.iter().map(|(_, place)| *place).max().unwrap_or(0).max(2) + 1;
        let null = rustix::fs::open(
            c"/dev/null",
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        let listen_pid = spawn.listen_pid.then(|| {
            let room = [LISTEN_PID, &[0; PID_DIGITS + 1]].concat();
            room.into_boxed_slice()
        });
        let mut env: Vec<_> = spawn.env.iter().map(|entry| entry.as_ptr()).collect();
        env.extend(listen_pid.as_ref().map(|room| room.as_ptr().cast()));
        env.push(ptr::null());
        let mut args: Vec<_> = spawn.args.iter().map(|arg| arg.as_ptr()).collect();
        args.push(ptr::null());
        Ok(Self {
            program: &spawn.program,
            args,
            env,
            listen_pid,
            directory: spawn.directory.as_ref(),
            fds,
            above,
            talk: talk.as_raw_fd(),
            cgroup: spawn.cgroup.map(|fd: BorrowedFd<'_>| fd.as_raw_fd()),
            filter: spawn.trap.map(super::Trap::filter),
            dies_with_parent: spawn.dies_with_parent.map(rustix::process::Signal::as_raw),
            rights: spawn.rights.in_numbers(),
            parent: own_pid(),
            null: null.as_raw_fd(),
            _null_owner: null,
        })
    }

    /// Forks. In the child this never returns.
    pub(super) fn fork(&mut self) -> Result<Process, SpawnError> {
        let pid = match self.cgroup {
            // SAFETY: the child calls async-signal-safe functions only and ends in `execve` or
            // `_exit`: see `run`, and the module's first lines.
            None => checked(unsafe { libc::fork() }).map_err(prepare("fork")),
            Some(cgroup) => {
                fork_into(cgroup).map_err(|source| SpawnError::Child { step: Step::Cgroup, source })
            }
        }?;
        let Some(pid) = Pid::from_raw(pid) else { self.run() };
        // Not waited for yet, so the number cannot have been given to another process.
        Process::open(pid).map_err(prepare("hold the child"))
    }

    /// The child's whole life before it becomes the program.
    fn run(&mut self) -> ! {
        let (step, errno) = match self.set_up() {
            Ok(never) => match never {},
            Err(failure) => failure,
        };
        let mut message = [0u8; 5];
        message[0] = step as u8;
        message[1..].copy_from_slice(&errno.to_ne_bytes());
        // SAFETY: `message` is live and five bytes long; `talk` is the socket to the parent, or a
        // number that the call refuses.
        let _ = unsafe { libc::write(self.talk, message.as_ptr().cast(), message.len()) };
        // SAFETY: ends this process without running any handler of the parent's.
        unsafe { libc::_exit(127) }
    }

    fn set_up(&mut self) -> Result<std::convert::Infallible, (Step, Number)> {
        // SAFETY: takes no memory.
        step(Step::Session, unsafe { libc::setsid() })?;
        self.place_descriptors()?;
        reset_signals();
        self.enter_directory()?;
        self.install_filter()?;
        // After it, which needs the parent's rights, and room for one more descriptor.
        self.rights.limit()?;
        self.rights.become_user()?;
        // After it, for a change of the user takes the request back (prctl(2)).
        self.ask_to_die_with_parent()?;
        self.write_listen_pid();
        self.execute()
    }

    fn ask_to_die_with_parent(&self) -> Result<(), (Step, Number)> {
        let Some(signal) = self.dies_with_parent else { return Ok(()) };
        let signal = libc::c_ulong::try_from(signal).unwrap_or(0);
        // SAFETY: this option takes a number and no memory.
        step(Step::ParentDeath, unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })?;
        // SAFETY: takes no memory.
        let parent = unsafe { libc::getppid() };
        if parent == self.parent.as_raw_pid() {
            return Ok(());
        }
        // The parent died before the request: the signal will never come.
        Err((Step::ParentDeath, libc::ESRCH))
    }

    /// Lifts every source above the highest place, so that no place is overwritten before its
    /// content was taken; then puts each where it belongs. What is not placed closes at `execve`.
    fn place_descriptors(&mut self) -> Result<(), (Step, Number)> {
        close_the_rest_at_exec();
        self.talk = lift(self.talk, self.above)?;
        for index in 0..self.fds.len() {
            self.fds[index].0 = lift(self.fds[index].0, self.above)?;
        }
        let null = lift(self.null, self.above)?;
        for standard in 0..3 {
            if !self.fds.iter().any(|(_, place)| *place == standard) {
                put(null, standard)?;
            }
        }
        for (source, place) in &self.fds {
            put(*source, *place)?;
        }
        Ok(())
    }

    fn enter_directory(&self) -> Result<(), (Step, Number)> {
        let Some(directory) = self.directory else { return Ok(()) };
        // SAFETY: a C string that the plan borrows.
        step(Step::Directory, unsafe { libc::chdir(directory.as_ptr()) })
    }

    fn install_filter(&self) -> Result<(), (Step, Number)> {
        let Some(insns) = &self.filter else { return Ok(()) };
        let Some(program) = Program::new(insns) else { return Err((Step::Filter, libc::E2BIG)) };
        let listener = match install(&program) {
            Err(libc::EACCES) => {
                give_up_new_privileges()?;
                install(&program)
            }
            other => other,
        };
        let listener = listener.map_err(|errno| (Step::Filter, errno))?;
        step(Step::SendListener, send(self.talk, listener))?;
        // SAFETY: the number was given by `seccomp` just now and nobody else knows it.
        unsafe { libc::close(listener) };
        Ok(())
    }

    fn write_listen_pid(&mut self) {
        let Some(room) = &mut self.listen_pid else { return };
        // SAFETY: takes no memory.
        let mut pid = unsafe { libc::getpid() }.unsigned_abs();
        let mut digits = [0u8; PID_DIGITS];
        let mut count = 0;
        while pid > 0 || count == 0 {
            digits[count] = b'0' + u8::try_from(pid % 10).unwrap_or(0);
            pid /= 10;
            count += 1;
        }
        for n in 0..count {
            room[LISTEN_PID.len() + n] = digits[count - 1 - n];
        }
    }

    fn execute(&self) -> Result<std::convert::Infallible, (Step, Number)> {
        // SAFETY: `program` is a C string; `args` and `env` are arrays of C strings that end with a
        // null pointer, all of them kept alive by the plan.
        unsafe { libc::execve(self.program.as_ptr(), self.args.as_ptr(), self.env.as_ptr()) };
        Err((Step::Execute, errno()))
    }
}

/// `clone3(2)` with `CLONE_INTO_CGROUP` (Linux 5.7): a fork whose child begins in another cgroup.
fn fork_into(cgroup: Number) -> io::Result<Number> {
    // SAFETY: all zeros is a valid `struct clone_args`: an ordinary fork without any flag.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    args.cgroup = u64::from(cgroup.unsigned_abs());
    let length = size_of_val(&args);
    // SAFETY: `args` is live and of the length given. No memory is shared with the child, so both
    // return from here with an image of their own, as from `fork`; the child goes on as promised there.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, length) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    Number::try_from(pid).map_err(io::Error::other)
}

/// `include/uapi/linux/sched.h`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `seccomp(2)`; gives the listener. Needs `no_new_privs` or `CAP_SYS_ADMIN`, else `EACCES`.
fn install(program: &Program<'_>) -> Result<Number, Number> {
    let patient =
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    match seccomp(patient, program) {
        // Before Linux 5.19: a signal to the caller interrupts the call, which is then made anew.
        Err(libc::EINVAL) => seccomp(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER, program),
        other => other,
    }
}

fn seccomp(flags: libc::c_ulong, program: &Program<'_>) -> Result<Number, Number> {
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    let program: *const Program<'_> = program;
    // SAFETY: `program` points to a live `struct sock_fprog` whose instructions it borrows; the kernel
    // copies them.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, program) };
    if fd < 0 { Err(errno()) } else { Number::try_from(fd).map_err(|_| libc::EBADF) }
}

fn give_up_new_privileges() -> Result<(), (Step, Number)> {
    // SAFETY: this option takes numbers and no memory.
    let rc = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    step(Step::NoNewPrivileges, rc)
}

pub(super) fn step(step: Step, result: Number) -> Result<(), (Step, Number)> {
    if result < 0 { Err((step, errno())) } else { Ok(()) }
}

pub(super) fn errno() -> Number {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// What this process itself inherited by somebody's carelessness goes no further. Linux 5.11; before,
/// what was not created close-on-exec crosses.
fn close_the_rest_at_exec() {
    let (first, last) = (3 as libc::c_uint, libc::c_uint::MAX);
    // SAFETY: takes numbers only, and closes nothing now.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) };
}

fn lift(fd: Number, above: Number) -> Result<Number, (Step, Number)> {
    // SAFETY: takes numbers only.
    let lifted = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, above) };
    step(Step::Descriptors, lifted)?;
    Ok(lifted)
}

fn put(source: Number, place: Number) -> Result<(), (Step, Number)> {
    // SAFETY: takes numbers only. In this process nobody but the plan knows what `place` was.
    step(Step::Descriptors, unsafe { libc::dup2(source, place) })
}

/// The signals whose handling a program expects to find as after a login: Rust ignores SIGPIPE, and
/// a shell script's background jobs ignore SIGINT and SIGQUIT.
const RESET: [Number; 5] =
    [libc::SIGPIPE, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGCHLD];

fn reset_signals() {
    for signal in RESET {
        // SAFETY: sets the default action, which is no code of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: writes the set that it is given.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: `none` was initialised by the call before; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) };
}

/// Sends one descriptor with one byte: `sendmsg(2)` by hand, for `rustix` may not be called here
/// (its buffers are fine, its promise of async-signal-safety is not given).
fn send(talk: Number, fd: Number) -> Number {
    const LENGTH: u32 = 4;
    const { assert!(size_of::<Number>() == 4) };
    // SAFETY: pure arithmetic.
    let control_length = unsafe { libc::CMSG_SPACE(LENGTH) } as usize;
    let mut byte = [1u8];
    let mut vector = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = [0u64; 8];
    // SAFETY: all zeros is a valid `struct msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control_length.min(size_of_val(&control)) as _;
    // SAFETY: `message` describes `control`, which is aligned and has room for one header.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: pure arithmetic.
    let header_length = unsafe { libc::CMSG_LEN(LENGTH) };
    let filled = libc::cmsghdr {
        cmsg_len: header_length as _,
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    // SAFETY: `header` is the start of `control`, not null because the length has room for it.
    unsafe { header.write(filled) };
    // SAFETY: the data of the first header lies within `control`, right behind the header.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: `data` has room for one `int` (the space was computed for it), in any alignment.
    unsafe { data.cast::<Number>().write_unaligned(fd) };
    // SAFETY: `message` and what it points to are live; `talk` is the socket to the parent.
    let sent = unsafe { libc::sendmsg(talk, &raw const message, libc::MSG_NOSIGNAL) };
    Number::try_from(sent).unwrap_or(-1)
}
