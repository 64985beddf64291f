//! What `jlist` says.

use compliance::Desk;
use serde_json::Value;

/// A worker.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) pid: Option<u32>,
    pub(crate) status: String,
    pub(crate) instances: usize,
}

impl Row {
    /// Nothing is about to happen to it; what it says is so.
    pub(crate) fn is_settled(&self) -> bool {
        match self.status.as_str() {
            "online" => self.pid.is_some_and(compliance::is_alive),
            "stopped" | "errored" => self.pid.is_none(),
            _ => false,
        }
    }
}

/// The list, which can always be read.
pub(crate) fn read(desk: &Desk) -> Vec<Row> {
    let said = desk.ask(["jlist"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let list: Vec<Value> = serde_json::from_str(&said.stdout).expect("jlist prints JSON");
    list.iter().map(row).collect()
}

fn row(row: &Value) -> Row {
    let of = |key: &str| &row["pm2_env"][key];
    let pid = row["pid"].as_u64().expect("a pid");
    Row {
        name: row["name"].as_str().expect("a name").to_owned(),
        id: row["pm_id"].as_u64().expect("a number"),
        pid: (pid != 0).then(|| u32::try_from(pid).expect("a pid fits")),
        status: of("status").as_str().expect("a status").to_owned(),
        instances: usize::try_from(of("instances").as_u64().expect("a count")).expect("fits"),
    }
}
