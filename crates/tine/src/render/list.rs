//! `tine ls`.

use std::{cmp::Ordering, collections::BTreeMap};

use super::{Screen, amount, harmless};
use crate::{
    api::apps::{AppView, Status, WorkerView},
    units::spoken_bytes,
};

/// What a table is made of.
#[derive(Clone, Debug)]
pub struct Listing<'a> {
    /// All that is shown, in the manager's order.
    pub apps: &'a [AppView],
    /// By the program's path: the version in its package.json.
    pub versions: &'a BTreeMap<std::path::PathBuf, String>,
    /// By pid: whom the process belongs to.
    pub users: &'a BTreeMap<i32, String>,
    /// Milliseconds since 1970.
    pub now: u64,
    /// Few columns.
    pub mini: bool,
    /// Instead of by id.
    pub sort: Option<Sort>,
}

/// An order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub by: Field,
    /// The largest first.
    pub descending: bool,
}

/// What rows can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The app's name.
    Name,
    /// The app's namespace.
    Namespace,
    /// The worker's id.
    Id,
    /// The process.
    Pid,
    /// How it is.
    Status,
    /// Since when it runs.
    Uptime,
    /// How often it was started again.
    Restarts,
    /// Percent of a CPU.
    Cpu,
    /// Resident bytes.
    Memory,
}

impl std::str::FromStr for Sort {
    type Err = String;

    /// `memory`, `memory:asc` or `memory:desc`; pm2's names.
    fn from_str(text: &str) -> Result<Self, String> {
        let (field, order) = text.split_once(':').unwrap_or((text, "asc"));
        let by = match field {
            "name" => Field::Name,
            "namespace" => Field::Namespace,
            "id" | "pm_id" => Field::Id,
            "pid" => Field::Pid,
            "status" => Field::Status,
            "uptime" => Field::Uptime,
            "restarts" | "restart" | "restart_time" => Field::Restarts,
            "cpu" => Field::Cpu,
            "memory" | "mem" => Field::Memory,
            _ => return Err(format!("`{field}` is no column; there are {FIELDS}")),
        };
        match order {
            "asc" | "desc" => Ok(Self { by, descending: order == "desc" }),
            _ => Err(format!("`{order}` is no order; write {field}:asc or {field}:desc")),
        }
    }
}

const FIELDS: &str = "name, namespace, id, pid, status, uptime, restarts, cpu, memory";

/// What goes first where there is no room.
const LEAST: [&str; 9] =
    ["VERSION", "USER", "NAMESPACE", "WATCHING", "MODE", "CPU", "UPTIME", "MEM", "PORTS"];

/// One row a worker; what the apps have to say follows the table.
#[must_use]
pub fn list(listing: &Listing<'_>, screen: Screen) -> String {
    let rows = listing.rows();
    if rows.is_empty() {
        return "no app is known; start one: tine start server.js -i 3\n".into();
    }
    let mut columns: Vec<&Column> = COLUMNS.iter().filter(|c| c.mini || !listing.mini).collect();
    let mut text = table(&columns, &rows, screen);
    for least in LEAST {
        if fits(&text, screen) {
            break;
        }
        columns.retain(|column| column.title != least);
        text = table(&columns, &rows, screen);
    }
    if !fits(&text, screen) {
        text = squeezed(&columns, &rows, screen);
    }
    text + &notes(listing.apps, screen)
}

/// One worker with all that its row says.
struct Row<'a> {
    listing: &'a Listing<'a>,
    app: &'a AppView,
    worker: &'a WorkerView,
}

struct Column {
    title: &'static str,
    /// Also where there are few.
    mini: bool,
    cell: fn(&Row<'_>) -> String,
}

const COLUMNS: [Column; 14] = [
    Column { title: "ID", mini: true, cell: |row| row.worker.id.to_string() },
    Column { title: "NAME", mini: true, cell: |row| harmless(&row.app.name) },
    Column { title: "NAMESPACE", mini: false, cell: |row| harmless(&row.app.namespace) },
    Column { title: "VERSION", mini: false, cell: |row| row.version() },
    Column { title: "MODE", mini: true, cell: |row| mode(row.app).to_owned() },
    Column { title: "PID", mini: false, cell: |row| or_dash(row.worker.pid) },
    Column { title: "UPTIME", mini: false, cell: |row| row.uptime() },
    Column { title: "RESTARTS", mini: true, cell: |row| restarts(row.worker) },
    Column { title: "STATUS", mini: true, cell: |row| row.worker.status.word().to_owned() },
    Column { title: "CPU", mini: true, cell: |row| format!("{:.1}%", row.worker.cpu) },
    Column { title: "MEM", mini: true, cell: |row| spoken_bytes(row.worker.memory) },
    Column { title: "USER", mini: false, cell: |row| row.user() },
    Column { title: "WATCHING", mini: false, cell: |row| row.watching() },
    Column { title: "PORTS", mini: false, cell: |row| ports(row.app) },
];

impl Listing<'_> {
    fn rows(&self) -> Vec<Row<'_>> {
        let of = |app| move |worker| Row { listing: self, app, worker };
        let mut rows: Vec<Row<'_>> =
            self.apps.iter().flat_map(|app| app.workers.iter().map(of(app))).collect();
        rows.sort_by_key(|row| row.worker.id);
        if let Some(Sort { by, descending }) = self.sort {
            rows.sort_by(|a, b| {
                let order = compare(by, a, b);
                if descending { order.reverse() } else { order }
            });
        }
        rows
    }
}

