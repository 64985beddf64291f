//! Node's protocol, with a worker that says anything.

mod ear;
mod said;

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use serde_json::value::RawValue;
use tine_cluster::wire::node::{
    Answer, Event, HandleKind, Limits, ProtocolError, QueryServer, Refused, Session,
};

use crate::{
    choices::Choices,
    pipe::{Watched, inode, watched},
};
use ear::Ear;

/// A worker says anything in any portions, with descriptors, while its primary answers.
///
/// # Panics
///
/// When a connection is answered for twice, a handle overtakes another or goes unanswered, more waits
/// than may, what waits never goes out, a descriptor stays open, or the portions make a difference.
pub fn node(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    if choices.below(4) == 0 {
        return portions_make_no_difference(&mut choices);
    }
    let honest = choices.bit();
    let (fd, end) = watched();
    let mut play = Play::new(&mut choices, honest, fd);
    while !choices.is_over() {
        if play.step(&mut choices).is_err() {
            return play.end(&end);
        }
    }
    play.finish();
    play.end(&end);
}

struct Play {
    session: Session,
    limits: Limits,
    ear: Ear,
    /// It says that a handle has arrived only when one has.
    honest: bool,
    /// Every socket that the primary gives away.
    shared: Arc<OwnedFd>,
    given: Vec<Watched>,
    delivered: BTreeSet<u64>,
    /// Connections that the worker has not answered for.
    out: BTreeSet<u64>,
    questions: Vec<(u64, QueryServer)>,
}

