//! Where a worker's output goes, and its input comes from.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::primary::{event::Output, settings::Stdio};

/// Where it is read, and where it is written.
type Pipe = (OwnedFd, OwnedFd);

/// Where standard output and standard error go.
pub(super) enum Streams {
    /// Pipes, of which this process reads the first ends.
    Lines { out: Pipe, err: Pipe },
    /// Pipes, of which the owner reads the first ends, and writes to the second one of `input`.
    Pipes { out: Pipe, err: Pipe, input: Option<Pipe> },
    /// Where this process's own go.
    Inherited { out: io::Stdout, err: io::Stderr },
    /// Nowhere.
    Null,
}

/// Who reads what a worker writes.
pub(super) enum Readers {
    /// This cluster, line by line.
    Ours(Output),
    /// Its owner.
    Owners(Output),
    /// Neither.
    Nobody,
}

impl Streams {
    pub(super) fn make(stdio: Stdio) -> io::Result<Self> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC);
        Ok(match stdio {
            Stdio::Lines => Self::Lines { out: pipe()?, err: pipe()? },
            Stdio::Pipes { input } => {
                let input = input.then(pipe).transpose()?;
                Self::Pipes { out: pipe()?, err: pipe()?, input }
            }
            Stdio::Inherited => Self::Inherited { out: io::stdout(), err: io::stderr() },
            Stdio::Null => Self::Null,
        })
    }

    /// The program's ends.
    pub(super) fn theirs(&self) -> Option<(BorrowedFd<'_>, BorrowedFd<'_>)> {
        match self {
            Self::Lines { out, err } | Self::Pipes { out, err, .. } => {
                Some((out.1.as_fd(), err.1.as_fd()))
            }
            Self::Inherited { out, err } => Some((out.as_fd(), err.as_fd())),
            Self::Null => None,
        }
    }

    /// What the program reads, if it is not nothing.
    pub(super) fn input(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Pipes { input, .. } => input.as_ref().map(|(read, _)| read.as_fd()),
            Self::Lines { .. } | Self::Inherited { .. } | Self::Null => None,
        }
    }

    /// The other ends, with whoever reads them.
    pub(super) fn readers(self) -> Readers {
        let output = |out: Pipe, err: Pipe, input: Option<Pipe>| {
            let input = input.map(|(_, write)| write);
            Output { out: out.0, err: err.0, input }
        };
        match self {
            Self::Lines { out, err } => Readers::Ours(output(out, err, None)),
            Self::Pipes { out, err, input } => Readers::Owners(output(out, err, input)),
            Self::Inherited { .. } | Self::Null => Readers::Nobody,
        }
    }

    /// The end by which the owner writes.
    pub(super) fn write_end(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Pipes { input, .. } => input.as_ref().map(|(_, write)| write.as_fd()),
            Self::Lines { .. } | Self::Inherited { .. } | Self::Null => None,
        }
    }

    /// The ends from which the output is read, by whomever.
    pub(super) fn read_ends(&self) -> Option<(BorrowedFd<'_>, BorrowedFd<'_>)> {
        match self {
            Self::Lines { out, err } | Self::Pipes { out, err, .. } => {
                Some((out.0.as_fd(), err.0.as_fd()))
            }
            Self::Inherited { .. } | Self::Null => None,
        }
    }
}
