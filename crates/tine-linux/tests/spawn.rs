//! Starting programs, against the running kernel.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    ffi::OsStr,
    fs::File,
    io::Read,
    os::fd::AsFd,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::Signal,
};
use tine_linux::{
    process::Exit,
    seccomp::{Call, Trap},
    spawn::{Spawn, Spawned, Step},
};

fn shell(script: &str) -> Spawn<'static> {
    let mut spawn = Spawn::new(Path::new("/bin/sh")).unwrap();
    spawn.arg(OsStr::new("-c")).unwrap().arg(OsStr::new(script)).unwrap();
    spawn.env(OsStr::new("PATH"), OsStr::new("/usr/bin:/bin")).unwrap();
    spawn
}

fn wait_readable(fd: impl AsFd) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let time = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    poll(&mut fds, Some(&time)).unwrap();
    assert!(Instant::now() < deadline, "nothing happened in time");
}

fn exit_of(spawned: &Spawned) -> Exit {
    wait_readable(&spawned.process);
    spawned.process.try_wait().unwrap().expect("it has ended")
}

/// Starts with the write end of a pipe as standard output; gives what was written, and the end.
fn output(spawn: impl FnOnce(&mut Spawn<'_>), script: &str) -> (String, Exit) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let spawned = {
        let mut program = shell(script);
        program.fd(write.as_fd(), 1);
        spawn(&mut program);
        program.start().unwrap()
    };
    drop(write);
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    (text, exit_of(&spawned))
}

#[test]
fn a_program_gets_its_arguments_its_environment_and_nothing_else() {
    let (text, exit) = output(
        |spawn| {
            spawn.env(OsStr::new("A"), OsStr::new("b c")).unwrap();
        },
        "env | grep -v -e ^PWD= -e ^_= -e SHLVL | sort; echo $0; exit 7",
    );
    assert_eq!(text, "A=b c\nPATH=/usr/bin:/bin\n/bin/sh\n");
    assert_eq!(exit, Exit::Code(7));
}

#[test]
fn only_the_given_descriptors_cross_the_exec_each_in_its_place() {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut program = Spawn::new(Path::new("/bin/ls")).unwrap();
    program.arg(OsStr::new("/proc/self/fd")).unwrap();
    // 1 and 5 swap sources in a way that would break a naive sequence of dup2.
    program.fd(write.as_fd(), 1).fd(read.as_fd(), 5).fd(write.as_fd(), 42);
    let spawned = program.start().unwrap();
    drop(program);
    drop(write);
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    // 3 is the directory that ls reads.
    let mut numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3, 5, 42]);
    assert_eq!(exit_of(&spawned), Exit::Code(0));
}

#[test]
fn it_leads_a_session_and_knows_its_own_pid_for_listen_fds() {
    let (text, _) = output(
        |spawn| {
            spawn.listen_pid();
        },
        "echo $LISTEN_PID $$ $(cut -d' ' -f6 /proc/$$/stat)",
    );
    let numbers: Vec<&str> = text.split_whitespace().collect();
    assert!(numbers.len() == 3 && numbers.iter().all(|n| *n == numbers[0]), "{text}");
}

#[test]
fn a_missing_program_is_told_with_the_step_and_leaves_no_child() {
    let error = Spawn::new(Path::new("/no/such/program")).unwrap().start().unwrap_err();
    assert_eq!(error.step(), Some(Step::Execute));
    assert_eq!(error.to_string(), "execute the program");
    let mut program = shell("true");
    program.directory(Path::new("/no/such/directory")).unwrap();
    assert_eq!(program.start().unwrap_err().step(), Some(Step::Directory));
    // Both children were waited for: there is none left to wait for that is a zombie.
    let zombies = tine_linux::tree::processes()
        .unwrap()
        .into_iter()
        .filter(|entry| entry.zombie && entry.parent == Some(rustix::process::getpid()));
    assert_eq!(zombies.count(), 0);
}

#[test]
fn signals_that_the_parent_ignores_work_in_the_child() {
    // Rust's runtime ignores SIGPIPE in this very process.
    let (_, exit) = output(|_| (), "kill -PIPE $$");
    assert_eq!(exit, Exit::Signal(13));
}

#[test]
fn it_can_be_signalled_by_descriptor() {
    let spawned = shell("exec sleep 1000").start().unwrap();
    assert_eq!(spawned.process.try_wait().unwrap(), None);
    spawned.process.signal(Signal::TERM).unwrap();
    assert_eq!(exit_of(&spawned), Exit::Signal(15));
}

