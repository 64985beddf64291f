//! The front ends' side.

use std::{fs, io, time::Duration};

use rustix::process::{Pid, test_kill_process};
use thiserror::Error;
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::UnixStream,
    task::JoinSet,
    time::timeout,
};

use super::line::{LineError, next_line};
use crate::{
    api::{Hello, Request, Response, VERSION},
    home::{HomeError, ManagerSocket, RunDir},
};

/// A report about a thousand workers on ten ports takes about two megabytes.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// What became of one manager's question.
#[derive(Debug)]
pub struct Answer {
    /// Whom it went to.
    pub manager: ManagerSocket,
    /// What came back; [`Response::Error`] is turned into [`AskError::Refused`].
    pub result: Result<Response, AskError>,
}

/// A manager that did not answer as it should.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody listens behind the socket.
    #[error("nobody listens")]
    Gone,
    /// It hangs, or is stopped.
    #[error("no answer within {} ms", .0.as_millis())]
    TooLate(Duration),
    /// The connection broke.
    #[error("talk to the manager: {0}")]
    Io(#[source] io::Error),
    /// What came was no line of the protocol.
    #[error("the answer is not understood: {0}")]
    Malformed(String),
    /// A manager of another version of tine.
    #[error("it speaks version {0} of the protocol, this tine speaks {VERSION}")]
    Version(u32),
    /// The manager says why.
    #[error("it refuses: {0}")]
    Refused(String),
}

/// Asks every manager of this user at once, each for `patience` at most; by pid.
///
/// Sockets whose process is dead are removed and left out.
///
/// # Errors
///
/// When the run directory cannot be read.
pub async fn ask_all(
    directory: &RunDir,
    request: Request,
    patience: Duration,
) -> Result<Vec<Answer>, HomeError> {
    let mut asked = JoinSet::new();
    for manager in directory.sockets()? {
        asked.spawn(async move {
            let result = ask(&manager, request, patience).await;
            Answer { manager, result }
        });
    }
    let mut answers: Vec<Answer> = asked.join_all().await;
    answers.retain(|answer| !is_stale(answer));
    answers.sort_by_key(|answer| answer.manager.pid);
    Ok(answers)
}

/// Asks one manager.
///
/// # Errors
///
/// When nobody answers in time, or not in the protocol's words.
pub async fn ask(
    manager: &ManagerSocket,
    request: Request,
    patience: Duration,
) -> Result<Response, AskError> {
    timeout(patience, converse(manager, request)).await.unwrap_or(Err(AskError::TooLate(patience)))
}

async fn converse(manager: &ManagerSocket, request: Request) -> Result<Response, AskError> {
    let stream = UnixStream::connect(&manager.path).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => AskError::Gone,
        _ => AskError::Io(error),
    })?;
    let mut stream = BufReader::new(stream);
    let first = line(&mut stream).await?;
    let hello: Hello = serde_json::from_slice(&first).map_err(|error| no_hello(&first, &error))?;
    if hello.version != VERSION {
        return Err(AskError::Version(hello.version));
    }
    let mut words = serde_json::to_vec(&request).expect("a request is plain data");
    words.push(b'\n');
    stream.write_all(&words).await.map_err(AskError::Io)?;
    match parse(&line(&mut stream).await?)? {
        Response::Error(reason) => Err(AskError::Refused(reason)),
        response @ Response::Ports(_) => Ok(response),
    }
}

async fn line(stream: &mut BufReader<UnixStream>) -> Result<Vec<u8>, AskError> {
    match next_line(stream, LONGEST_ANSWER).await {
        Ok(Some(line)) => Ok(line),
        Ok(None) => Err(AskError::Io(io::ErrorKind::UnexpectedEof.into())),
        Err(LineError::Io(error)) => Err(AskError::Io(error)),
        Err(error @ LineError::TooLong { .. }) => Err(AskError::Malformed(error.to_string())),
    }
}

fn parse(line: &[u8]) -> Result<Response, AskError> {
    serde_json::from_slice(line).map_err(|error| AskError::Malformed(error.to_string()))
}

/// A manager that does not trust this user refuses instead of greeting.
fn no_hello(line: &[u8], error: &serde_json::Error) -> AskError {
    match parse(line) {
        Ok(Response::Error(reason)) => AskError::Refused(reason),
        Ok(Response::Ports(_)) | Err(_) => AskError::Malformed(error.to_string()),
    }
}

/// Removes the socket if its process is dead. A live process may be about to listen.
fn is_stale(answer: &Answer) -> bool {
    let pid = i32::try_from(answer.manager.pid).ok().and_then(Pid::from_raw);
    let dead = pid.is_none_or(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH));
    let gone = matches!(answer.result, Err(AskError::Gone));
    let stale = gone && (dead || !answer.manager.path.exists());
    if stale {
        let _ = fs::remove_file(&answer.manager.path);
    }
    stale
}
