//! Reads what a worker writes, line by line.
//!
//! A line is never split nor mixed with another's, except that one longer than [`LONGEST`] is cut
//! there. The last lines are kept, for telling why a worker failed.

use std::{collections::VecDeque, io};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::unix::pipe::Receiver,
    sync::mpsc,
};

use super::{
    event::{Event, Output, Stream, What},
    input::News,
};
use crate::id::{Instance, WorkerId};

/// Longer lines are cut into pieces of this many bytes.
const LONGEST: usize = 64 * 1024;
/// How many of the last lines are kept.
const KEPT: usize = 20;
/// Read at once; small, for hundreds of workers have two of these each while they write.
const CHUNK: usize = 8 * 1024;

/// Reads both pipes to their end.
pub(super) fn read(
    who: (WorkerId, Instance),
    pipes: Output,
    lines: mpsc::Sender<Event>,
    tell: mpsc::Sender<News>,
) {
    tokio::spawn(async move {
        let mut reader = Reader { who, lines, last: VecDeque::new() };
        // What cannot be read any more has ended; its worker is told by its full pipe.
        let _ = reader.both(pipes).await;
        let _ = tell.send(News::OutputEnded(who.0, reader.last.into())).await;
    });
}

struct Reader {
    who: (WorkerId, Instance),
    lines: mpsc::Sender<Event>,
    last: VecDeque<Vec<u8>>,
}

impl Reader {
    async fn both(&mut self, pipes: Output) -> io::Result<()> {
        let mut out = Lines::new(Receiver::from_owned_fd(pipes.out)?);
        let mut err = Lines::new(Receiver::from_owned_fd(pipes.err)?);
        let (mut out_open, mut err_open) = (true, true);
        while out_open || err_open {
            tokio::select! {
                line = out.next(), if out_open => match line? {
                    Some(line) => self.tell(Stream::Out, line).await,
                    None => out_open = false,
                },
                line = err.next(), if err_open => match line? {
                    Some(line) => self.tell(Stream::Err, line).await,
                    None => err_open = false,
                },
            }
        }
        Ok(())
    }

    async fn tell(&mut self, stream: Stream, line: Vec<u8>) {
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line.clone());
        let (worker, instance) = self.who;
        let what = What::Output { stream, line };
        let event = Event { worker, instance: instance.filled(), what };
        // Nobody listens any more: the worker is read all the same, so that it never waits.
        let _ = self.lines.send(event).await;
    }
}

/// Cuts a stream of bytes into lines. Cancel safe: what was read stays in it.
struct Lines<R> {
    from: R,
    text: Vec<u8>,
    /// How much of `text` was searched for a line's end.
    searched: usize,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    const fn new(from: R) -> Self {
        Self { from, text: Vec::new(), searched: 0, ended: false }
    }

    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            self.text.reserve(CHUNK);
            self.ended = self.from.read_buf(&mut self.text).await? == 0;
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let end = self.text[self.searched..].iter().position(|&byte| byte == b'\n');
        if let Some(end) = end.map(|end| end + self.searched)
            && end <= LONGEST
        {
            let mut line: Vec<u8> = self.text.drain(..=end).collect();
            line.pop();
            self.searched = 0;
            self.give_back();
            return Some(line);
        }
        self.searched = self.text.len();
        let length = self.text.len().min(LONGEST);
        // One that has just its longest length may yet be ended by what comes next.
        let whole = self.text.len() > LONGEST || (self.ended && length > 0);
        if !whole {
            return None;
        }
        self.searched = 0;
        Some(self.text.drain(..length).collect())
    }

    /// An idle worker keeps no buffer.
    fn give_back(&mut self) {
        if self.text.is_empty() {
            self.text = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Lines::new(text);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        all
    }

    #[tokio::test]
    async fn lines_are_whole_and_the_last_needs_no_end() {
        assert_eq!(lines(b"one\n\ntwo\nthree").await, [&b"one"[..], b"", b"two", b"three"]);
        assert!(lines(b"").await.is_empty());
    }

    #[tokio::test]
    async fn an_endless_line_is_cut_at_the_longest() {
        let text = [vec![b'x'; LONGEST * 2 + 5], b"\nshort\n".to_vec()].concat();
        let lengths: Vec<usize> = lines(&text).await.iter().map(Vec::len).collect();
        assert_eq!(lengths, [LONGEST, LONGEST, 5, 5]);
    }

    #[tokio::test]
    async fn the_end_of_a_line_of_the_longest_length_may_come_later() {
        let text = vec![b'x'; LONGEST];
        let mut lines = Lines::new(text.chain(&b"\nshort\n"[..]));
        let mut lengths = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [LONGEST, 5]);
    }
}
