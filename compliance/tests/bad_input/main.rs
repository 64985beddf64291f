//! What a person or a worker does wrong: it is told in a sentence, with the right exit code, and
//! everybody else goes on.
#![forbid(unsafe_code)]

mod channel;
mod host;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::id;

use compliance::{Exit, Program, Run, Tine, Who, free_port, get, skip};

/// Runs to its end, which must come with this code and this sentence.
fn told(run: Run, code: i32, sentence: &str) -> Exit {
    let exit = run.start().wait();
    assert!(exit.stderr.contains(sentence), "{sentence:?} is not in:\n{}", exit.stderr);
    assert_eq!(exit.code, Some(code), "{}", exit.stderr);
    exit
}

/// A usage error: nothing is started.
fn usage(args: &[&str], sentence: &str) {
    let exit = told(Tine::run(args.iter().copied()), 2, sentence);
    assert!(!exit.stderr.contains("started"), "{}", exit.stderr);
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    usage(&["--instance", "3", "hello.py"], "unexpected argument '--instance'");
}

#[test]
fn no_command_is_a_usage_error() {
    usage(&["-i", "3"], "<COMMAND>");
}

#[test]
fn an_absurd_number_of_instances_is_a_usage_error() {
    for wrong in ["0x3", "-x", "1e9", "three", "", "3.5"] {
        usage(&["-i", wrong, "hello.py"], &format!("`{wrong}` is no number of instances"));
    }
    for wrong in ["4097", "1000000000"] {
        usage(&["-i", wrong, "hello.py"], &format!("{wrong} instances are more than the 4096"));
    }
    usage(&["-i", "99999999999999999999", "hello.py"], "instances");
}

#[test]
fn all_cpus_but_more_than_there_are_is_one_worker_and_that_is_said() {
    let exit = Tine::run(["-i", "-1000", "--", "true"]).start().wait();
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    let note = exit.stderr.lines().next().unwrap_or_default();
    assert!(note.starts_with("tine: -i -1000: of ") && note.contains("one worker runs"), "{note}");
    assert!(exit.stderr.contains("1 × true"), "{}", exit.stderr);
}

#[test]
fn somebody_elses_home_is_told_with_its_owner_and_what_to_do() {
    let run = Tine::command(["ports"]).as_user().env("TINE_HOME", "/");
    let exit = told(run, 1, "/ belongs to uid 0, not to this user (uid ");
    assert!(
        exit.stderr.contains("run tine as its owner (`sudo -u '#0' …`), or"),
        "{}",
        exit.stderr
    );
}

#[test]
fn an_unknown_policy_is_a_usage_error_that_names_the_known() {
    let sentence = "`fair` is no policy; there are rr, random, sticky, shared";
    usage(&["--policy", "fair", "hello.py"], sentence);
}

#[test]
fn an_unknown_mechanism_is_a_usage_error_that_names_the_known() {
    for wrong in ["magic", "kernel-hash"] {
        let sentence = format!("`{wrong}` is no mechanism; there are auto, kernel-ebpf");
        usage(&["--mechanism", wrong, "hello.py"], &sentence);
    }
}

#[test]
fn a_malformed_value_is_a_usage_error_that_shows_it() {
    usage(&["--listen", "localhost", "hello.py"], "invalid value 'localhost'");
    usage(&["--listen", "1.2.3.4.5:80", "hello.py"], "invalid value '1.2.3.4.5:80'");
    usage(&["--env", "=x", "hello.py"], "`=x` is no NAME=VALUE");
    usage(&["--env", "x", "hello.py"], "`x` is no NAME=VALUE");
    usage(&["--kill-signal", "SIGNOT", "hello.py"], "`SIGNOT` is no signal");
    usage(&["--kill-timeout", "soon", "hello.py"], "`soon` is no duration");
    usage(&["--private-port", "70000", "hello.py"], "invalid value '70000'");
    usage(&["--max-restarts", "0", "hello.py"], "invalid value '0'");
}

#[test]
fn a_missing_program_is_named() {
    told(Tine::run(["no-such.js"]), 1, "`no-such.js` is neither a file nor a command in PATH");
    told(Tine::run(["./no-such"]), 1, "`./no-such` is neither a file nor a command in PATH");
    let folder = Tine::run(["--cwd", "/no/such", "hello.py"]);
    told(folder, 1, "the working directory `/no/such` cannot be entered");
}

#[test]
fn a_missing_interpreter_is_named() {
    let run = Tine::run(["app.coffee"]).file("app.coffee", "");
    told(run, 1, "`app.coffee` needs `coffee`, which is not in PATH; install it");
}

#[test]
fn what_cannot_be_executed_is_told_with_what_to_do() {
    let run = Tine::run(["./hello.go"]).as_user();
    told(run, 1, "`./hello.go` is not executable; make it so (chmod +x)");
    told(Tine::run(["./"]), 1, "`./` is a directory, not a program");
    let run = Tine::run(["-i", "2", "./text"]).file("text", "no program at all\n");
    let exit = told(run, 1, "it is neither a binary for this machine nor does it begin with `#!`");
    assert!(exit.stderr.ends_with("could not be started\n"), "{}", exit.stderr);
    let run = Tine::run(["./script"]).file("script", "#!/no/such/interpreter\n");
    told(run, 1, "the interpreter in its first line, or its loader, is missing");
}

#[test]
fn a_mechanism_that_does_not_carry_out_the_policy_is_refused_before_the_start() {
    for (policy, mechanism) in
        [("shared", "kernel-cbpf"), ("sticky", "one-queue"), ("random", "hand-over")]
    {
        let args = ["--policy", policy, "--mechanism", mechanism, "hello.js"];
        let exit = told(Tine::run(args), 1, mechanism);
        assert!(exit.stderr.contains(policy), "{}", exit.stderr);
        assert!(!exit.stderr.contains("started"), "{}", exit.stderr);
    }
}

