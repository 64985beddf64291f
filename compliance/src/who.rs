//! Who runs `tine`: root, somebody without any right, or with one that the file of `tine` gives.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

/// The user that `tine` runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// With every capability.
    Root,
    /// `nobody`; where the tests are not run by root, the user who runs them.
    User,
    /// `nobody`, with a `tine` whose file has the capabilities that the eBPF mechanism needs.
    Capable,
}

/// Debian's `nobody` and `nogroup`.
pub(crate) const NOBODY: u32 = 65534;

/// What the eBPF mechanism needs: `CAP_PERFMON`, `CAP_BPF` (linux/capability.h).
const BPF_CAPABILITIES: u64 = 1 << 38 | 1 << 39;

impl Who {
    /// Why this user cannot be had here.
    #[must_use]
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Self::Root | Self::Capable if !geteuid().is_root() => Some("not root"),
            Self::Root | Self::Capable if !has_bpf() => Some("root without CAP_BPF here"),
            Self::Capable if status("NoNewPrivs:\t").as_deref() != Some("0") => {
                Some("capabilities of files have no effect here")
            }
            Self::Capable if Self::Root.find("setcap").is_none() => Some("no setcap here"),
            Self::Root | Self::User | Self::Capable => None,
        }
    }

    /// Whether the tests must leave root's rights to become this user.
    pub(crate) fn drops_rights(self) -> bool {
        self != Self::Root && geteuid().is_root()
    }

    /// Where this user can start `program` from.
    #[must_use]
    pub fn find(self, program: &str) -> Option<PathBuf> {
        let path = search_path();
        let mut found = env::split_paths(&path).map(|folder| folder.join(program));
        found.find(|path| path.is_file() && (!self.drops_rights() || is_open_to_all(path)))
    }
}

/// The system's folders first: in those of the tests' own user, others may not look.
pub(crate) fn search_path() -> OsString {
    let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let own = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(system).chain(env::split_paths(&own));
    env::join_paths(folders).expect("the folders came from such lists")
}

/// Whether anybody may go to where this path leads and execute what is there.
pub(crate) fn is_open_to_all(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    path.ancestors().all(|part| {
        fs::metadata(part).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    })
}

fn has_bpf() -> bool {
    // What nobody can have, no file can give.
    ["CapEff:\t", "CapBnd:\t"].into_iter().all(|set| {
        let bits = status(set).and_then(|bits| u64::from_str_radix(&bits, 16).ok());
        bits.is_some_and(|bits| bits & BPF_CAPABILITIES == BPF_CAPABILITIES)
    })
}

/// What the kernel says of this process under that name.
fn status(name: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
}
