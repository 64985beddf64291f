//! Programs that use the library.

use std::collections::BTreeSet;

use compliance::{Tine, Who, example, free_port, get, pid_in};

use crate::support::{V4, all_answer, each_answers_alone, tcp};

#[test]
fn a_worker_of_the_library_is_served_by_every_mechanism() {
    let ways: [(&[&str], &str, Who); 4] = [
        (&[], "kernel-ebpf", Who::Root),
        (&["--policy", "shared"], "one-queue", Who::Root),
        (&["--mechanism", "hand-over"], "hand-over", Who::Root),
        (&[], "hand-over", Who::User),
    ];
    for (options, mechanism, who) in ways.into_iter().filter(|way| way.2.missing().is_none()) {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let args = ["-i", "3", "--name", "app"].iter().chain(options);
        let run = Tine::run(args.chain(&["./worker", &address])).copy(example("worker"));
        let mut tine = run.as_who(who).start();
        for seat in tine.wait_listening(3) {
            assert_eq!((&*seat.mechanism, &*seat.acquisition), (mechanism, "native"));
        }
        if mechanism == "one-queue" {
            each_answers_alone(&mut tine, || tcp(V4, port));
        } else {
            let order: Vec<u32> = (0..9).map(|_| tcp(V4, port).expect("an answer")).collect();
            assert_eq!(order[..3].iter().collect::<BTreeSet<_>>().len(), 3, "{order:?}");
            assert!(order.windows(4).all(|turn| turn[0] == turn[3]), "{order:?}");
        }
        let exit = tine.stop();
        assert_eq!(exit.code, Some(0), "{}", exit.stderr);
        assert_eq!(exit.stdout.matches("left in peace").count(), 3, "{}", exit.stderr);
    }
}

/// `examples/workers/worker.py`, which was written from `docs/protocol-native.md`.
#[test]
fn a_worker_in_another_language_is_served_by_every_mechanism() {
    let script = include_str!("../../../examples/workers/worker.py");
    let ways: [(&[&str], &str); 3] = [
        (&[], "kernel-ebpf"),
        (&["--policy", "shared"], "one-queue"),
        (&["--mechanism", "hand-over"], "hand-over"),
    ];
    for (options, mechanism) in ways {
        let who = Who::Root;
        if who.missing().is_some() || who.find("python3").is_none() {
            return compliance::skip("needs root and python3");
        }
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let args = ["-i", "3", "--name", "app"].iter().chain(options);
        let run = Tine::run(args.chain(&["worker.py", &address])).file("worker.py", script);
        let mut tine = run.as_who(who).start();
        for seat in tine.wait_listening(3) {
            assert_eq!((&*seat.mechanism, &*seat.acquisition), (mechanism, "native"));
        }
        let ask = || get(port).map(|body| pid_in(&body));
        if mechanism == "one-queue" {
            each_answers_alone(&mut tine, ask);
        } else {
            all_answer(&mut tine, ask);
        }
        let exit = tine.stop();
        assert_eq!(exit.code, Some(0), "{}", exit.stderr);
        assert_eq!(exit.stderr.matches("exited with code 0").count(), 3, "{}", exit.stderr);
    }
}

/// Says nothing of signals, and has something to put away when it is told to stop.
const SLOW: &str = r#"
import json, os, socket, time
channel = socket.socket(fileno=int(os.environ["TINE_CHANNEL_FD"].split(":")[0]))
def say(**line): channel.sendall(json.dumps(line).encode() + b"\n")
say(type="hello", version=1, pid=os.getpid())
say(type="listen", seq=1, socket="tcp", address="127.0.0.1:" + os.environ["PORT"])
while b'"stop"' not in channel.recv(65536): pass
time.sleep(0.7)
print("all is put away")
"#;

#[test]
fn a_worker_that_is_told_to_stop_may_take_as_long_as_after_a_signal() {
    let variable = format!("PORT={}", free_port());
    let words = ["--policy", "shared", "--kill-timeout", "20s", "--env", &variable, "slow.py"];
    let mut tine = Tine::run(words).file("slow.py", SLOW).as_user().start();
    tine.wait_listening(1);
    let exit = tine.stop();
    assert_eq!(exit.stdout, "slow/0 | all is put away\n", "{}", exit.stderr);
    assert!(exit.stderr.contains("exited with code 0"), "{}", exit.stderr);
}

#[test]
fn started_by_hand_the_same_program_simply_listens() {
    let port = free_port();
    let mut alone = std::process::Command::new(example("worker"));
    let mut alone = alone.arg(format!("127.0.0.1:{port}")).spawn().expect("it was built");
    crate::support::until("it listens", || tcp(V4, port).is_ok());
    assert_eq!(tcp(V4, port).expect("an answer"), alone.id());
    let pid = rustix::process::Pid::from_child(&alone);
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("our child");
    alone.wait().expect("our child");
}
