//! The rows as Markdown: those that have a counterpart side by side, then all of tine's.

use compliance::{Serving, Who};

use super::line_up::{Mechanism, System};
use super::row::{Row, met_the_end, missed};
use super::scenario::Scenario;

type Column = (&'static str, System, Serving);

const NODE: [Column; 5] = [
    ("tine, node", System::Tine(Mechanism::Ebpf), Serving::Node),
    ("pm2, node", System::Pm2, Serving::Node),
    ("tine, node with handlers", System::Tine(Mechanism::Ebpf), Serving::NodeHandlers),
    ("pm2, node with handlers", System::Pm2, Serving::NodeHandlers),
    ("Node's cluster", System::NodeCluster, Serving::Node),
];

const PYTHON: [Column; 2] = [
    ("tine, python", System::Tine(Mechanism::Ebpf), Serving::Python),
    ("gunicorn", System::Gunicorn, Serving::Python),
];

/// All tables, and what was missed.
pub(crate) fn whole(rows: &[Row]) -> String {
    let (met, of) = met_the_end(rows);
    let again = "Used again in the very moment of their end";
    [
        side_by_side(rows, &NODE),
        side_by_side(rows, &PYTHON),
        ours(rows),
        format!("\n{again}: {met} of {of} requests on kept connections to workers of tine.\n\n"),
        targets(&missed(rows)),
    ]
    .concat()
}

fn targets(missed: &[String]) -> String {
    if missed.is_empty() {
        return "Every target is met.\n".to_owned();
    }
    let lines: Vec<String> = missed.iter().map(|what| format!("- {what}\n")).collect();
    format!("Missed:\n\n{}", lines.concat())
}

/// Columns that have a row at all.
fn side_by_side(rows: &[Row], columns: &[Column]) -> String {
    let find = |column: &Column, scenario| {
        rows.iter().find(|row| row.is(column.1, column.2, Who::Root, scenario))
    };
    let there = |column: &&Column| Scenario::ALL.iter().any(|it| find(column, *it).is_some());
    let columns: Vec<&Column> = columns.iter().filter(there).collect();
    if columns.is_empty() {
        return String::new();
    }
    let row = |scenario: &Scenario| {
        let cells = columns
            .iter()
            .map(|column| find(column, *scenario).map_or_else(|| "–".to_owned(), Row::cell));
        format!("| {scenario} | {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let heads: Vec<&str> = columns.iter().map(|column| column.0).collect();
    let rows: Vec<String> = Scenario::ALL.iter().filter(|it| it.is_common()).map(row).collect();
    let line = "---|".repeat(columns.len() + 1);
    format!("\n| | {} |\n|{line}\n{}", heads.join(" | "), rows.concat())
}

/// Of each the numbers apart.
fn ours(rows: &[Row]) -> String {
    let head = "\n| tine | | times | new: failed | kept: failed | met the end | requests | new: stall \
                | kept: stall | slowest | alive |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
    let own = rows.iter().filter(|row| row.entry.mechanism().is_some());
    let lines: Vec<String> = own.map(line).collect();
    format!("{head}{}", lines.concat())
}

fn line(row: &Row) -> String {
    let entry = row.entry.to_string();
    let entry = entry.trim_start_matches("tine ");
    let Row { scenario, times, new, kept, survived: (alive, before), .. } = row;
    let requests = new.requests + kept.requests;
    let ([new_stall, kept_stall], slowest) = (row.stalls(), row.slowest());
    format!(
        "| {entry} | {scenario} | {times} | {new} | {kept} | {} | {requests} | {new_stall:.0} \
         | {kept_stall:.0} | {slowest:.0} | {alive} of {before} |\n",
        kept.met_the_end
    )
}
