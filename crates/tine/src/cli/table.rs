//! The table of apps, with what the host knows of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::show::Show;
use crate::{
    api::apps::{AppView, WorkerView},
    render::{self, Listing, Screen},
};

/// As wide as the screen; plain for a pipe.
pub(super) fn table(apps: &[AppView], show: &Show, screen: Screen) -> String {
    let (versions, users) = (versions(apps), users(apps));
    let listing = Listing {
        apps,
        versions: &versions,
        users: &users,
        now: now(),
        mini: show.mini_list,
        sort: show.sort,
    };
    render::list(&listing, screen)
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn workers(apps: &[AppView]) -> impl Iterator<Item = &WorkerView> {
    apps.iter().flat_map(|app| &app.workers)
}

fn versions(apps: &[AppView]) -> BTreeMap<PathBuf, String> {
    let programs: BTreeSet<&Path> = workers(apps).map(|worker| &*worker.exec_path).collect();
    programs.into_iter().filter_map(|path| Some((path.to_owned(), version(path)?))).collect()
}

/// Of the nearest package.json above the program.
pub(super) fn version(program: &Path) -> Option<String> {
    let manifest = program.ancestors().skip(1).map(|directory| directory.join("package.json"));
    let text = manifest.take(MOST_PARENTS).find_map(|path| fs::read_to_string(path).ok())?;
    let manifest: serde_json::Value = serde_json::from_str(&text).ok()?;
    manifest.get("version")?.as_str().map(str::to_owned)
}

/// A program is rarely deeper below its package.json.
const MOST_PARENTS: usize = 8;

/// Whom the processes belong to, really.
fn users(apps: &[AppView]) -> BTreeMap<i32, String> {
    let names = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let owner = |pid: i32| Some(fs::metadata(format!("/proc/{pid}")).ok()?.uid());
    let user = |pid: i32| Some((pid, user_name(owner(pid)?, &names)));
    workers(apps).filter_map(|worker| user(worker.pid?)).collect()
}

/// The name of a user in a file as passwd(5) has it, or the number.
fn user_name(uid: u32, passwd: &str) -> String {
    let wanted = uid.to_string();
    let lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.into_iter().find(|fields| fields.get(2) == Some(&wanted.as_str()));
    found.and_then(|fields| fields.first().map(ToString::to_string)).unwrap_or(wanted)
}

/// Of this process's user.
pub(super) fn own_name() -> String {
    name_of(rustix::process::geteuid().as_raw())
}

/// Of a user, or the number where there is none.
pub(super) fn name_of(uid: u32) -> String {
    let names = fs::read_to_string("/etc/passwd").unwrap_or_default();
    user_name(uid, &names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_or_a_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n";
        assert_eq!(user_name(33, passwd), "www-data");
        assert_eq!(user_name(1000, passwd), "1000");
    }
}
