//! The last lines of each worker, in memory: for `describe`, and for starts that failed.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use super::Stream;

/// So many bytes are kept of each stream of a worker.
const KEPT: usize = 8 << 10;
/// In so many pieces: one line each, where they come slowly.
const PIECES: usize = 256;
/// So many workers with one id are remembered: a reload has two at a time.
const WORKERS: usize = 3;

/// A line that a worker wrote, without its newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastLine {
    /// Where it was written to.
    pub stream: Stream,
    /// What is no UTF-8 is replaced.
    pub text: String,
}

/// What is remembered of all workers of one app.
#[derive(Debug, Default)]
pub(super) struct Tails {
    workers: BTreeMap<u64, Tail>,
    /// Puts the lines of two streams into their order.
    turn: u64,
}

#[derive(Debug)]
struct Tail {
    id: u32,
    out: Ring,
    error: Ring,
}

/// Pieces of whole lines.
#[derive(Debug, Default)]
struct Ring {
    pieces: VecDeque<Piece>,
    bytes: usize,
}

#[derive(Debug)]
struct Piece {
    turn: u64,
    read: Instant,
    lines: Box<[u8]>,
}

impl Tails {
    /// A worker begins. Of those that had this id before it, the oldest are forgotten.
    pub(super) fn begin(&mut self, worker: u64, id: u32) {
        let tail = Tail { id, out: Ring::default(), error: Ring::default() };
        self.workers.entry(worker).or_insert(tail);
        let same: Vec<u64> =
            self.workers.iter().filter(|(_, tail)| tail.id == id).map(|(key, _)| *key).collect();
        for old in same.iter().rev().skip(WORKERS) {
            self.workers.remove(old);
        }
    }

    pub(super) fn forget(&mut self, id: u32) {
        self.workers.retain(|_, tail| tail.id != id);
    }

    /// Remembers the end of some whole lines.
    pub(super) fn push(&mut self, worker: u64, stream: Stream, lines: &[u8]) {
        self.turn += 1;
        let Some(tail) = self.workers.get_mut(&worker) else { return };
        match stream {
            Stream::Out => tail.out.push(self.turn, lines),
            Stream::Error => tail.error.push(self.turn, lines),
        }
    }

    /// The last `count` lines of a worker, oldest first.
    pub(super) fn of_worker(&self, worker: u64, count: usize) -> Vec<LastLine> {
        self.workers.get(&worker).map_or_else(Vec::new, |tail| tail.last(count, None))
    }

    /// The same of what was read by then.
    pub(super) fn of_worker_by(&self, worker: u64, count: usize, by: Instant) -> Vec<LastLine> {
        self.workers.get(&worker).map_or_else(Vec::new, |tail| tail.last(count, Some(by)))
    }

    /// The same of the worker that had this id last, and has written anything: one that has just begun says
    /// nothing of why the one before has ended.
    pub(super) fn of_id(&self, id: u32, count: usize) -> Vec<LastLine> {
        let has_written = |tail: &&Tail| tail.out.bytes + tail.error.bytes > 0;
        let newest = self.workers.values().rev().filter(has_written).find(|tail| tail.id == id);
        newest.map_or_else(Vec::new, |tail| tail.last(count, None))
    }
}

impl Tail {
    fn last(&self, count: usize, by: Option<Instant>) -> Vec<LastLine> {
        let mut lines = self.out.lines(Stream::Out, by);
        lines.extend(self.error.lines(Stream::Error, by));
        // Stable: lines of one piece stay in their order.
        lines.sort_by_key(|(turn, _)| *turn);
        let skipped = lines.len().saturating_sub(count);
        lines.into_iter().skip(skipped).map(|(_, line)| line).collect()
    }
}

