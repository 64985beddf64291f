//! What the manager hears of its watchdog.

use std::{io, os::fd::OwnedFd};

use tine_linux::process::Exit;
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    Keeper,
    message::Ended,
    packet::{self, Wait},
};

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// A process that became its child has ended.
    Ended(rustix::process::Pid, Exit),
    /// It has ended itself.
    Gone,
}

/// Waits for words of the watchdog.
#[derive(Debug)]
pub struct Line {
    socket: AsyncFd<OwnedFd>,
    room: Vec<u8>,
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
        Ok(Self { socket, room: packet::buffer(), is_over: false })
    }

    /// The next word. Cancel safe. After [`News::Gone`] nothing comes.
    pub async fn next(&mut self) -> News {
        while !self.is_over {
            let Ok(mut ready) = self.socket.readable().await else { break };
            let room = &mut self.room;
            let received = ready.try_io(|it| packet::receive(it.get_ref(), room, Wait::Never));
            match received {
                // Not readable after all.
                Err(_) => {}
                Ok(Err(_) | Ok(None)) => {
                    self.is_over = true;
                    return News::Gone;
                }
                Ok(Ok(Some(packet))) => {
                    // It says nothing else.
                    if let Some(Ended { pid, exit }) = Ended::decode(&self.room[..packet.length]) {
                        return News::Ended(pid, exit);
                    }
                }
            }
        }
        std::future::pending().await
    }
}
