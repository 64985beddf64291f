//! What the programs on both sides say, and what the channel keeps to itself.

use std::os::fd::OwnedFd;

use super::{ChannelTask, Session, in_words};
use crate::{
    descriptor::Descriptor,
    json::Json,
    primary::{
        budget::Said,
        input::News,
        letters::{Form, Letter},
    },
    wire::{
        lines::QueueFull,
        native,
        node::{self, Refused, UserHandle},
    },
};

impl ChannelTask {
    /// What was held for want of room, and what had arrived behind it.
    pub(super) async fn tell_held(&mut self, said: Option<Box<Said>>) -> Result<(), String> {
        let Some(said) = said else { return Ok(()) };
        let _ = self.tell.send(News::Said(self.worker, said)).await;
        self.tell_events().await
    }

    /// What the channel itself is told is kept here.
    pub(super) fn next_news(&mut self) -> Result<Option<News>, String> {
        loop {
            let news = match &mut self.session {
                Session::Node(session) => match session.next_event().map_err(in_words)? {
                    Some(event) => self.map_node(event),
                    None => return Ok(None),
                },
                Session::Native(session) => match session.next_event().map_err(in_words)? {
                    Some(event) => self.map_native(event),
                    None => return Ok(None),
                },
            };
            if news.is_some() {
                return Ok(news);
            }
        }
    }

    fn map_node(&mut self, event: node::Event) -> Option<News> {
        use node::Event;
        let said = |message, fd| Box::new(Said::new(Json::from(message), None, fd));
        match event {
            Event::Reply { ack, accepted } => return self.answered(ack, accepted),
            // It never arrived: somebody else may have better luck.
            Event::HandleRefused(Refused::Connection(seq)) => return self.answered(seq, false),
            Event::HandleRefused(Refused::Message(number)) => {
                self.letters.confirmed(number, false);
            }
            Event::HandleArrived(number) => self.letters.confirmed(number, true),
            Event::User(message) => return Some(News::Said(self.worker, said(message, None))),
            Event::UserHandle { message, fd, .. } => {
                return Some(News::Said(self.worker, said(message, Some(fd))));
            }
            other => return Some(News::Node(self.worker, Box::new(other))),
        }
        None
    }

    fn map_native(&mut self, event: native::Event) -> Option<News> {
        use native::Event;
        match event {
            Event::Reply { connection, accepted } => self.answered(connection, accepted),
            Event::Answer { seq, message } => {
                self.letters.answered(seq, message);
                None
            }
            Event::Message { message, seq, fd } => {
                Some(News::Said(self.worker, Box::new(Said::new(message, seq, fd))))
            }
            other => Some(News::Native(self.worker, other)),
        }
    }

    fn answered(&mut self, number: u64, accepted: bool) -> Option<News> {
        let handed = self.sent.remove(&number)?;
        Some(News::Answered { worker: self.worker, handed, accepted })
    }

    /// Puts a message into the outbox.
    pub(super) fn post(&mut self, letter: Letter) -> Result<(), QueueFull> {
        let Letter { message, form, outcome } = letter;
        match (&mut self.session, form) {
            (Session::Node(node), Form::With(socket)) => {
                let kind = user_handle(&socket);
                let fd = OwnedFd::from(socket);
                let number = node.send_user_handle(message.raw(), kind, fd)?;
                self.letters.put_handle(number, outcome);
                return Ok(());
            }
            // Nobody asks a worker of Node's: it could not answer.
            (Session::Node(node), Form::Plain | Form::Request(_) | Form::Answer(_)) => {
                node.send_user(message.raw())?;
            }
            (Session::Native(native), Form::Plain) => native.send(message, None)?,
            (Session::Native(native), Form::With(socket)) => {
                native.send(message, Some(socket.into()))?;
            }
            (Session::Native(native), Form::Request(answer)) => {
                let number = native.request(message)?;
                self.letters.put_request(number, answer);
            }
            (Session::Native(native), Form::Answer(seq)) => native.reply(seq, Some(message))?,
        }
        self.letters.put(self.session.queued(), outcome);
        Ok(())
    }
}

/// What the socket shall be in a program of Node's.
fn user_handle(socket: &Descriptor) -> UserHandle {
    match socket {
        Descriptor::TcpStream(_) | Descriptor::UnixStream(_) => UserHandle::Socket,
        Descriptor::TcpListener(_) | Descriptor::UnixListener(_) => UserHandle::Server,
        Descriptor::UdpSocket(_) => UserHandle::Datagram { v6: socket.is_v6() },
    }
}
