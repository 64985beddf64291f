//! `tine serve --foreground`: a real server, asked over a real socket.
#![forbid(unsafe_code)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// A server of a directory with some files, which go with it.
struct Server {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Server {
    fn start(name: &str, words: &[&str]) -> Self {
        let directory =
            std::env::temp_dir().join(format!("tine-serve-{name}-{}", std::process::id()));
        for (file, text) in [
            ("index.html", "front"),
            ("404.html", "missing"),
            ("a page.txt", "text"),
            ("sub/index.html", "below"),
            (".env", "secret"),
            (".well-known/acme", "known"),
        ] {
            let path = directory.join(file);
            fs::create_dir_all(path.parent().expect("in the directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        let mut tine = Command::new(env!("CARGO_BIN_EXE_tine"));
        tine.args(["serve", "--foreground", "--port", "0"]).args(words).arg(&directory);
        tine.env("PM2_SERVE_HOST", "127.0.0.1").stdout(Stdio::piped());
        let mut child = tine.spawn().expect("tine runs");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it is");
        let (_, address) = line.trim().rsplit_once("http://").expect("an address");
        let address = address.parse().expect("an address");
        Self { child, address, directory }
    }

    fn ask(&self, path: &str, header: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        (status, body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask(path, "")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn is(status: u16, body: &str) -> (u16, String) {
    (status, body.to_owned())
}

#[test]
fn files_are_served_and_what_is_not_there_is_the_error_page() {
    let server = Server::start("files", &[]);
    assert_eq!(server.get("/"), is(200, "front"));
    assert_eq!(server.get("/a%20page.txt"), is(200, "text"));
    assert_eq!(server.get("/sub/"), is(200, "below"));
    assert_eq!(server.get("/nowhere"), is(404, "missing"));
}

#[test]
fn hidden_files_and_those_outside_are_not_served() {
    let server = Server::start("hidden", &[]);
    for path in ["/.env", "/%2eenv", "/sub%2f..%2f.env", "/../../etc/passwd", "/%2e%2e/etc/passwd"]
    {
        let (status, body) = server.get(path);
        assert!(status == 404 || status == 400, "{path}: {status} {body}");
        assert!(!body.contains("secret") && !body.contains("root:"), "{path}: {body}");
    }
    assert_eq!(server.get("/.well-known/acme"), is(200, "known"));
}

#[test]
fn a_single_page_answers_for_every_path() {
    let server = Server::start("spa", &["--spa"]);
    assert_eq!(server.get("/users/7"), is(200, "front"));
    assert_eq!(server.get("/a%20page.txt"), is(200, "text"));
}

#[test]
fn a_password_is_asked_for() {
    let words = ["--basic-auth-username", "ann", "--basic-auth-password", "s:cret"];
    let server = Server::start("login", &words);
    assert_eq!(server.get("/").0, 401);
    // ann:wrong and ann:s:cret
    assert_eq!(server.ask("/", "Authorization: Basic YW5uOndyb25n\r\n").0, 401);
    assert_eq!(server.ask("/", "Authorization: Basic YW5uOnM6Y3JldA==\r\n"), is(200, "front"));
}

#[test]
fn it_ends_when_it_is_told_to() {
    let mut server = Server::start("ends", &[]);
    let pid = Pid::from_raw(server.child.id().try_into().expect("a pid")).expect("a pid");
    kill_process(pid, Signal::TERM).expect("it runs");
    assert!(server.child.wait().expect("a child").success());
}

#[test]
fn what_cannot_be_served_is_said() {
    let serve = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tine"))
            .args(["serve", "--foreground"])
            .args(words)
            .output()
            .expect("tine runs");
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(serve(&["/nowhere"]).contains("serve the directory /nowhere"));
    assert!(serve(&["/etc/passwd"]).contains("is no directory"));
    assert!(serve(&["--basic-auth-username", "ann"]).contains("--basic-auth-password"));
}
