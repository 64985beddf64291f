//! The background manager's side: requests about apps, which may take long, with progress meanwhile.

use std::time::Duration;

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
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            () = questions.closed() => break,
            Some(_) = clients.join_next() => {}
            accepted = socket.listener().accept(), if clients.len() < MOST_CLIENTS => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(talk(stream, questions.clone()));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(socket);
    // Whoever has an answer coming shall get it; nobody is waited for who does not read it.
    let _ = timeout(CLIENT_PATIENCE, clients.join_all()).await;
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
        return send(writer, &stopping()).await.ok();
    }
    loop {
        let answer = tokio::select! {
            answer = answers.recv() => answer.unwrap_or_else(stopping),
            // Whoever watches says nothing more: what comes is the end.
            _ = next_line(reader, 0), if watches => return None,
        };
        send(writer, &answer).await.ok()?;
        match answer {
            AppResponse::Progress(_) | AppResponse::Event(_) => {}
            AppResponse::Done(_)
            | AppResponse::Apps(_)
            | AppResponse::Ports(_)
            | AppResponse::Replies(_)
            | AppResponse::Pong(_)
            | AppResponse::Error(_) => return Some(()),
        }
    }
}
