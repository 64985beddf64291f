//! Starting at boot: the service files of init systems.
//!
//! Everything here is text and lists of what would be done, so that `--dry-run` shows just what is
//! carried out otherwise; `cli::startup` carries it out. [`ready`] is the manager's side.

mod openrc;
mod ready;
mod systemd;

use std::{ffi::OsString, fmt, path::PathBuf, str::FromStr};

pub use ready::ready;

/// What starts services on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// systemd, a service of the system.
    Systemd,
    /// systemd, a service of the user, for which nobody needs to be root.
    SystemdUser,
    /// `OpenRC`.
    OpenRc,
}

/// The service that starts a user's manager with the saved apps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Without an extension.
    pub name: String,
    /// Whose apps.
    pub user: String,
    /// The user's home.
    pub home: PathBuf,
    /// The home of tine.
    pub tine_home: PathBuf,
    /// The command.
    pub tine: PathBuf,
    /// Where the apps' interpreters are found.
    pub path: OsString,
    /// Not before the machine has an address.
    pub wait_ip: bool,
}

/// One thing that is done to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A file is written, in place of the one that is there.
    Write {
        /// Which.
        path: PathBuf,
        /// All of it.
        text: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is removed.
    Remove(PathBuf),
    /// A command is run; with `true`, it may fail.
    Run(Vec<String>, bool),
}

/// A word that is no init system.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no init system that tine knows; there are systemd, systemd-user and openrc")]
pub struct UnknownInit(String);

impl FromStr for Init {
    type Err = UnknownInit;

    /// Also by pm2's names for the same.
    fn from_str(word: &str) -> Result<Self, UnknownInit> {
        match word {
            "systemd" | "ubuntu" | "debian" | "centos" | "redhat" | "arch" => Ok(Self::Systemd),
            "systemd-user" | "user" => Ok(Self::SystemdUser),
            "openrc" | "gentoo" | "alpine" => Ok(Self::OpenRc),
            _ => Err(UnknownInit(word.to_owned())),
        }
    }
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Systemd => "systemd",
            Self::SystemdUser => "systemd, as a service of the user",
            Self::OpenRc => "OpenRC",
        })
    }
}

impl Service {
    /// What is done so that the service starts at boot.
    #[must_use]
    pub fn install(&self, init: Init) -> Vec<Step> {
        match init {
            Init::Systemd => systemd::install(self),
            Init::SystemdUser => systemd::install_for_user(self),
            Init::OpenRc => openrc::install(self),
        }
    }

    /// What undoes it. Apps that run go on.
    #[must_use]
    pub fn remove(&self, init: Init) -> Vec<Step> {
        match init {
            Init::Systemd => systemd::remove(self),
            Init::SystemdUser => systemd::remove_for_user(self),
            Init::OpenRc => openrc::remove(self),
        }
    }

    /// The file that is written.
    #[must_use]
    pub fn file(&self, init: Init) -> PathBuf {
        match init {
            Init::Systemd => systemd::file(self),
            Init::SystemdUser => systemd::file_of_user(self),
            Init::OpenRc => openrc::file(self),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, text, .. } => {
                writeln!(f, "write {}:", path.display())?;
                text.lines().try_for_each(|line| writeln!(f, "    {line}"))
            }
            Self::Remove(path) => writeln!(f, "remove {}", path.display()),
            Self::Run(words, _) => writeln!(f, "run {}", words.join(" ")),
        }
    }
}

fn run(words: &[&str]) -> Step {
    Step::Run(words.iter().map(|&word| word.to_owned()).collect(), false)
}

/// Run, and go on if it fails: what it undoes may never have been.
fn try_run(words: &[&str]) -> Step {
    Step::Run(words.iter().map(|&word| word.to_owned()).collect(), true)
}
