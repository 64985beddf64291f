//! The manager's side.

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::PathBuf,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::line::{LineError, next_line};
use crate::{
    api::{Hello, Request, Response, VERSION},
    home::{ManagerSocket, RunDir},
};

/// More wait in the socket's queue until one of these has gone.
const MOST_CLIENTS: usize = 32;
/// Requests are a few words.
const LONGEST_REQUEST: usize = 4096;
/// A client that neither asks nor reads for so long is left.
pub(super) const CLIENT_PATIENCE: Duration = Duration::from_secs(5);
/// So long a client waits for the manager's own loop.
const MANAGER_PATIENCE: Duration = Duration::from_secs(2);
/// After a failed accept (out of descriptors), so that the loop does not spin.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A request for the manager's own loop, which alone knows its state.
#[derive(Debug)]
pub struct Question {
    /// What the client asks.
    pub request: Request,
    /// Dropped without an answer, the client is told that there is none.
    pub answer: oneshot::Sender<Response>,
}

/// The bound socket; its file goes when this is dropped, unless it is the background manager's.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    address: ManagerSocket,
    /// Its file is for whoever comes next.
    stays: bool,
}

/// A control socket that could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlSocketError {
    /// Another process answers there: one of another pid namespace with the same number.
    #[error("another manager with pid {pid} listens on {path}: give this one its own TINE_HOME")]
    InUse {
        /// The pid both have.
        pid: u32,
        /// Whose socket.
        path: PathBuf,
    },
    /// No socket there; with `InvalidInput` the path is too long for one (107 bytes).
    #[error("open the control socket {path}")]
    Io {
        /// Which socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ControlSocket {
    /// Binds this process's own socket (0600), in place of what a dead process of the same pid left.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the path is too long for a socket or cannot be written, or somebody answers there.
    pub fn open(directory: &RunDir) -> Result<Self, ControlSocketError> {
        let address = directory.socket_of(std::process::id());
        Self::open_at(address)
    }

    /// Binds the background manager's socket (0600), in place of what a dead one left. Its file stays:
    /// [`RunDir::daemon_socket`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the path is too long for a socket or cannot be written, or somebody answers there.
    pub fn open_daemon(directory: &RunDir) -> Result<Self, ControlSocketError> {
        let (pid, path) = (std::process::id(), directory.daemon_socket());
        let mut socket = Self::open_at(ManagerSocket { pid, path })?;
        socket.stays = true;
        Ok(socket)
    }

    /// Goes on listening where the manager before did.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Errors
    ///
    /// When this is no socket that listens.
    pub fn resume_daemon(
        directory: &RunDir,
        listener: OwnedFd,
    ) -> Result<Self, ControlSocketError> {
        let (pid, path) = (std::process::id(), directory.daemon_socket());
        let resume = || {
            let listener = std::os::unix::net::UnixListener::from(listener);
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        };
        let listener =
            resume().map_err(|source| ControlSocketError::Io { path: path.clone(), source })?;
        Ok(Self { listener, address: ManagerSocket { pid, path }, stays: true })
    }

    fn open_at(address: ManagerSocket) -> Result<Self, ControlSocketError> {
        let path = address.path.clone();
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(ControlSocketError::InUse { pid: address.pid, path });
        }
        // Nobody is behind it, so it was left by a process that had this pid before.
        let _ = fs::remove_file(&path);
        let open = || {
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        let listener =
            open().map_err(|source| ControlSocketError::Io { path: path.clone(), source })?;
        Ok(Self { listener, address, stays: false })
    }

    pub(super) const fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Where clients find it.
    #[must_use]
    pub fn address(&self) -> &ManagerSocket {
        &self.address
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if !self.stays {
            let _ = fs::remove_file(&self.address.path);
        }
    }
}

/// Answers clients until the receiver of `questions` is dropped.
///
/// What a client sends can be wrong in any way: it is told so and harms nobody else. At most 32 are
/// served at once. Dropping the future ends them all and removes the socket.
pub async fn serve(socket: ControlSocket, questions: mpsc::Sender<Question>) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            () = questions.closed() => return,
            Some(_) = clients.join_next() => {}
            accepted = socket.listener.accept(), if clients.len() < MOST_CLIENTS => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(talk(stream, questions.clone()));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

async fn talk(stream: UnixStream, questions: mpsc::Sender<Question>) {
    let Some((mut reader, mut writer)) = welcome(stream).await else { return };
    let mut sent = Ok(());
    while sent.is_ok() {
        // Too late, gone, or failed: in each case there is nobody to tell.
        let Ok(line) = timeout(CLIENT_PATIENCE, next_line(&mut reader, LONGEST_REQUEST)).await
        else {
            return;
        };
        sent = match line {
            Ok(Some(line)) => send(&mut writer, &answer(&line, &questions).await).await,
            Err(error @ LineError::TooLong { .. }) => {
                let _ = send(&mut writer, &Response::Error(error.to_string())).await;
                return;
            }
            Ok(None) | Err(LineError::Io(_)) => return,
        };
    }
}

/// Greets whoever has come. `None`: it is another user, who is told so, or has gone already.
pub(super) async fn welcome(
    stream: UnixStream,
) -> Option<(BufReader<OwnedReadHalf>, OwnedWriteHalf)> {
    let trusted = is_trusted(&stream);
    let (reader, mut writer) = stream.into_split();
    if !trusted {
        let refusal = Response::Error("this manager belongs to another user".into());
        let _ = send(&mut writer, &refusal).await;
        return None;
    }
    let hello = Hello { hello: "tine".into(), version: VERSION, manager_pid: std::process::id() };
    send(&mut writer, &hello).await.ok()?;
    Some((BufReader::new(reader), writer))
}

/// The directory is private already; this holds even when somebody has opened it by hand.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn answer(line: &[u8], questions: &mpsc::Sender<Question>) -> Response {
    let request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => return Response::Error(format!("this is no request: {error}")),
    };
    let (answer, answered) = oneshot::channel();
    let asked = async {
        questions.send(Question { request, answer }).await.ok()?;
        answered.await.ok()
    };
    match timeout(MANAGER_PATIENCE, asked).await {
        Ok(Some(response)) => response,
        Ok(None) => Response::Error("the manager is stopping".into()),
        Err(_) => Response::Error("the manager did not answer in time".into()),
    }
}

pub(super) async fn send(to: &mut OwnedWriteHalf, value: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    timeout(CLIENT_PATIENCE, to.write_all(&line)).await?
}
