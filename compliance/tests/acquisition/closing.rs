//! Programs that close their listener and live on.

use std::{
    fs,
    io::{self, ErrorKind, Read},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use compliance::{DEADLINE, Run, Tine, Who, eventually, free_port, get, skip};

use crate::support::{V4, all_answer, python, said, stop, tcp, unix, wait_ready, ways};

/// Serves until it is told to close, and again when it is told to open.
const SCRIPT: &str = "
def serve_until(on, name):
    on.setblocking(False)
    say('ready')
    while not os.path.exists(name):
        if select.select([on], [], [], 0.01)[0]:
            try:
                answer(on)
            except BlockingIOError:
                pass
    on.close()
    say('closed')
def wait_for(name):
    while not os.path.exists(name):
        select.select([], [], [], 0.01)
";

/// In every worker: closes, and opens again.
fn twice(workers: &str, port: u16, options: &[&str], listener: &str) -> Run {
    let script = format!(
        "{SCRIPT}
serve_until({listener}, 'close')
wait_for('open')
serve({listener})
"
    );
    python(workers, port, options, &script)
}

fn tell(tine: &Tine, word: &str) {
    fs::write(tine.folder().join(word), "").expect("the test's own folder");
}

/// How many sockets listen on this IPv4 port.
fn listeners(port: u16) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").expect("/proc is mounted");
    let is_one = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next().unwrap_or_default(), fields.nth(1));
        local.ends_with(&format!(":{port:04X}")) && state == Some("0A")
    };
    table.lines().filter(is_one).count()
}

fn descriptors(tine: &Tine) -> usize {
    fs::read_dir(format!("/proc/{}/fd", tine.manager())).expect("it runs").count()
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// For each way of sharing: with a worker, and with several that all do the same.
#[test]
fn where_all_have_closed_nobody_listens_until_they_open_again() {
    let tests = ways().map(|(policy, who)| {
        thread::spawn(move || {
            let port = free_port();
            let run = twice("2", port, &["--policy", policy], "listener(('127.0.0.1', PORT))");
            let mut tine = run.as_who(who).start();
            wait_ready(&mut tine, 2, 1);
            let before = descriptors(&tine);
            assert!(tcp(V4, port).is_ok());
            tell(&tine, "close");
            said(&mut tine, 2, "closed");
            eventually("nobody listens", || listeners(port) == 0);
            let refused = tcp(V4, port).expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            assert!(descriptors(&tine) < before);
            tell(&tine, "open");
            said(&mut tine, 4, "ready");
            match policy {
                "sticky" => assert!(tcp(V4, port).is_ok()),
                _ => all_answer(&mut tine, || tcp(V4, port)),
            }
            // It may have had one more open for a moment, then or now.
            eventually("no more descriptors than before", || descriptors(&tine) <= before);
            stop(tine);
        })
    });
    for test in tests.collect::<Vec<_>>() {
        test.join().expect("what was asserted");
    }
}

#[test]
fn whoever_comes_while_a_program_listens_anew_is_served() {
    let port = free_port();
    let run = twice("1", port, &[], "listener(('127.0.0.1', PORT))");
    let mut tine = run.start();
    wait_ready(&mut tine, 1, 1);
    tell(&tine, "close");
    said(&mut tine, 1, "closed");
    let clients: Vec<TcpStream> = (0..8).map(|_| connect(port).expect("a queue")).collect();
    // The manager looks each second: it has seen the seat closed.
    thread::sleep(Duration::from_millis(2200));
    tell(&tine, "open");
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer");
        assert_eq!(answer, tine.pids()[0].to_string());
    }
    stop(tine);
}

#[test]
fn whoever_waits_at_a_closed_listener_is_let_down_after_the_time_to_drain() {
    let port = free_port();
    let options = ["--drain-timeout", "6s"];
    let mut tine = twice("1", port, &options, "listener(('127.0.0.1', PORT))").start();
    wait_ready(&mut tine, 1, 1);
    tell(&tine, "close");
    said(&mut tine, 1, "closed");
    let mut client = connect(port).expect("a queue");
    let reset = client.read(&mut [0]).expect_err("no end of the stream");
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    let refused = connect(port).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    tell(&tine, "open");
    said(&mut tine, 2, "ready");
    assert!(tcp(V4, port).is_ok());
    stop(tine);
}

