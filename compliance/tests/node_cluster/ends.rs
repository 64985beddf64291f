//! Cases 32 to 34: how workers end.

use std::io::{BufRead, BufReader, Read, Write};
use std::thread;

use compliance::{KeepAlive, Primary, get};

use crate::clients::{V4, connect};

on_all! {
    a_running_request_is_answered_before_the_end,
    an_idle_connection_does_not_delay_the_end,
    what_the_primary_did_not_give_outlives_a_disconnect,
    an_upgraded_connection_delays_the_end,
    each_way_to_end_has_its_code,
}

/// Case 32.
pub(crate) fn a_running_request_is_answered_before_the_end(primary: &mut Primary) {
    let script = "
require('http').createServer((request, response) => {
  process.send('begun');
  setTimeout(() => response.end('finished'), 300);
}).listen(+process.env.PORT, '127.0.0.1');
require('cluster').worker.on('disconnect', () => console.log('disconnect seen'));
process.on('exit', (code) => console.log('exit', code, require('cluster').worker.exitedAfterDisconnect));
";
    let port = primary.port();
    let worker = primary.fork_listening(1, script, &[("PORT", &port)])[0];
    let client = thread::spawn(move || get(port));
    assert_eq!(primary.message(worker), "begun");
    primary.disconnect(worker);
    let exit = primary.wait_exit(worker);
    assert_eq!((exit.code, exit.exited_after_disconnect), (Some(0), true));
    let answer = client.join().expect("the client lives").expect("an answer");
    assert_eq!(answer, "finished");
    primary.wait_output(worker, "disconnect seen\nexit 0 true\n");
}

/// Case 33.
fn an_idle_connection_does_not_delay_the_end(primary: &mut Primary) {
    let script = "
const server = require('http').createServer((request, response) => response.end('here'));
// It would end by itself after this time: nobody waits for that.
server.keepAliveTimeout = 1e6;
server.listen(+process.env.PORT, '127.0.0.1');
";
    let port = primary.port();
    let worker = primary.fork_listening(1, script, &[("PORT", &port)])[0];
    let mut idle = KeepAlive::connect(port).expect("a listener");
    assert_eq!(idle.get().expect("an answer"), "here");
    primary.disconnect(worker);
    assert_eq!(primary.wait_exit(worker).code, Some(0));
    assert!(idle.ends(), "kindly, not by a reset");
}

/// Case 33.
fn what_the_primary_did_not_give_outlives_a_disconnect(primary: &mut Primary) {
    let script = "
require('http').createServer((request, response) => response.end('here'))
  .listen({ port: +process.env.PORT, host: '127.0.0.1', exclusive: true }, () => process.send('ready'));
";
    let port = primary.port();
    let worker = primary.fork(script, &[("PORT", &port)]);
    assert_eq!(primary.message(worker), "ready");
    primary.disconnect(worker);
    primary.wait_for(worker, "disconnect");
    assert_eq!(get(port).expect("it serves on"), "here");
    let exit = primary.kill(worker);
    assert_eq!((exit.signal.as_deref(), exit.exited_after_disconnect), (Some("SIGKILL"), true));
}

/// Case 33.
fn an_upgraded_connection_delays_the_end(primary: &mut Primary) {
    let script = "
const server = require('http').createServer();
server.on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: echo\\r\\nConnection: Upgrade\\r\\n\\r\\n');
  socket.pipe(socket);
});
server.on('close', () => console.log('closed'));
server.listen(+process.env.PORT, '127.0.0.1');
";
    let port = primary.port();
    let worker = primary.fork_listening(1, script, &[("PORT", &port)])[0];
    let mut client = BufReader::new(connect(V4, port).expect("a listener"));
    let request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n";
    client.get_mut().write_all(request.as_bytes()).expect("a server");
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        client.read_line(&mut line).expect("an answer");
    }
    primary.disconnect(worker);
    client.get_mut().write_all(b"still here").expect("a server");
    let mut echo = [0; 10];
    client.read_exact(&mut echo).expect("an echo");
    assert_eq!(&echo, b"still here");
    assert_eq!(primary.count(worker, "exit"), 0);
    drop(client);
    assert_eq!(primary.wait_exit(worker).code, Some(0));
}

/// Case 34.
pub(crate) fn each_way_to_end_has_its_code(primary: &mut Primary) {
    let script = "
const cluster = require('cluster');
const ends = {
  'worker.disconnect': () => cluster.worker.disconnect(),
  'worker.kill': () => cluster.worker.kill(),
  'process.disconnect': () => process.disconnect(),
  'process.exit': () => process.exit(7),
  throw: () => { throw new Error('on purpose'); },
  SIGTERM: () => process.kill(process.pid, 'SIGTERM'),
};
process.on('exit', (code) => console.log('exit', code, cluster.worker.exitedAfterDisconnect));
require('net').createServer().listen(+process.env.PORT, '127.0.0.1');
process.on('message', (way) => ends[way]());
";
    let port = primary.port();
    for (way, code, signal, asked) in [
        ("worker.disconnect", Some(0), None, true),
        ("worker.kill", Some(0), None, true),
        ("process.disconnect", Some(0), None, false),
        ("process.exit", Some(7), None, false),
        ("throw", Some(1), None, false),
        ("SIGTERM", None, Some("SIGTERM"), false),
    ] {
        let worker = primary.fork_listening(1, script, &[("PORT", &port)])[0];
        primary.send(worker, way);
        let exit = primary.wait_exit(worker);
        let seen = (exit.code, exit.signal.as_deref(), exit.exited_after_disconnect);
        assert_eq!(seen, (code, signal, asked), "{way}");
    }
}
