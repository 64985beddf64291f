//! Plays the rows.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use compliance::{Home, Load, Pace, Tally};

use super::Tools;
use super::app::{self, App};
use super::line_up::Entry;
use super::row::Row;
use super::scenario::Scenario;
use super::stage::{Losses, Stage, within};

/// How long the load runs before and after anything is done.
const REST: Duration = Duration::from_secs(1);
/// Those that nobody brings back are looked at for so long.
const SILENCE: Duration = Duration::from_secs(2);
/// Between two times.
const PAUSE: Duration = Duration::from_millis(300);

/// So many failures of a round are told.
const TOLD: usize = 40;

/// One app that runs, for as many rows as it survives.
struct Play {
    entry: Entry,
    app: Box<dyn App>,
    stage: Stage,
}

/// One row after the other; an app is started once for all its rows, if nothing takes it down.
pub(crate) fn play(entries: &[(Entry, Scenario)], tools: &Tools) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut current: Option<Play> = None;
    for (number, (entry, scenario)) in entries.iter().enumerate() {
        let name = entry.name(*scenario);
        eprint!("{} of {}: {name}: ", number + 1, entries.len());
        if let Some(missing) = missing(*entry) {
            eprintln!("not run: {missing}");
            continue;
        }
        let mut row = Row::new(*entry, *scenario, &tools.commit);
        for _ in 0..tools.rounds {
            let play = ready(current.take(), *entry, tools).with_context(|| name.clone())?;
            let play = current.insert(play);
            let tally = play.once(*scenario, tools.time, &mut row).with_context(|| name.clone())?;
            for failure in tally.failures.iter().take(TOLD).filter(|_| tools.tell) {
                eprintln!("\n{failure:?}");
            }
        }
        eprintln!("{}", row.cell());
        rows.push(row);
    }
    Ok(rows)
}

fn missing(entry: Entry) -> Option<String> {
    let program = entry.serving.missing(entry.who).map(|program| format!("no {program} here"));
    entry.who.missing().map(str::to_owned).or(program)
}

/// The one that runs, if it is this and well; else a new one.
fn ready(current: Option<Play>, entry: Entry, tools: &Tools) -> Result<Play> {
    if let Some(play) = current.filter(|play| play.entry == entry && play.stage.is_well()) {
        return Ok(play);
    }
    let stage = Stage::new(Home::with(&tools.tine, entry.who), entry)?;
    let mut app = app::of(entry, tools);
    app.start(&stage)?;
    stage.wait_until_all_serve()?;
    Ok(Play { entry, app, stage })
}

impl Play {
    /// Under load: a second of nothing, then it is done until the time is over, and a second of nothing.
    fn once(&mut self, scenario: Scenario, time: Duration, row: &mut Row) -> Result<Tally> {
        let load = Load::start(self.stage.target.clone(), Pace::default());
        let before = self.those_before(&load);
        self.stage.losses = Losses::default();
        let end = Instant::now() + time;
        let enough = row.times + scenario.at_least();
        loop {
            row.codes.push(app::act(&mut *self.app, scenario, &mut self.stage, &load)?);
            row.times += 1;
            std::thread::sleep(self.pause(scenario));
            if Instant::now() >= end && row.times >= enough {
                break;
            }
        }
        std::thread::sleep(REST);
        let alive = before.iter().filter(|pid| compliance::is_alive(**pid)).count();
        let tally = load.stop();
        row.add(&tally, (alive, before.len()), &self.stage.losses);
        Ok(tally)
    }

    /// Who serves while nothing is done.
    fn those_before(&self, load: &Load) -> BTreeSet<u32> {
        let (begun, mut pids) = (Instant::now(), BTreeSet::new());
        within(3 * REST, || {
            pids.extend(load.look().pids);
            pids.len() >= self.stage.servers() && begun.elapsed() > REST
        });
        pids
    }

    /// Between two times; who lost its manager is done with after one.
    fn pause(&self, scenario: Scenario) -> Duration {
        let is_brought_back = self.entry.mechanism().is_some();
        if scenario == Scenario::KillManager && !is_brought_back { SILENCE } else { PAUSE }
    }
}
