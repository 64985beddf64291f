//! The tables in `docs/nothing-lost.md`, between two marks.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::row::Row;
use super::{root, table};

const BEGIN: &str = "<!-- written by cargo xtask chaos --write-docs -->\n";
const END: &str = "<!-- end -->\n";

pub(crate) fn write(rows: &[Row]) -> Result<()> {
    let path = root().join("docs/nothing-lost.md");
    let text = fs::read_to_string(&path).context("read docs/nothing-lost.md")?;
    let (before, rest) = text.split_once(BEGIN).context("find where the tables begin")?;
    let (_, after) = rest.split_once(END).context("find where the tables end")?;
    let text =
        format!("{before}{BEGIN}{}\n{}{END}{after}", circumstances(rows)?, table::whole(rows));
    fs::write(&path, text).context("write docs/nothing-lost.md")
}

/// When, where and how.
fn circumstances(rows: &[Row]) -> Result<String> {
    let date = said("date", &["-u", "+%Y-%m-%d"])?;
    let system = said("uname", &["-sr"])?;
    let commits: BTreeSet<&str> = rows.iter().map(|row| row.commit.as_str()).collect();
    let version = commits.into_iter().collect::<Vec<_>>().join(" and ");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let words: Vec<String> = std::env::args().skip(1).collect();
    let load = fs::read_to_string("/proc/loadavg").context("read the load of the machine")?;
    let load = load.split(' ').nth(2).unwrap_or_default();
    Ok(format!(
        "{date}, {version}: {system}, {processors} processors shared with other jobs, load over the last \
         15 minutes {load}; the last run was `cargo xtask {}`.\n",
        words.join(" ")
    ))
}

pub(crate) fn said(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program).args(words).current_dir(root()).output();
    let output = output.with_context(|| format!("run {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