/// Without eBPF nothing moves a queue: the closed seat is passed over as soon as that is seen.
#[test]
fn a_seat_that_one_of_two_has_closed_gets_nothing_more_and_goes() {
    let script = format!(
        "{SCRIPT}
on = listener(('127.0.0.1', PORT))
if os.environ['TINE_INSTANCE'] == '0':
    serve_until(on, 'close')
    wait_for('open')
    on = listener(('127.0.0.1', PORT))
serve(on)
"
    );
    let port = free_port();
    let options = ["--policy", "random", "--drain-timeout", "6s"];
    let mut tine = python("2", port, &options, &script).start();
    wait_ready(&mut tine, 2, 1);
    let other = tine.workers()[1].pid;
    tell(&tine, "close");
    said(&mut tine, 1, "closed");
    // Some of these wait where nobody accepts.
    let clients: Vec<TcpStream> = (0..16).map(|_| connect(port).expect("a queue")).collect();
    eventually("the closed seat is gone", || listeners(port) == 1);
    for _ in 0..16 {
        assert_eq!(tcp(V4, port).expect("an answer"), other);
    }
    drop(clients);
    tell(&tine, "open");
    said(&mut tine, 3, "ready");
    all_answer(&mut tine, || tcp(V4, port));
    stop(tine);
}

#[test]
fn a_path_that_all_have_closed_is_gone_until_they_open_it_again() {
    let mut tine = twice("2", 0, &[], "listener('on.sock', socket.AF_UNIX)").start();
    wait_ready(&mut tine, 2, 1);
    let path = tine.folder().join("on.sock");
    assert!(unix(&path).is_ok());
    tell(&tine, "close");
    said(&mut tine, 2, "closed");
    eventually("the path is gone", || !Path::new(&path).exists());
    tell(&tine, "open");
    said(&mut tine, 4, "ready");
    all_answer(&mut tine, || unix(&path));
    stop(tine);
}

#[test]
fn what_was_bound_and_never_listened_on_costs_nothing_for_long() {
    let script = "
wait_for('close')
for number in range(1, 31):
    made = socket.socket(type=[socket.SOCK_STREAM, socket.SOCK_DGRAM][number % 2])
    made.bind((f'127.{PORT >> 8}.{PORT & 255}.{number}', PORT))
    made.close()
say('closed')
serve(listener(('127.0.0.1', PORT)))
";
    let mut tine =
        python("1", free_port(), &["--policy", "random"], &[SCRIPT, script].concat()).start();
    tine.wait_for(|line| line.contains("started, pid"), "its worker");
    let before = descriptors(&tine);
    tell(&tine, "close");
    said(&mut tine, 1, "closed");
    said(&mut tine, 1, "ready");
    // The one that serves has its few.
    eventually("they are closed", || descriptors(&tine) < before + 10);
    stop(tine);
}

/// Node says so itself, so nobody has to look.
#[test]
fn a_node_server_that_closes_is_refused_at_once_and_may_listen_again() {
    if Who::Root.find("node").is_none() {
        return skip("no node here");
    }
    let script = "
const http = require('http');
const port = Number(process.env.PORT);
const open = () => http.createServer((request, response) => {
  response.end(`node ${process.pid}`);
}).listen(port, '127.0.0.1', () => console.log('ready'));
const server = open();
process.on('SIGUSR2', () => server.close(() => console.log('closed')));
process.on('SIGHUP', open);
";
    let port = free_port();
    let variable = format!("PORT={port}");
    let words = ["-i", "2", "--env", &variable, "app.js"];
    let mut tine = Tine::run(words).file("app.js", script).start();
    tine.wait_listening(2);
    assert!(get(port).is_ok());
    tine.signal(rustix::process::Signal::USR2);
    said(&mut tine, 2, "closed");
    eventually("nobody listens", || listeners(port) == 0);
    assert_eq!(connect(port).expect_err("refused").kind(), ErrorKind::ConnectionRefused);
    tine.signal(rustix::process::Signal::HUP);
    said(&mut tine, 4, "ready");
    assert!(get(port).is_ok());
    stop(tine);
}
