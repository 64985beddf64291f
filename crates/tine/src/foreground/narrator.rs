//! Says on the terminal what happens.
//!
//! tine's own lines go to standard error and begin with `tine: `; a worker's lines go where it wrote
//! them, with `name/instance | ` before each. Colours appear on a terminal only, and not when
//! `NO_COLOR` is set.

use std::{collections::BTreeSet, io::IsTerminal};

use tine_cluster::{
    id::Instance,
    policy::Policy,
    primary::{Event, Settings, Stream, What},
};

use super::{advice, terminal::Terminal};
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
            What::NotStarted { error } => self.about(event, &advice::not_started(error)),
            What::Listening { key, choice, acquisition, .. } => {
                let (policy, mechanism) = (choice.policy, choice.mechanism);
                let how = format!("({policy}, {mechanism}, {acquisition})");
                self.about(event, &format!("worker {worker} listens on {key} {how}"));
                if choice.degraded {
                    self.explain_random(choice.policy);
                }
            }
            What::Refused { key, errno } => {
                let why = advice::refused(key, *errno);
                self.about(event, &format!("worker {worker} may not listen on {key}: {why}"));
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
                self.about(event, &format!("could not {doing}: {}", advice::with_remedy(error)));
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
