//! Addresses bound before the start, and passed as systemd passes them.

use compliance::free_port;
use rustix::process::Signal;

use crate::support::{V4, V6, all_answer, each_answers_alone, python, stop, tcp, wait_ready};

#[test]
fn passed_sockets_are_shared_and_kept_over_a_restart() {
    let script = "
assert os.environ['LISTEN_FDS'] == '2' and os.environ['LISTEN_PID'] == str(os.getpid())
made = [socket.socket(fileno=3), socket.socket(fileno=4)]
assert [on.getsockname()[:2] for on in made] == [('127.0.0.1', PORT), ('::1', PORT)]
assert all(on.getblocking() and on.get_inheritable() for on in made)
serve(*made)
";
    for policy in ["rr", "random", "shared"] {
        let port = free_port();
        let (v4, v6) = (format!("127.0.0.1:{port}"), format!("[::1]:{port}"));
        let options = ["--policy", policy, "--listen", &v4, "--listen", &v6];
        let mut tine = python("2", port, &options, script).start();
        wait_ready(&mut tine, 2, 2);
        for seat in tine.wait_listening(2) {
            assert_eq!(seat.acquisition, "listen-fds");
        }
        let killed = tine.pids()[0];
        tine.signal_worker(killed, Signal::KILL);
        wait_ready(&mut tine, 3, 2);
        for ip in [V4, V6] {
            if policy == "shared" {
                each_answers_alone(&mut tine, || tcp(ip, port));
            } else {
                all_answer(&mut tine, || tcp(ip, port));
            }
        }
        stop(tine);
        assert!(tcp(V4, port).is_err());
    }
}
