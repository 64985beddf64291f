//! Hosts that do not allow everything: containers forbid system calls.

use std::path::Path;

use compliance::{Tine, Who, free_port, get, skip};

use crate::support::{
    V4, V6, all_answer, answer_as, each_answers_alone, python, stop, tcp, udp, unix, wait_ready,
    ways,
};

#[test]
fn without_pidfd_getfd_every_kind_of_address_is_shared() {
    let script = "
ports = [int(port) for port in os.environ['PORTS'].split()]
v6, local, datagrams = socket.AF_INET6, socket.AF_UNIX, socket.SOCK_DGRAM
def checked(*args, **options):
    made = listener(*args, **options)
    name = made.getsockname()
    assert name[:2] == args[0] if made.family != local else name == args[0], name
    assert made.getblocking() == options.get('blocking', True)
    assert not made.get_inheritable()
    return made
serve(
    checked(('127.0.0.1', ports[0])),
    checked(('::1', ports[1]), v6),
    checked(('::', ports[2]), v6, options=[DUAL]),
    checked(('0.0.0.0', ports[3])),
    checked(('::', ports[3]), v6, options=[V6ONLY], blocking=False),
    checked(('::', ports[4]), v6, options=[V6ONLY]),
    checked(('127.0.0.1', ports[0]), kind=datagrams),
    checked(('::1', ports[0]), v6, datagrams),
    checked('stream.sock', local),
    checked('letters.sock', local, datagrams),
    checked('packets.sock', local, socket.SOCK_SEQPACKET))
";
    for (policy, who) in ways() {
        let ports: [u16; 5] = std::array::from_fn(|_| free_port());
        let words = format!("PORTS={}", ports.map(|port| port.to_string()).join(" "));
        let options = ["--policy", policy, "--env", &words];
        let run = python("2", 0, &options, script).as_who(who).without("pidfd_getfd");
        let mut tine = run.start();
        wait_ready(&mut tine, 2, 11);
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
        for ip in [V4, V6] {
            answer_as(policy, &mut tine, || udp(ip, ports[0]));
        }
        assert!(tcp(V4, ports[4]).is_err(), "IPv6 only");
        let path = tine.folder().join("stream.sock");
        each_answers_alone(&mut tine, || unix(&path));
        stop(tine);
        assert!(!Path::new(&path).exists());
    }
}

#[test]
fn without_pidfd_getfd_errors_are_the_kernels_own() {
    let script = "
import errno
def told(call):
    try:
        call()
        return 'OK'
    except OSError as error:
        return errno.errorcode[error.errno]
def on(port=PORT, ip='127.0.0.1', family=socket.AF_INET, kind=socket.SOCK_STREAM):
    made = socket.socket(family, kind)
    return made, told(lambda: made.bind((ip, port)))
first, bound = on()
say('bind', bound, first.getsockname(), told(first.listen))
say('again', told(lambda: first.bind(('127.0.0.1', PORT))), told(lambda: first.bind(('127.0.0.2', PORT))))
say('second', on()[1], on(ip='0.0.0.0')[1], on(ip='::1', family=socket.AF_INET6)[1])
say('not here', on(ip='192.0.2.1')[1],
    on(ip=f'127.{PORT >> 8}.{PORT & 255}.1', port=80)[1])
";
    if Who::Root.missing().is_some() {
        return skip("not root");
    }
    for who in [Who::Root, Who::User] {
        crate::errors::same(script, ("rr", who), Some("pidfd_getfd"));
    }
}

#[test]
fn without_seccomp_it_says_what_is_missing_and_what_still_works() {
    let exit = python("2", free_port(), &[], "serve()").without("seccomp").start().wait();
    assert_eq!(exit.code, Some(1), "{}", exit.stderr);
    for words in ["seccomp user notification", "tine doctor", "node scripts", "--listen"] {
        assert!(exit.stderr.contains(words), "{words}: {}", exit.stderr);
    }
    assert_eq!(exit.stderr.lines().count(), 1, "one sentence: {}", exit.stderr);
}

#[test]
fn without_seccomp_node_scripts_and_declared_addresses_work() {
    let port = free_port();
    let env = format!("PORT={port}");
    let mut tine = Tine::run(["-i", "2", "--env", &env, "hello.js"]).without("seccomp").start();
    tine.wait_listening(2);
    assert!(get(port).unwrap().starts_with("node "));
    stop(tine);

    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let script = "serve(socket.socket(fileno=3))";
    let mut tine = python("2", port, &["--listen", &address], script).without("seccomp").start();
    wait_ready(&mut tine, 2, 1);
    all_answer(&mut tine, || tcp(V4, port));
    stop(tine);
}
