//! What the manager notices of its watchdog.

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

use super::{
    Keeper,
    packet::{self, Wait},
};

/// What there is to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It has ended.
    Gone,
}

/// Waits for the watchdog's end. It says nothing before.
#[derive(Debug)]
pub struct Line {
    socket: AsyncFd<OwnedFd>,
    is_over: bool,
}

impl Line {
    /// To the watchdog that this keeper has.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch it.
    #[expect(
        deprecated,
        reason = "unsound only for types whose `AsRawFd` lies or changes; OwnedFd's does neither, and \
                  the successor is an unsafe function"
    )]
    pub fn of(keeper: &Keeper) -> io::Result<Self> {
        let socket = AsyncFd::with_interest(keeper.line()?, Interest::READABLE)?;
        Ok(Self { socket, is_over: false })
    }

    /// Cancel safe. Nothing comes after [`News::Gone`].
    pub async fn next(&mut self) -> News {
        while !self.is_over {
            let Ok(mut ready) = self.socket.readable().await else { break };
            let received =
                ready.try_io(|it| packet::receive(it.get_ref(), &mut [0; 1], Wait::Never));
            if let Ok(Err(_) | Ok(None)) = received {
                self.is_over = true;
                return News::Gone;
            }
        }
        std::future::pending().await
    }
}
