//! Where cgroup v2 is, and whether this user may make groups in its own.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, AtFlags, CWD, accessat};

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
    },
}

/// Looks it up in `/proc/self/mountinfo` and `/proc/self/cgroup`; makes no group to try.
///
/// See [`cgroups(7)`](https://man7.org/linux/man-pages/man7/cgroups.7.html).
#[must_use]
pub fn cgroup_v2() -> CgroupV2 {
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let Some(Mount { root, mount }) = find_mount(&mounts) else { return CgroupV2::NotMounted };
    let groups = fs::read("/proc/self/cgroup").unwrap_or_default();
    match own_directory(&groups, &root, &mount) {
        Some(own) if own.is_dir() => {
            let writable = is_writable(&own);
            CgroupV2::Mounted { mount, own, writable }
        }
        Some(_) | None => CgroupV2::OwnHidden { mount },
    }
}

struct Mount {
    /// The part of the hierarchy that is mounted.
    root: PathBuf,
    /// Where.
    mount: PathBuf,
}

/// Fields: id, parent, device, root, mount point, options, optional fields, `-`, type, …
fn find_mount(mountinfo: &[u8]) -> Option<Mount> {
    mountinfo.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let dash = fields.iter().position(|field| *field == b"-")?;
        (*fields.get(dash + 1)? == b"cgroup2").then_some(())?;
        Some(Mount { root: path(fields.get(3)?), mount: path(fields.get(4)?) })
    })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn path(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.first_chunk().filter(|_| first == b'\\').copied().and_then(octal);
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    u8::from_str_radix(str::from_utf8(&digits).ok()?, 8).ok()
}

/// The group of the unified hierarchy is on the line that begins with `0::`.
fn own_directory(groups: &[u8], root: &Path, mount: &Path) -> Option<PathBuf> {
    let line = groups.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    let group = PathBuf::from(OsString::from_vec(line.to_vec()));
    let below = group.strip_prefix(root).ok()?;
    // Joining nothing would leave a slash at the end.
    Some(if below.as_os_str().is_empty() { mount.to_owned() } else { mount.join(below) })
}

/// Both are needed: the directory to make groups, `cgroup.procs` to move processes out of it.
fn is_writable(own: &Path) -> bool {
    let may = |path: &Path| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    may(own) && may(&own.join("cgroup.procs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &[u8] = b"\
30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro\n\
41 30 0:37 /docker/ab /sys/fs/cgroup/uni\\040fied rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_mount_is_found_behind_optional_fields_with_its_escapes_undone() {
        let found = find_mount(INFO).unwrap();
        assert_eq!(found.root, Path::new("/docker/ab"));
        assert_eq!(found.mount, Path::new("/sys/fs/cgroup/uni fied"));
        assert!(find_mount(b"30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n").is_none());
        assert!(find_mount(b"cgroup2 -").is_none());
    }

    #[test]
    fn the_own_group_is_seen_from_the_mounted_part() {
        let groups = b"8:pids:/other\n0::/docker/ab/worker\n";
        let own = |root: &str| own_directory(groups, Path::new(root), Path::new("/cg"));
        assert_eq!(own("/docker/ab"), Some(PathBuf::from("/cg/worker")));
        assert_eq!(own("/"), Some(PathBuf::from("/cg/docker/ab/worker")));
        assert_eq!(own("/docker/ab/worker").unwrap().as_os_str(), "/cg");
        assert_eq!(own("/elsewhere"), None);
    }
}
