//! A user with a home of their own, who types commands. Whatever they started ends with the test.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// No command of a test takes longer, on a busy machine neither.
const PATIENCE: &str = "60";

/// A home, a working directory, and variables.
#[derive(Debug)]
pub(crate) struct Shell {
    root: PathBuf,
    variables: Vec<(String, String)>,
}

/// What a command has said.
#[derive(Debug)]
pub(crate) struct Said {
    /// 0 to 255.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Shell {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("tine-cli-{}-{number}", std::process::id()));
        for directory in [&root, &root.join("work")] {
            fs::DirBuilder::new().mode(0o700).create(directory).expect("a name of this test's own");
        }
        Self { root, variables: Vec::new() }
    }

    /// For all commands from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Those that were set.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        self.variables.clone()
    }

    /// The working directory.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// `TINE_HOME`.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// A file in the working directory.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.work().join(name);
        fs::write(&path, text).expect("the directory is this test's own");
        path
    }

    /// A server in Node that says its pid, on the port in `PORT`.
    pub(crate) fn node_server(&self, name: &str) {
        self.write(
            name,
            "require('http').createServer((q, s) => s.end('node ' + process.pid))\
             .listen(process.env.PORT, '127.0.0.1');\n\
             console.log('up with', process.argv.slice(2).join(' ') || 'nothing');\n",
        );
    }

    /// The same in Python.
    pub(crate) fn python_server(&self, name: &str) {
        if Command::new("python3").arg("-V").output().is_err() {
            // The runner knows the line, and takes the test for one that cannot run here.
            println!("SKIP! no python3 here");
            std::panic::resume_unwind(Box::new("skipped"));
        }
        self.write(
            name,
            "import http.server, os\n\
             class Answer(http.server.BaseHTTPRequestHandler):\n\
             \x20   def do_GET(self):\n\
             \x20       body = b'python %d' % os.getpid()\n\
             \x20       self.send_response(200)\n\
             \x20       self.send_header('Content-Length', str(len(body)))\n\
             \x20       self.end_headers()\n\
             \x20       self.wfile.write(body)\n\
             http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Answer).serve_forever()\n",
        );
    }

    /// Types a line; words are parted by blanks.
    pub(crate) fn tine(&self, line: &str) -> Said {
        self.words(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// The same, and it must succeed.
    pub(crate) fn ok(&self, line: &str) -> String {
        let said = self.tine(line);
        assert_eq!(said.code, 0, "tine {line}: {said:#?}");
        said.out
    }

    /// The same, and it must fail; what it says on standard error.
    pub(crate) fn fails(&self, line: &str) -> String {
        let said = self.tine(line);
        assert_ne!(said.code, 0, "tine {line}: {said:#?}");
        said.err
    }

    /// A command with these words.
    pub(crate) fn words(&self, words: &[&str]) -> Said {
        let output =
            self.command(words).stdin(Stdio::null()).output().expect("timeout(1) is there");
        said(&output)
    }

    /// The same with other variables.
    pub(crate) fn with(&self, variables: &[(String, String)], words: &[&str]) -> Said {
        let mut command = self.command(words);
        command.envs(variables.iter().cloned()).stdin(Stdio::null());
        said(&command.output().expect("timeout(1) is there"))
    }

    /// A command with this on its standard input.
    pub(crate) fn fed(&self, line: &str, input: &str) -> Said {
        said(&self.feeding(line, input).output().expect("timeout(1) is there"))
    }

    /// The same for one that goes on: whether these words come; then it is ended.
    pub(crate) fn hears(&self, line: &str, input: &str, words: &str) -> bool {
        let mut child = self.feeding(line, input).stdout(Stdio::piped()).spawn();
        let child = child.as_mut().expect("timeout(1) is there");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let heard = out.lines().map_while(Result::ok).any(|line| line.contains(words));
        // timeout(1) passes it on.
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.expect("a child has a pid");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        child.wait().expect("it is this test's child");
        heard
    }

    fn feeding(&self, line: &str, input: &str) -> Command {
        let file = self.write("standard-input", input);
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = self.command(&words);
        command.stdin(fs::File::open(file).expect("it was written just now"));
        command
    }

    /// The same, still to be run.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", PATIENCE, env!("CARGO_BIN_EXE_tine")]).args(words);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("HOME", &self.root).env("TINE_HOME", self.home());
        command.envs(self.variables.iter().cloned()).current_dir(self.work());
        command
    }

    /// `jlist`, parsed.
    pub(crate) fn jlist(&self) -> Vec<serde_json::Value> {
        let text = self.ok("jlist");
        assert_eq!(text.lines().count(), 1, "one line: {text}");
        serde_json::from_str(&text).expect("it is JSON")
    }

    /// One value of each worker of an app, as text: `/pm2_env/status`.
    pub(crate) fn values(&self, app: &str, pointer: &str) -> Vec<String> {
        let of = |worker: &serde_json::Value| match worker.pointer(pointer) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "missing".to_owned(),
        };
        self.jlist().iter().filter(|worker| worker["name"] == app).map(of).collect()
    }

    /// The manager, if one runs.
    fn manager(&self) -> Option<i32> {
        self.words(&["pid"]).out.trim().parse().ok()
    }
}

impl Drop for Shell {
    /// Also after a failure: the manager, and with it all that it has started.
    fn drop(&mut self) {
        if let Some(pid) = self.manager() {
            let killed = self.words(&["kill", "--silent"]);
            if killed.code != 0 {
                kill(pid);
            }
            let gone = || !Path::new(&format!("/proc/{pid}")).exists();
            assert!(wait_until(gone) || std::thread::panicking(), "the manager {pid} lives on");
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Its watchdog first, stopped, so that nobody follows.
fn kill(pid: i32) {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = Pid::from_raw(pid).expect("a manager has a pid");
    let watchdog = tine_linux::tree::entry(pid).ok().and_then(|entry| entry.parent);
    let first = watchdog.filter(|pid| *pid != Pid::INIT).unwrap_or(pid);
    let _ = kill_process(first, Signal::STOP);
    let table = tine_linux::tree::Table::read(None).unwrap_or_default();
    tine_linux::tree::signal_all(&table.members(Some(first), None), Signal::KILL);
    let _ = kill_process(first, Signal::KILL);
}

fn said(output: &std::process::Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("timeout(1) exits");
    Said { code, out: text(&output.stdout), err: text(&output.stderr) }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
    listener.local_addr().expect("it is bound").port()
}

/// The body that a server answers with.
pub(crate) fn get(port: u16) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// Whether it comes to be so in time.
pub(crate) fn wait_until(mut so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if so() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::yield_now();
        std::thread::sleep(Duration::from_millis(20));
    }
}
