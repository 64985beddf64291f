//! No memory.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use compliance::{Home, Serving, Who, eventually, skip};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::going_on::{followed, goes_on};
use crate::loaded::Loaded;

/// Nearly the longest request that is read.
const LARGE: usize = 3 << 20;

/// Asks for so much at once that it needs more memory than it has, until it has ended.
fn press(home: &Home, manager: u32) {
    eventually("the manager needs more memory than there is", || {
        let streams: Vec<Option<UnixStream>> = (0..16).map(|_| large_request(home)).collect();
        drop(streams);
        home.manager() != Some(manager)
    });
}

/// Most of one: it never ends, and so has to be held.
fn large_request(home: &Home) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(home.folder().join(".tine/run/daemon.sock")).ok()?;
    let patience = Some(Duration::from_secs(2));
    stream.set_read_timeout(patience).ok()?;
    stream.set_write_timeout(patience).ok()?;
    let read = stream.read(&mut [0; 256]).ok()?;
    (read > 0).then_some(())?;
    stream.write_all(&vec![b' '; LARGE]).ok()?;
    Some(stream)
}

fn is_taken_over(app: Loaded, manager: u32, signal: &str) {
    followed(&app.home, manager);
    let said = app.must("describe app").stdout;
    assert!(
        said.contains(&format!("taken over after the manager was killed by {signal}")),
        "{said}"
    );
    goes_on(app);
}

#[test]
fn a_manager_to_which_the_kernel_gives_no_more_memory_is_followed_and_nothing_is_lost() {
    let Some(app) = Loaded::start(Serving::Python, who(), &[]) else { return };
    let manager = app.home.manager().expect("it runs");
    let limit = virtual_size(manager);
    let limits = Rlimit { current: Some(limit), maximum: Some(limit) };
    prlimit(pid(manager), Resource::As, limits).expect("it is ours");
    press(&app.home, manager);
    is_taken_over(app, manager, "SIGABRT");
}

#[test]
fn a_manager_that_is_killed_for_the_memory_it_takes_is_followed_and_nothing_is_lost() {
    let Some(cage) = Cage::new() else {
        return skip("no cgroup with a limit of memory can be made here");
    };
    let Some(app) = Loaded::start(Serving::Python, Who::Root, &[]) else { return };
    let manager = app.home.manager().expect("it runs");
    cage.hold(manager);
    press(&app.home, manager);
    is_taken_over(app, manager, "SIGKILL");
}

pub(crate) fn pid(of: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(of).expect("a pid"))
}

/// One whose processes may be limited from here: root may have lost the right to do that to others'.
pub(crate) fn who() -> Who {
    if Who::Root.missing().is_none() { Who::Root } else { Who::User }
}

/// In bytes.
fn virtual_size(of: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{of}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("it has memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// A cgroup with little memory.
struct Cage(PathBuf);

impl Cage {
    /// Of either version. `None` where none can be made.
    fn new() -> Option<Self> {
        let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = |controller: &str| {
            let part = format!(":{controller}:/");
            cgroups.lines().find_map(|line| Some(line.split_once(&*part)?.1.to_owned()))
        };
        let name = format!("tine-test-{}", std::process::id());
        let first = own("memory").map(|path| Path::new("/sys/fs/cgroup/memory").join(path));
        // Under version 2 a group with processes has no groups with controllers below it.
        let second = || Some(PathBuf::from("/sys/fs/cgroup"));
        let folder = first.or_else(second)?.join(name);
        fs::create_dir(&folder).ok()?;
        let cage = Self(folder);
        let limits = ["memory.limit_in_bytes", "memory.max"];
        let limit = limits.map(|file| cage.0.join(file)).into_iter().find(|file| file.exists())?;
        fs::write(limit, "2M").ok()?;
        // Where there is swap, it would go there.
        let swap = cage.0.join("memory.swap.max");
        if swap.exists() {
            fs::write(swap, "0").ok()?;
        }
        Some(cage)
    }

    fn hold(&self, process: u32) {
        fs::write(self.0.join("cgroup.procs"), process.to_string()).expect("it is ours");
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // What was in it has ended.
        drop(fs::remove_dir(&self.0));
    }
}
