//! Where the last lines of a file begin, found from its end, in constant memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;

const BLOCK: usize = 64 << 10;

/// Some lines at the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// How many there are; fewer than were asked for if the file has no more.
    pub(super) lines: usize,
    /// Where the first of them begins.
    pub(super) start: u64,
}

/// The last lines of the first `end` bytes, which end with a newline (or hold no whole line). With no
/// lines asked for, the start is behind the last newline.
pub(super) fn ending(file: &File, end: u64, lines: usize) -> io::Result<Ending> {
    let mut block = vec![0; BLOCK];
    let (mut at, mut newlines) = (end, 0);
    while at > 0 {
        let length = at.min(BLOCK as u64);
        at -= length;
        let length = usize::try_from(length).expect("a block's length is a usize");
        file.read_exact_at(&mut block[..length], at)?;
        for (back, _) in
            block[..length].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n')
        {
            if newlines == lines {
                return Ok(Ending { lines, start: at + back as u64 + 1 });
            }
            newlines += 1;
        }
    }
    Ok(Ending { lines: newlines, start: 0 })
}

/// The same for what can be read only from its beginning.
pub(super) fn ending_of_stream(from: impl Read, lines: usize) -> io::Result<Ending> {
    let mut from = io::BufReader::with_capacity(BLOCK, from);
    let (mut starts, mut at) = (VecDeque::new(), 0_u64);
    loop {
        let begin = at;
        at += from.skip_until(b'\n')? as u64;
        if at == begin {
            break;
        }
        starts.push_back(begin);
        if starts.len() > lines {
            starts.pop_front();
        }
    }
    Ok(Ending { lines: starts.len(), start: starts.front().copied().unwrap_or(at) })
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::Folder;
    use super::*;

    #[test]
    fn the_last_lines_are_found_from_both_sides() {
        let folder = Folder::new();
        // Lines over block boundaries, and longer than a block.
        let lines: Vec<String> = [1, 40_000, 0, 30_000, 200_000, 3]
            .iter()
            .map(|size| "x".repeat(*size) + "\n")
            .collect();
        let text = lines.concat();
        std::fs::write(folder.path("a"), &text).unwrap();
        let file = File::open(folder.path("a")).unwrap();
        for count in 0..9 {
            let wanted = lines[lines.len().saturating_sub(count)..].concat();
            let backwards = ending(&file, text.len() as u64, count).unwrap();
            assert_eq!(backwards.lines, count.min(6));
            assert_eq!(text.len() as u64 - backwards.start, wanted.len() as u64, "{count} lines");
            assert_eq!(ending_of_stream(text.as_bytes(), count).unwrap(), backwards);
        }
    }

    #[test]
    fn a_begun_line_begins_behind_the_last_newline() {
        let folder = Folder::new();
        for (text, start) in [("a\nbc", 2), ("abc", 0), ("", 0), ("a\n", 2)] {
            std::fs::write(folder.path("a"), text).unwrap();
            let file = File::open(folder.path("a")).unwrap();
            assert_eq!(ending(&file, text.len() as u64, 0).unwrap().start, start);
        }
    }
}
