//! What a manager and its watchdog say to each other, as bytes. One message is one packet.

use std::{borrow::Cow, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use rustix::process::Pid;
use thiserror::Error;
use tine_linux::process::Exit;

/// What the manager says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    /// Keep this, with the descriptors that come with it.
    Put { key: &'a str, value: &'a [u8] },
    /// Keep this. The value is too large for a packet, and is in the first descriptor, a file in memory.
    PutLarge { key: &'a str },
    /// Keep it no longer.
    Forget { key: &'a str },
    /// Answer on the first descriptor with a duplicate of the descriptor of this number of the process that the
    /// second one, a pidfd, stands for.
    Duplicate { number: i32 },
    /// Answer on the only descriptor with what lies in that thread's memory.
    Memory { thread: Pid, address: u64, length: u16 },
    /// Go on as this program when the manager has ended.
    Become { program: &'a Path },
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
        let (letter, key, value): (u8, Cow<'_, str>, &[u8]) = match self {
            Self::Put { key, value } => (b'p', key.into(), value),
            Self::PutLarge { key } => (b'l', key.into(), &[]),
            Self::Forget { key } => (b'f', key.into(), &[]),
            Self::Duplicate { number } => (b'd', number.to_string().into(), &[]),
            Self::Memory { thread, address, length } => {
                (b'm', format!("{thread} {address} {length}").into(), &[])
            }
            Self::Become { program } => (b'b', "".into(), program.as_os_str().as_bytes()),
        };
        let mut bytes = Vec::with_capacity(key.len() + value.len() + 2);
        bytes.push(letter);
        bytes.extend_from_slice(key.as_bytes());
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
            b'd' => Some(Self::Duplicate { number: key.parse().ok()? }),
            b'm' => memory(key),
            b'b' => Some(Self::Become { program: Path::new(OsStr::from_bytes(value)) }),
            _ => None,
        }
    }
}

/// `4711 140722 16`
fn memory(key: &str) -> Option<Word<'_>> {
    let (thread, rest) = key.split_once(' ')?;
    let (address, length) = rest.split_once(' ')?;
    Some(Word::Memory {
        thread: Pid::from_raw(thread.parse().ok()?)?,
        address: address.parse().ok()?,
        length: length.parse().ok()?,
    })
}

/// What the watchdog says: one of its children has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) pid: Pid,
    pub(super) exit: Exit,
}

impl Ended {
    /// Of the keys of ends.
    pub(super) const PREFIX: &str = "ended/";

    /// Under which it is kept until the manager has heard of it.
    pub(super) fn key(pid: Pid) -> String {
        format!("{}{pid}", Self::PREFIX)
    }

    pub(super) fn value(exit: Exit) -> String {
        match exit {
            Exit::Code(code) => format!("code {code}"),
            Exit::Signal(number) => format!("signal {number}"),
        }
    }

    /// Out of what is kept.
    pub(super) fn of(key: &str, value: &[u8]) -> Option<Self> {
        let pid = Pid::from_raw(key.strip_prefix(Self::PREFIX)?.parse().ok()?)?;
        let (kind, number) = std::str::from_utf8(value).ok()?.split_once(' ')?;
        let exit = match kind {
            "code" => Exit::Code(number.parse().ok()?),
            "signal" => Exit::Signal(number.parse().ok()?),
            _ => return None,
        };
        Some(Self { pid, exit })
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let (key, value) = (Self::key(self.pid), Self::value(self.exit));
        Word::Put { key: &key, value: value.as_bytes() }.encode()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match Word::decode(bytes).ok()? {
            Word::Put { key, value } => Self::of(key, value),
            Word::PutLarge { .. }
            | Word::Forget { .. }
            | Word::Duplicate { .. }
            | Word::Memory { .. }
            | Word::Become { .. } => None,
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
            Word::Duplicate { number: 240 },
            Word::Memory {
                thread: Pid::from_raw(4711).expect("a number"),
                address: u64::MAX,
                length: 110,
            },
            Word::Become { program: Path::new("/usr/bin/tine new") },
        ];
        for word in words {
            assert_eq!(Word::decode(&word.encode()), Ok(word));
        }
    }

    #[test]
    fn an_end_comes_back_as_it_was() {
        let pid = Pid::from_raw(4711).expect("a number");
        for exit in [Exit::Code(0), Exit::Code(255), Exit::Signal(9)] {
            let ended = Ended { pid, exit };
            assert_eq!(Ended::decode(&ended.encode()), Some(ended));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in
            [&b""[..], b"p", b"pkey", b"x\0", b"p\xff\0value", b"d\0", b"m1 2\0", b"m0 1 1\0"]
        {
            assert!(Word::decode(bytes).is_err(), "{bytes:?}");
        }
        for bytes in [&b"pended/0\0code 1"[..], b"pended/7\0code 256", b"pended/7\0gone 1", b"f\0"]
        {
            assert_eq!(Ended::decode(bytes), None, "{bytes:?}");
        }
    }
}
