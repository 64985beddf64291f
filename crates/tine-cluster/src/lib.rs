//! N processes of any server program on one port.
//!
//! ```text
//!    clients ──SYN──▶ kernel: one address, a group of sockets, a program that picks one   (policy)
//!              ┌─────────┼─────────┐
//!            seat      seat      seat        each has its own queue; the primary has a duplicate
//!              │         │         │
//!           worker    worker    worker       any program, in any language
//!              ▲         ▲         ▲
//!              └────── primary ────┘         bind(2) trapped, Node's channel, or ours  (acquisition)
//! ```
//!
//! # Terms
//!
//! An *instance* is a place 0…N-1, a *worker* one process that fills it. A *listener* is an address;
//! a *seat* is one socket of it, held by a worker. *Policy* is who gets the next connection,
//! *mechanism* how that is done ([`policy`]); *acquisition* is how a worker comes to its seat. The
//! last two are independent of each other.
//!
//! # A primary
//!
//! Runs a program N times and tells what happens; on tokio, feature `tokio`. What any program does
//! with `bind` and `listen` is answered here, so it need not know of it.
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # mod example {
//! use tine_cluster::{
//!     policy::Abilities,
//!     primary::{Cluster, Program, Settings, What},
//! };
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let args = vec!["server.py".into()];
//!     let program = Program { args, ..Program::new("/usr/bin/python3") };
//!     let mut settings = Settings::new(program, 3);
//!     // Round robin in the kernel, where this user may have it.
//!     settings.abilities = Abilities::of_this_process();
//!     // There is nobody to look after them when this process is gone.
//!     settings.workers_die_with_manager = true;
//!
//!     let (cluster, mut events) = Cluster::start(settings);
//!     while let Some(event) = events.next().await {
//!         match event.what {
//!             What::Listening { key, choice, .. } => println!("{key} by {}", choice.mechanism),
//!             // Out of rotation, drained, told to stop, and killed in the end if need be.
//!             // It may have ended meanwhile, which is as well.
//!             What::GivenUp { .. } => drop(cluster.stop().await),
//!             _ => {}
//!         }
//!     }
//!     println!("{:?}", events.ending().await?);
//!     Ok(())
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! # A worker
//!
//! A program that knows of its cluster needs no trap, can be handed connections, says when it is
//! ready and hears when it is to stop. On std alone; feature `worker`. In other languages it is a page
//! of code: [the protocol](wire::native) is written down to the byte.
//!
//! ```no_run
//! # #[cfg(feature = "worker")]
//! # fn main() -> std::io::Result<()> {
//! use std::io::Write;
//!
//! let listener = tine_cluster::worker::listen("127.0.0.1:8003")?;
//! while let Some((mut connection, _)) = listener.accept()? {
//!     writeln!(connection, "hello from {}", std::process::id())?;
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "worker"))]
//! # fn main() {}
//! ```
//!
//! Started by hand, without a primary, it simply binds.
//!
//! # Node's `cluster`, name by name
//!
//! What Node's documentation says of its `cluster` holds for workers of Node's under this primary,
//! unchanged. For a program in Rust each name has one here. [`Cluster`], [`What`], [`Program`],
//! [`Settings`], [`Fork`] and [`WorkerReport`] belong to the primary; [`Worker`] and
//! [`Listener`](worker::Listener) to a worker.
//!
//! **Who is who**
//!
//! | Node | here |
//! |---|---|
//! | `cluster.isPrimary`, `isMaster` | whoever called [`Cluster::start`]. A process can be both, and several primaries: none of it is global. |
//! | `cluster.isWorker` | [`Worker::is_in_cluster`](worker::Worker::is_in_cluster) |
//! | `cluster.worker` | the [`Worker`] that [`Worker::from_env`](worker::Worker::from_env) gives, once. No global: two parts of a program cannot both be the worker by accident. |
//! | `cluster.worker.id` | [`Worker::id`](worker::Worker::id) |
//! | `NODE_UNIQUE_ID`, `NODE_CHANNEL_FD` | as Node's for workers of Node's; `TINE_CHANNEL_FD` and `TINE_WORKER_ID` for others. Never for programs that did not ask for them. |
//!
//! **Starting**
//!
//! | Node | here |
//! |---|---|
//! | `cluster.fork(env)` | [`Cluster::fork`] with [`Fork::env`]. An error is returned, not emitted. A fork can have a program of its own ([`Fork::program`]), for which Node wants `setupPrimary` before each. |
//! | N × `fork()` and `fork()` again at each `exit` | [`Settings::instances`], kept running as [`Settings::restart`] says; [`Cluster::scale`] changes the number, [`Cluster::stop_instance`] and [`Cluster::start_instance`] empty and fill one of them. |
//! | a new version, worker by worker, by hand | [`Cluster::reload`]: new before old, and back if the first one fails; [`Cluster::restart`]: old before new, and nobody is refused meanwhile |
//! | `cluster.setupPrimary(settings)`, `setupMaster` | [`Cluster::setup`], in one piece: Node's merges what is said with what was. |
//! | `cluster.settings` | the owner's own [`Settings`] and [`Program`]. [`Cluster::configure`] changes what can be changed while it runs. |
//! | `settings.exec`, `args` | [`Program::file`] and [`Program::args`], for an interpreter the script first; [`Program::node`] |
//! | `settings.execArgv` | [`Program::exec_args`]. Nothing of this process's own is taken over: it is no Node. |
//! | `settings.cwd` | [`Program::directory`] |
//! | `env` | [`Program::env`], whole: this process's own by default, as in Node |
//! | `settings.silent` | [`Program::stdio`]: [`Stdio::Lines`](primary::Stdio) is `true`, and the default; [`Stdio::Inherited`](primary::Stdio) is `false`; with [`Stdio::Pipes`](primary::Stdio) the owner reads the pipes itself. |
//! | `settings.stdio` | [`Stdio`](primary::Stdio), which is less: no input, and no descriptors beside [`Settings::listen`]. Workers lead sessions of their own and could not read a terminal; descriptors go with messages. |
//! | `worker.process.stdout`, `stderr` | [`What::Output`], line by line and with an end that comes before [`What::Exited`] |
//! | `settings.serialization` | `json` only. `advanced` is V8's own format, not specified and not the same in all versions; it could not be read by workers in other languages. |
//! | `settings.uid`, `gid` | [`Program::user`], with the supplementary groups, all of them or none: half a change of user is a mistake. |
//! | `settings.inspectPort` | [`Program::inspect_port`]; otherwise counted up as Node does, from the port in [`Program::exec_args`]. No function: give each fork its own [`Program`]. |
//! | `settings.windowsHide` | not here: Linux. |
//! | `NODE_OPTIONS`, `execPath` | variables and files like others: [`Program::env`], [`Program::file`] |
//!
//! **Workers, seen from the primary**
//!
//! | Node | here |
//! |---|---|
//! | `cluster.workers` | [`Cluster::workers`]: a list of what they are now, not of objects that change. |
//! | `worker.id` | [`WorkerId`](id::WorkerId); never reused, as in Node |
//! | `worker.process`, `process.pid` | [`WorkerReport::pid`]: a number to show. The process itself is held by pidfd, so that no signal hits another one. |
//! | `worker.isConnected()` | [`WorkerReport::is_connected`] |
//! | `worker.isDead()` | [`WorkerReport::is_dead`] |
//! | `worker.exitedAfterDisconnect` | [`WorkerReport::exited_after_disconnect`], and in [`What::Exited`]. `false` where Node has `undefined`. |
//! | `worker.disconnect()`, `'disconnect'` awaited | [`Cluster::disconnect`]. Node waits for ever; here patience has an end, [`Settings::patience`]. |
//! | `cluster.disconnect(callback)` | [`Cluster::disconnect_all`] |
//! | `worker.kill(signal)`, `destroy()`, `process.kill(signal)` | [`Cluster::kill_worker`]. The signal is said: no default. |
//! | `process.kill(pid)` for all | [`Cluster::signal`]; [`Cluster::stop`] drains all workers and ends them, [`Cluster::kill`] ends all that descends from them |
//!
//! **Messages**
//!
//! | Node | here |
//! |---|---|
//! | `worker.send(message, callback)` | [`Cluster::send`]: awaited, it is the callback. |
//! | `send()` gave `false`, and nobody looked | back-pressure: [`Cluster::send`] waits while 64 messages wait. No memory grows unseen. |
//! | `worker.send(message, sendHandle)` | [`Cluster::send_with`], for each kind of [`Descriptor`](descriptor::Descriptor): `net.Socket`, `net.Server`, `dgram.Socket`. With the acknowledgements of Node's protocol: one in flight, sent four times at most. |
//! | `options.keepOpen` | `try_clone` it before: what is given is given. |
//! | `options.swallowErrors` | ignore the [`SendError`](primary::SendError). |
//! | a UNIX server to a cluster worker | an error, [`SendError::NotForNode`](primary::SendError::NotForNode): Node's worker fails at it with `EINVAL`. |
//! | `'message'`, with its handle | [`What::Message`] with the raw JSON, read only by whoever wants it. Never lost, in order, bounded: see [`Events`](primary::Events). |
//! | request and answer, by hand | [`Cluster::request`] and [`Reply`](primary::Reply), for workers of [our protocol](wire::native). Node's has none, so with workers of Node's it is an error. |
//! | `{cmd: 'NODE_…'}` | internal, as in Node, both ways. Do not send such to Node. |
//! | `process.send(message, handle)` in a worker | [`Worker::send`](worker::Worker::send), [`Worker::send_with`](worker::Worker::send_with), [`Worker::request`](worker::Worker::request) |
//! | `process.on('message')` in a worker | [`Worker::messages`](worker::Worker::messages), kept until taken, as in Node |
//! | `process.connected`, `'disconnect'` in a worker | [`Worker::is_connected`](worker::Worker::is_connected); the end of [`Messages`](worker::Messages). Node exits then; here the program decides. |
//! | `cluster.worker.disconnect()` in a worker | [`Worker::disconnect`](worker::Worker::disconnect) |
//! | `cluster.worker.kill()` in a worker | `disconnect` and `std::process::exit`: a library does not end its program. |
//! | `process.disconnect()` in a worker | drop the [`Worker`], its listeners and messages |
//!
//! **Events**
//!
//! | Node | here |
//! |---|---|
//! | `'fork'` | [`What::Started`], with the pid, and with the pipes if they were asked for |
//! | `'online'` | [`What::Online`] |
//! | `'listening'` (worker, address) | [`What::Listening`] with [`address`](primary::ListeningAddress), [`addressType`](primary::AddressType) and port as Node has them, and with the policy that holds there |
//! | no such event | [`What::Ready`]: it can serve |
//! | `'message'` | [`What::Message`] |
//! | `'disconnect'` | [`What::Disconnected`] |
//! | `'exit'` (worker, code, signal) | [`What::Exited`]; always after `'disconnect'` and all messages, which Node leaves open |
//! | `'setup'` | [`What::Setup`] |
//! | `'error'` of a worker | the errors of each call; [`What::NotStarted`], [`What::Trouble`], [`What::Misbehaved`] for what nobody called |
//! | `worker.on(…)` | the same events: [`Event::worker`](primary::Event::worker) says whose. |
//! | listeners that are called | a stream that is read, [`Events::next`](primary::Events::next): nobody's code runs within the primary's. |
//!
//! **Listening**
//!
//! | Node | here |
//! |---|---|
//! | `cluster.schedulingPolicy` | [`Settings::policy`], and [`Settings::mechanism`] for how it is done |
//! | `SCHED_RR` | [`Policy::Rr`](policy::Policy::Rr): in the kernel where it can be had; under [`Mechanism::HandOver`](policy::Mechanism::HandOver) exactly as Node does it |
//! | `SCHED_NONE` | [`Policy::Shared`](policy::Policy::Shared) |
//! | `NODE_CLUSTER_SCHED_POLICY` | [`Policy::of_node`](policy::Policy::of_node), given its value: nothing here reads the environment unasked. |
//! | `server.listen(port, host)` in a worker | [`Worker::listen`](worker::Worker::listen): equal addresses are shared by all workers |
//! | `exclusive: true` | [`Options::exclusive`](worker::Options::exclusive) |
//! | `reusePort: true` | not here: what it is for, a socket for each worker, is what the kernel's mechanisms do, without losing a queue at an exit. |
//! | port 0 | the first call of every worker gets the same port, the second another |
//! | `backlog` | [`Options::backlog`](worker::Options::backlog); the first worker's counts; 511 |
//! | `ipv6Only` | [`Options::v6only`](worker::Options::v6only) |
//! | `listen(path)` | [`Worker::listen_unix`](worker::Worker::listen_unix), removed at the end; `readableAll` and `writableAll` for workers of Node's only, others set the mode |
//! | `dgram` `bind()` | [`Worker::listen_udp`](worker::Worker::listen_udp) |
//! | `listen({fd})` | [`Settings::listen`], by the numbers of `LISTEN_FDS`; never any other descriptor of the primary |
//! | `listen(handle)` | a listener from a message: [`Descriptor`](descriptor::Descriptor) |
//! | `server.close()`, and listen again | drop the [`Listener`](worker::Listener) |
//! | `server.address()` | [`Listener::local_addr`](worker::Listener::local_addr) |
//! | TLS tickets shared by workers | for workers of Node's, as in Node; kept over restarts |
//! | outside a cluster `listen` just binds | likewise |
//! | programs that know nothing of a cluster | any: their `bind` is answered. Node has nothing like it. |
//!
//! # Guarantees
//!
//! - A worker that ends costs at most the connections that it had accepted: what is queued is served
//!   by others, or by its successor.
//! - A worker that is told to go gets nothing new, and is signalled when its connections have
//!   finished or its time is up.
//! - Under the mechanisms of the kernel no connection passes through the primary.
//! - A mechanism that was asked for is used or refused, never replaced.
//! - What a worker says can be wrong in any way: that worker is ended, with an event that says why,
//!   and what it can make the primary hold is bounded: 1 MiB of messages that nobody has taken, one
//!   unfinished line (1 MiB, with Node 64), and what it does not read (4 MiB, with Node 65).
//!   What it does beside that is counted when nobody takes it ([`What::Missed`]); only the steps of its
//!   life are all kept for whoever reads no [`Events`](primary::Events).
//! - No message is lost or overtaken, and none holds up anybody but the two who exchange it.
//! - A cluster takes no signal, writes no log, and changes nothing of its process: no environment, no
//!   handler, no limit.
//! - [`mod@core`] decides without reading a clock and without I/O; time comes in as an argument.
//!
//! # What it does not do
//!
//! Look for programs in `PATH`, read configuration, write logs, or survive its own process: if the
//! primary ends, so do workers that were started with
//! [`workers_die_with_manager`](primary::Settings::workers_die_with_manager), and others go on
//! unowned. Linux only.
//!
//! # Features
//!
//! `tokio` is [`primary`]; `worker` lets a worker find its channel in the environment. Both are there
//! by default. Without both, what remains is pure and free of `tine-linux`: [`mod@core`], [`policy`],
//! [`wire`], and [`worker`] over a given descriptor.
//!
//! Signals, pids and error numbers are those of [`rustix`], the ends of processes those of
//! `tine-linux`; both crates are to be had from here, in the version that fits. The program above needs
//! tokio with `macros` and `rt`.
//!
//! [`Cluster`]: primary::Cluster
//! [`Cluster::start`]: primary::Cluster::start
//! [`Cluster::fork`]: primary::Cluster::fork
//! [`Cluster::scale`]: primary::Cluster::scale
//! [`Cluster::reload`]: primary::Cluster::reload
//! [`Cluster::setup`]: primary::Cluster::setup
//! [`Cluster::configure`]: primary::Cluster::configure
//! [`Cluster::start_instance`]: primary::Cluster::start_instance
//! [`Cluster::stop_instance`]: primary::Cluster::stop_instance
//! [`Cluster::restart`]: primary::Cluster::restart
//! [`Cluster::workers`]: primary::Cluster::workers
//! [`Cluster::disconnect`]: primary::Cluster::disconnect
//! [`Cluster::disconnect_all`]: primary::Cluster::disconnect_all
//! [`Cluster::kill_worker`]: primary::Cluster::kill_worker
//! [`Cluster::signal`]: primary::Cluster::signal
//! [`Cluster::stop`]: primary::Cluster::stop
//! [`Cluster::kill`]: primary::Cluster::kill
//! [`Cluster::send`]: primary::Cluster::send
//! [`Cluster::send_with`]: primary::Cluster::send_with
//! [`Cluster::request`]: primary::Cluster::request
//! [`Fork`]: primary::Fork
//! [`Fork::env`]: primary::Fork::env
//! [`Fork::program`]: primary::Fork::program
//! [`Program`]: primary::Program
//! [`Program::node`]: primary::Program::node
//! [`Program::file`]: primary::Program::file
//! [`Program::args`]: primary::Program::args
//! [`Program::exec_args`]: primary::Program::exec_args
//! [`Program::env`]: primary::Program::env
//! [`Program::directory`]: primary::Program::directory
//! [`Program::stdio`]: primary::Program::stdio
//! [`Program::user`]: primary::Program::user
//! [`Program::inspect_port`]: primary::Program::inspect_port
//! [`Settings`]: primary::Settings
//! [`Settings::instances`]: primary::Settings::instances
//! [`Settings::restart`]: primary::Settings::restart
//! [`Settings::listen`]: primary::Settings::listen
//! [`Settings::patience`]: primary::Settings::patience
//! [`Settings::restart`]: primary::Settings::restart
//! [`Settings::policy`]: primary::Settings::policy
//! [`Settings::mechanism`]: primary::Settings::mechanism
//! [`What`]: primary::What
//! [`What::Started`]: primary::What::Started
//! [`What::Missed`]: primary::What::Missed
//! [`What::Ready`]: primary::What::Ready
//! [`What::Online`]: primary::What::Online
//! [`What::Listening`]: primary::What::Listening
//! [`What::Message`]: primary::What::Message
//! [`What::Disconnected`]: primary::What::Disconnected
//! [`What::Exited`]: primary::What::Exited
//! [`What::Setup`]: primary::What::Setup
//! [`What::Output`]: primary::What::Output
//! [`What::NotStarted`]: primary::What::NotStarted
//! [`What::Trouble`]: primary::What::Trouble
//! [`What::Misbehaved`]: primary::What::Misbehaved
//! [`WorkerReport`]: primary::WorkerReport
//! [`WorkerReport::pid`]: primary::WorkerReport::pid
//! [`WorkerReport::is_connected`]: primary::WorkerReport::is_connected
//! [`WorkerReport::is_dead`]: primary::WorkerReport::is_dead
//! [`WorkerReport::exited_after_disconnect`]: primary::WorkerReport::exited_after_disconnect
//! [`Worker`]: worker::Worker
#![forbid(unsafe_code)]

pub use rustix;
#[cfg(any(feature = "tokio", feature = "worker"))]
pub use tine_linux;

pub mod address;
pub mod core;
pub mod descriptor;
pub mod id;
pub mod json;
pub mod policy;
#[cfg(feature = "tokio")]
pub mod primary;
pub mod wire;
pub mod worker;
