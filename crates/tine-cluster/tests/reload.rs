//! Rolling replacement, with real programs: this file's own binary is the server.
#![cfg(feature = "tokio")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "the other tests use more of it")]
mod common;

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Tested, soon};
use rustix::process::{Pid, Signal};
use tine_cluster::{
    core::rollout::Pace,
    id::Instance,
    policy::{Mechanism, Policy},
    primary::{Program, Reload, ReloadError, Reloaded, Settings, What},
    worker::Worker,
};
use tine_linux::process::Exit;

/// What the server does; without it this is a test like any other.
const MODE: &str = "RELOAD_MODE";
const PORT: &str = "RELOAD_PORT";

/// Not a test but the program of the workers: any server that binds its port and answers with its pid.
#[test]
fn serves() -> ExitCode {
    let Ok(mode) = std::env::var(MODE) else { return ExitCode::SUCCESS };
    let port: u16 = std::env::var(PORT).unwrap().parse().unwrap();
    match mode.as_str() {
        "plain" => serve(&TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap()),
        "native" => {
            let listener = Worker::from_env().unwrap().listen((Ipv4Addr::LOCALHOST, port)).unwrap();
            while let Some((client, _)) = listener.accept().unwrap() {
                drop(answer(client));
            }
        }
        "ready" => {
            let worker = Worker::from_env().unwrap();
            let listener = worker.listen((Ipv4Addr::LOCALHOST, port)).unwrap();
            if std::env::var_os("READY").is_some() {
                worker.ready().unwrap();
            }
            while let Some((client, _)) = listener.accept().unwrap() {
                drop(answer(client));
            }
        }
        "fails" => {
            println!("the configuration is wrong");
            return ExitCode::from(3);
        }
        // Never listens.
        _ => loop {
            thread::park();
        },
    }
    ExitCode::SUCCESS
}

fn serve(listener: &TcpListener) {
    loop {
        drop(answer(listener.accept().unwrap().0));
    }
}

fn answer(mut client: TcpStream) -> io::Result<()> {
    client.read_exact(&mut [0; 4])?;
    write!(client, "{}", std::process::id())
}

fn program(mode: &str, port: u16) -> Program {
    let mut program = Program::new(std::env::current_exe().unwrap());
    program.args = ["--exact", "serves", "--nocapture"].map(Into::into).to_vec();
    let own = [(MODE, mode.to_owned()), (PORT, port.to_string())];
    program.env.extend(own.map(|(name, value)| (name.into(), value.into())));
    program
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn ask(port: u16) -> io::Result<i32> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(common::DEADLINE))?;
    stream.write_all(b"who?")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    text.parse().map_err(io::Error::other)
}

async fn start(mode: &str, port: u16, change: impl FnOnce(&mut Settings)) -> Tested {
    let mut settings = Settings::new(program(mode, port), 2);
    change(&mut settings);
    let mut tested = Tested::start(settings);
    for _ in 0..2 {
        tested.until(|event| matches!(event.what, What::Listening { .. }).then_some(())).await;
    }
    tested
}

async fn pids(tested: &Tested) -> BTreeSet<i32> {
    let workers = soon(tested.cluster.workers()).await.unwrap();
    workers.iter().filter(|worker| !worker.is_dead).map(|worker| worker.pid).collect()
}

/// Clients that connect one after another until told to end; gives what went wrong.
struct Clients {
    end: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<(usize, Vec<String>)>>,
}

impl Clients {
    fn start(port: u16) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let threads = (0..4).map(|_| {
            let end = Arc::clone(&end);
            thread::spawn(move || {
                let (mut answers, mut failures) = (0, Vec::new());
                while !end.load(Ordering::Relaxed) {
                    match ask(port) {
                        Ok(_) => answers += 1,
                        Err(error) => failures.push(error.to_string()),
                    }
                }
                (answers, failures)
            })
        });
        Self { threads: threads.collect(), end }
    }

    fn end(self) -> usize {
        self.end.store(true, Ordering::Relaxed);
        let mut all = 0;
        for thread in self.threads {
            let (answers, failures) = thread.join().unwrap();
            assert_eq!(failures, Vec::<String>::new());
            all += answers;
        }
        all
    }
}

