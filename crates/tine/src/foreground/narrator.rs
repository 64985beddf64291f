//! Says on the terminal what happens.
//!
//! tine's own lines go to standard error and begin with `tine: `; a worker's lines go where it wrote
//! them, with `name/instance | ` before each. Colours appear on a terminal only, and not when
//! `NO_COLOR` is set.

use std::{collections::BTreeSet, io::IsTerminal};

use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};
use tine_cluster::{
    id::Instance,
    policy::Policy,
    primary::{Event, Settings, Stream, What},
};
use tine_linux::spawn::{SpawnError, Step};

use super::terminal::Terminal;
use crate::units::spoken;

/// Tells the story of one app.
#[derive(Debug)]
pub(super) struct Narrator {
    name: String,
    terminal: Terminal,
    out_colours: bool,
    err_colours: bool,
    /// What is said once only.
    said: BTreeSet<String>,
}

/// One for each instance, in turn: cyan, green, yellow, blue, magenta.
const COLOURS: [&str; 5] = ["\x1b[36m", "\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[35m"];
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

impl Narrator {
    pub(super) fn new(name: &str, terminal: Terminal) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            name: name.to_owned(),
            terminal,
            out_colours: wanted && std::io::stdout().is_terminal(),
            err_colours: wanted && std::io::stderr().is_terminal(),
            said: BTreeSet::new(),
        }
    }

    pub(super) fn begin(&mut self, settings: &Settings) {
        let program = &settings.program;
        let words = std::iter::once(&program.arg0).chain(&program.exec_args).chain(&program.args);
        let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let (count, policy) = (settings.instances, settings.policy);
        self.say(&format!("{count} × {}, policy {policy}", words.join(" ")));
    }

    /// Where it all goes.
    pub(super) fn terminal(&mut self) -> &mut Terminal {
        &mut self.terminal
    }

    /// A sentence about the app.
    pub(super) fn say(&mut self, text: &str) {
        let line = format!("{}: {text}", self.name);
        self.own_line(&line);
    }

    /// A sentence about a worker.
    pub(super) fn about(&mut self, event: &Event, text: &str) {
        self.own_line(&format!("{}: {text}", self.place(event.instance)));
    }

    fn once(&mut self, text: &str) {
        if self.said.insert(text.to_owned()) {
            self.say(text);
        }
    }

    pub(super) fn tell(&mut self, event: &Event) {
        if let What::Output { stream, line } = &event.what {
            return self.output(event.instance, *stream, line);
        }
        let worker = event.worker;
        match &event.what {
            What::Started { pid, .. } => {
                self.about(event, &format!("worker {worker} started, pid {pid}"));
            }
            What::NotStarted { error } => self.about(event, &not_started(error)),
            What::Listening { key, choice, acquisition, .. } => {
                let (policy, mechanism) = (choice.policy, choice.mechanism);
                let how = format!("({policy}, {mechanism}, {acquisition})");
                self.about(event, &format!("worker {worker} listens on {key} {how}"));
                if choice.degraded {
                    self.explain_random(choice.policy);
                }
            }
            What::Refused { key, errno } => {
                self.about(
                    event,
                    &format!("worker {worker} may not listen on {key}: {}", words(*errno)),
                );
            }
            What::Unfit { reason } => self.about(event, &reason.to_string()),
            What::Draining => {
                self.about(event, &format!("worker {worker} finishes its connections"));
            }
            What::Cut { connections } => {
                self.about(
                    event,
                    &format!("worker {worker} is cut off with {connections} open connection(s)"),
                );
            }
            What::Misbehaved { error } => {
                self.about(event, &format!("worker {worker} is killed, for it broke the protocol of its channel: {error}"));
            }
            What::Exited { exit, asked, .. } => {
                let end = if *asked { "" } else { ", unasked" };
                self.about(event, &format!("worker {worker} {exit}{end}"));
            }
            What::Restarting { after } if after.is_zero() => {
                self.about(event, "another worker starts");
            }
            What::Restarting { after } => {
                self.about(event, &format!("another worker starts in {}", spoken(*after)));
            }
            What::GivenUp { early_ends, last_lines, .. } => {
                self.given_up(event, *early_ends, last_lines);
            }
            What::AcceptsAgain => self.say("connections are accepted again"),
            What::Trouble { doing, error } => {
                self.about(event, &format!("could not {doing}: {}", with_remedy(error)));
            }
            // That a worker runs is told by its start, and that it has left by its end. Messages are for
            // a program that has something to say. What is yet to come is for newer front ends.
            _ => {}
        }
    }

    fn explain_random(&mut self, policy: Policy) {
        self.once(&format!(
            "round robin needs eBPF, which this user may not load: connections are given to workers \
             by policy {policy}; `tine doctor` shows the command that changes that"
        ));
    }

    fn given_up(&mut self, event: &Event, early_ends: u32, last_lines: &[Vec<u8>]) {
        if early_ends > 1 {
            self.about(event, &format!("given up: it ended too early {early_ends} times in a row"));
        } else {
            self.about(event, "given up");
        }
        if last_lines.is_empty() {
            return;
        }
        self.about(event, "its last lines were:");
        for line in last_lines {
            self.about(event, &format!("  {}", String::from_utf8_lossy(line)));
        }
    }

    /// The app alone, for what concerns no instance.
    fn place(&self, instance: Option<Instance>) -> String {
        match instance {
            Some(instance) => format!("{}/{instance}", self.name),
            None => self.name.clone(),
        }
    }

    fn own_line(&mut self, text: &str) {
        let (bold, plain) = if self.err_colours { (BOLD, PLAIN) } else { ("", "") };
        self.terminal.say(Stream::Err, format!("{bold}tine:{plain} {text}\n").into_bytes());
    }

    fn output(&mut self, instance: Option<Instance>, stream: Stream, line: &[u8]) {
        let colours = match stream {
            Stream::Out => self.out_colours,
            Stream::Err => self.err_colours,
        };
        let (colour, plain) =
            if colours { (instance.map_or("", colour_of), PLAIN) } else { ("", "") };
        let mut text = format!("{colour}{} |{plain} ", self.place(instance)).into_bytes();
        text.extend_from_slice(line);
        text.push(b'\n');
        self.terminal.say(stream, text);
    }
}

