//! Where two fields lie in the running kernel, from its own type information (BTF:
//! <https://docs.kernel.org/bpf/btf.html>).
//!
//! The file is read as a stream, once for its strings and once for its types, and nothing of it is
//! kept: it has some five megabytes, of which eight bytes are wanted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use thiserror::Error;

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
/// No kernel structure with a wanted field is as large as this.
const LARGEST: u32 = 1 << 16;

/// Byte offsets that let the program read the length of a seat's accept queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelOffsets {
    /// `ptrs` in `struct reuseport_array`: the sockets of the map that holds the seats.
    pub(super) sockets: u32,
    /// `sk_ack_backlog` in `struct sock`: connections that wait to be accepted.
    pub(super) backlog: u32,
}

/// Why the kernel's types could not be told.
#[derive(Debug, Error)]
pub enum KernelTypesError {
    /// The kernel was built without `CONFIG_DEBUG_INFO_BTF`, or `/sys` is not mounted.
    #[error("cannot read the kernel's types in /sys/kernel/btf/vmlinux")]
    Read(#[from] io::Error),
    /// Not version 1 in this machine's byte order.
    #[error("the kernel's types are in an unknown format")]
    Format,
    /// A kind of type newer than this reader, which cannot be skipped: its size is unknown.
    #[error("the kernel's types hold an unknown kind {0}")]
    Kind(u32),
    /// The kernel has changed too much.
    #[error("the kernel's types have no usable field {1} in {0}")]
    Missing(&'static str, &'static str),
}

impl KernelOffsets {
    /// Reads the types of the running kernel: some milliseconds, so once for all listeners.
    ///
    /// # Errors
    ///
    /// When there are none, or not as expected. Then load the balancer without them.
    pub fn read() -> Result<Self, KernelTypesError> {
        Self::parse(File::open("/sys/kernel/btf/vmlinux")?)
    }

    fn parse(file: impl Read + Seek) -> Result<Self, KernelTypesError> {
        let mut btf = Btf::open(file)?;
        let mut wanted =
            [Wanted::new("reuseport_array", "ptrs", 8), Wanted::new("sock", "sk_ack_backlog", 4)];
        btf.find_names(&mut wanted)?;
        btf.find_fields(&mut wanted)?;
        let [sockets, backlog] = wanted;
        Ok(Self { sockets: sockets.usable()?, backlog: backlog.usable()? })
    }
}

/// A field to be found, and what is known of it so far. Names are offsets into the strings.
struct Wanted {
    names: [&'static str; 2],
    found: [Option<u32>; 2],
    align: u32,
    offset: Option<u32>,
    ambiguous: bool,
}

impl Wanted {
    const fn new(parent: &'static str, field: &'static str, align: u32) -> Self {
        Self { names: [parent, field], found: [None; 2], align, offset: None, ambiguous: false }
    }

    fn see_string(&mut self, text: &[u8], at: u32) {
        for (name, found) in self.names.iter().zip(&mut self.found) {
            if name.as_bytes() == text {
                *found = Some(at);
            }
        }
    }

    fn is_named(&self) -> bool {
        self.found.iter().all(Option::is_some)
    }

    /// `bits` counts from the start of the structure; bit fields are no use, nor are two
    /// structures of one name that disagree.
    fn see_field(&mut self, name: u32, bits: u32) {
        if self.found[1] != Some(name) {
            return;
        }
        let good = bits.is_multiple_of(8 * self.align) && bits / 8 < LARGEST;
        self.ambiguous |= !good || self.offset.is_some_and(|known| known != bits / 8);
        self.offset = Some(bits / 8);
    }