fn compare(by: Field, a: &Row<'_>, b: &Row<'_>) -> Ordering {
    match by {
        Field::Name => a.app.name.cmp(&b.app.name),
        Field::Namespace => a.app.namespace.cmp(&b.app.namespace),
        Field::Id => a.worker.id.cmp(&b.worker.id),
        Field::Pid => a.worker.pid.cmp(&b.worker.pid),
        Field::Status => a.worker.status.word().cmp(b.worker.status.word()),
        // The longest up was started first.
        Field::Uptime => b.worker.started_at.cmp(&a.worker.started_at),
        Field::Restarts => a.worker.restarts.cmp(&b.worker.restarts),
        Field::Cpu => a.worker.cpu.total_cmp(&b.worker.cpu),
        Field::Memory => a.worker.memory.cmp(&b.worker.memory),
    }
}

impl Row<'_> {
    fn version(&self) -> String {
        self.listing.versions.get(&self.worker.exec_path).map_or_else(dash, |text| harmless(text))
    }

    fn uptime(&self) -> String {
        let since = self.worker.pid.and(self.worker.started_at);
        since.map_or_else(dash, |since| amount::age(since, self.listing.now))
    }

    fn user(&self) -> String {
        let user = self.worker.pid.and_then(|pid| self.listing.users.get(&pid));
        user.map_or_else(dash, |user| harmless(user))
    }

    fn watching(&self) -> String {
        if self.app.watching { "yes" } else { "no" }.to_owned()
    }
}

/// pm2's word, for people.
pub(super) fn mode(app: &AppView) -> &'static str {
    if super::pm2::is_cluster(app) { "cluster" } else { "fork" }
}

/// `3`, or `3 (2 crash, 1 memory)` if anything but a wish was behind it.
pub(super) fn restarts(worker: &WorkerView) -> String {
    let asked = |reason: &str| matches!(reason, "asked" | "reload");
    let of = |(reason, count): (&String, &u32)| format!("{count} {}", harmless(reason));
    let reasons: Vec<String> = worker
        .restarts_by_reason
        .iter()
        .filter(|(reason, count)| !asked(reason) && **count > 0)
        .map(of)
        .collect();
    let total = worker.restarts;
    if reasons.is_empty() { total.to_string() } else { format!("{total} ({})", reasons.join(", ")) }
}

/// `8003` for all addresses, `127.0.0.1:8003` for one.
pub(super) fn ports(app: &AppView) -> String {
    let mut shown: Vec<String> = Vec::new();
    for address in &app.ports {
        let everywhere = ["0.0.0.0:", "[::]:", "*:"];
        let short = everywhere.iter().find_map(|prefix| address.strip_prefix(prefix));
        let short = harmless(short.unwrap_or(address));
        if !shown.contains(&short) {
            shown.push(short);
        }
    }
    if shown.is_empty() { dash() } else { shown.join(" ") }
}

/// As wide as its content.
fn table(columns: &[&Column], rows: &[Row<'_>], screen: Screen) -> String {
    lay_out(columns, rows, Screen { width: None, ..screen })
}

/// As wide as the screen, with cells on several lines.
fn squeezed(columns: &[&Column], rows: &[Row<'_>], screen: Screen) -> String {
    lay_out(columns, rows, screen)
}

fn lay_out(columns: &[&Column], rows: &[Row<'_>], screen: Screen) -> String {
    let titles: Vec<&str> = columns.iter().map(|column| column.title).collect();
    let mut table = screen.table(&titles);
    for row in rows {
        table.add_row(columns.iter().map(|column| (column.cell)(row)));
    }
    let plain = Screen { colour: false, ..screen };
    let text = plain.lines(&mut table);
    if screen.colour { painted(&text, screen) } else { text }
}

fn fits(text: &str, screen: Screen) -> bool {
    let width = screen.width.map_or(usize::MAX, usize::from);
    text.lines().all(|line| visible(line) <= width)
}

/// Letters without what colours them.
fn visible(line: &str) -> usize {
    let codes: usize =
        line.split('\x1b').skip(1).map(|rest| rest.find('m').map_or(0, |m| m + 2)).sum();
    line.chars().count() - codes
}

/// Painted last, so that the codes do not count as letters.
fn painted(text: &str, screen: Screen) -> String {
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.find("STATUS").map(|at| head[..at].chars().count());
    let mut painted = screen.bold(head) + "\n";
    for line in lines {
        painted += &column.map_or_else(|| line.to_owned(), |at| status_painted(line, at, screen));
        painted.push('\n');
    }
    painted
}

fn status_painted(line: &str, column: usize, screen: Screen) -> String {
    let Some((at, _)) = line.char_indices().nth(column) else { return line.to_owned() };
    let (before, rest) = line.split_at(at);
    let all = [
        Status::Online,
        Status::Launching,
        Status::Stopping,
        Status::Stopped,
        Status::Errored,
        Status::Waiting,
    ];
    let Some(status) = all.into_iter().find(|status| rest.starts_with(status.word())) else {
        return line.to_owned();
    };
    let word = screen.paint(colour(status), status.word());
    format!("{before}{word}{}", &rest[status.word().len()..])
}

pub(super) const fn colour(status: Status) -> &'static str {
    match status {
        Status::Online => "32",
        Status::Launching | Status::Stopping | Status::Waiting => "33",
        Status::Stopped => "2",
        Status::Errored => "31",
    }
}

fn notes(apps: &[AppView], screen: Screen) -> String {
    let note =
        |app: &AppView| Some(format!("{}: {}", harmless(&app.name), harmless(app.note.as_ref()?)));
    let notes = apps.iter().filter_map(note).map(|note| screen.paint("33", &note) + "\n");
    let notes: String = notes.collect();
    if notes.is_empty() { notes } else { format!("\n{notes}") }
}

fn dash() -> String {
    "-".into()
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(dash, |value| value.to_string())
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
