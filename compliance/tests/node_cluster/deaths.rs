//! Cases 28, 29, 35 and 36: workers that die or are replaced, and a primary that dies.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use compliance::{IN_ANY_ORDER, IN_TURN, Primary, eventually, is_alive, play};
use rustix::process::Signal;

use crate::clients::{UntilDropped, V4, all, connect, suspend, tcp};

on_all! {
    only_what_a_killed_worker_had_is_lost,
    workers_are_replaced_without_a_failure,
}

on_some! {
    what_a_killed_worker_had_not_taken_goes_to_the_other: [
        compliance::Way::HAND_OVER, compliance::Way::KERNEL_RR, compliance::Way::ONE_QUEUE,
        compliance::Way::NODE_NONE,
    ],
    what_a_killed_worker_had_not_taken_waits_for_the_next: [compliance::Way::RANDOM],
}

/// Says `begun`, and a moment later that it is done.
const SLOW: &str = "
require('net').createServer((socket) => {
  socket.on('error', () => {}).write('begun ');
  setTimeout(() => socket.end('done'), 3);
}).listen(+process.env.PORT, '127.0.0.1');
";

/// Says its pid.
const PID: &str = "
require('net').createServer((socket) => socket.end(String(process.pid)))
  .listen(+process.env.PORT, '127.0.0.1');
";

/// Case 28. Deliberately better: Node's own primary, when it hands over, loses the one that was under
/// way to the killed worker; its client waits for ever.
pub(crate) fn what_a_killed_worker_had_not_taken_goes_to_the_other(primary: &mut Primary) {
    let port = primary.port();
    let workers = primary.fork_listening(2, PID, &[("PORT", &port)]);
    for worker in &workers {
        suspend(primary, *worker);
    }
    let clients = [(); 6].map(|()| connect(V4, port).expect("a listener"));
    primary.kill(workers[0]);
    primary.signal(workers[1], Signal::CONT);
    let other = primary.pid_of(workers[1]).to_string();
    for client in clients {
        assert_eq!(all(client).expect("an answer"), other);
    }
}

/// Case 28, where the kernel moves no queues: it needs an eBPF program for that.
fn what_a_killed_worker_had_not_taken_waits_for_the_next(primary: &mut Primary) {
    let port = primary.port();
    let workers = primary.fork_listening(2, PID, &[("PORT", &port)]);
    for worker in &workers {
        suspend(primary, *worker);
    }
    let clients = [(); 6].map(|()| connect(V4, port).expect("a listener"));
    primary.kill(workers[0]);
    primary.fork_listening(1, PID, &[("PORT", &port)]);
    primary.signal(workers[1], Signal::CONT);
    let killed = primary.pid_of(workers[0]).to_string();
    for client in clients {
        assert_ne!(all(client).expect("an answer"), killed);
    }
}

/// Case 29. What exactly is lost is proved by `compliance/soak`.
fn only_what_a_killed_worker_had_is_lost(primary: &mut Primary) {
    const CLIENTS: usize = 8;
    let port = primary.port();
    let mut workers = primary.fork_listening(3, SLOW, &[("PORT", &port)]);
    let (served, lost, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let load = || {
        while !done.load(Ordering::Relaxed) {
            match tcp(V4, port) {
                Ok(text) if text == "begun done" => served.fetch_add(1, Ordering::Relaxed),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    panic!("refused, though two workers listen")
                }
                Ok(_) | Err(_) => lost.fetch_add(1, Ordering::Relaxed),
            };
        }
    };
    thread::scope(|scope| {
        let load_runs = UntilDropped(&done);
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(load)).collect();
        for turn in 1..=3 {
            eventually("fifty more are served", || served.load(Ordering::Relaxed) >= turn * 50);
            primary.kill(workers[0]);
            workers.remove(0);
            workers.extend(primary.fork_listening(1, SLOW, &[("PORT", &port)]));
        }
        drop(load_runs);
        for client in clients {
            client.join().expect("none was refused");
        }
    });
    // With each worker at most one connection of each client died.
    let lost = lost.into_inner();
    assert!(lost <= 3 * CLIENTS, "{lost} lost, {} served", served.into_inner());
}

/// Case 35. For http see case 9.
fn workers_are_replaced_without_a_failure(primary: &mut Primary) {
    let script = "
require('net').createServer((socket) => setTimeout(() => socket.end('here'), 2))
  .listen(+process.env.PORT, '127.0.0.1');
";
    let port = primary.port();
    let mut workers = primary.fork_listening(2, script, &[("PORT", &port)]);
    let (served, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let load = || {
        while !done.load(Ordering::Relaxed) {
            assert_eq!(tcp(V4, port).expect("no request fails"), "here");
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let load_runs = UntilDropped(&done);
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        for turn in 1..=2 {
            let old = std::mem::take(&mut workers);
            workers = primary.fork_listening(2, script, &[("PORT", &port)]);
            for worker in old {
                primary.disconnect(worker);
                let exit = primary.wait_exit(worker);
                assert_eq!((exit.code, exit.exited_after_disconnect), (Some(0), true));
            }
            eventually("twenty more are served", || served.load(Ordering::Relaxed) >= turn * 20);
        }
        drop(load_runs);
        for client in clients {
            client.join().expect("no request fails");
        }
    });
}

/// Case 36.
#[test]
fn workers_end_with_their_primary() {
    let script = "
const server = require('net').createServer((socket) => {
  process.send('a socket', socket);
  process.send('it was taken');
});
server.listen(+process.env.PORT, '127.0.0.1');
setInterval(() => {}, 1000);
";
    for ways in [&IN_TURN[..], &IN_ANY_ORDER] {
        play(ways, |mut primary| {
            let port = primary.port();
            let workers = primary.fork_listening(2, script, &[("PORT", &port)]);
            // One of them has sent a handle, which was acknowledged: a worker that waits for that notices no
            // end (Node 20 lib/internal/child_process.js:disconnect).
            let client = connect(V4, port).expect("a listener");
            eventually("a handle was sent", || {
                primary.look();
                workers.iter().any(|worker| primary.count(*worker, "message") == 2)
            });
            primary.kill_itself();
            for worker in workers {
                let pid = primary.pid_of(worker);
                eventually(&format!("{:?}: its worker ends", primary.way()), || !is_alive(pid));
            }
            drop(client);
        });
    }
}