    fn usable(self) -> Result<u32, KernelTypesError> {
        let [parent, field] = self.names;
        self.offset.filter(|_| !self.ambiguous).ok_or(KernelTypesError::Missing(parent, field))
    }
}

/// The two parts of the file: where each begins, and its length.
struct Btf<F> {
    file: BufReader<F>,
    types: (u64, u32),
    strings: (u64, u32),
}

impl<F: Read + Seek> Btf<F> {
    fn open(file: F) -> Result<Self, KernelTypesError> {
        let mut file = BufReader::new(file);
        let [start, header, type_at, type_len, string_at, string_len] = words(&mut file)?;
        // magic: u16, version: u8, flags: u8; the flags say nothing of the layout.
        let [a, b, version, _flags] = start.to_ne_bytes();
        if u16::from_ne_bytes([a, b]) != MAGIC || version != 1 {
            return Err(KernelTypesError::Format);
        }
        let at = |offset: u32| u64::from(header) + u64::from(offset);
        Ok(Self { file, types: (at(type_at), type_len), strings: (at(string_at), string_len) })
    }

    fn find_names(&mut self, wanted: &mut [Wanted]) -> Result<(), KernelTypesError> {
        let (start, length) = self.strings;
        self.file.seek(SeekFrom::Start(start))?;
        let mut text = Vec::new();
        let mut at = 0u32;
        // A name stands there once: all are found before the end.
        while at < length && !wanted.iter().all(Wanted::is_named) {
            text.clear();
            // No string outgrows the part, however wrong the file is.
            self.file.by_ref().take(u64::from(length - at)).read_until(0, &mut text)?;
            if text.pop() != Some(0) {
                return Err(KernelTypesError::Format);
            }
            for field in wanted.iter_mut() {
                field.see_string(&text, at);
            }
            at += u32::try_from(text.len() + 1).map_err(|_| KernelTypesError::Format)?;
        }
        Ok(())
    }

    fn find_fields(&mut self, wanted: &mut [Wanted]) -> Result<(), KernelTypesError> {
        let (start, length) = self.types;
        self.file.seek(SeekFrom::Start(start))?;
        let mut left = length;
        while left > 0 {
            let [name, info, _size] = words(&mut self.file)?;
            let (kind, count) = (info >> 24 & 0x1f, info & 0xffff);
            let rest = size_after(kind, count)?;
            left = left.checked_sub(12 + rest).ok_or(KernelTypesError::Format)?;
            let parent = wanted.iter_mut().find(|field| field.found[0] == Some(name));
            match parent.filter(|_| kind == KIND_STRUCT) {
                Some(field) => self.read_members(count, info >> 31 == 1, field)?,
                None => self.file.seek_relative(i64::from(rest))?,
            }
        }
        Ok(())
    }

