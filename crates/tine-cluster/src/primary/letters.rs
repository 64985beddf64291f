//! Messages on their way to a worker, and those who wait for what becomes of them.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::{mpsc, oneshot};

use super::{
    channel::{Dialect, Order},
    messages::SendError,
};
use crate::{
    descriptor::Descriptor,
    id::WorkerId,
    json::Json,
    wire::{native, node},
};

/// Who waits for the fate of a message. Dropped when the channel closes.
pub(super) type Outcome = oneshot::Sender<Result<(), SendError>>;

/// Who waits for an answer. Dropped when there will be none.
pub(super) type Asker = oneshot::Sender<Result<Json, Silence>>;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// The worker said so.
    Dropped,
    /// It may have come, behind messages that the owner does not take.
    Unheard,
}

/// A message to a worker's program.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) message: Json,
    pub(super) form: Form,
    pub(super) outcome: Outcome,
}

/// What goes with a message, or comes back for it.
#[derive(Debug)]
pub(super) enum Form {
    /// Nothing.
    Plain,
    /// A socket goes with it.
    With(Descriptor),
    /// It wants an answer.
    Request(Asker),
    /// It is the answer to the worker's request of this number.
    Answer(u64),
}

/// Where messages for one worker are put in. Holding one does not keep the channel open.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    pub(super) worker: WorkerId,
    pub(super) dialect: Dialect,
    pub(super) post: mpsc::Sender<Box<Letter>>,
    pub(super) orders: mpsc::WeakUnboundedSender<Box<Order>>,
}

/// Messages that may wait before the outbox; more make their senders wait.
pub(super) const LETTERS: usize = 64;
/// A message goes into the outbox when no more than this waits there, in bytes.
const ROOM: usize = 64 * 1024;

impl Mailbox {
    /// The longest message that the worker understands, in bytes.
    pub(super) fn longest(&self) -> usize {
        match self.dialect {
            Dialect::Node => node::Limits::default().line,
            Dialect::Native => native::LONGEST_MESSAGE,
        }
    }
}

/// What the channel has taken in and not yet given away.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// Bytes that have gone out, of whatever kind.
    gone: u64,
    /// Who waits until so many have gone, in order.
    waiting: VecDeque<(u64, Outcome)>,
    /// Who waits until a worker of Node's has confirmed the socket of this number.
    arriving: BTreeMap<u64, Outcome>,
    /// Who waits for an answer to the request of this number.
    requests: BTreeMap<u64, Asker>,
}

impl Letters {
    /// Whether one more may come in, where so many bytes wait for the worker.
    pub(super) fn has_room(&self, queued: usize) -> bool {
        queued <= ROOM && self.waiting.len() + self.arriving.len() < LETTERS
    }

    /// A message was put into the outbox, where now so many bytes wait.
    pub(super) fn put(&mut self, queued: usize, outcome: Outcome) {
        self.waiting.push_back((self.gone + queued as u64, outcome));
    }

    /// A message with a socket was, of which the worker will speak by this number.
    pub(super) fn put_handle(&mut self, number: u64, outcome: Outcome) {
        self.arriving.insert(number, outcome);
    }

    /// A request was.
    pub(super) fn put_request(&mut self, number: u64, answer: Asker) {
        // Those who asked may have given up, and a worker need not answer.
        if self.requests.len().is_multiple_of(LETTERS) {
            self.requests.retain(|_, asker| !asker.is_closed());
        }
        self.requests.insert(number, answer);
    }

    /// So many bytes have gone out.
    pub(super) fn went(&mut self, bytes: usize) {
        self.gone += bytes as u64;
        while let Some((_, outcome)) = self.waiting.pop_front_if(|(at, _)| *at <= self.gone) {
            // Nobody need wait.
            let _ = outcome.send(Ok(()));
        }
    }

    /// So many bytes have come into the outbox that may go before what waits.
    pub(super) fn delayed(&mut self, bytes: usize) {
        self.waiting.iter_mut().for_each(|(at, _)| *at += bytes as u64);
    }

    /// What became of the socket of this number.
    pub(super) fn confirmed(&mut self, number: u64, arrived: bool) {
        if let Some(outcome) = self.arriving.remove(&number) {
            let _ = outcome.send(if arrived { Ok(()) } else { Err(SendError::NotReceived) });
        }
    }

    /// The request of this number is answered, or will never be.
    pub(super) fn answered(&mut self, number: u64, message: Option<Json>) {
        if let Some(asker) = self.requests.remove(&number) {
            let _ = asker.send(message.ok_or(Silence::Dropped));
        }
    }

    /// Whether somebody waits for words of the worker.
    pub(super) fn awaits_words(&self) -> bool {
        !self.arriving.is_empty() || self.requests.values().any(|asker| !asker.is_closed())
    }

    /// Nobody waits any longer for words of the worker: they are not heard.
    pub(super) fn end_the_wait(&mut self, worker: WorkerId) {
        for (_, outcome) in std::mem::take(&mut self.arriving) {
            let _ = outcome.send(Err(SendError::Unheard(worker)));
        }
        for (_, asker) in std::mem::take(&mut self.requests) {
            let _ = asker.send(Err(Silence::Unheard));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(waiting: &mut oneshot::Receiver<Result<(), SendError>>) -> bool {
        waiting.try_recv().is_err()
    }

    #[test]
    fn a_sender_waits_until_the_last_byte_of_its_message_has_gone() {
        let mut letters = Letters::default();
        let (outcome, mut first) = oneshot::channel();
        letters.put(10, outcome);
        let (outcome, mut second) = oneshot::channel();
        letters.put(25, outcome);
        letters.went(9);
        assert!(waits(&mut first));
        letters.went(1);
        assert!(!waits(&mut first) && waits(&mut second));
        // Something may go before it.
        letters.delayed(5);
        letters.went(15);
        assert!(waits(&mut second));
        letters.went(5);
        assert!(!waits(&mut second));
    }

    #[test]
    fn a_full_outbox_takes_no_message() {
        let letters = Letters::default();
        assert!(letters.has_room(ROOM) && !letters.has_room(ROOM + 1));
    }

    #[test]
    fn requests_whose_askers_have_gone_are_forgotten() {
        let mut letters = Letters::default();
        for number in 0..10_000 {
            letters.put_request(number, oneshot::channel().0);
        }
        assert!(letters.requests.len() <= LETTERS);
    }
}
