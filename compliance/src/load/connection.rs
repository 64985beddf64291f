//! One connection of the load, and the request under way on it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::{Kind, Outcome, Target};

/// What a server adds to each answer, ten digits at a time.
const FILLER: &str = "0123456789";
/// So often.
const FILLERS: usize = 100;
/// A reset that answers a request follows the end of a stream within this; on loopback it takes microseconds.
const RESET_FOLLOWS: Duration = Duration::from_millis(50);

/// A request that is under way, or the hope of one.
#[derive(Debug)]
pub(super) struct Connection {
    /// Or of a UNIX path: to what is done with it they are alike once they are connected.
    stream: TcpStream,
    pub(super) kind: Kind,
    pub(super) due: Instant,
    path: String,
    connected: bool,
    /// When the request was sent.
    sent: Option<Instant>,
    /// Who answered on it before.
    pub(super) reused_of: Option<u32>,
    received: Vec<u8>,
    /// When the stream ended without an answer: why shows a moment later.
    ended: Option<Instant>,
    /// [`Pace::moment`](super::Pace::moment).
    moment: Duration,
}

/// Who answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) pid: u32,
    pub(super) version: String,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Step {
    Waits,
    Answered(Answer),
    Failed(Outcome, String),
}

impl Connection {
    /// Begins to connect.
    pub(super) fn open(
        target: &Target,
        moment: Duration,
        (kind, due, number): (Kind, Instant, u64),
    ) -> io::Result<Self> {
        let stream = TcpStream::from(target.connect(number)?);
        let (path, received) = (kind.path(number), Vec::new());
        // At a path there is no handshake.
        let connected = !target.is_tcp();
        let (sent, reused_of, ended) = (None, None, None);
        Ok(Self { stream, kind, due, path, connected, sent, reused_of, received, ended, moment })
    }

    /// Has it carry another request.
    pub(super) fn reuse(mut self, pid: u32, kind: Kind, due: Instant, number: u64) -> Self {
        (self.kind, self.due, self.path) = (kind, due, kind.path(number));
        (self.sent, self.reused_of, self.ended) = (None, Some(pid), None);
        self.received.clear();
        self
    }

