//! Where cgroup v2 is, and whether this user may make groups in its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::cgroup::{Controller, Hierarchy};

/// The unified hierarchy as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupV2 {
    /// Not mounted here, at least not where this process can see it.
    NotMounted,
    /// Mounted, but this process's own group is outside of what is mounted.
    OwnHidden {
        /// Where it is mounted.
        mount: PathBuf,
    },
    /// Mounted, with this process's own group.
    Mounted {
        /// Where it is mounted.
        mount: PathBuf,
        /// The directory of this process's group.
        own: PathBuf,
        /// Groups can be made in it and processes moved there: root's, or delegated.
        writable: bool,
        /// Controllers that this process's group does not have: nothing can be limited by them.
        missing: Vec<Controller>,
    },
}

/// Makes no group to try.
///
/// See [`cgroups(7)`](https://man7.org/linux/man-pages/man7/cgroups.7.html).
#[must_use]
pub fn cgroup_v2() -> CgroupV2 {
    let Some(Hierarchy { mount, own }) = Hierarchy::find() else { return CgroupV2::NotMounted };
    match own {
        Some(own) => {
            let (writable, missing) = (is_writable(&own), missing(&own));
            CgroupV2::Mounted { mount, own, writable, missing }
        }
        None => CgroupV2::OwnHidden { mount },
    }
}

fn missing(own: &Path) -> Vec<Controller> {
    let known = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
    let is_missing = |it: &Controller| !known.split_whitespace().any(|word| word == it.word());
    [Controller::Memory, Controller::Cpu, Controller::Pids].into_iter().filter(is_missing).collect()
}

/// Both are needed: the directory to make groups, `cgroup.procs` to move processes out of it.
fn is_writable(own: &Path) -> bool {
    let may = |path: &Path| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    may(own) && may(&own.join("cgroup.procs"))
}