    /// With `packed`, the upper byte of a member's offset is the size of a bit field: one such
    /// is out of `LARGEST` and so refused.
    fn read_members(&mut self, count: u32, packed: bool, field: &mut Wanted) -> io::Result<()> {
        for _ in 0..count {
            let [name, _kind, offset] = words(&mut self.file)?;
            let bit_field = packed && offset >> 24 != 0;
            field.see_field(name, if bit_field { u32::MAX } else { offset });
        }
        Ok(())
    }
}

/// Bytes that follow the twelve of every type.
fn size_after(kind: u32, count: u32) -> Result<u32, KernelTypesError> {
    Ok(match kind {
        1 | 14 | 17 => 4,                            // INT, VAR, DECL_TAG
        2 | 7 | 8 | 9 | 10 | 11 | 12 | 16 | 18 => 0, // PTR, FWD, TYPEDEF, qualifiers, FUNC, FLOAT, TYPE_TAG
        3 => 12,                                     // ARRAY
        4 | 5 | 15 | 19 => 12 * count,               // STRUCT, UNION, DATASEC, ENUM64
        6 | 13 => 8 * count,                         // ENUM, FUNC_PROTO
        unknown => return Err(KernelTypesError::Kind(unknown)),
    })
}

fn words<const N: usize>(from: &mut impl Read) -> io::Result<[u32; N]> {
    let mut words = [0; N];
    for word in &mut words {
        let mut bytes = [0; 4];
        from.read_exact(&mut bytes)?;
        *word = u32::from_ne_bytes(bytes);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const STRINGS: &[u8] = b"\0sock\0sk_ack_backlog\0reuseport_array\0ptrs\0int\0";
    const SOCK: u32 = 1;
    const BACKLOG: u32 = 6;
    const ARRAY: u32 = 21;
    const PTRS: u32 = 37;

    fn file(types: &[u32], strings: &[u8]) -> Cursor<Vec<u8>> {
        let type_bytes = u32::try_from(types.len() * 4).unwrap();
        let string_bytes = u32::try_from(strings.len()).unwrap();
        let [a, b] = MAGIC.to_ne_bytes();
        let start = u32::from_ne_bytes([a, b, 1, 0]);
        let header = [start, 24, 0, type_bytes, type_bytes, string_bytes];
        let mut bytes: Vec<u8> = header.iter().chain(types).flat_map(|w| w.to_ne_bytes()).collect();
        bytes.extend(strings);
        Cursor::new(bytes)
    }

    fn structure(name: u32, field: u32, bits: u32) -> [u32; 6] {
        [name, KIND_STRUCT << 24 | 1, 64, field, 1, bits]
    }

    fn parse(types: &[[u32; 6]]) -> Result<KernelOffsets, KernelTypesError> {
        KernelOffsets::parse(file(types.as_flattened(), STRINGS))
    }

    #[test]
    fn finds_both_fields_behind_other_types() {
        let mut types = vec![42, 1 << 24, 4, 32]; // an INT
        types.extend([0, 2 << 24, 1]); // a PTR
        types.extend(structure(ARRAY, PTRS, 512));
        types.extend(structure(SOCK, BACKLOG, 320));
        let found = KernelOffsets::parse(file(&types, STRINGS)).unwrap();
        assert_eq!(found, KernelOffsets { sockets: 64, backlog: 40 });
    }

    #[test]
    fn refuses_a_field_that_is_missing_or_misplaced() {
        let array = structure(ARRAY, PTRS, 512);
        let is_missing = |sock: [u32; 6]| {
            matches!(parse(&[array, sock]), Err(KernelTypesError::Missing("sock", _)))
        };
        assert!(is_missing(structure(SOCK, PTRS, 320)));
        assert!(is_missing(structure(SOCK, BACKLOG, 321)), "within a byte");
        assert!(is_missing(structure(SOCK, BACKLOG, 328)), "not aligned");
        assert!(is_missing(structure(SOCK, BACKLOG, 32 << 24)), "far away");
        assert!(is_missing([SOCK, 1 << 31 | KIND_STRUCT << 24 | 1, 64, BACKLOG, 1, 3 << 24 | 64]));
    }

    #[test]
    fn refuses_two_structures_that_disagree() {
        let array = structure(ARRAY, PTRS, 512);
        let one = structure(SOCK, BACKLOG, 320);
        assert!(parse(&[array, one, one]).is_ok());
        assert!(parse(&[array, one, structure(SOCK, BACKLOG, 352)]).is_err());
    }

    #[test]
    fn refuses_an_unknown_kind_and_a_cut_file() {
        let kind = KernelOffsets::parse(file(&[0, 20 << 24, 0], STRINGS));
        assert!(matches!(kind, Err(KernelTypesError::Kind(20))));
        let whole = file(structure(SOCK, BACKLOG, 320).as_slice(), STRINGS).into_inner();
        for length in 0..whole.len() {
            assert!(KernelOffsets::parse(Cursor::new(&whole[..length])).is_err(), "{length}");
        }
        let mut foreign = whole;
        foreign[..2].reverse();
        let foreign = KernelOffsets::parse(Cursor::new(foreign));
        assert!(matches!(foreign, Err(KernelTypesError::Format)));
    }

    #[test]
    fn every_garbled_byte_is_answered_without_a_panic() {
        let types = [structure(ARRAY, PTRS, 512), structure(SOCK, BACKLOG, 320)];
        let whole = file(types.as_flattened(), STRINGS).into_inner();
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _either = KernelOffsets::parse(Cursor::new(bytes));
            }
        }
    }
}
