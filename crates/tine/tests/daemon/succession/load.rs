//! Clients that ask without a pause, and notice everything.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use crate::manager::SOON;

const CLIENTS: usize = 4;

type Shared = Arc<Mutex<Vec<String>>>;

/// Requests with a connection each, until it is ended.
pub(crate) struct Load {
    port: u16,
    number: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    served: Shared,
    failed: Shared,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn on(port: u16) -> Self {
        let (stop, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (served, failed): (Shared, Shared) = Default::default();
        let next = Arc::clone(&number);
        let client = |_| {
            let (stop, number) = (Arc::clone(&stop), Arc::clone(&number));
            let (served, failed) = (Arc::clone(&served), Arc::clone(&failed));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let path = format!("/{}", number.fetch_add(1, Ordering::Relaxed));
                    match ask(port, &path) {
                        Ok(_) => served.lock().unwrap().push(path),
                        Err(error) => failed.lock().unwrap().push(format!("{path}: {error}")),
                    }
                    // Log files are of a size that the test can read, and others want the CPUs too.
                    thread::yield_now();
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { port, number: next, stop, served, failed, clients }
    }

    /// How many requests have begun. The next one has this number.
    pub(crate) fn asked(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Waits until each of these has answered, and nobody else is asked for.
    pub(crate) fn served_by_all(&self, pids: &[Option<i32>]) {
        let mut wanted: BTreeSet<i32> = pids.iter().copied().flatten().collect();
        let deadline = Instant::now() + SOON;
        while !wanted.is_empty() {
            let pid = ask(self.port, "/pid").expect("an answer");
            wanted.remove(&pid);
            assert!(Instant::now() < deadline, "{wanted:?} have not answered");
        }
    }

    /// All that was served; nothing has failed.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.drain(..).for_each(|client| client.join().unwrap());
        let (served, failed) = (self.served.lock().unwrap(), self.failed.lock().unwrap());
        assert_eq!(*failed, Vec::<String>::new(), "of {}", served.len());
        assert!(!served.is_empty());
        served.clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The pid that answers.
fn ask(port: u16, path: &str) -> Result<i32, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.set_read_timeout(Some(SOON)).map_err(failed)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let pid = answer.rsplit_once("pid ").and_then(|(_, pid)| pid.trim_end().parse().ok());
    // Chunked answers have more behind it.
    let first = || answer.split("pid ").nth(1)?.split_whitespace().next()?.parse().ok();
    pid.or_else(first).ok_or(answer)
}
