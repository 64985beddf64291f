use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use super::*;

fn program() -> Program {
    let mut program = Program::new("/bin/true");
    program.env =
        vec![("PATH".into(), "/usr/bin:/bin".into()), ("MODE".into(), "of the app".into())];
    program
}

fn attempt(wanted: &HealthProbe, port: Option<SocketAddr>) -> Result<(), String> {
    let probe = Probe::new(wanted, &program()).unwrap();
    let pid = rustix::process::getpid();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(probe.attempt(port, pid, Duration::from_secs(5)))
}

/// A server that gives everybody the same answer, and what it was asked first.
fn server(answer: &'static str) -> (SocketAddr, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut room = [0; 512];
        while !request.ends_with(b"\r\n\r\n") {
            let length = stream.read(&mut room).unwrap();
            request.extend_from_slice(&room[..length]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(request).unwrap()
    };
    (address, thread::spawn(serve))
}

fn over_http(answer: &'static str) -> Result<(), String> {
    let (address, served) = server(answer);
    let outcome = attempt(&HealthProbe::Http("/health?a=1".to_owned()), Some(address));
    let request = served.join().unwrap();
    assert!(request.starts_with("GET /health?a=1 HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
    outcome
}

#[test]
fn answers_from_200_to_399_are_well_and_others_are_named() {
    assert_eq!(over_http("HTTP/1.1 200 OK\r\n\r\nhello"), Ok(()));
    assert_eq!(over_http("HTTP/1.0 302 Found\r\n\r\n"), Ok(()));
    let found = over_http("HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err();
    assert_eq!(found, "GET /health?a=1 was answered with 503");
    assert!(over_http("SSH-2.0-x 200\r\n").unwrap_err().contains("does not answer in HTTP"));
    assert!(over_http("").unwrap_err().contains("gave no answer"));
}

#[test]
fn nobody_there_is_told_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(attempt(&HealthProbe::Tcp(address.to_string()), None), Ok(()));
    drop(listener);
    let error = attempt(&HealthProbe::Tcp(String::new()), Some(address)).unwrap_err();
    assert!(error.starts_with(&format!("{address} cannot be connected to")), "{error}");
    let error = attempt(&HealthProbe::Tcp(String::new()), None).unwrap_err();
    assert_eq!(error, "it does not listen on any port");
}

#[test]
fn who_never_answers_has_failed_when_the_time_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let probe = Probe::new(&HealthProbe::Http("/".to_owned()), &program()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let within = Duration::from_millis(50);
    let pid = rustix::process::getpid();
    let error = runtime.block_on(probe.attempt(Some(address), pid, within)).unwrap_err();
    assert_eq!(error, "no answer within 50 ms");
}

#[test]
fn a_command_is_told_the_worker_and_has_the_environment_of_the_app() {
    let exec = |line: String| attempt(&HealthProbe::Exec(line), None);
    let own = rustix::process::getpid().as_raw_pid();
    assert_eq!(
        exec(format!("test $TINE_WORKER_PID = {own} && test \"$MODE\" = 'of the app'")),
        Ok(())
    );
    let error = exec("echo; echo no database; exit 3".to_owned()).unwrap_err();
    assert_eq!(error, "the check ended with code 3: no database");
}

#[test]
fn what_cannot_be_checked_is_refused_with_what_to_write() {
    let refused = |wanted: HealthProbe| Probe::new(&wanted, &program()).unwrap_err().to_string();
    let http = |url: &str| refused(HealthProbe::Http(url.to_owned()));
    assert!(http("https://localhost/").contains("only plain http"));
    for wrong in ["health", "http://", "http:///x", "http://a b/", "ftp://x/", "http://me@host/"] {
        assert!(http(wrong).contains("is no URL"), "{wrong}");
    }
    for wrong in ["localhost", "localhost:", "127.0.0.1:0", "::1:80", "x:99999"] {
        let error = refused(HealthProbe::Tcp(wrong.to_owned()));
        assert!(error.contains("is no address"), "{wrong}: {error}");
    }
}

#[test]
fn a_url_without_a_port_means_port_80_and_all_addresses_mean_this_machine() {
    let at = |url: &str| match Probe::new(&HealthProbe::Http(url.to_owned()), &program()) {
        Ok(Probe::Http { at, path }) => (at.unwrap_or_default(), path),
        other => panic!("{other:?}"),
    };
    assert_eq!(at("http://localhost"), ("localhost:80".to_owned(), "/".to_owned()));
    assert_eq!(at("http://[::1]:8003/a"), ("[::1]:8003".to_owned(), "/a".to_owned()));
    let shown = |text: &str| reachable(text.parse().unwrap()).to_string();
    assert_eq!(shown("0.0.0.0:80"), "127.0.0.1:80");
    assert_eq!(shown("[::]:80"), "[::1]:80");
    assert_eq!(shown("192.0.2.1:80"), "192.0.2.1:80");
}
