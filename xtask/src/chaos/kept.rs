//! Rows of earlier runs, for tables that are put together of several.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::row::Row;
use super::{line_up, root};

/// Keeps the rows for the next run. With `all`, gives those of earlier runs as well that were not run now.
pub(crate) fn merged(new: Vec<Row>, all: bool) -> Result<Vec<Row>> {
    let file = root().join("target/chaos.json");
    let earlier = fs::read_to_string(&file).unwrap_or_else(|_| "[]".to_owned());
    let earlier: Vec<Value> = serde_json::from_str(&earlier).context("read target/chaos.json")?;
    // One that was measured in another way, by an earlier xtask, stands for nothing now.
    let earlier = earlier.into_iter().filter_map(|row| serde_json::from_value::<Row>(row).ok());
    let now: Vec<String> = new.iter().map(|row| row.name.clone()).collect();
    let rows = earlier.chain(new).map(|row| (row.name.clone(), row));
    let rows = in_order(rows.collect());
    fs::write(&file, serde_json::to_string_pretty(&rows)?).context("write target/chaos.json")?;
    Ok(rows.into_iter().filter(|row| all || now.contains(&row.name)).collect())
}

/// As they are run; what is not run any more is left out.
fn in_order(mut rows: BTreeMap<String, Row>) -> Vec<Row> {
    let found = line_up::chosen(&[], &[]).into_iter().filter_map(|(entry, scenario)| {
        let mut row = rows.remove(&entry.name(scenario))?;
        (row.entry, row.scenario) = (entry, scenario);
        Some(row)
    });
    found.collect()
}
