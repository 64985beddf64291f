//! Cases 26, 27, 30 and 31: connections.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use compliance::Primary;
use rustix::process::Signal;

use crate::clients::{V4, all, connect, suspend, tcp};

on_all! {
    what_came_before_the_worker_is_not_lost,
    a_client_that_does_not_read_holds_nobody_up,
}

on_some! {
    connections_that_all_refuse_wait: [compliance::Way::NODE_RR, compliance::Way::HAND_OVER],
    a_connection_that_crosses_a_close_goes_to_another: [compliance::Way::NODE_RR, compliance::Way::HAND_OVER],
}

/// Case 26.
fn what_came_before_the_worker_is_not_lost(primary: &mut Primary) {
    let script = "
require('net').createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket))
  .listen(+process.env.PORT, '127.0.0.1');
";
    let port = primary.port();
    let workers = primary.fork_listening(2, script, &[("PORT", &port)]);
    for worker in &workers {
        suspend(primary, *worker);
    }
    let sent: Vec<u8> = (0..10_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let mut stream = connect(V4, port).expect("a listener");
    let (early, rest) = sent.split_at(20_000);
    stream.write_all(early).expect("room in the buffers");
    for worker in &workers {
        primary.signal(*worker, Signal::CONT);
    }
    let mut reader = stream.try_clone().expect("a descriptor");
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            stream.write_all(rest).expect("it is read");
            stream.shutdown(Shutdown::Write).expect("it stands");
        });
        reader.read_to_end(&mut received).expect("an echo");
    });
    assert!(received == sent, "{} bytes came back", received.len());
}

/// Case 27: sockets are non-blocking, also those that were handed over.
fn a_client_that_does_not_read_holds_nobody_up(primary: &mut Primary) {
    let script = "
require('net').createServer((socket) => {
  socket.write(Buffer.alloc(50e6));
  let ticks = 0;
  const timer = setInterval(() => {
    if (++ticks < 10) return;
    clearInterval(timer);
    process.send('ticking');
  }, 1);
  socket.on('error', () => {}).resume();
}).listen(+process.env.PORT, '127.0.0.1');
";
    let port = primary.port();
    let worker = primary.fork_listening(1, script, &[("PORT", &port)])[0];
    let client = connect(V4, port).expect("a listener");
    assert_eq!(primary.message(worker), "ticking");
    drop(client);
}

/// Case 30. Deliberately better: Node's primary hands such a connection round at full speed, ours waits.
fn connections_that_all_refuse_wait(primary: &mut Primary) {
    let script = "
const server = require('net').createServer((socket) => socket.resume().write('here'));
server.maxConnections = 2;
server.listen(+process.env.PORT, '127.0.0.1');
";
    let port = primary.port();
    primary.fork_listening(2, script, &[("PORT", &port)]);
    let mut here = [0; 4];
    let mut clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = connect(V4, port).expect("a listener");
            client.read_exact(&mut here).expect("one of two places at one of two workers");
            client
        })
        .collect();
    let mut fifth = connect(V4, port).expect("a listener");
    let before = ticks(primary.pid());
    fifth.set_read_timeout(Some(Duration::from_millis(600))).expect("a time");
    let error = fifth.read_exact(&mut here).expect_err("all places are taken");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    if !primary.way().is_node() {
        let used = ticks(primary.pid()) - before;
        assert!(used <= 5, "{used} ticks of 10 ms in 600 ms");
    }
    clients.pop();
    fifth.set_read_timeout(Some(compliance::DEADLINE)).expect("a time");
    fifth.read_exact(&mut here).expect("a place is free");
    assert_eq!(&here, b"here");
}

/// Processor time, in clock ticks.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("its name is in parentheses");
    let fields: Vec<&str> = fields.split(' ').collect();
    [11, 12].iter().map(|n| fields[*n].parse::<u64>().expect("a number")).sum()
}

/// Case 31.
fn a_connection_that_crosses_a_close_goes_to_another(primary: &mut Primary) {
    let script = "
const server = require('net').createServer((socket) => socket.end(String(process.pid)));
server.listen(+process.env.PORT, '127.0.0.1');
process.on('message', () => server.close());
";
    let port = primary.port();
    let workers = primary.fork_listening(2, script, &[("PORT", &port)]);
    suspend(primary, workers[0]);
    // It will read this first, and then that it gets a connection.
    primary.try_send(workers[0], "close").expect("it has room");
    let clients = [(); 2].map(|()| connect(V4, port).expect("a listener"));
    let first = tcp(V4, port).expect("the other worker takes what is left over");
    primary.signal(workers[0], Signal::CONT);
    let other = primary.pid_of(workers[1]).to_string();
    assert_eq!(first, other);
    for client in clients {
        assert_eq!(all(client).expect("an answer"), other);
    }
}
