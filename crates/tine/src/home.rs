//! Where this user's managers keep what is theirs: `$TINE_HOME`, or `~/.tine`.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::process::geteuid;
use thiserror::Error;

/// The root of everything tine keeps for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// The directory of the managers' control sockets, known to be private to this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

/// A manager's control socket as found by its name, `<pid>.sock`; nobody may be behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerSocket {
    /// Of the manager.
    pub pid: u32,
    /// The socket's file.
    pub path: PathBuf,
}

/// A home that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HomeError {
    /// Nothing in the environment says where it is.
    #[error("neither TINE_HOME nor HOME is set to an absolute path: set TINE_HOME")]
    Unknown,
    /// A directory could not be made or looked at.
    #[error("use the directory {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody put something else there.
    #[error("{path} is no directory")]
    NoDirectory {
        /// What is there.
        path: PathBuf,
    },
    /// Its owner could speak in this user's name.
    #[error(
        "{path} belongs to uid {owner}, not to this user (uid {own}): run tine as its owner \
         (`sudo -u '#{owner}' …`), or choose another TINE_HOME",
        own = geteuid().as_raw()
    )]
    Owner {
        /// Whose directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Others could put sockets there.
    #[error("{path} is writable by others (mode {mode:03o}): run `chmod go-w {path}`")]
    Open {
        /// Whose directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl Home {
    /// From `TINE_HOME`, else `.tine` in `HOME`; touches nothing.
    ///
    /// # Errors
    ///
    /// When neither is set to an absolute path.
    pub fn from_env() -> Result<Self, HomeError> {
        let absolute =
            |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let root = absolute("TINE_HOME").or_else(|| Some(absolute("HOME")?.join(".tine")));
        root.map(Self::at).ok_or(HomeError::Unknown)
    }

    /// A home at this path; touches nothing.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The run directory, made (0700) if it is missing.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or somebody else owns it or may write to it.
    pub fn run_dir(&self) -> Result<RunDir, HomeError> {
        for path in self.private_paths() {
            make(&path)?;
            check(&path)?;
        }
        Ok(self.unchecked())
    }

    /// The run directory, or `None` where no manager of this user has ever run.
    ///
    /// # Errors
    ///
    /// When somebody else owns it or may write to it.
    pub fn run_dir_if_there(&self) -> Result<Option<RunDir>, HomeError> {
        for path in self.private_paths() {
            match check(&path) {
                Err(HomeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                checked => checked?,
            }
        }
        Ok(Some(self.unchecked()))
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the background manager knows now, for one that comes after an unclean end.
    #[must_use]
    pub fn state_file(&self) -> PathBuf {
        self.root.join("state.json")
    }

    /// The list of apps as it was saved.
    #[must_use]
    pub fn dump_file(&self) -> PathBuf {
        self.root.join("dump.json")
    }

    /// The list as it was saved before.
    #[must_use]
    pub fn dump_backup(&self) -> PathBuf {
        self.root.join("dump.json.bak")
    }

    /// What the background manager has to say about itself.
    #[must_use]
    pub fn daemon_log(&self) -> PathBuf {
        self.root.join("daemon.log")
    }

    /// The files that hold the workers' pids.
    #[must_use]
    pub fn pids(&self) -> PathBuf {
        self.root.join("pids")
    }

    fn unchecked(&self) -> RunDir {
        RunDir { path: self.root.join("run") }
    }

    /// Whoever may write to the root could put another `run` in place.
    fn private_paths(&self) -> [PathBuf; 2] {
        [self.root.clone(), self.root.join("run")]
    }
}

impl RunDir {
    /// Where the manager with this pid listens.
    #[must_use]
    pub fn socket_of(&self, pid: u32) -> ManagerSocket {
        ManagerSocket { pid, path: self.path.join(format!("{pid}.sock")) }
    }

    /// Where the background manager listens, and it alone.
    #[must_use]
    pub fn daemon_socket(&self) -> PathBuf {
        self.path.join("daemon.sock")
    }

    /// Locked by the background manager as long as it lives; holds its pid.
    #[must_use]
    pub fn daemon_lock(&self) -> PathBuf {
        self.path.join("daemon.lock")
    }

    /// What the background manager has had kept, for one that comes when its watchdog was killed with it.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path.join("daemon.kept")
    }

    /// Locked by whoever starts the background manager, until it answers.
    #[must_use]
    pub fn start_lock(&self) -> PathBuf {
        self.path.join("start.lock")
    }

    /// All that is named like a control socket, by pid.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn sockets(&self) -> Result<Vec<ManagerSocket>, HomeError> {
        let failed = |source| HomeError::Io { path: self.path.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let pid = name.to_str().and_then(|name| name.strip_suffix(".sock")?.parse().ok());
            found.extend(pid.map(|pid| self.socket_of(pid)));
        }
        found.sort_by_key(|socket| socket.pid);
        Ok(found)
    }
}

fn make(path: &Path) -> Result<(), HomeError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(|source| HomeError::Io { path: path.to_owned(), source }),
    }
}

fn check(path: &Path) -> Result<(), HomeError> {
    let path = path.to_owned();
    // A symbolic link is looked at itself: whoever made it could turn it elsewhere later.
    let found = match fs::symlink_metadata(&path) {
        Ok(found) => found,
        Err(source) => return Err(HomeError::Io { path, source }),
    };
    let mode = found.mode() & 0o777;
    if !found.is_dir() {
        return Err(HomeError::NoDirectory { path });
    }
    if found.uid() != geteuid().as_raw() {
        return Err(HomeError::Owner { path, owner: found.uid() });
    }
    if mode & 0o022 != 0 {
        return Err(HomeError::Open { path, mode });
    }
    Ok(())
}
