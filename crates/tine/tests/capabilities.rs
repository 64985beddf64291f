//! `tine` with the capabilities that `tine doctor` tells to give its file, as an ordinary user.
#![forbid(unsafe_code)]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tine::api::{PortsView, doctor::DoctorReport};
use tine_cluster::policy::Mechanism;

/// For all that a loaded machine can do meanwhile.
const PATIENCE: Duration = Duration::from_mins(1);

/// A directory of `nobody`'s, with a copy of the program that has capabilities.
struct Place(PathBuf);

impl Place {
    /// Or why there is none.
    fn make(test: &str) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("not root".into());
        }
        if tine_linux::host::no_new_privs() || !tine_linux::host::bounding_set_has_bpf() {
            return Err("capabilities of files have no effect here".into());
        }
        let name = format!("tine-capabilities-{}-{test}", std::process::id());
        let place = Self(std::env::temp_dir().join(name));
        fs::create_dir(&place.0).expect("a name of this test's own");
        std::os::unix::fs::chown(&place.0, Some(65534), Some(65534)).expect("as root");
        fs::copy(env!("CARGO_BIN_EXE_tine"), place.tine()).expect("the program is built");
        let setcap =
            Command::new("setcap").arg("cap_bpf,cap_perfmon+ep").arg(place.tine()).output();
        match setcap {
            Ok(output) if output.status.success() => Ok(place),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("setcap: {error}")),
        }
    }

    fn tine(&self) -> PathBuf {
        self.0.join("tine")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(self.tine()).args(args).env("TINE_HOME", self.0.join("home"));
        command.env("PATH", "/usr/bin:/bin").current_dir(&self.0);
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A run that does not outlive its test.
struct Run(Child);

impl Run {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Waits until workers of so many have said that they listen.
    fn wait_listening(&mut self, workers: usize) {
        let words = BufReader::new(self.0.stderr.take().expect("piped"));
        let (tell, told) = mpsc::channel();
        // Reads on to the end, so that the program never waits for this test.
        std::thread::spawn(move || {
            for line in words.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let mut listening = 0;
        let mut all = Vec::new();
        while listening < workers {
            let line = told.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("{listening} listen: {all:#?}"));
            listening += usize::from(line.contains(" listens on "));
            all.push(line);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = kill_process(self.pid(), Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    socket.local_addr().expect("it is bound").port()
}

/// Answers nothing: who gets connections is another test's business.
fn server(place: &Path, port: u16) -> PathBuf {
    let path = place.join("server.py");
    let text = format!(
        "import socket\ns = socket.create_server(('127.0.0.1', {port}))\nwhile True: s.accept()\n"
    );
    fs::write(&path, text).expect("the directory is there");
    path
}

fn json<T: serde::de::DeserializeOwned>(command: &mut Command) -> T {
    let output = command.output().expect("setpriv is there");
    let told = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"))
}

#[test]
fn the_setcap_line_gives_an_ordinary_user_round_robin_in_the_kernel() {
    let place = match Place::make("rr") {
        Ok(place) => place,
        Err(why) => return println!("SKIP: {why}"),
    };
    if Command::new("python3").arg("-V").output().is_err() {
        return println!("SKIP: no python3 here");
    }
    let report: DoctorReport = json(&mut place.command(&["doctor", "--json"]));
    assert!(report.ebpf && report.queue_aware, "{report:#?}");
    assert_eq!(report.host.capabilities, ["bpf", "perfmon"]);

    let port = free_port();
    let server = server(&place.0, port);
    let mut command = place.command(&["run", "-i", "3", server.to_str().expect("plain")]);
    let run = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut run = Run(run.expect("setpriv is there"));
    run.wait_listening(3);

    // The program is not dumpable, so what it holds is hidden from its own user.
    let view: PortsView = json(&mut place.command(&["ports", "--json"]));
    let address = format!("127.0.0.1:{port}");
    let listener = &view.managers[0].listeners[0];
    assert_eq!((listener.address.as_str(), listener.mechanism), (&*address, Mechanism::KernelEbpf));
    assert!(!view.foreign.iter().any(|foreign| foreign.address == address));
    let workers: Vec<i32> = listener.seats.iter().filter_map(|seat| seat.pid).collect();
    assert_eq!(workers.len(), 3);

    kill_process(run.pid(), Signal::INT).expect("it runs");
    assert_eq!(run.0.wait().expect("a child").code(), Some(0));
    for worker in workers {
        let pid = Pid::from_raw(worker).expect("positive");
        assert!(test_kill_process(pid).is_err(), "{worker} is left");
    }
}