/// Binds 127.0.0.1 to an ephemeral port and says what came of it.
const BIND: &str = "exec python3 -c '
import socket
s = socket.socket()
try:
    s.bind((\"127.0.0.1\", 1234)); s.listen(77); print(\"ok\", s.getsockname()[1])
except OSError as e: print(e.errno)
'";

#[test]
fn bind_waits_for_the_answer_and_sees_the_error_that_it_says() {
    if !python() {
        return;
    }
    let (text, _) = trapped(|listener| {
        wait_readable(listener);
        let asked = listener.receive().unwrap().unwrap();
        let Call::Bind { length, address, .. } = asked.call else { panic!("{asked:?}") };
        let mut bytes = vec![0; length as usize];
        let thread = asked.thread.unwrap();
        tine_linux::foreign::read_memory(thread, address, &mut bytes).unwrap();
        assert_eq!(&bytes[2..8], [1234u16.to_be_bytes().as_slice(), &[127, 0, 0, 1]].concat());
        assert!(listener.is_waiting(&asked));
        listener.answer(&asked, Err(Errno::ADDRNOTAVAIL)).unwrap();
        assert!(!listener.is_waiting(&asked));
    });
    assert_eq!(text, "99\n");
}

#[test]
fn the_callers_own_socket_can_be_bound_elsewhere_and_listened_on_for_it() {
    if !python() {
        return;
    }
    let (text, _) = trapped(|listener| {
        let mut held = None;
        for _ in 0..2 {
            wait_readable(listener);
            let asked = listener.receive().unwrap().unwrap();
            let process = tine_linux::foreign::process_of_thread(asked.thread.unwrap()).unwrap();
            match asked.call {
                Call::Bind { fd, .. } => {
                    let socket = tine_linux::foreign::duplicate(&process, fd).unwrap();
                    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
                    rustix::net::bind(&socket, &any).unwrap();
                    held = Some(socket);
                }
                Call::Listen { backlog, .. } => {
                    assert_eq!(backlog, 77);
                    rustix::net::listen(held.as_ref().unwrap(), backlog).unwrap();
                }
                other => panic!("{other:?}"),
            }
            listener.answer(&asked, Ok(())).unwrap();
        }
        let queue = tine_linux::socket::accept_queue(held.as_ref().unwrap()).unwrap();
        assert_eq!((queue.length, queue.limit), (0, 77));
    });
    assert!(text.starts_with("ok "), "{text}");
}

#[test]
fn the_listener_hangs_up_when_the_whole_tree_is_gone() {
    // A zombie counts until it is waited for: the orphan must come here, and not to some distant init.
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).unwrap();
    let mut program = shell("sleep 1000 & exec sleep 1000");
    program.trap(Trap::default());
    let spawned = program.start().unwrap();
    let listener = spawned.listener.as_ref().unwrap();
    let leader = Some(spawned.process.pid());
    let tree = || tine_linux::tree::Table::read(None).unwrap().members(leader, None);
    let deadline = Instant::now() + Duration::from_secs(20);
    // The shell needs a moment to fork.
    while tree().len() < 2 {
        assert!(Instant::now() < deadline, "the shell has no child");
        std::thread::yield_now();
    }
    let members = tree();
    tine_linux::tree::signal_all(&members, Signal::KILL);
    let members: Vec<_> = members.iter().map(|entry| entry.pid).collect();
    exit_of(&spawned);
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    let time = rustix::event::Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    while poll(&mut fds, Some(&time)).unwrap() == 0 {
        assert!(Instant::now() < deadline, "the listener does not hang up");
        tine_linux::tree::reap_orphans(|pid| !members.contains(&pid)).unwrap();
    }
    assert!(fds[0].revents().contains(PollFlags::HUP));
    // The filter goes a moment before the process does.
    while !tree().is_empty() {
        assert!(Instant::now() < deadline, "something is left");
        std::thread::yield_now();
    }
}

fn trapped(answer: impl FnOnce(&tine_linux::seccomp::Listener)) -> (String, Exit) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut program = shell(BIND);
    program.fd(write.as_fd(), 1).trap(Trap::default());
    let spawned = program.start().unwrap();
    drop(program);
    drop(write);
    answer(spawned.listener.as_ref().unwrap());
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    (text, exit_of(&spawned))
}

fn python() -> bool {
    let there = std::process::Command::new("python3").arg("-V").output().is_ok();
    if !there {
        println!("SKIP: needs python3");
    }
    there
}

#[test]
fn umask_priority_and_limits_are_the_programs_own() {
    use rustix::process::Resource;
    let (text, exit) = output(
        |spawn| {
            spawn.umask(0o027).nice(5);
            spawn.file_limit(64, 128).limit(Resource::Core, Some(0), None);
            spawn.limit(Resource::Nofile, Some(32), Some(100));
        },
        "umask; nice; ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc",
    );
    let nice = rustix::process::nice(0).unwrap();
    assert_eq!(nice, 0, "this process has the usual one");
    assert_eq!(text, "0027\n5\n32\n100\n0\nunlimited\n");
    assert_eq!(exit, Exit::Code(0));
}

#[test]
fn a_limit_that_cannot_be_set_is_told_with_its_step() {
    use rustix::process::Resource;
    let mut program = shell("exit 0");
    program.limit(Resource::Nofile, Some(2), Some(1));
    let error = program.start().unwrap_err();
    assert_eq!(error.step(), Some(Step::Limits));
}