#[test]
fn ebpf_for_an_ordinary_user_is_an_error_and_never_silently_another() {
    let args = ["--mechanism", "kernel-ebpf", "hello.py"];
    let exit = told(Tine::run(args).as_user(), 1, "kernel-ebpf");
    assert!(!exit.stderr.contains("started"), "{}", exit.stderr);
}

#[test]
fn hand_over_for_a_program_without_a_channel_ends_with_the_reason() {
    let variable = format!("PORT={}", free_port());
    let args = ["--mechanism", "hand-over", "--env", &variable, "hello.py"];
    let exit = told(Tine::run(args), 1, "hand-over");
    assert!(exit.stderr.contains("giving up: the mechanism asked for"), "{}", exit.stderr);
}

#[test]
fn a_declared_address_without_a_port_is_refused() {
    told(Tine::run(["--listen", "127.0.0.1:0", "hello.py"]), 1, "needs a port other than 0");
}

/// The python server, refused this address; gives what was said of it.
fn refused(host: &str, port: u16) -> String {
    let (host, port) = (format!("HOST={host}"), format!("PORT={port}"));
    let words = ["--max-restarts", "1", "--env", &host, "--env", &port, "hello.py"];
    told(Tine::run(words).as_user(), 1, "may not listen on").stderr
}

#[test]
fn a_port_that_is_not_for_this_user_is_told_with_what_to_do() {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let port = first.ok().and_then(|text| text.trim().parse::<u16>().ok()).unwrap_or(1024);
    let Some(port) = port.checked_sub(1).filter(|port| *port > 0) else {
        return skip("every port is for every user here");
    };
    let said = refused("127.0.0.1", port);
    let place = format!("worker 1 may not listen on 127.0.0.1:{port}: Permission denied");
    assert!(said.contains(&place), "{said}");
    assert!(said.contains(&format!("ip_unprivileged_port_start={port}`")), "{said}");
}

#[test]
fn an_address_that_this_host_does_not_have_is_told_so() {
    let said = refused("192.0.2.1", free_port());
    assert!(said.contains("; no interface of this host has that address"), "{said}");
}

#[test]
fn an_empty_name_is_a_usage_error() {
    usage(&["--name", "", "hello.py"], "a value is required for '--name <NAME>'");
}

/// This process holds the address; the app is told so.
fn held_by_us(holder: &str, host: &str) {
    compliance::needs("python3");
    let port = free_port();
    let address: SocketAddr = holder.replace("{port}", &port.to_string()).parse().expect("one");
    let _held = TcpListener::bind(address).expect("a free port");
    let program = Program::python(Who::User).expect("python is there");
    let run = program.run(port, &["-i", "2", "--env", &format!("HOST={host}")]);
    let exit = run.start().wait();
    assert_eq!(exit.code, Some(1), "{}", exit.stderr);
    let taken = exit.stderr.lines().find(|line| line.contains(" is taken: "));
    let taken = taken.unwrap_or_else(|| panic!("{}", exit.stderr));
    // The ordinary user may not see whose it is.
    let whose = format!("pid {}", id());
    let hidden = "a process that this user may not see";
    assert!(taken.contains(&whose) || taken.contains(hidden), "{taken}");
    assert!(!exit.stderr.contains("another worker starts"), "{}", exit.stderr);
}

#[test]
fn a_foreign_process_that_has_the_port_is_told_by_pid_and_name() {
    let port = free_port();
    let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
    for program in [Program::python(Who::Root), Program::node(Who::Root)].into_iter().flatten() {
        let exit = program.run(port, &["-i", "2"]).start().wait();
        assert_eq!(exit.code, Some(1), "{}", exit.stderr);
        let name = std::fs::read_to_string("/proc/self/comm").expect("/proc is mounted");
        let taken = format!("127.0.0.1:{port} is taken: ");
        let line = exit.stderr.lines().find(|line| line.contains(&taken));
        let line = line.unwrap_or_else(|| panic!("{}", exit.stderr));
        assert!(line.contains(&format!("{}", id())), "{line}");
        assert!(line.contains(name.trim()), "{line}");
        assert!(line.ends_with("stop that, or choose another port"), "{line}");
    }
}

#[test]
fn an_address_that_overlaps_is_taken_as_well() {
    held_by_us("0.0.0.0:{port}", "127.0.0.1");
    held_by_us("127.0.0.1:{port}", "0.0.0.0");
    held_by_us("[::]:{port}", "0.0.0.0");
}

#[test]
fn the_second_run_on_a_port_is_told_the_first_by_name_and_leaves_it_alone() {
    compliance::needs("python3");
    let port = free_port();
    for who in [Who::Root, Who::User] {
        if let Some(reason) = who.missing() {
            return skip(reason);
        }
        let program = Program::python(who).expect("python is there");
        let mut first = program.run(port, &["-i", "2", "--name", "shop"]).start();
        first.wait_listening(2);
        let variable = format!("PORT={port}");
        let second = ["run", "-i", "2", "--env", &variable, "--env", "HOST=127.0.0.1", "hello.py"];
        let exit = first.ask(second);
        let holder = format!("tine's app `shop` has it (manager pid {})", first.manager());
        assert_eq!(exit.code, Some(1), "{}", exit.stderr);
        assert!(exit.stderr.contains(&holder), "{}", exit.stderr);
        for _ in 0..6 {
            first.instance_of(compliance::pid_in(&get(port).expect("the first goes on")));
        }
        assert_eq!(first.stop().code, Some(0));
    }
}
