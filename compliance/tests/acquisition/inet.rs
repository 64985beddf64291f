//! Addresses of the internet.

use std::io;

use compliance::{Who, free_port, skip};

use crate::support::{
    V4, V6, all_answer, answer_as, python, said, stop, tcp, udp, wait_ready, ways,
};

#[test]
fn ipv4_ipv6_dual_stack_and_v6only_are_shared_under_every_policy() {
    let script = "
ports = [int(port) for port in os.environ['PORTS'].split()]
v6 = socket.AF_INET6
serve(
    listener(('127.0.0.1', ports[0])),
    listener(('::1', ports[1]), v6),
    listener(('::', ports[2]), v6, options=[DUAL]),
    listener(('0.0.0.0', ports[3])),
    listener(('::', ports[3]), v6, options=[V6ONLY]),
    listener(('::', ports[4]), v6, options=[V6ONLY], blocking=False))
";
    for (policy, who) in ways() {
        let ports: [u16; 5] = std::array::from_fn(|_| free_port());
        let words = format!("PORTS={}", ports.map(|port| port.to_string()).join(" "));
        let options = ["--policy", policy, "--env", &words];
        let mut tine = python("2", 0, &options, script).as_who(who).start();
        wait_ready(&mut tine, 2, 6);
        let asked = [
            (V4, ports[0]),
            (V6, ports[1]),
            (V4, ports[2]),
            (V6, ports[2]),
            (V4, ports[3]),
            (V6, ports[3]),
            (V6, ports[4]),
        ];
        for (ip, port) in asked {
            answer_as(policy, &mut tine, || tcp(ip, port));
        }
        for (ip, port) in [(V6, ports[0]), (V4, ports[1]), (V4, ports[4])] {
            let refused = tcp(ip, port).expect_err("nobody listens there");
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "{ip} {port}");
        }
        stop(tine);
        assert!(asked.iter().all(|(ip, port)| tcp(*ip, *port).is_err()), "all are closed");
    }
}

#[test]
fn datagrams_are_answered_under_every_policy() {
    let script = "
v6, datagrams = socket.AF_INET6, socket.SOCK_DGRAM
serve(listener(('127.0.0.1', PORT), kind=datagrams), listener(('::1', PORT), v6, datagrams),
      listener(('127.0.0.1', PORT)))
";
    for (policy, who) in ways() {
        let port = free_port();
        let mut tine = python("2", port, &["--policy", policy], script).as_who(who).start();
        wait_ready(&mut tine, 2, 3);
        for ip in [V4, V6] {
            answer_as(policy, &mut tine, || udp(ip, port));
        }
        assert!(tcp(V4, port).is_ok(), "a TCP port of the same number is another listener");
        stop(tine);
    }
}

#[test]
fn port_0_and_private_ports_are_each_workers_own() {
    let script = "
shared = listener(('127.0.0.1', PORT))
any = [listener(('127.0.0.1', 0)), listener(('127.0.0.1', 0), kind=socket.SOCK_DGRAM)]
private = None
for port in PRIVATE:
    try:
        private = listener(('127.0.0.1', port))
        break
    except OSError as error:
        assert error.errno == 98, error
say('own', os.getpid(), any[0].getsockname()[1], any[1].getsockname()[1], private.getsockname()[1])
serve(shared, private, *any)
";
    let [port, first, second] = std::array::from_fn(|_| free_port());
    let script = format!("PRIVATE = [{first}, {second}]{script}");
    let (one, two) = (first.to_string(), second.to_string());
    let options = ["--private-port", &one, "--private-port", &two];
    let mut tine = python("2", port, &options, &script).start();
    wait_ready(&mut tine, 2, 1);
    let own = tine.lines().iter().filter_map(|line| line.text.split_once("| own "));
    let own: Vec<Vec<u32>> = own
        .map(|(_, words)| words.split(' ').map(|word| word.parse().unwrap()).collect())
        .collect();
    assert_eq!(own.len(), 2);
    for words in &own {
        let [pid, any, datagrams, private] = words[..] else { panic!("{words:?}") };
        let port = |number| u16::try_from(number).expect("a port");
        assert_eq!(tcp(V4, port(any)).unwrap(), pid);
        assert_eq!(udp(V4, port(datagrams)).unwrap(), pid);
        assert_eq!(tcp(V4, port(private)).unwrap(), pid);
    }
    all_answer(&mut tine, || tcp(V4, port));
    stop(tine);
}

