//! How a command speaks to the background manager: plain blocking I/O, for commands are short.

mod start;

pub(crate) use start::READY;

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    api::{
        Hello, PortsReport, VERSION,
        apps::{AppEvent, AppRequest, AppResponse},
    },
    home::{Home, HomeError},
};

/// A manager that does not even greet for so long hangs.
const GREETING: Duration = Duration::from_secs(10);
/// A manager that was killed while it greeted is followed by another one, and so is that.
const MANAGERS: usize = 4;
/// One that is on its way may greet still.
const BETWEEN_MANAGERS: Duration = Duration::from_millis(10);
/// So long an answer may take that needs no work.
const GLANCE: Duration = Duration::from_secs(20);

/// A conversation with the background manager.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    manager_pid: u32,
    home: Home,
}

/// Why the manager did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The home cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The socket is there, but cannot be connected to.
    #[error("connect to the manager at {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It could not be started.
    #[error("the manager could not be started: {0}")]
    NotStarted(String),
    /// The conversation broke off.
    #[error("the manager (pid {pid}) broke off; {log} may say why", log = .log.display())]
    Lost {
        /// Of the manager.
        pid: u32,
        /// The manager's own log.
        log: PathBuf,
    },
    /// It hangs, or is stopped.
    #[error(
        "the manager does not answer: look at it with `ps`, and end it with `tine kill` or SIGTERM"
    )]
    Silent,
    /// What came was no line of the protocol.
    #[error("the manager's answer is not understood: {0}")]
    Malformed(String),
    /// A manager of another version of tine.
    #[error(
        "the manager (pid {pid}) speaks version {version} of the protocol, and this tine speaks {VERSION}: \
         with the tine that started it run `tine save` and `tine kill`, then with this one `tine resurrect`"
    )]
    Version {
        /// Of the manager.
        pid: u32,
        /// What it speaks.
        version: u32,
    },
    /// It says why it does nothing.
    #[error("{0}")]
    Refused(String),
}

/// What is told before the answer.
#[derive(Clone, Copy, Debug)]
pub enum Meanwhile<'a> {
    /// For whoever watches.
    Progress(&'a str),
    /// For everybody.
    Notice(&'a str),
}

impl<'a> Meanwhile<'a> {
    /// What is told.
    #[must_use]
    pub const fn text(self) -> &'a str {
        let (Self::Progress(text) | Self::Notice(text)) = self;
        text
    }
}

/// What happens, as it happens; ends with the manager.
#[derive(Debug)]
pub struct Watching {
    client: Client,
}

impl Client {
    /// Meets the manager of this home; `None` if none runs.
    ///
    /// # Errors
    ///
    /// When the home is not this user's alone, or whoever listens there is no manager of this version.
    pub fn connect(home: &Home) -> Result<Option<Self>, ClientError> {
        let Some(directory) = home.run_dir_if_there()? else { return Ok(None) };
        let path = directory.daemon_socket();
        for _ in 0..MANAGERS {
            let stream = match UnixStream::connect(&path) {
                Ok(stream) => stream,
                Err(error) => {
                    return match error.kind() {
                        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                        _ => Err(ClientError::Connect { path, source: error }),
                    };
                }
            };
            if let Some(client) = Self::greet(stream, home)? {
                return Ok(Some(client));
            }
        }
        Ok(None)
    }

    /// Meets the manager of this home, and starts one if none runs.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`], and when it cannot be started.
    pub fn connect_or_start(home: &Home) -> Result<Self, ClientError> {
        Self::connect_or_start_with(home, &start::executable())
    }

    /// Likewise; what is started is this program, and not the one that runs.
    ///
    /// # Errors
    ///
    /// As [`Self::connect_or_start`].
    pub fn connect_or_start_with(home: &Home, tine: &Path) -> Result<Self, ClientError> {
        match Self::connect(home)? {
            Some(client) => Ok(client),
            None => start::start(home, tine),
        }
    }

    /// Whom it has met.
    #[must_use]
    pub const fn manager_pid(&self) -> u32 {
        self.manager_pid
    }