impl Play {
    fn new(choices: &mut Choices<'_>, honest: bool, fd: OwnedFd) -> Self {
        let limits = choices.one_of(&[
            Limits { line: 300, queue: 600 },
            Limits { line: 4096, queue: 4096 },
            Limits::default(),
        ]);
        Self {
            session: Session::new(limits),
            limits,
            ear: Ear::default(),
            honest,
            shared: Arc::new(fd),
            given: Vec::new(),
            delivered: BTreeSet::new(),
            out: BTreeSet::new(),
            questions: Vec::new(),
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) -> Result<(), ProtocolError> {
        match choices.below(4) {
            0 => self.acts(choices),
            1 => self.ear.listens(&mut self.session, usize::from(choices.byte())),
            _ => self.worker_speaks(choices),
        }
        self.hears()?;
        assert!(self.session.bytes_queued() <= self.limits.queue, "more waits than may");
        Ok(())
    }

    fn acts(&mut self, choices: &mut Choices<'_>) {
        let (seq, query) = self.questions.pop().unwrap_or_default();
        let to = Answer { seq, key: "h1", data: query.data() };
        let fd = Arc::clone(&self.shared);
        // What is full says so, and has taken nothing in.
        let done = match choices.below(8) {
            0 => self.session.reply_seat(to, HandleKind::Stream, fd),
            1 => self.session.reply_round_robin(to, Some(([127, 0, 0, 1], 80).into())),
            2 => self.session.reply_error(to, -98),
            3 => self.session.acknowledge(seq),
            4 => self.session.disconnect(),
            5 => self.session.send_user(RawValue::NULL),
            _ => {
                let sent = self.session.new_connection("h1", fd);
                sent.map(|number| assert!(self.out.insert(number), "{number} is there twice"))
            }
        };
        let _ = done;
    }

    fn worker_speaks(&mut self, choices: &mut Choices<'_>) {
        let text = if choices.below(3) == 0 {
            let arrived = choices.below(4) != 0;
            if self.honest && !self.ear.answers_for_a_handle() {
                return;
            }
            self.ear.answers += 1;
            said::answer(arrived)
        } else {
            let text = said::line(choices);
            if said::is_answer(&text) {
                if self.honest {
                    return;
                }
                self.ear.answers += 1;
            }
            text
        };
        self.feed(&text, choices);
    }

    fn feed(&mut self, text: &[u8], choices: &mut Choices<'_>) {
        let cut = if choices.bit() { 1 + choices.below(text.len().max(1)) } else { usize::MAX };
        for portion in text.chunks(cut.min(text.len().max(1))) {
            let (fds, ends): (Vec<OwnedFd>, Vec<Watched>) =
                (0..usize::from(choices.below(4) == 3)).map(|_| watched()).unzip();
            self.given.extend(ends);
            self.session.receiver().push(portion, fds, choices.below(32) == 31);
        }
    }

    fn hears(&mut self) -> Result<(), ProtocolError> {
        while let Some(event) = self.session.next_event()? {
            self.heard(event);
        }
        Ok(())
    }

    fn heard(&mut self, event: Event) {
        if let Event::Reply { ack: seq, .. } | Event::HandleRefused(Refused::Connection(seq)) =
            event
        {
            assert!(self.out.remove(&seq), "{seq} was not asked for, or answered before");
        } else if let Event::UserHandle { fd, .. } = event {
            self.delivers(fd.as_fd());
        } else if let Event::QueryServer { seq, query } = event {
            understood(&query);
            self.questions.push((seq, query));
        } else if let Event::Listening(query) = event {
            understood(&query);
        }
    }

    fn delivers(&mut self, fd: impl AsFd) {
        let inode = inode(fd);
        assert!(self.given.iter().any(|one| one.inode == inode), "nobody sent it");
        assert!(self.delivered.insert(inode), "it was delivered twice");
    }

    /// Whatever happened: when the worker reads, and answers for what it gets, all of it goes out.
    fn finish(&mut self) {
        if self.session.receiver().unfinished() > 0 {
            return;
        }
        while self.session.bytes_queued() > 0 {
            self.ear.listens(&mut self.session, usize::MAX);
            if self.session.bytes_queued() > 0 && self.session.outbox().is_empty() {
                self.ear.answers += 1;
                self.session.receiver().push(&said::answer(true), [], false);
                if self.hears().is_err() {
                    return;
                }
                assert!(!self.session.outbox().is_empty(), "what waits never goes out");
            }
        }
    }

    fn end(self, end: &Watched) {
        let Self { session, shared, given, .. } = self;
        drop(session);
        assert_eq!(Arc::strong_count(&shared), 1, "a session that is gone holds a descriptor");
        drop(shared);
        assert!(end.is_closed());
        assert!(given.iter().all(Watched::is_closed), "a worker's descriptor is left open");
    }
}

/// All that a primary asks of a question has an answer.
fn understood(query: &QueryServer) {
    let key = query.server_key();
    assert_eq!(key, query.clone().server_key());
    assert_ne!(query.backlog(), Some(0), "no backlog is none, not one of 0");
    drop(query.address());
}

/// The same bytes in one piece and in many: the same events, and the same answers.
fn portions_make_no_difference(choices: &mut Choices<'_>) {
    let mut text = Vec::new();
    for _ in 0..=choices.below(6) {
        text.extend(said::line(choices));
    }
    let cut = 1 + choices.below(16);
    assert_eq!(events(&text, text.len().max(1)), events(&text, cut), "by pieces of {cut} bytes");
}

fn events(text: &[u8], cut: usize) -> (Vec<String>, Vec<u8>) {
    let mut session = Session::new(Limits { line: 300, queue: 4096 });
    let mut seen = Vec::new();
    for portion in text.chunks(cut) {
        session.receiver().push(portion, [], false);
        loop {
            match session.next_event() {
                Ok(Some(event)) => seen.push(format!("{event:?}")),
                Ok(None) => break,
                // How much of a line without end is shown depends on how much has arrived.
                Err(ProtocolError::Endless(_)) => return (seen, Vec::new()),
                Err(error) => {
                    seen.push(error.to_string());
                    return (seen, Vec::new());
                }
            }
        }
    }
    let mut answers = Vec::new();
    while let Some((text, _)) = session.outbox().front() {
        answers.extend_from_slice(text);
        let count = text.len();
        session.outbox().sent(count);
    }
    (seen, answers)
}