async fn nothing_is_lost(mode: &str, policy: Policy, mechanism: Option<Mechanism>) {
    let port = free_port();
    let mut tested = start(mode, port, |settings| {
        settings.policy = policy;
        settings.mechanism = mechanism;
        settings.abilities.ebpf = tine_linux::host::ebpf_load().is_yes();
    })
    .await;
    let before = pids(&tested).await;
    let clients = Clients::start(port);
    let cluster = tested.cluster.clone();
    let reload = tokio::spawn(async move { cluster.reload(Reload::default()).await });
    // The events are taken meanwhile, as an owner does.
    for _ in 0..2 {
        tested.until(|event| matches!(event.what, What::Exited { .. }).then_some(())).await;
    }
    assert_eq!(soon(reload).await.unwrap().unwrap(), Reloaded { replaced: 2 });
    // Where the primary hands over, this thread has to be free for it.
    let answers = tokio::task::spawn_blocking(|| clients.end()).await.unwrap();
    assert!(answers > 0);
    let after = pids(&tested).await;
    assert!(after.len() == 2 && after.is_disjoint(&before), "{before:?} {after:?}");
    let answer = tokio::task::spawn_blocking(move || ask(port)).await.unwrap();
    assert!(after.contains(&answer.unwrap()));
}

#[tokio::test]
async fn workers_with_seats_of_their_own_are_replaced_without_losing_a_connection() {
    nothing_is_lost("plain", Policy::Rr, None).await;
}

#[tokio::test]
async fn workers_of_one_queue_that_are_told_to_leave_are_replaced_without_losing_a_connection() {
    // A program without a channel cannot be kept from accepting until it is told to end.
    nothing_is_lost("native", Policy::Shared, None).await;
}

#[tokio::test]
async fn workers_that_are_handed_connections_are_replaced_without_losing_one() {
    nothing_is_lost("native", Policy::Rr, Some(Mechanism::HandOver)).await;
}

