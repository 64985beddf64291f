//! The background manager's side: requests about apps, which may take long, with progress meanwhile.

use std::{
    fs::File,
    io,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};
use tokio::{
    io::BufReader,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    line::{LineError, next_line},
    server::{ACCEPT_PAUSE, CLIENT_PATIENCE, ControlSocket, send, welcome},
};
use crate::api::{
    Response,
    apps::{AppRequest, AppResponse},
};

/// More wait in the socket's queue until one of these has gone.
const MOST_CLIENTS: usize = 128;
/// Environments are long, and there is one for each app of a file.
const LONGEST_REQUEST: usize = 4 * 1024 * 1024;
/// A client that asks nothing for so long after an answer is left.
const BETWEEN_REQUESTS: Duration = Duration::from_mins(1);
/// Words that may wait for a client.
const REPLIES: usize = 256;
/// Clients wait for so long for a descriptor, and are told then that there is none.
const DESCRIPTOR_PATIENCE: Duration = Duration::from_secs(1);

/// Where the answer to a request goes: any number of [`AppResponse::Progress`], then one that is none.
/// Dropped without that, the client is told that there is no answer.
pub type Replies = mpsc::Sender<AppResponse>;

/// A request for the manager's own loop.
#[derive(Debug)]
pub struct AppQuestion {
    /// What the client asks.
    pub request: AppRequest,
    /// Where the answer goes. Closed when the client has gone.
    pub replies: Replies,
}

/// Answers clients until the receiver of `questions` is dropped.
///
/// What a client sends can be wrong in any way: it is told so and harms nobody else. At most 128 are
/// served at once. Dropping the future ends them all and removes the socket.
pub async fn serve_apps(socket: ControlSocket, questions: mpsc::Sender<AppQuestion>) {
    let (mut clients, mut spare) = (JoinSet::new(), Spare::new());
    loop {
        tokio::select! {
            () = questions.closed() => break,
            Some(_) = clients.join_next() => {}
            accepted = socket.listener().accept(), if clients.len() < MOST_CLIENTS => match accepted {
                Ok((stream, _)) => {
                    spare.found();
                    clients.spawn(talk(stream, questions.clone()));
                }
                Err(error) => {
                    sleep(ACCEPT_PAUSE).await;
                    spare.lacked(&error, &socket).await;
                }
            },
        }
    }
    drop(socket);
    // Whoever has an answer coming shall get it; nobody is waited for who does not read it.
    let _ = timeout(CLIENT_PATIENCE, clients.join_all()).await;
}

/// A descriptor that is held for the case that there are no others: who asks then is told so.
#[derive(Debug)]
struct Spare {
    held: Option<File>,
    lacking_since: Option<Instant>,
}

impl Spare {
    fn new() -> Self {
        Self { held: hold(), lacking_since: None }
    }

    fn found(&mut self) {
        self.lacking_since = None;
        if self.held.is_none() {
            self.held = hold();
        }
    }

    /// A client could not be let in. After a while one is refused for each time.
    async fn lacked(&mut self, error: &io::Error, socket: &ControlSocket) {
        let lacks = |errno| matches!(errno, Errno::MFILE | Errno::NFILE);
        if !Errno::from_io_error(error).is_some_and(lacks) {
            return;
        }
        let since = *self.lacking_since.get_or_insert_with(Instant::now);
        if since.elapsed() < DESCRIPTOR_PATIENCE {
            return;
        }
        drop(self.held.take());
        // It may have given up meanwhile.
        if let Ok(Ok((stream, _))) = timeout(ACCEPT_PAUSE, socket.listener().accept()).await {
            refuse(stream).await;
        }
        self.held = hold();
    }
}

fn hold() -> Option<File> {
    File::open("/dev/null").ok()
}

async fn refuse(stream: UnixStream) {
    let limit = getrlimit(Resource::Nofile).current;
    let most = limit.map_or_else(String::new, |limit| format!(" (it may have {limit})"));
    let reason = format!(
        "the manager has no descriptors left{most}: its apps go on, and so does it when some are closed or \
         the limit is raised (`prlimit --nofile=NUMBER --pid {}`)",
        std::process::id()
    );
    let (_reader, mut writer) = stream.into_split();
    let _ = send(&mut writer, &AppResponse::Error(reason)).await;
}

async fn talk(stream: UnixStream, questions: mpsc::Sender<AppQuestion>) {
    let Some((mut reader, mut writer)) = welcome(stream).await else { return };
    let mut patience = CLIENT_PATIENCE;
    while let Some(line) = next_request(&mut reader, &mut writer, (patience, &questions)).await {
        if converse(&line, (&mut reader, &mut writer), &questions).await.is_none() {
            return;
        }
        patience = BETWEEN_REQUESTS;
    }
}

/// `None`: the client has gone, asks nothing, or has lost the thread; or the manager ends.
async fn next_request(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
    (patience, questions): (Duration, &mpsc::Sender<AppQuestion>),
) -> Option<Vec<u8>> {
    let line = tokio::select! {
        () = questions.closed() => return None,
        line = timeout(patience, next_line(reader, LONGEST_REQUEST)) => line.ok()?,
    };
    match line {
        Ok(line) => line,
        Err(error @ LineError::TooLong { .. }) => {
            let _ = send(writer, &Response::Error(error.to_string())).await;
            None
        }
        Err(LineError::Io(_)) => None,
    }
}

/// One request with all that is answered; `None`: the conversation is over.
async fn converse(
    line: &[u8],
    (reader, writer): (&mut BufReader<OwnedReadHalf>, &mut OwnedWriteHalf),
    questions: &mpsc::Sender<AppQuestion>,
) -> Option<()> {
    let request: AppRequest = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => {
            let refusal = AppResponse::Error(format!("this is no request: {error}"));
            return send(writer, &refusal).await.ok();
        }
    };
    let watches = request == AppRequest::Watch;
    let (replies, mut answers) = mpsc::channel(REPLIES);
    let stopping = || AppResponse::Error("the manager is stopping".to_owned());
    if questions.send(AppQuestion { request, replies }).await.is_err() {
        return send(writer, &AppResponse::Again).await.ok();
    }
    loop {
        let answer = tokio::select! {
            answer = answers.recv() => answer.unwrap_or_else(stopping),
            // Whoever watches says nothing more: what comes is the end.
            _ = next_line(reader, 0), if watches => return None,
        };
        send(writer, &answer).await.ok()?;
        match answer {
            AppResponse::Progress(_) | AppResponse::Notice(_) | AppResponse::Event(_) => {}
            AppResponse::Done(_)
            | AppResponse::Apps(_)
            | AppResponse::Ports(_)
            | AppResponse::Replies(_)
            | AppResponse::Pong(_)
            | AppResponse::Again
            | AppResponse::Error(_) => return Some(()),
        }
    }
}
