//! Every language, every policy, as root and as an ordinary user: three instances of an unmodified
//! server share one port.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use compliance::{Listening, Program, Tine, Who, free_port, get, get_from, pid_in, skip};

/// Connections that are enough to see that turns are taken.
const TURNS: usize = 30;

/// Connections after which an instance that chance never chose is not chance: three instances, and
/// (2/3)^200 is 10^-35.
const PATIENCE: usize = 200;

/// Clients, each with an address of its own.
const CLIENTS: u8 = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Rr,
    Random,
    Sticky,
    Shared,
}

impl Policy {
    fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Random => "random",
            Self::Sticky => "sticky",
            Self::Shared => "shared",
        }
    }

    /// What the table in DESIGN promises this user.
    fn mechanism(self, program: &Program, who: Who) -> &'static str {
        match (self, who) {
            (Self::Rr | Self::Sticky, Who::Root | Who::Capable) => "kernel-ebpf",
            (Self::Rr, Who::User) if program.is_node_worker() => "hand-over",
            (Self::Rr | Self::Sticky, Who::User) | (Self::Random, _) => "kernel-cbpf",
            (Self::Shared, _) => "one-queue",
        }
    }
}

/// A running app of three instances.
struct App {
    tine: Tine,
    port: u16,
}

impl App {
    fn start(program: &Program, policy: Policy) -> (Self, Vec<Listening>) {
        let port = free_port();
        let options = ["-i", "3", "--name", "app", "--policy", policy.name()];
        let mut tine = program.run(port, &options).start();
        // gunicorn has a control socket besides.
        let seats = tine.wait_listening_at(&format!("127.0.0.1:{port}"), 3);
        (Self { tine, port }, seats)
    }

    /// The instance that answers one request from this address.
    fn ask_from(&mut self, client: Ipv4Addr) -> u32 {
        let answer = get_from(client, self.port);
        let body = answer.unwrap_or_else(|error| panic!("{error}; {:?}", self.tine.lines()));
        self.tine.instance_of(pid_in(&body))
    }

    /// How many of `n` requests, one after another, each instance answers.
    fn shares(&mut self, n: usize) -> BTreeMap<u32, usize> {
        let mut shares = BTreeMap::new();
        for _ in 0..n {
            *shares.entry(self.ask_from(Ipv4Addr::LOCALHOST)).or_default() += 1;
        }
        shares
    }
}

/// The whole of a case: listens as promised, answers as the policy says, stops without a trace.
fn holds(program: fn(Who) -> Result<Program, String>, policy: Policy, who: Who) {
    if let Some(reason) = who.missing() {
        return skip(reason);
    }
    let program = match program(who) {
        Ok(program) => program,
        Err(reason) => return skip(&reason),
    };
    let (mut app, seats) = App::start(&program, policy);
    let mechanism = policy.mechanism(&program, who);
    for seat in &seats {
        assert_eq!(seat.mechanism, mechanism);
    }
    answers(&mut app, policy, mechanism);
    let exit = app.tine.stop();
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(get(app.port).is_err(), "the port is free again");
}

fn answers(app: &mut App, policy: Policy, mechanism: &str) {
    match (policy, mechanism) {
        // Without a kernel program that takes turns, rr is random, and tine says so.
        (Policy::Rr, "kernel-cbpf") | (Policy::Random, _) => reach_every_instance(app),
        (Policy::Rr, _) => take_turns(app),
        (Policy::Sticky, _) => keep_each_client(app),
        // Whoever is quickest; that may be one and the same.
        (Policy::Shared, _) => assert_eq!(app.shares(TURNS).values().sum::<usize>(), TURNS),
    }
}

fn take_turns(app: &mut App) {
    let even = [(0, TURNS / 3), (1, TURNS / 3), (2, TURNS / 3)];
    assert_eq!(app.shares(TURNS), BTreeMap::from(even));
}

fn reach_every_instance(app: &mut App) {
    let mut reached = BTreeSet::new();
    for _ in 0..PATIENCE {
        reached.insert(app.ask_from(Ipv4Addr::LOCALHOST));
        if reached.len() == 3 {
            return;
        }
    }
    panic!("after {PATIENCE} connections: {reached:?}");
}

fn keep_each_client(app: &mut App) {
    let clients = (1..=CLIENTS).map(|last| Ipv4Addr::new(127, 0, 0, last));
    let mut chosen = BTreeMap::new();
    for client in clients {
        let instance = app.ask_from(client);
        chosen.insert(client, instance);
        assert_eq!([app.ask_from(client), app.ask_from(client)], [instance; 2], "{client}");
    }
    let first = chosen.values().next();
    assert!(chosen.values().any(|instance| Some(instance) != first), "all went to one: {chosen:?}");
}

macro_rules! matrix {
    ($($program:ident)*) => { $(
        mod $program {
            use super::{Policy, Program, Who, holds};

            matrix! { $program:
                rr_takes_turns_as_root Rr Root,
                rr_serves_all_as_user Rr User,
                random_reaches_every_instance_as_root Random Root,
                random_reaches_every_instance_as_user Random User,
                sticky_keeps_each_client_as_root Sticky Root,
                sticky_keeps_each_client_as_user Sticky User,
                shared_answers_every_request_as_root Shared Root,
                shared_answers_every_request_as_user Shared User,
            }
        }
    )* };
    ($program:ident: $($fact:ident $policy:ident $who:ident,)*) => { $(
        #[test]
        fn $fact() {
            holds(Program::$program, Policy::$policy, Who::$who);
        }
    )* };
}

matrix! {
    node shell npm python uvicorn uvicorn_workers gunicorn go ruby java php nginx rust_std axum
}