    /// Whether the server has not ended it, or said what it was not asked.
    pub(super) fn is_open(&self) -> bool {
        self.stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// What is to be waited for; `None` when only time will tell.
    pub(super) fn interest(&self) -> Option<PollFlags> {
        let what = if self.sent.is_some() { PollFlags::IN } else { PollFlags::OUT };
        self.ended.is_none().then_some(what)
    }

    /// Goes on as far as it can.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        if let Some(ended) = self.ended {
            return self.why_ended(ended, now.saturating_duration_since(ended));
        }
        let result =
            if self.sent.is_some() { self.receive(now) } else { self.send().map(|()| Step::Waits) };
        match result {
            Ok(step) => step,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Step::Waits,
            Err(error) => Step::Failed(self.meaning(&error, now), error.to_string()),
        }
    }

    /// Sends it, if the handshake is over. It is small: a buffer that is empty takes it whole.
    pub(super) fn send(&mut self) -> io::Result<()> {
        if !self.connected {
            self.stream.take_error()?.map_or(Ok(()), Err)?;
            self.stream.peer_addr().map_err(|_| io::Error::from(ErrorKind::WouldBlock))?;
            self.stream.set_nodelay(true)?;
            self.connected = true;
        }
        let after = if self.kind.is_new() { "close" } else { "keep-alive" };
        let path = &self.path;
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {after}\r\n\r\n");
        let length = self.stream.write(head.as_bytes())?;
        self.sent = Some(Instant::now());
        if length < head.len() { Err(ErrorKind::WriteZero.into()) } else { Ok(()) }
    }

    fn receive(&mut self, now: Instant) -> io::Result<Step> {
        let mut piece = [0; 4096];
        loop {
            let length = self.stream.read(&mut piece)?;
            if length == 0 {
                return Ok(self.stream_ended(now));
            }
            self.received.extend_from_slice(&piece[..length]);
            match parse(&self.received, &self.path) {
                Ok(Some(answer)) => return Ok(Step::Answered(answer)),
                Ok(None) => {}
                Err(what) => return Ok(Step::Failed(Outcome::Wrong, what)),
            }
        }
    }

    fn stream_ended(&mut self, now: Instant) -> Step {
        if !self.received.is_empty() || self.reused_of.is_none() {
            let seen = format!("the end after {} bytes", self.received.len());
            return Step::Failed(Outcome::Cut, seen);
        }
        self.ended = Some(now);
        self.why_ended(now, Duration::ZERO)
    }

    /// A server that had closed the connection before the request came has it answered with a reset,
    /// and then the error is `EPIPE` (`tcp_reset` in `net/ipv4/tcp_input.c`, state `TCP_CLOSE_WAIT`). One
    /// that read the request and then closed leaves no error.
    fn why_ended(&self, ended: Instant, since: Duration) -> Step {
        match self.stream.take_error() {
            Ok(Some(error)) => Step::Failed(self.meaning(&error, ended), error.to_string()),
            Ok(None) if since < RESET_FOLLOWS => Step::Waits,
            Ok(None) => {
                let outcome =
                    if self.met_the_end(ended) { Outcome::EndedKept } else { Outcome::Cut };
                let took = self.sent.map(|sent| ended.saturating_duration_since(sent));
                Step::Failed(outcome, format!("the end {took:?} after the request"))
            }
            Err(error) => Step::Failed(Outcome::Cut, error.to_string()),
        }
    }

    fn meaning(&self, error: &io::Error, at: Instant) -> Outcome {
        match error.kind() {
            ErrorKind::ConnectionRefused => Outcome::Refused,
            ErrorKind::TimedOut => Outcome::TimedOut,
            ErrorKind::BrokenPipe if self.met_the_end(at) => Outcome::Raced,
            _ if self.met_the_end(at) => Outcome::ResetKept,
            _ if self.received.is_empty() => Outcome::Reset,
            _ => Outcome::Cut,
        }
    }

    /// Whether a connection that was kept ended then without a byte of the answer, so soon after the request
    /// that its end was on its way already. One that could not even be sent came too late by itself.
    fn met_the_end(&self, at: Instant) -> bool {
        let took = self.sent.map(|sent| at.saturating_duration_since(sent));
        let at_once = took.is_none_or(|took| took < self.moment);
        self.reused_of.is_some() && self.received.is_empty() && at_once
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// `None` while there is not all of it; an error says what is wrong.
fn parse(bytes: &[u8], path: &str) -> Result<Option<Answer>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    if head.split_whitespace().nth(1) != Some("200") {
        return Err(head.lines().next().unwrap_or_default().to_owned());
    }
    let length = content_length(head).ok_or("an answer without Content-Length")?;
    if body.len() < length {
        return Ok(None);
    }
    answer(body, path).filter(|_| body.len() == length).map(Some).ok_or_else(|| {
        let start: String = body.chars().take(80).collect();
        format!("{} bytes to {path}: {start:?}", body.len())
    })
}

fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

fn answer(body: &str, path: &str) -> Option<Answer> {
    let (pid, rest) = body.split_once(' ')?;
    let (version, rest) = rest.split_once(' ')?;
    let filler = rest.strip_prefix(path)?.strip_prefix(' ')?.strip_suffix('\n')?;
    let whole = filler.len() == FILLERS * FILLER.len()
        && filler.as_bytes().chunks(FILLER.len()).all(|part| part == FILLER.as_bytes());
    let answer = Answer { pid: pid.parse().ok()?, version: version.to_owned() };
    whole.then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(path: &str) -> String {
        let body = format!("17 2 {path} {}\n", FILLER.repeat(FILLERS));
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn an_answer_is_right_to_the_last_byte_or_wrong() {
        let right = whole("/plain/1");
        let answer = Answer { pid: 17, version: "2".to_owned() };
        assert_eq!(parse(right.as_bytes(), "/plain/1"), Ok(Some(answer)));
        for length in 0..right.len() {
            assert_eq!(parse(&right.as_bytes()[..length], "/plain/1"), Ok(None), "{length}");
        }
        assert!(parse(right.as_bytes(), "/plain/2").is_err(), "the answer to another request");
        assert!(parse(right.replacen("89", "98", 1).as_bytes(), "/plain/1").is_err());
        assert!(parse(format!("{right}x").as_bytes(), "/plain/1").is_err());
        assert!(parse(right.replace("200 OK", "500 No").as_bytes(), "/plain/1").is_err());
    }
}
