//! What a manager says to its watchdog, as bytes. One message is one packet.

use thiserror::Error;

/// What the manager says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    /// Keep this, with the descriptors that come with it.
    Put { key: &'a str, value: &'a [u8] },
    /// Keep this. The value is too large for a packet, and is in the first descriptor, a file in memory.
    PutLarge { key: &'a str },
    /// Keep it no longer.
    Forget { key: &'a str },
}

/// A packet that says nothing.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a packet of {length} bytes that begins with {first:?} is no message")]
pub(super) struct Malformed {
    length: usize,
    first: Option<u8>,
}

/// Between a key, which has none, and its value.
const END_OF_KEY: u8 = 0;

impl<'a> Word<'a> {
    pub(super) fn encode(self) -> Vec<u8> {
        let (letter, key, value): (u8, &[u8], &[u8]) = match self {
            Self::Put { key, value } => (b'p', key.as_bytes(), value),
            Self::PutLarge { key } => (b'l', key.as_bytes(), &[]),
            Self::Forget { key } => (b'f', key.as_bytes(), &[]),
        };
        let mut bytes = Vec::with_capacity(key.len() + value.len() + 2);
        bytes.push(letter);
        bytes.extend_from_slice(key);
        bytes.push(END_OF_KEY);
        bytes.extend_from_slice(value);
        bytes
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Self::read(bytes).ok_or(Malformed { length: bytes.len(), first: bytes.first().copied() })
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (letter, rest) = bytes.split_first()?;
        let end = rest.iter().position(|byte| *byte == END_OF_KEY)?;
        let (key, value) = (std::str::from_utf8(&rest[..end]).ok()?, &rest[end + 1..]);
        match letter {
            b'p' => Some(Self::Put { key, value }),
            b'l' => Some(Self::PutLarge { key }),
            b'f' => Some(Self::Forget { key }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_manager_says_comes_back_as_it_was() {
        let words = [
            Word::Put { key: "app/1/worker/7", value: b"{\"pid\":\0 9}" },
            Word::Put { key: "", value: b"" },
            Word::PutLarge { key: "state" },
            Word::Forget { key: "app/1/seat/3" },
        ];
        for word in words {
            assert_eq!(Word::decode(&word.encode()), Ok(word));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [&b""[..], b"p", b"pkey", b"x\0", b"p\xff\0value"] {
            assert!(Word::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
