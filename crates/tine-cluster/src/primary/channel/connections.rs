//! Connections that are handed over: accepted and sent in one go.

use std::sync::Arc;

use super::{ChannelTask, Session, in_words};
use crate::primary::{handing::Handed, input::News, ticket::Ticket};

/// One that the worker is to have.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) handed: Handed,
    pub(super) key: Arc<str>,
    pub(super) ticket: Arc<Ticket>,
}

impl ChannelTask {
    /// Sends those that can be sent at once.
    pub(super) async fn connect(&mut self) -> Result<(), String> {
        while !self.ending
            && self.session.sends_at_once()
            && let Some(connection) = self.connections.pop_front()
        {
            self.send(connection).await?;
            self.flush().map_err(in_words)?;
        }
        Ok(())
    }

    /// Puts them all before whatever is said next.
    pub(super) async fn connect_all(&mut self) -> Result<(), String> {
        while let Some(connection) = self.connections.pop_front() {
            self.send(connection).await?;
        }
        Ok(())
    }

    async fn send(&mut self, connection: Connection) -> Result<(), String> {
        let Connection { handed, key, ticket } = connection;
        match ticket.redeem() {
            Ok(fd) => {
                let number = self.session.new_connection(&key, fd).map_err(in_words)?;
                self.sent.insert(number, handed);
            }
            Err(error) => {
                let worker = self.worker;
                let _ = self.tell.send(News::Unaccepted { worker, handed, error }).await;
            }
        }
        Ok(())
    }
}

impl Session {
    /// Whether a line with a descriptor that is said now is in the socket with the next flush.
    fn sends_at_once(&self) -> bool {
        self.queued() == 0
            && match self {
                Self::Node(session) => !session.awaits_handle(),
                Self::Native(_) => true,
            }
    }
}
