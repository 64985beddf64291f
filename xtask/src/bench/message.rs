//! `message`: messages of 1 kB a second between a primary and a worker of Node's, both ways.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::report::{Report, Target};
use super::session::Session;
use super::stats::{median, ratio, spread};

/// Messages of one measurement.
const COUNT: u16 = 20_000;
/// Measurements of one process, of which the first warms it up.
const ROUNDS: usize = 3;

/// Messages a second, run by run.
#[derive(Default)]
struct Rates {
    down: Vec<f64>,
    up: Vec<f64>,
}

pub(crate) fn measure(session: &Session, runs: usize) -> Result<Report> {
    let (mut node, mut tine) = (Rates::default(), Rates::default());
    for run in 1..=runs {
        eprintln!("message: run {run} of {runs}");
        let mut command = Command::new("node");
        node.add(command.arg(session.peer("message.js")))?;
        let mut command = Command::new(session.message_primary());
        tine.add(command.env("SCRIPT", session.peer("talker.js")).env("NODE", node_file()?))?;
    }
    let mut report = Report::new("message");
    for (primary, rates) in [("Node's own primary", &node), ("tine's primary", &tine)] {
        for (way, rates) in [("to the worker", &rates.down), ("from the worker", &rates.up)] {
            let (low, high) = spread(rates).unwrap_or_default();
            let detail = format!("{low:.0} to {high:.0}");
            report.figure(format!("{primary}, {way}"), median(rates), "messages/s", detail);
        }
    }
    for (way, over, under) in
        [("to the worker", &tine.down, &node.down), ("from the worker", &tine.up, &node.up)]
    {
        let what = format!("{way}: tine / Node's own primary");
        report.claim(what, ratio(over, under), Target::AtLeast(1.0));
    }
    Ok(report)
}

impl Rates {
    fn add(&mut self, command: &mut Command) -> Result<()> {
        let command = command.env("COUNT", COUNT.to_string()).env("ROUNDS", ROUNDS.to_string());
        let output = command.stdin(Stdio::null()).output().context("start a primary")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "a primary failed: {}", complaint.trim());
        self.down.extend(rates(&said, "down")?);
        self.up.extend(rates(&said, "up")?);
        Ok(())
    }
}

fn rates(said: &str, way: &str) -> Result<Vec<f64>> {
    let lines = said.lines().filter_map(|line| line.strip_prefix(way)?.strip_prefix(' '));
    let seconds: Vec<f64> = lines.map(str::parse).collect::<Result<_, _>>()?;
    ensure!(seconds.len() == ROUNDS, "a primary said {said:?}");
    Ok(seconds[1..].iter().map(|seconds| f64::from(COUNT) / seconds).collect())
}

fn node_file() -> Result<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|directory| directory.join("node"));
    files.find(|file| file.is_file()).context("find node")
}