fn colour_of(instance: Instance) -> &'static str {
    let index = usize::try_from(instance.0).unwrap_or_default() % COLOURS.len();
    COLOURS[index]
}

fn words(errno: Errno) -> String {
    with_remedy(&std::io::Error::from(errno))
}

/// What the kernel said, and what is to be done about it, if that is known.
fn with_remedy(error: &std::io::Error) -> String {
    format!("{error}{}", remedy(error))
}

fn remedy(error: &std::io::Error) -> String {
    if Errno::from_io_error(error) != Some(Errno::MFILE) {
        return String::new();
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    format!(
        "; tine has used up the {limit} descriptors that it may have: give it more (`ulimit -n`, or \
         LimitNOFILE= of its systemd unit)"
    )
}

/// Says why, and where there is something to be done, what.
fn not_started(error: &SpawnError) -> String {
    let mut text = format!("could not be started: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    match error {
        SpawnError::Prepare { source, .. } => text.push_str(&remedy(source)),
        SpawnError::Child { step, source } => text.push_str(hint(*step, source)),
        _ => {}
    }
    text
}

fn hint(step: Step, source: &std::io::Error) -> &'static str {
    match (step, source.kind()) {
        (Step::Execute, std::io::ErrorKind::NotFound) => {
            "; the interpreter in its first line, or its loader, is missing"
        }
        (Step::Execute, _) if source.raw_os_error() == Some(8) => {
            "; it is neither a binary for this machine nor does it begin with `#!`: say with \
             --interpreter what runs it"
        }
        (Step::Filter, std::io::ErrorKind::ResourceBusy) => {
            "; a supervisor of another kind (or another tine) watches this process already, and the \
             kernel allows one: start tine outside of it"
        }
        (Step::Filter | Step::NoNewPrivileges, _) => {
            "; seccomp user notification is refused here (`tine doctor` says more). What still works: \
             node scripts, and programs that take sockets passed with --listen"
        }
        _ => "",
    }
}