#[tokio::test]
async fn a_canary_that_ends_is_told_with_its_last_lines_and_nobody_else_is_touched() {
    let port = free_port();
    let mut tested = start("plain", port, |_| {}).await;
    let before = pids(&tested).await;
    let reload = Reload { program: Some(program("fails", port)), ..Reload::default() };
    let cluster = tested.cluster.clone();
    let reload = tokio::spawn(async move { cluster.reload(reload).await });
    tested.until(|event| matches!(event.what, What::Exited { .. }).then_some(())).await;
    let error = soon(reload).await.unwrap().unwrap_err();
    let ReloadError::EndedEarly { replaced: 0, exit, last_lines, .. } = error else {
        panic!("{error:?}")
    };
    // What the harness makes of a test that failed.
    assert_eq!(exit, Some(Exit::Code(101)));
    assert!(last_lines.contains(&b"the configuration is wrong".to_vec()), "{last_lines:?}");
    assert_eq!(pids(&tested).await, before);

    // A crash is followed by the program that is known to work.
    let victim = *before.first().unwrap();
    rustix::process::kill_process(Pid::from_raw(victim).unwrap(), Signal::KILL).unwrap();
    tested.until(|event| matches!(event.what, What::Listening { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_canary_that_never_listens_is_removed_when_its_time_is_up() {
    let port = free_port();
    let mut tested = start("plain", port, |_| {}).await;
    let before = pids(&tested).await;
    let pace = Pace { patience: Duration::from_millis(300), ..Pace::default() };
    let reload = Reload { program: Some(program("waits", port)), pace, ..Reload::default() };
    let cluster = tested.cluster.clone();
    let reload = tokio::spawn(async move { cluster.reload(reload).await });
    tested.until(|event| matches!(event.what, What::Exited { .. }).then_some(())).await;
    let error = soon(reload).await.unwrap().unwrap_err();
    assert!(matches!(error, ReloadError::TooLate { replaced: 0, .. }), "{error:?}");
    assert_eq!(pids(&tested).await, before);
}

#[tokio::test]
async fn a_second_reload_is_refused_and_the_first_can_be_called_off() {
    let port = free_port();
    let mut tested = start("plain", port, |_| {}).await;
    let before = pids(&tested).await;
    let cluster = tested.cluster.clone();
    let waits = Reload { program: Some(program("waits", port)), ..Reload::default() };
    let first = tokio::spawn(async move { cluster.reload(waits).await });
    tested.until(|event| matches!(event.what, What::Started { .. }).then_some(())).await;
    let second = soon(tested.cluster.reload(Reload::default())).await.unwrap_err();
    assert!(matches!(second, ReloadError::Busy), "{second:?}");
    soon(tested.cluster.cancel_reload()).await.unwrap();
    let error = soon(first).await.unwrap().unwrap_err();
    assert!(matches!(error, ReloadError::Cancelled { replaced: 0 }), "{error:?}");
    tested.until(|event| matches!(event.what, What::Exited { .. }).then_some(())).await;
    assert_eq!(pids(&tested).await, before);
}

#[tokio::test]
async fn a_worker_that_is_to_say_so_is_ready_when_it_has_said_so() {
    let port = free_port();
    let mut tested = start("ready", port, |settings| settings.wait_ready = true).await;
    let pace = Pace { patience: Duration::from_millis(500), ..Pace::default() };
    let cluster = tested.cluster.clone();
    let silent =
        tokio::spawn(async move { cluster.reload(Reload { pace, ..Reload::default() }).await });
    tested.until(|event| matches!(event.what, What::Exited { .. }).then_some(())).await;
    let error = soon(silent).await.unwrap().unwrap_err();
    assert!(matches!(error, ReloadError::TooLate { .. }), "{error:?}");

    let mut says = program("ready", port);
    says.env.push(("READY".into(), "1".into()));
    let cluster = tested.cluster.clone();
    let reload = Reload { program: Some(says), ..Reload::default() };
    let reload = tokio::spawn(async move { cluster.reload(reload).await });
    for _ in 0..2 {
        tested.until(|event| matches!(event.what, What::Exited { .. }).then_some(())).await;
    }
    assert_eq!(soon(reload).await.unwrap().unwrap(), Reloaded { replaced: 2 });
}

#[tokio::test]
async fn a_single_instance_is_replaced_new_before_old_and_the_others_stay() {
    let port = free_port();
    let tested = start("plain", port, |_| {}).await;
    let before = pids(&tested).await;
    let only = Some([Instance(1)].into());
    let done = tested.cluster.reload(Reload { only, ..Reload::default() }).await;
    assert_eq!(done.unwrap(), Reloaded { replaced: 1 });
    let after = pids(&tested).await;
    assert_eq!(after.len(), before.len());
    assert_eq!(before.difference(&after).count(), 1, "{before:?} {after:?}");
}

#[tokio::test]
async fn an_old_worker_that_crashes_meanwhile_is_replaced_like_the_others() {
    let port = free_port();
    let mut tested = start("plain", port, |_| {}).await;
    let before = pids(&tested).await;
    let cluster = tested.cluster.clone();
    let reload = tokio::spawn(async move { cluster.reload(Reload::default()).await });
    let started = |event: &mut tine_cluster::primary::Event| {
        matches!(event.what, What::Started { .. }).then_some(())
    };
    tested.until(started).await;
    for victim in &before {
        // The second one may have been told to go, and be gone.
        let _ = rustix::process::kill_process(Pid::from_raw(*victim).unwrap(), Signal::KILL);
    }
    let taking = async { while !matches!(tested.next().await.what, What::Restarting { .. }) {} };
    soon(taking).await;
    let taking = async {
        loop {
            tested.next().await;
        }
    };
    let result = tokio::select! {
        result = soon(reload) => result.unwrap(),
        () = taking => unreachable!("it takes for ever"),
    };
    assert_eq!(result.unwrap(), Reloaded { replaced: 2 });
    let after = pids(&tested).await;
    assert!(after.len() == 2 && after.is_disjoint(&before), "{before:?} {after:?}");
}
