//! What the processes of a cgroup may use together.

use std::{fmt, fs, io, path::Path};

use super::Cgroup;

/// The most that may be used; nothing is said where it is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes, the page cache included. Beyond it the kernel frees what it can, and then kills.
    pub memory_max: Option<u64>,
    /// Processor time in percent of one processor: 150 is one and a half.
    pub cpu_max: Option<u32>,
    /// Processes and threads; beyond it `fork(2)` gives `EAGAIN`.
    pub pids_max: Option<u64>,
}

/// What keeps a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Controller {
    /// Memory.
    Memory,
    /// Processor time.
    Cpu,
    /// Processes.
    Pids,
}

impl Controller {
    /// Its name in `cgroup.controllers`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The kernel's default, over which processor time is counted, in microseconds.
const PERIOD: u64 = 100_000;

impl Limits {
    /// What is limited, and what is to be written to the controller's `max` file.
    pub fn entries(&self) -> impl Iterator<Item = (Controller, String)> {
        let quota = |percent: u32| format!("{} {PERIOD}", u64::from(percent.max(1)) * PERIOD / 100);
        let all = [
            (Controller::Memory, self.memory_max.map(|bytes| bytes.to_string())),
            (Controller::Cpu, self.cpu_max.map(quota)),
            (Controller::Pids, self.pids_max.map(|count| count.to_string())),
        ];
        all.into_iter().filter_map(|(controller, value)| Some((controller, value?)))
    }
}

impl Cgroup {
    /// Limits what is in it. Gives what could not be limited, with the reason: `ENOENT` where the
    /// hierarchy has no such controller, `EBUSY` where the parent has processes of its own and may
    /// therefore not pass it on ([cgroups(7)](https://man7.org/linux/man-pages/man7/cgroups.7.html)).
    #[must_use]
    pub fn limit(&self, limits: &Limits) -> Vec<(Controller, io::Error)> {
        let set = |(controller, value): (Controller, String)| {
            let failed = limit(&self.path, controller, &value).err()?;
            Some((controller, failed))
        };
        limits.entries().filter_map(set).collect()
    }
}

fn limit(path: &Path, controller: Controller, value: &str) -> io::Result<()> {
    let file = path.join(format!("{controller}.max"));
    match write(&file, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            pass_on(path, controller)?;
            write(&file, value)
        }
        other => other,
    }
}

/// Lets the cgroup have the controller that its parent has.
fn pass_on(path: &Path, controller: Controller) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::NotFound)?;
    write(&parent.join("cgroup.subtree_control"), &format!("+{controller}"))
}

/// Into a file of the kernel's, which is there or is not.
fn write(file: &Path, text: &str) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(file)?, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_written_as_the_kernel_reads_it() {
        let limits = Limits { memory_max: Some(1 << 20), cpu_max: Some(150), pids_max: Some(30) };
        let entries: Vec<_> = limits.entries().map(|(what, value)| (what.word(), value)).collect();
        let expected = [("memory", "1048576"), ("cpu", "150000 100000"), ("pids", "30")];
        assert_eq!(entries, expected.map(|(what, value)| (what, value.to_owned())));
        assert_eq!(Limits::default().entries().count(), 0);
    }

    /// A hierarchy of plain files, for where the kernel's has no controllers to give.
    #[test]
    fn limits_reach_their_files_and_a_controller_is_asked_of_the_parent() {
        let parent = std::env::temp_dir().join(format!("tine-limits-{}", std::process::id()));
        let path = parent.join("worker");
        fs::create_dir_all(&path).unwrap();
        for file in [path.join("memory.max"), path.join("pids.max")] {
            fs::write(file, "").unwrap();
        }
        fs::write(parent.join("cgroup.subtree_control"), "").unwrap();
        limit(&path, Controller::Memory, "1048576").unwrap();
        limit(&path, Controller::Pids, "30").unwrap();
        // The file does not come, as it does where the parent has no such controller.
        let refused = limit(&path, Controller::Cpu, "50000 100000").unwrap_err();
        let read = |file: &str| fs::read_to_string(parent.join(file)).unwrap();
        assert_eq!(
            (read("worker/memory.max"), read("worker/pids.max")),
            ("1048576".into(), "30".into())
        );
        assert_eq!(read("cgroup.subtree_control"), "+cpu");
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(&parent).unwrap();
    }
}
