//! UNIX sockets: `unix_diag_req` and `unix_diag_msg` of `linux/unix_diag.h`.

use std::{
    ffi::OsStr,
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    Inode, SockDiagError,
    netlink::{attributes, dump, u32_at},
};

const MESSAGE: usize = 16;
const LISTEN: u32 = 10;
const ESTABLISHED: u32 = 1;
const SHOW_NAME: u32 = 0x01;
const SHOW_ICONS: u32 = 0x08;
const SHOW_QUEUE: u32 = 0x10;
const NAME: u16 = 0;
const ICONS: u16 = 3;
const QUEUE: u16 = 4;

/// A listening UNIX stream or seqpacket socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixListener {
    /// Under which name clients find it.
    pub name: UnixName,
    /// Its number in `/proc/PID/fd`.
    pub inode: Inode,
    /// Connections not accepted yet.
    pub queue: u32,
    /// The queue's limit, `listen(2)`'s argument cut to `somaxconn`.
    pub backlog: u32,
    /// The sockets of the clients that wait; 0 for one that is not connected any more.
    pub waiting: Vec<Inode>,
}

/// What a UNIX socket was bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UnixName {
    /// A file, as the program named it: relative to a directory that the kernel does not tell.
    Path(PathBuf),
    /// Linux' own name space without files; the leading zero byte is left off.
    Abstract(Vec<u8>),
    /// Not bound; only its own process can have handed it on.
    None,
}

impl UnixName {
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::None,
            [0, name @ ..] => Self::Abstract(name.to_vec()),
            path => {
                let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
                Self::Path(Path::new(OsStr::from_bytes(&path[..end])).to_path_buf())
            }
        }
    }
}

impl fmt::Display for UnixName {
    /// In the manner of `ss`: `@` stands for the zero byte of an abstract name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
            Self::None => f.write_str("*"),
        }
    }
}

/// Every listening UNIX socket of this network namespace.
///
/// # Errors
///
/// When the kernel does not answer; see [`SockDiagError`].
pub fn unix_listeners() -> Result<Vec<UnixListener>, SockDiagError> {
    let mut found = Vec::new();
    let show = SHOW_NAME | SHOW_ICONS | SHOW_QUEUE;
    dump("UNIX", &question(LISTEN, show), |message| {
        found.push(listener(message)?);
        Some(())
    })?;
    Ok(found)
}

/// One end of a UNIX connection that has a name: what a server has accepted is called like the
/// listener that it came in by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixConnection {
    /// As it was bound.
    pub name: UnixName,
    /// 0 while nobody has accepted it.
    pub inode: Inode,
}

/// Every end of a UNIX connection in this network namespace that has a name; most clients have none.
///
/// # Errors
///
/// When the kernel does not answer; see [`SockDiagError`].
pub fn unix_connections() -> Result<Vec<UnixConnection>, SockDiagError> {
    let mut found = Vec::new();
    dump("UNIX", &question(ESTABLISHED, SHOW_NAME), |message| {
        let (fixed, rest) = message.split_at_checked(MESSAGE)?;
        let inode = Inode(u32_at(fixed, 4)?);
        let name = attributes(rest).find(|(kind, _)| *kind == NAME);
        found.extend(name.map(|(_, name)| UnixConnection { name: UnixName::of(name), inode }));
        Some(())
    })?;
    Ok(found)
}

fn question(state: u32, show: u32) -> Vec<u8> {
    let family = u8::try_from(libc::AF_UNIX).expect("the constant is 1");
    let mut bytes = vec![family, 0, 0, 0];
    bytes.extend((1_u32 << state).to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(show.to_ne_bytes());
    bytes.extend([0xff; 8]);
    bytes
}

fn listener(message: &[u8]) -> Option<UnixListener> {
    let (fixed, rest) = message.split_at_checked(MESSAGE)?;
    let inode = Inode(u32_at(fixed, 4)?);
    let mut found =
        UnixListener { name: UnixName::None, inode, queue: 0, backlog: 0, waiting: Vec::new() };
    for (kind, value) in attributes(rest) {
        match kind {
            NAME => found.name = UnixName::of(value),
            ICONS => found.waiting = inodes(value),
            QUEUE => (found.queue, found.backlog) = (u32_at(value, 0)?, u32_at(value, 4)?),
            _ => {}
        }
    }
    Some(found)
}

fn inodes(bytes: &[u8]) -> Vec<Inode> {
    (0..bytes.len()).step_by(4).map_while(|at| u32_at(bytes, at).map(Inode)).collect()
}