#[test]
fn several_sockets_of_one_program_with_reuseport_all_serve() {
    let script = "
again = [(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1), (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]
serve(*[listener(('127.0.0.1', PORT), options=again) for _ in range(3)])
";
    for (policy, who) in ways() {
        let port = free_port();
        let mut tine = python("2", port, &["--policy", policy], script).as_who(who).start();
        wait_ready(&mut tine, 2, 1);
        answer_as(policy, &mut tine, || tcp(V4, port));
        stop(tine);
    }
}

#[test]
fn a_program_finds_its_socket_as_it_left_it() {
    let script = "
import fcntl
SOL, TCP = socket.SOL_SOCKET, socket.IPPROTO_TCP
def look(made):
    descriptor = fcntl.fcntl(made, fcntl.F_GETFD), fcntl.fcntl(made, fcntl.F_GETFL)
    options = [made.getsockopt(*o) for o in ((SOL, socket.SO_RCVBUF), (TCP, socket.TCP_NODELAY),
               (SOL, socket.SO_KEEPALIVE), (TCP, socket.TCP_DEFER_ACCEPT))]
    return made.fileno(), descriptor, options
kept = []
for blocking in (True, False):
    for inherited in (True, False):
        made = socket.socket()
        made.set_inheritable(inherited)
        made.setblocking(blocking)
        made.setsockopt(SOL, socket.SO_RCVBUF, 54321)
        made.setsockopt(TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(SOL, socket.SO_KEEPALIVE, 1)
        made.setsockopt(TCP, socket.TCP_DEFER_ACCEPT, 7)
        before = look(made)
        port = PORT + len(kept)
        made.bind(('127.0.0.1', port))
        bound = look(made)
        made.listen()
        assert before == bound == look(made), (before, bound, look(made))
        assert made.getsockname() == ('127.0.0.1', port), made.getsockname()
        if not blocking:
            try:
                made.accept()
                say('accept gave a client that there was not')
            except BlockingIOError:
                pass
        kept.append(made)
serve(listener(('127.0.0.1', int(os.environ['MAIN']))))
";
    for (policy, who) in ways() {
        let ports = four_in_a_row();
        let main = free_port();
        let variable = format!("MAIN={main}");
        let options = ["--policy", policy, "--env", &variable];
        let mut tine = python("2", ports, &options, script).as_who(who).start();
        wait_ready(&mut tine, 2, 5);
        assert!(tcp(V4, main).is_ok());
        stop(tine);
    }
}

/// The first of four ports that are free.
fn four_in_a_row() -> u16 {
    loop {
        let ports: [u16; 4] = std::array::from_fn(|_| free_port());
        if ports.windows(2).all(|pair| pair[1] == pair[0] + 1) {
            return ports[0];
        }
    }
}

#[test]
fn threads_that_bind_get_their_seats() {
    let script = "
made = []
def bind(kind):
    made.append(listener(('127.0.0.1', PORT), kind=kind))
threads = [threading.Thread(target=bind, args=(kind,))
           for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
serve(*made)
";
    let port = free_port();
    let mut tine = python("3", port, &[], script).start();
    wait_ready(&mut tine, 3, 2);
    all_answer(&mut tine, || tcp(V4, port));
    all_answer(&mut tine, || udp(V4, port));
    stop(tine);
}

#[test]
fn a_listener_that_is_closed_and_opened_again_serves_again() {
    let script = "
for turn in range(4):
    on = listener(('127.0.0.1', PORT))
    if turn < 3:
        on.close()
serve(on)
";
    for (policy, who) in ways() {
        let port = free_port();
        let mut tine = python("2", port, &["--policy", policy], script).as_who(who).start();
        wait_ready(&mut tine, 2, 1);
        answer_as(policy, &mut tine, || tcp(V4, port));
        stop(tine);
    }
}

#[test]
fn what_waits_at_a_closed_listener_is_served_by_the_others() {
    if let Some(reason) = Who::Root.missing() {
        return skip(reason);
    }
    let script = "
import signal
on = listener(('127.0.0.1', PORT))
if os.environ['TINE_INSTANCE'] == '0':
    on.close()
    say('closed')
    signal.pause()
serve(on)
";
    let port = free_port();
    let mut tine = python("2", port, &[], script).start();
    wait_ready(&mut tine, 1, 1);
    said(&mut tine, 1, "closed");
    let server = tine.workers()[1].pid;
    for _ in 0..10 {
        assert_eq!(tcp(V4, port).expect("served by the other"), server);
    }
    stop(tine);
}

#[test]
fn a_socket_that_connects_after_its_bind_is_the_programs_alone() {
    let script = "
other = socket.socket()
other.bind(('127.0.0.1', 0))
other.listen()
again = (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
client = socket.socket()
client.setsockopt(*again)
client.bind(('127.0.0.1', PORT))
client.connect(other.getsockname())
server, address = other.accept()
assert address == ('127.0.0.1', PORT), address
client.close()
server.settimeout(10)
assert server.recv(1) == b'', 'the end of the stream'
say('ended')
serve(listener(('127.0.0.1', int(os.environ['MAIN']))))
";
    let (port, main) = (free_port(), free_port());
    let variable = format!("MAIN={main}");
    let mut tine = python("2", port, &["--env", &variable], script).start();
    said(&mut tine, 2, "ended");
    wait_ready(&mut tine, 2, 1);
    stop(tine);
}

#[test]
fn a_worker_that_starts_blocking_does_not_make_the_others_block() {
    // As asyncio does it: the socket becomes non-blocking after the bind.
    let script = "
import signal
def wait_for(name):
    while not os.path.exists(name):
        select.select([], [], [], 0.01)
if os.environ['TINE_INSTANCE'] == '1':
    wait_for('first')
    on = listener(('127.0.0.1', PORT))
    open('second', 'w').close()
    signal.pause()
on = listener(('127.0.0.1', PORT))
on.setblocking(False)
open('first', 'w').close()
wait_for('second')
try:
    on.accept()
except BlockingIOError:
    say('did not block')
signal.pause()
";
    let mut tine = python("2", free_port(), &["--policy", "shared"], script).start();
    said(&mut tine, 1, "did not block");
    stop(tine);
}

#[test]
fn a_worker_that_finds_its_shared_socket_listening_and_leaves_the_call_out_counts_as_listening() {
    // Gunicorn looks whether the socket listens; the other worker's call may come in between.
    let script = "
def wait_until(holds):
    while not holds():
        select.select([], [], [], 0.01)
on = socket.socket()
on.bind(('127.0.0.1', PORT))
say('bound')
if os.environ['TINE_INSTANCE'] == '0':
    wait_until(lambda: os.path.exists('bound'))
    on.listen()
else:
    open('bound', 'w').close()
    wait_until(lambda: on.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
serve(on)
";
    let mut tine = python("2", free_port(), &["--policy", "shared"], script).start();
    wait_ready(&mut tine, 2, 1);
    stop(tine);
}
