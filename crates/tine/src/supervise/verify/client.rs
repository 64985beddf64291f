//! A client: one request on a connection of its own, and many on one that is kept.

use std::{
    error::Error,
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::account::{Fate, Loss};

/// Whoever has not answered by then has lost the request.
const LATE: Duration = Duration::from_secs(10);
/// An app that does not answer the first request in HTTP by then does not speak it.
const SPEAKS: Duration = Duration::from_secs(3);
/// An app that only takes connections may close them in this time, or not at all.
const CLOSES: Duration = Duration::from_secs(1);
/// What comes after that much of an answer is left out.
const LONG: usize = 256 << 10;

/// Where an app is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a path of this host.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where.
    pub place: Place,
    /// For this, over HTTP; the connection alone is enough where `None`.
    pub path: Option<String>,
}

/// One request that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) fate: Fate,
    /// For the answer, or until it was clear that there would be none.
    pub(super) waited: Duration,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
type Connection = Box<dyn Stream>;
type Sender = SendRequest<Empty<Bytes>>;

/// Finds out whether HTTP is spoken there.
pub(super) async fn learn(place: Place, path: String) -> Result<Question, Loss> {
    let question = Question { place, path: Some(path) };
    match timeout(SPEAKS, get_once(&question, "/")).await {
        Ok(Ok(_)) => return Ok(question),
        Ok(Err(loss @ Loss::Refused)) => return Err(loss),
        // It has closed, or waits for something else.
        Ok(Err(Loss::Reset | Loss::Closed | Loss::Late | Loss::Other)) | Err(_) => {}
    }
    let question = Question { path: None, ..question };
    connect_and_close(&question.place).await?;
    Ok(question)
}

/// Sends one on a connection of its own.
pub(super) async fn ask_once(question: &Question) -> Sent {
    let began = Instant::now();
    let asked = async {
        match &question.path {
            Some(path) => get_once(question, path).await,
            None => connect_and_close(&question.place).await.map(|()| false),
        }
    };
    let result = timeout(LATE, asked).await.unwrap_or(Err(Loss::Late));
    Sent { fate: fate(result, false), waited: began.elapsed() }
}

fn fate(result: Result<bool, Loss>, retried: bool) -> Fate {
    match result {
        Ok(error) => Fate::Answered { error, retried },
        Err(loss) => Fate::Lost(loss),
    }
}

/// A connection that is used for one request after the other.
pub(super) struct Kept {
    question: Question,
    sender: Option<Sender>,
}

impl Kept {
    pub(super) const fn new(question: Question) -> Self {
        Self { question, sender: None }
    }

    /// Sends one; `None` where HTTP is not spoken.
    pub(super) async fn ask(&mut self) -> Option<Sent> {
        let path = self.question.path.clone()?;
        let began = Instant::now();
        let asked = timeout(LATE, self.get_or_retry(&path)).await;
        let (result, retried) = asked.unwrap_or((Err(Loss::Late), false));
        if result.is_err() {
            self.sender = None;
        }
        Some(Sent { fate: fate(result, retried), waited: began.elapsed() })
    }

    /// A server may close a connection in the moment in which it is used again; then, and if it was used
    /// before, one more try is what any client makes (RFC 9112, 9.3.1).
    async fn get_or_retry(&mut self, path: &str) -> (Result<bool, Loss>, bool) {
        let reused = self.is_open().await;
        let result = self.get(path).await;
        match result {
            Err(Loss::Reset | Loss::Closed) if reused => {
                self.sender = None;
                (self.get(path).await, true)
            }
            other => (other, false),
        }
    }

    async fn is_open(&mut self) -> bool {
        let Some(sender) = &mut self.sender else { return false };
        let open = sender.ready().await.is_ok();
        if !open {
            self.sender = None;
        }
        open
    }

    async fn get(&mut self, path: &str) -> Result<bool, Loss> {
        let sender = match &mut self.sender {
            Some(sender) => sender,
            none => none.insert(speak(&self.question.place).await?),
        };
        let request = request(&self.question.place, path, "keep-alive")?;
        read(sender.send_request(request).await.map_err(|error| loss(&error))?).await
    }
}

async fn get_once(question: &Question, path: &str) -> Result<bool, Loss> {
    let path = question.path.as_deref().unwrap_or(path);
    let mut sender = speak(&question.place).await?;
    let request = request(&question.place, path, "close")?;
    read(sender.send_request(request).await.map_err(|error| loss(&error))?).await
}

fn request(place: &Place, path: &str, then: &str) -> Result<Request<Empty<Bytes>>, Loss> {
    let host = match place {
        Place::Tcp(address) => address.to_string(),
        Place::Unix(_) => "localhost".to_owned(),
    };
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("tine/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, then);
    request.body(Empty::new()).map_err(|_| Loss::Other)
}

/// Reads the answer to its end; whether it is one of failure.
async fn read(response: Response<Incoming>) -> Result<bool, Loss> {
    let error = response.status().is_server_error();
    let mut body = response.into_body();
    let mut length = 0;
    while length < LONG
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| loss(&error))?;
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    Ok(error)
}

async fn speak(place: &Place) -> Result<Sender, Loss> {
    let stream = TokioIo::new(connect(place).await.map_err(|error| loss(&error))?);
    let (sender, connection) = http1::handshake(stream).await.map_err(|error| loss(&error))?;
    // Ends with the connection, which ends with its sender.
    tokio::spawn(connection);
    Ok(sender)
}

async fn connect(place: &Place) -> io::Result<Connection> {
    Ok(match place {
        Place::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

/// Says at once that nothing follows, and waits a while for the same from the other side.
async fn connect_and_close(place: &Place) -> Result<(), Loss> {
    let talk = async {
        let mut stream = connect(place).await?;
        stream.shutdown().await?;
        let mut room = [0; 4096];
        while stream.read(&mut room).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    match timeout(CLOSES, talk).await {
        Ok(Err(error)) => Err(loss(&error)),
        // It listens for something else.
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

/// What lies at the bottom of an error.
fn loss(error: &(dyn Error + 'static)) -> Loss {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return of_io(error);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && (error.is_incomplete_message() || error.is_canceled() || error.is_closed())
        {
            return Loss::Closed;
        }
        cause = error.source();
    }
    Loss::Other
}

fn of_io(error: &io::Error) -> Loss {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Loss::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Loss::Reset,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected => Loss::Closed,
        io::ErrorKind::TimedOut => Loss::Late,
        _ => Loss::Other,
    }
}

#[cfg(test)]
mod tests;
