//! How the manager tells whoever started it that it answers.

use std::io::Write;

use rustix::fs::{Mode, OFlags, open};

use super::say;

/// Where word goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// To the terminal, or the journal.
    Foreground,
    /// To the standard output, which is a pipe, read to its end.
    Pipe,
}

impl Ready {
    /// It answers.
    pub(super) fn answers(self) {
        match self {
            Self::Foreground => say(&format!("the manager answers, pid {}", std::process::id())),
            Self::Pipe => self.tell(crate::client::READY),
        }
    }

    /// It never will.
    pub(super) fn failed(self, error: &anyhow::Error) {
        match self {
            Self::Foreground => {}
            Self::Pipe => self.tell(&format!("{error:#}")),
        }
    }

    fn tell(self, word: &str) {
        let mut out = std::io::stdout();
        // Whoever started it may have gone.
        let _ = writeln!(out, "{word}").and_then(|()| out.flush());
        self.forget();
    }

    /// Holds the pipe open no longer: whoever reads it waits for its end.
    pub fn forget(self) {
        if self == Self::Pipe
            && let Ok(null) = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        {
            let _ = rustix::stdio::dup2_stdout(&null);
        }
    }
}