    /// Asks, and waits for the answer as long as it takes; `progress` gets what is told meanwhile.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] in place of [`AppResponse::Error`]; and when the manager is lost.
    pub fn ask(
        &mut self,
        request: &AppRequest,
        progress: &mut dyn FnMut(Meanwhile<'_>),
    ) -> Result<AppResponse, ClientError> {
        let only_asks =
            matches!(request, AppRequest::List { .. } | AppRequest::Ping | AppRequest::Ports);
        let until = Instant::now() + GLANCE;
        loop {
            match self.ask_once(request, progress) {
                Ok(AppResponse::Again) => {}
                // Nothing was changed, so it can be asked again.
                Err(ClientError::Lost { .. }) if only_asks => {}
                answer => return answer,
            }
            self.meet_next(until)?;
        }
    }

    fn ask_once(
        &mut self,
        request: &AppRequest,
        progress: &mut dyn FnMut(Meanwhile<'_>),
    ) -> Result<AppResponse, ClientError> {
        self.send(request)?;
        let quick = matches!(
            request,
            AppRequest::List { .. } | AppRequest::Ping | AppRequest::Ports | AppRequest::Reset(_)
        );
        self.wait_for(quick.then_some(GLANCE));
        loop {
            match self.receive()? {
                AppResponse::Progress(text) => progress(Meanwhile::Progress(&text)),
                AppResponse::Notice(text) => progress(Meanwhile::Notice(&text)),
                AppResponse::Error(reason) => return Err(ClientError::Refused(reason)),
                answer => return Ok(answer),
            }
        }
    }

    /// The manager is on its way; whoever follows listens on the same socket.
    fn meet_next(&mut self, until: Instant) -> Result<(), ClientError> {
        std::thread::sleep(BETWEEN_MANAGERS);
        match Self::connect(&self.home.clone())? {
            Some(next) if Instant::now() < until => {
                *self = next;
                Ok(())
            }
            Some(_) => Err(ClientError::Silent),
            None => Err(self.lost()),
        }
    }

    /// What the apps of this home's manager listen on; nothing if none runs.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`] and [`Self::ask`].
    pub fn ports(home: &Home) -> Result<Vec<PortsReport>, ClientError> {
        let Some(mut client) = Self::connect(home)? else { return Ok(Vec::new()) };
        match client.ask(&AppRequest::Ports, &mut |_| {})? {
            AppResponse::Ports(apps) => Ok(apps),
            _ => Ok(Vec::new()),
        }
    }

    /// Hears of everything that happens from now on.
    ///
    /// # Errors
    ///
    /// When the manager is lost.
    pub fn watch(mut self) -> Result<Watching, ClientError> {
        self.send(&AppRequest::Watch)?;
        self.wait_for(None);
        Ok(Watching { client: self })
    }

    /// `None`: whoever listened has gone in this moment.
    fn greet(stream: UnixStream, home: &Home) -> Result<Option<Self>, ClientError> {
        let mut client =
            Self { stream: BufReader::new(stream), manager_pid: 0, home: home.clone() };
        client.wait_for(Some(GREETING));
        let line = match client.line() {
            Ok(Some(line)) => line,
            Ok(None) | Err(ClientError::Lost { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let hello: Hello = serde_json::from_str(&line).map_err(|error| no_hello(&line, &error))?;
        client.manager_pid = hello.manager_pid;
        if hello.version != VERSION {
            let (pid, version) = (hello.manager_pid, hello.version);
            return Err(ClientError::Version { pid, version });
        }
        Ok(Some(client))
    }

    fn send(&mut self, request: &AppRequest) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request).expect("a request is plain data");
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(|_| self.lost())
    }

    fn receive(&mut self) -> Result<AppResponse, ClientError> {
        let line = self.line()?.ok_or_else(|| self.lost())?;
        serde_json::from_str(&line).map_err(|error| ClientError::Malformed(error.to_string()))
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Result<Option<String>, ClientError> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line)),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Silent,
                io::ErrorKind::InvalidData => ClientError::Malformed(error.to_string()),
                _ => self.lost(),
            }),
        }
    }

    /// A time that is no time at all is refused by the kernel; there is none here.
    fn wait_for(&self, patience: Option<Duration>) {
        let set = self.stream.get_ref().set_read_timeout(patience);
        debug_assert!(set.is_ok(), "a time-out that is not zero");
    }

    fn lost(&self) -> ClientError {
        ClientError::Lost { pid: self.manager_pid, log: self.home.daemon_log() }
    }
}

impl Iterator for Watching {
    type Item = Result<AppEvent, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.client.receive() {
                Ok(AppResponse::Event(event)) => return Some(Ok(event)),
                Ok(AppResponse::Error(reason)) => return Some(Err(ClientError::Refused(reason))),
                // Nothing else comes to who watches.
                Ok(_) => {}
                Err(ClientError::Lost { .. }) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// A manager that does not trust this user refuses instead of greeting.
fn no_hello(line: &str, error: &serde_json::Error) -> ClientError {
    match serde_json::from_str(line) {
        Ok(AppResponse::Error(reason)) => ClientError::Refused(reason),
        Ok(_) | Err(_) => ClientError::Malformed(error.to_string()),
    }
}
