//! The compiled program, and what is filled into it before it is loaded.
//!
//! `bpf/seats.bpf.c` is one section without relocations: `bpf/build.sh` keeps just its
//! instructions. What the compiler could not know is a 64-bit load of a marked number, which
//! [`instructions`] replaces.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::KernelOffsets;

const IMAGE: &[u8] = include_bytes!("../../bpf/seats.bpf.bin");

/// `BPF_LD | BPF_IMM | BPF_DW`: the one instruction that takes two places.
const LOAD_64: u8 = 0x18;
/// In the source register's place: the number is a map's descriptor.
const PSEUDO_MAP_FD: u8 = 1;
/// Upper half of a marked number (`KNOWN` in the C source).
const MARK: u32 = 0x7469_6e65;

/// The value of one marked number.
#[derive(Debug, Clone, Copy)]
enum Known<'a> {
    /// A map, by whose descriptor the kernel puts in its address.
    Map(BorrowedFd<'a>),
    /// A plain number, a constant to the verifier.
    Number(u32),
}

/// The program over these tables: sockets, ring, tallies and cursor.
pub(super) fn of(
    maps: [BorrowedFd<'_>; 4],
    sticky: bool,
    offsets: Option<&KernelOffsets>,
) -> Vec<u64> {
    // In the order of the `KNOWN` numbers of the C source.
    let [sockets, ring, tallies, cursor] = maps.map(Known::Map);
    let sticky = Known::Number(u32::from(sticky));
    let queues = Known::Number(u32::from(offsets.is_some()));
    let table = Known::Number(offsets.map_or(0, |known| known.sockets));
    let backlog = Known::Number(offsets.map_or(0, |known| known.backlog));
    instructions(&[sockets, ring, tallies, cursor, sticky, queues, table, backlog])
}

/// The program with `known[n]` in place of the number marked `n`.
fn instructions(known: &[Known<'_>]) -> Vec<u64> {
    let mut words: Vec<[u8; 8]> = IMAGE.as_chunks().0.to_vec();
    let mut at = 0;
    while at < words.len() {
        if words[at][0] == LOAD_64 {
            fill(&mut words[at..at + 2], known);
            at += 1;
        }
        at += 1;
    }
    words.into_iter().map(u64::from_ne_bytes).collect()
}

fn fill(load: &mut [[u8; 8]], known: &[Known<'_>]) {
    let immediate = |word: &[u8; 8]| u32::from_le_bytes([word[4], word[5], word[6], word[7]]);
    if immediate(&load[1]) != MARK {
        return; // a constant of the program's own
    }
    let number = match known[immediate(&load[0]) as usize] {
        Known::Map(map) => {
            load[0][1] |= PSEUDO_MAP_FD << 4;
            map.as_raw_fd().cast_unsigned()
        }
        Known::Number(number) => number,
    };
    load[0][4..].copy_from_slice(&number.to_le_bytes());
    load[1][4..].fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn no_marked_number_is_left() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let map = Known::Map(file.as_fd());
        let number = Known::Number(7);
        let filled = instructions(&[map, map, map, map, number, number, number, number]);
        assert_eq!(filled.len() * 8, IMAGE.len());
        assert!(filled.iter().all(|word| (word >> 32) != u64::from(MARK)));
    }

    #[test]
    fn the_image_has_every_mark_once_or_more() {
        let words = IMAGE.as_chunks::<8>().0;
        for mark in 0..8u32 {
            let found = words.windows(2).any(|pair| {
                pair[0][0] == LOAD_64
                    && pair[0][4..] == mark.to_le_bytes()
                    && pair[1][4..] == MARK.to_le_bytes()
            });
            assert!(found, "mark {mark}");
        }
    }
}