impl Ring {
    fn push(&mut self, turn: u64, lines: &[u8]) {
        let end = end_of(lines);
        self.bytes += end.len();
        self.pieces.push_back(Piece { turn, read: Instant::now(), lines: end.into() });
        let enough = |ring: &Self, first: &[u8]| {
            ring.bytes - first.len() >= KEPT || ring.pieces.len() > PIECES
        };
        while self.pieces.front().is_some_and(|first| enough(self, &first.lines)) {
            let gone = self.pieces.pop_front().map_or(0, |piece| piece.lines.len());
            self.bytes -= gone;
        }
    }

    fn lines(&self, stream: Stream, by: Option<Instant>) -> Vec<(u64, LastLine)> {
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        let lines_of = |piece: &Piece| {
            let body = piece.lines.strip_suffix(b"\n").unwrap_or(&piece.lines);
            let lines = body.split(|byte| *byte == b'\n').map(text);
            lines.map(|text| (piece.turn, LastLine { stream, text })).collect::<Vec<_>>()
        };
        let in_time = |piece: &&Piece| by.is_none_or(|by| piece.read <= by);
        self.pieces.iter().filter(in_time).flat_map(lines_of).collect()
    }
}

/// The whole lines at the end that fit, or the end of a line that is itself too long.
fn end_of(lines: &[u8]) -> &[u8] {
    let Some(over) = lines.len().checked_sub(KEPT) else { return lines };
    let end = &lines[over..];
    let begin = end.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if begin == end.len() { end } else { &end[begin..] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[LastLine]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn the_streams_of_a_worker_come_in_the_order_they_were_read() {
        let mut tails = Tails::default();
        tails.begin(1, 0);
        tails.push(1, Stream::Out, b"a\nb\n");
        tails.push(1, Stream::Error, b"oh\n");
        tails.push(1, Stream::Out, b"\n");
        assert_eq!(texts(&tails.of_worker(1, 10)), ["a", "b", "oh", ""]);
        assert_eq!(texts(&tails.of_id(0, 2)), ["oh", ""]);
        assert!(tails.of_worker(2, 10).is_empty());
    }

    #[test]
    fn what_came_later_can_be_left_out() {
        let mut tails = Tails::default();
        tails.begin(1, 0);
        tails.push(1, Stream::Out, b"works\n");
        let then = Instant::now();
        while Instant::now() == then {}
        tails.push(1, Stream::Error, b"interrupted\n");
        assert_eq!(texts(&tails.of_worker_by(1, 9, then)), ["works"]);
        assert_eq!(texts(&tails.of_worker(1, 9)), ["works", "interrupted"]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_has_whole_lines() {
        let mut tails = Tails::default();
        tails.begin(1, 0);
        let many = "line\n".repeat(100_000);
        tails.push(1, Stream::Out, many.as_bytes());
        for number in 0..100_000 {
            tails.push(1, Stream::Out, format!("{number}\n").as_bytes());
        }
        assert!(tails.workers[&1].out.bytes <= 2 * KEPT);
        let last = tails.of_worker(1, usize::MAX);
        assert_eq!(last.last().unwrap().text, "99999");
        assert!(last.len() == PIECES && last.iter().all(|line| line.text.parse::<u32>().is_ok()));
    }

    #[test]
    fn of_a_line_that_is_too_long_the_end_is_kept() {
        let mut tails = Tails::default();
        tails.begin(1, 0);
        let long = "x".repeat(3 * KEPT) + "end\n";
        tails.push(1, Stream::Error, long.as_bytes());
        let last = tails.of_worker(1, 5);
        assert!(last.len() == 1 && last[0].text.ends_with("xend"));
    }

    #[test]
    fn of_many_workers_with_one_id_the_last_ones_are_remembered() {
        let mut tails = Tails::default();
        for worker in 1..=9 {
            tails.begin(worker, 4);
            tails.push(worker, Stream::Out, format!("{worker}\n").as_bytes());
        }
        assert_eq!(texts(&tails.of_id(4, 1)), ["9"]);
        assert!(tails.of_worker(6, 1).is_empty());
        tails.forget(4);
        assert!(tails.of_worker(9, 1).is_empty());
    }
}
