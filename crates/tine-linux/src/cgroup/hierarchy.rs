//! Where the version 2 hierarchy is mounted, and the own cgroup in it.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// The unified hierarchy as this process sees it.
#[derive(Clone, Debug)]
pub(crate) struct Hierarchy {
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// The directory of the own cgroup; `None` when that is outside of the mounted part.
    pub(crate) own: Option<PathBuf>,
}

impl Hierarchy {
    /// Looks it up in `/proc/self/mountinfo` and `/proc/self/cgroup`; `None` when it is not mounted.
    pub(crate) fn find() -> Option<Self> {
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let groups = fs::read("/proc/self/cgroup").unwrap_or_default();
        let found = Self::read(&mounts, &groups)?;
        Some(Self { own: found.own.filter(|own| own.is_dir()), ..found })
    }

    fn read(mounts: &[u8], groups: &[u8]) -> Option<Self> {
        let Mount { root, mount } = find_mount(mounts)?;
        let own = own_directory(groups, &root, &mount);
        Some(Self { mount, own })
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

    fn own(mounts: &str, groups: &str) -> Option<PathBuf> {
        Hierarchy::read(mounts.as_bytes(), groups.as_bytes())?.own
    }

    #[test]
    fn the_own_cgroup_is_found_in_a_unified_and_in_a_hybrid_hierarchy() {
        let unified = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw";
        let found = own(unified, "0::/user.slice/app.scope\n");
        assert_eq!(found, Some("/sys/fs/cgroup/user.slice/app.scope".into()));
        let hybrid = "31 30 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        assert_eq!(own(hybrid, "4:memory:/\n0::/\n"), Some("/sys/fs/cgroup/unified".into()));
    }

    #[test]
    fn a_container_that_mounts_a_part_of_the_hierarchy_is_understood() {
        let part = "30 24 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        assert_eq!(own(part, "0::/docker/abc/web"), Some("/sys/fs/cgroup/web".into()));
        assert_eq!(own(part, "0::/docker/abcd/web"), None, "another container's");
        assert_eq!(own("", "0::/"), None);
    }
}
