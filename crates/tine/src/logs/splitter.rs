//! Whole lines out of whatever pieces a pipe gives.

/// A line may have so many bytes; what is beyond is left out, and the line says how much that was.
pub const LONGEST_LINE: usize = 1 << 20;

/// What a line begun may keep of its room once it is written.
const KEPT: usize = 16 << 10;

/// Keeps the begun line of one pipe until its end comes.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    begun: Vec<u8>,
    /// Bytes of this line that were too many.
    left_out: u64,
}

impl Splitter {
    /// Takes the next bytes of the pipe. The line that they end is put into `head` (empty if they end
    /// none that was begun before), and the whole lines behind it are returned.
    pub(super) fn take<'a>(&mut self, bytes: &'a [u8], head: &mut Vec<u8>) -> &'a [u8] {
        head.clear();
        let mut rest = bytes;
        if self.is_within_a_line() {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                self.keep(bytes);
                return &[];
            };
            self.keep(&bytes[..end]);
            self.finish(head);
            rest = &bytes[end + 1..];
        }
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.keep(&rest[whole..]);
        &rest[..whole]
    }

    /// The pipe has ended: its last line gets its newline, if it had none.
    pub(super) fn end(&mut self, head: &mut Vec<u8>) {
        head.clear();
        if self.is_within_a_line() {
            self.finish(head);
        }
    }

    fn is_within_a_line(&self) -> bool {
        !self.begun.is_empty()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(LONGEST_LINE - self.begun.len());
        self.begun.extend_from_slice(&bytes[..fits]);
        self.left_out += (bytes.len() - fits) as u64;
    }

    fn finish(&mut self, head: &mut Vec<u8>) {
        std::mem::swap(head, &mut self.begun);
        // What came back is the head of another line: its room is worth keeping, within limits.
        self.begun.clear();
        self.begun.shrink_to(KEPT);
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            head.extend_from_slice(format!(" [cut: {left_out} more bytes]").as_bytes());
        }
        head.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that comes out when the text comes in pieces of this size.
    fn through(text: &[u8], piece: usize) -> Vec<u8> {
        let (mut splitter, mut head, mut all) = (Splitter::default(), Vec::new(), Vec::new());
        for bytes in text.chunks(piece) {
            let lines = splitter.take(bytes, &mut head);
            assert!([&head, lines].iter().all(|part| part.is_empty() || part.ends_with(b"\n")));
            all.extend_from_slice(&head);
            all.extend_from_slice(lines);
        }
        splitter.end(&mut head);
        all.extend_from_slice(&head);
        all
    }

    #[test]
    fn lines_come_out_whole_whatever_the_pieces_are() {
        let text = b"one\n\n\ntwo two two\nthree\n";
        for piece in 1..=text.len() {
            assert_eq!(through(text, piece), text, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_last_line_without_a_newline_gets_one() {
        for piece in 1..8 {
            assert_eq!(through(b"one\ntwo", piece), b"one\ntwo\n");
        }
        assert_eq!(through(b"", 1), b"");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_says_so_and_the_next_is_whole() {
        let mut text = vec![b'x'; LONGEST_LINE + 12_345];
        text.extend_from_slice(b"\nnext\n");
        for piece in [4096, 65_536, LONGEST_LINE] {
            let all = through(&text, piece);
            let mut wanted = vec![b'x'; LONGEST_LINE];
            wanted.extend_from_slice(b" [cut: 12345 more bytes]\nnext\n");
            assert!(all == wanted, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_line_of_just_the_length_is_not_cut() {
        let mut text = vec![b'x'; LONGEST_LINE];
        text.push(b'\n');
        assert!(through(&text, 65_536) == text);
    }
}
