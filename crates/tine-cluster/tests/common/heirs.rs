//! A manager in a process of its own that tells this one what its successor needs, and is killed.

use std::{
    collections::BTreeMap,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use rustix::{
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
    process::Pid,
};
use serde_json::Value;
use tine_cluster::{
    policy::{Mechanism, Policy},
    primary::{Cluster, Keep, Kept, Program, Settings, recover},
};

use crate::server::{free_port, program};

/// What the manager's process finds its plan in.
const PLAN: &str = "ADOPTION_PLAN";
/// No record is longer.
const LONGEST: usize = 64 << 10;

/// What is run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    mode: String,
    mechanism: Mechanism,
    pub(crate) port: u16,
    /// Nobody keeps descriptors but the workers.
    alone: bool,
}

impl Plan {
    pub(crate) fn new(mode: &str, mechanism: Mechanism) -> Self {
        Self { mode: mode.to_owned(), mechanism, port: free_port(), alone: false }
    }

    /// Nobody keeps descriptors but the workers.
    pub(crate) fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// Whether who answers is a matter of turns.
    pub(crate) fn takes_turns(&self) -> bool {
        matches!(self.mechanism, Mechanism::KernelEbpf | Mechanism::HandOver)
    }

    /// Under hand-over what the manager has accepted, and not handed over yet, goes with it.
    pub(crate) fn keeps_what_was_accepted(&self) -> bool {
        self.mechanism != Mechanism::HandOver
    }

    /// A program that cannot be told to leave takes what comes to its one queue until it is stopped.
    pub(crate) fn drains(&self) -> bool {
        self.mode != "plain" || self.mechanism != Mechanism::OneQueue
    }

    /// A program of Node's.
    pub(crate) fn of(program: &Program, mechanism: Mechanism) -> Self {
        let (node, script) = (program.file.display(), program.args[0].display());
        Self::new(&format!("node:{node}:{script}"), mechanism)
    }

    fn program(&self) -> Program {
        let Some(script) = self.mode.strip_prefix("node:") else {
            return program(&self.mode, self.port);
        };
        let (node, script) = script.split_once(':').unwrap();
        let mut program = Program::node(node, script);
        program.env.push(("SERVER_PORT".into(), self.port.to_string().into()));
        program
    }

    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.program(), 2);
        settings.policy = match self.mechanism {
            Mechanism::KernelCbpf => Policy::Random,
            Mechanism::OneQueue => Policy::Shared,
            Mechanism::KernelEbpf | Mechanism::HandOver | Mechanism::KernelHash => Policy::Rr,
        };
        settings.mechanism = Some(self.mechanism);
        settings.abilities = tine_cluster::policy::Abilities::of_this_process();
        settings.owner = Some(rustix::process::getpid());
        settings.ends_in_workers = self.alone;
        settings
    }

    fn to_env(&self) -> String {
        let mechanism = serde_json::to_string(&self.mechanism).unwrap();
        let alone = self.alone;
        format!("{}\n{}\n{mechanism}\n{}\n{alone}", self.mode, self.port, std::process::id())
    }

    fn from_env() -> Option<(Self, Pid)> {
        let plan = std::env::var(PLAN).ok()?;
        let words: Vec<&str> = plan.split('\n').collect();
        let mechanism = serde_json::from_str(words[2]).unwrap();
        let owner = Pid::from_raw(words[3].parse().unwrap()).unwrap();
        let (port, alone) = (words[1].parse().unwrap(), words[4] == "true");
        Some((Self { mode: words[0].to_owned(), port, mechanism, alone }, owner))
    }
}

/// To be called by a test named `manages`: manages until it is killed.
pub(crate) fn manages() {
    let Some((plan, owner)) = Plan::from_env() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut settings = plan.settings();
        settings.owner = Some(owner);
        settings.keeper = Some(Arc::new(Teller));
        let (_cluster, mut events) = Cluster::start(settings);
        while events.next().await.is_some() {}
    });
}

/// Tells on standard input, which is a socket.
#[derive(Debug)]
struct Teller;

impl Keep for Teller {
    fn put(&self, key: &str, value: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
        }
        let parts = [IoSlice::new(key.as_bytes()), IoSlice::new(b"\n"), IoSlice::new(value)];
        sendmsg(rustix::stdio::stdin(), &parts, &mut ancillary, SendFlags::empty()).unwrap();
    }

    fn forget(&self, key: &str) {
        let parts = [IoSlice::new(key.as_bytes())];
        let mut none = SendAncillaryBuffer::default();
        sendmsg(rustix::stdio::stdin(), &parts, &mut none, SendFlags::empty()).unwrap();
    }
}

/// The process that is killed.
pub(crate) struct Manager {
    child: Child,
    socket: OwnedFd,
    kept: BTreeMap<String, Kept>,
    alone: bool,
}

impl Manager {
    /// Waits until both workers are ready.
    pub(crate) fn start(plan: &Plan) -> Self {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        let flags = SocketFlags::CLOEXEC;
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "manages", "--nocapture"]).env(PLAN, plan.to_env());
        let child = command.stdin(Stdio::from(theirs)).spawn().unwrap();
        drop(command);
        let mut manager = Self { child, socket, kept: BTreeMap::new(), alone: plan.alone };
        while manager.ready() < 2 {
            assert!(manager.hear(), "the manager lives");
        }
        manager
    }

    fn values(&self, end: &str) -> impl Iterator<Item = Value> {
        let of = self.kept.iter().filter(move |(key, _)| key.starts_with("worker/"));
        let of = of.filter(move |(key, _)| key.split('/').nth(2).unwrap_or_default() == end);
        of.map(|(_, kept)| serde_json::from_slice(&kept.value).unwrap())
    }

    fn ready(&self) -> usize {
        self.values("state").filter(|state| state["ready"] == true).count()
    }

    /// The first process of each worker.
    pub(crate) fn workers(&self) -> Vec<Pid> {
        let pid = |record: Value| {
            Pid::from_raw(i32::try_from(record["pid"].as_i64().unwrap()).unwrap()).unwrap()
        };
        self.values("").map(pid).collect()
    }

    /// `false`: nobody is left who could tell anything.
    fn hear(&mut self) -> bool {
        let mut bytes = vec![0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = recvmsg(self.socket.as_fd(), &mut parts, &mut ancillary, flags).unwrap();
        let descriptors = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        let mut descriptors: Vec<OwnedFd> = descriptors.collect();
        if self.alone {
            descriptors.clear();
        }
        if got.bytes == 0 {
            return false;
        }
        let text = &bytes[..got.bytes];
        let (key, value) = match text.iter().position(|byte| *byte == b'\n') {
            Some(at) => (&text[..at], Some(text[at + 1..].to_vec())),
            None => (text, None),
        };
        let key = String::from_utf8(key.to_vec()).unwrap();
        match value {
            Some(value) => {
                self.kept.insert(key.clone(), Kept { key, value, descriptors });
            }
            None => drop(self.kept.remove(&key)),
        }
        true
    }

    /// What it had told when it was killed.
    pub(crate) fn kill(mut self) -> Vec<Kept> {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        self.child.wait().unwrap();
        while self.hear() {}
        let kept = self.kept.into_values();
        if !self.alone {
            return kept.collect();
        }
        let recovered = recover(kept.map(|kept| (kept.key, kept.value)).collect());
        assert!(recovered.error.is_none() && recovered.lost.is_empty(), "{recovered:?}");
        recovered.kept
    }
}
