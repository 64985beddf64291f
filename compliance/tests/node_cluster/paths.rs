//! Cases 17 to 19: UNIX paths, and descriptors by number.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use compliance::{Interpreter, Primary, Way, eventually, free_port};

use crate::clients::{V4, pids, tcp, unix};

on_all! {
    a_path_is_served_by_all_and_removed_at_the_end,
    what_is_there_already_is_an_error,
    the_mode_of_a_path_is_as_asked,
}

on_some! {
    a_path_longer_than_an_address_is_served:
        [compliance::Way::HAND_OVER, compliance::Way::KERNEL_RR, compliance::Way::ONE_QUEUE],
}

/// Says its pid on `LISTEN`, a path.
const PID: &str = "
require('net').createServer((socket) => socket.end(String(process.pid)))
  .on('error', (error) => process.send(error.code))
  .listen({ path: process.env.LISTEN, ...JSON.parse(process.env.MORE || '{}') });
";

/// Case 17.
pub(crate) fn a_path_is_served_by_all_and_removed_at_the_end(primary: &mut Primary) {
    let workers = primary.fork_listening(3, PID, &[("LISTEN", &"./relative.sock")]);
    let path = primary.folder().join("relative.sock");
    let known = pids(primary, &workers);
    for _ in 0..6 {
        assert!(known.contains(&unix(&path).expect("an answer")));
    }
    for worker in workers {
        primary.disconnect(worker);
        primary.wait_exit(worker);
    }
    eventually("the file is removed", || !path.exists());
}

/// Case 17: 133 bytes. Deliberately better: Node's primary cuts a path off that is too long even from where
/// it runs itself.
fn a_path_longer_than_an_address_is_served(primary: &mut Primary) {
    let folder = primary.folder().join("d".repeat(133 - 6 - primary.folder().as_os_str().len()));
    fs::create_dir(&folder).expect("our own folder");
    let path = folder.join("sock");
    assert_eq!(path.as_os_str().len(), 133);
    primary.fork_listening(2, PID, &[("LISTEN", &path.display())]);
    let directory = File::open(&folder).expect("a folder");
    let short = format!("/proc/self/fd/{}/sock", directory.as_raw_fd());
    assert!(unix(&PathBuf::from(short)).is_ok());
}

/// Case 17.
fn what_is_there_already_is_an_error(primary: &mut Primary) {
    let path = primary.folder().join("stale.sock");
    drop(UnixListener::bind(&path).expect("our own folder"));
    let worker = primary.fork(PID, &[("LISTEN", &path.display())]);
    assert_eq!(primary.message(worker), "EADDRINUSE");
    assert!(path.exists());
}

/// Case 18. Node's primary heeds it in its own handles only (`SCHED_RR`).
fn the_mode_of_a_path_is_as_asked(primary: &mut Primary) {
    let more = r#"{ "readableAll": true, "writableAll": true }"#;
    // As Node does it: those two bits for all, and what the umask leaves of the rest.
    let masked = 0o666 & !umask();
    for (name, more, wanted) in [("all.sock", more, 0o666), ("own.sock", "{}", masked)] {
        let path = primary.folder().join(name);
        primary.fork_listening(2, PID, &[("LISTEN", &path.display()), ("MORE", &more)]);
        let seen = fs::metadata(&path).expect("it is there").permissions().mode() & 0o666;
        if primary.way() != Way::NODE_NONE {
            assert_eq!(seen, wanted, "{seen:o}");
        }
    }
}

/// Case 19. Ours serves declared sockets as it serves programs that know nothing of it, from the start: it
/// says `listening` before the worker does, and cannot hand over what they accept.
#[test]
fn a_declared_descriptor_is_served() {
    declared_is_served(&Interpreter::system());
}

pub(crate) fn declared_is_served(interpreter: &Interpreter) {
    let script = "
const server = require('net').createServer((socket) => socket.end(String(process.pid)));
server.listen({ fd: +process.env.FD }, () => process.send(server.address().port));
";
    let ways = [Way::NODE_RR, Way::NODE_NONE, Way::KERNEL_RR, Way::RANDOM, Way::ONE_QUEUE];
    for way in ways.into_iter().filter(|way| way.is_wanted()) {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let mut primary = Primary::start_with(way, interpreter, &[], &[&address]);
        let number = primary.descriptor(0);
        let workers = [(); 2].map(|()| primary.fork(script, &[("FD", &number)]));
        for worker in workers {
            assert_eq!(primary.message(worker), port);
        }
        assert!(pids(&primary, &workers).contains(&tcp(V4, port).expect("an answer")));
        primary.finish();
    }
}

/// Case 19. Deliberately stricter: Node's primary gives away any descriptor that it has.
#[test]
fn a_descriptor_that_was_not_declared_is_refused() {
    let script = "
const attempt = (fd) => new Promise((done) => {
  const server = require('net').createServer().on('error', (error) => done(error.code));
  server.listen({ fd }, () => done('listening'));
});
(async () => {
  const told = new Set();
  for (let fd = 0; fd < 64; fd++) told.add(await attempt(fd));
  process.send([...told]);
})();
";
    compliance::compare(&[Way::HAND_OVER, Way::KERNEL_RR, Way::ONE_QUEUE], |primary| {
        let worker = primary.fork(script, &[]);
        assert_eq!(primary.message(worker), serde_json::json!(["EINVAL"]));
    });
}

fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").expect("we run");
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).expect("Linux 4.7 says it")
}
