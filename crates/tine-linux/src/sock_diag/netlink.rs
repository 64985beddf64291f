//! One question to `NETLINK_SOCK_DIAG`, and its answer message by message.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::{
    io::{Errno, retry_on_intr},
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
        netlink::{SOCK_DIAG, SocketAddrNetlink},
        recv, sendto, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use super::SockDiagError;

const HEADER: usize = 16;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The kernel fills at most 32 KiB at a time, however large the buffer.
const BUFFER: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(2);

/// What one datagram of an answer told about the end of the dump.
enum Dump {
    GoesOn,
    Done,
}

/// Sends `request` as a dump and gives each message's payload to `each`; stops at the first that
/// `each` finds too short (`None`).
pub(super) fn dump(
    what: &'static str,
    request: &[u8],
    mut each: impl FnMut(&[u8]) -> Option<()>,
) -> Result<(), SockDiagError> {
    let socket = ask(what, request)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let (_, length) = retry_on_intr(|| recv(&socket, buffer.as_mut_slice(), RecvFlags::TRUNC))
            .map_err(|source| SockDiagError::Ask { what, source })?;
        let datagram = buffer.get(..length).ok_or(SockDiagError::CutOff { what })?;
        match read_datagram(what, datagram, &mut each)? {
            Dump::GoesOn => {}
            Dump::Done => return Ok(()),
        }
    }
}

fn ask(what: &'static str, request: &[u8]) -> Result<OwnedFd, SockDiagError> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(SOCK_DIAG),
    )
    .map_err(SockDiagError::Open)?;
    let failed = |source| SockDiagError::Ask { what, source };
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).map_err(failed)?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &message(request), SendFlags::empty(), &kernel).map_err(failed)?;
    Ok(socket)
}

fn message(request: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + request.len()).expect("a request is a few dozen bytes");
    let mut message = Vec::with_capacity(HEADER + request.len());
    message.extend(length.to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    // Sequence and port: one question per socket, so nothing has to be told apart.
    message.extend([0; 8]);
    message.extend(request);
    message
}

fn read_datagram(
    what: &'static str,
    mut rest: &[u8],
    each: &mut impl FnMut(&[u8]) -> Option<()>,
) -> Result<Dump, SockDiagError> {
    while !rest.is_empty() {
        let (kind, payload, after) = split(rest).ok_or(SockDiagError::CutOff { what })?;
        match kind {
            NLMSG_NOOP => {}
            NLMSG_DONE => return done(what, payload),
            NLMSG_ERROR => return Err(refused(what, payload)),
            _ => each(payload).ok_or(SockDiagError::CutOff { what })?,
        }
        rest = after;
    }
    Ok(Dump::GoesOn)
}

/// The first message's type and payload, and what comes behind it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let kind = u16_at(bytes, 4)?;
    let payload = bytes.get(HEADER..length)?;
    Some((kind, payload, bytes.get(aligned(length)..).unwrap_or_default()))
}

/// A dump that failed on the way ends with the error where a good one has zero.
fn done(what: &'static str, payload: &[u8]) -> Result<Dump, SockDiagError> {
    match u32_at(payload, 0) {
        None | Some(0) => Ok(Dump::Done),
        Some(_) => Err(refused(what, payload)),
    }
}

fn refused(what: &'static str, payload: &[u8]) -> SockDiagError {
    match u32_at(payload, 0).map(u32::cast_signed) {
        Some(code @ -4095..0) => {
            SockDiagError::Refused { what, source: Errno::from_raw_os_error(-code) }
        }
        Some(_) | None => SockDiagError::CutOff { what },
    }
}

/// The attributes behind a message's fixed part, as (type, value). A malformed tail ends them.
pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)?;
        let value = rest.get(4..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Messages and attributes begin at multiples of four (`NLMSG_ALIGN`, `NLA_ALIGN`).
fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = message(payload);
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn read(datagram: &[u8]) -> Result<Vec<Vec<u8>>, SockDiagError> {
        let mut seen = Vec::new();
        read_datagram("test", datagram, &mut |payload| {
            seen.push(payload.to_vec());
            Some(())
        })
        .map(|_| seen)
    }

    #[test]
    fn messages_are_told_one_by_one_until_the_end_mark() {
        let mut datagram = wrapped(SOCK_DIAG_BY_FAMILY, b"one");
        datagram.extend(wrapped(SOCK_DIAG_BY_FAMILY, b"four"));
        datagram.extend(wrapped(NLMSG_DONE, &[0; 4]));
        datagram.extend(wrapped(SOCK_DIAG_BY_FAMILY, b"behind the end"));
        assert_eq!(read(&datagram), Ok(vec![b"one".to_vec(), b"four".to_vec()]));
    }

    #[test]
    fn an_errno_of_the_kernel_is_kept() {
        let datagram = wrapped(NLMSG_ERROR, &(-libc::ENOENT).to_ne_bytes());
        let refused = SockDiagError::Refused { what: "test", source: Errno::NOENT };
        assert_eq!(read(&datagram), Err(refused));
        let datagram = wrapped(NLMSG_DONE, &(-libc::ENOENT).to_ne_bytes());
        assert_eq!(read(&datagram), Err(refused));
    }

    #[test]
    fn a_length_beyond_the_datagram_or_below_the_header_is_refused() {
        for length in [0_u32, 4, 15, 21, u32::MAX] {
            let mut datagram = wrapped(SOCK_DIAG_BY_FAMILY, b"1234");
            datagram[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(read(&datagram), Err(SockDiagError::CutOff { what: "test" }), "{length}");
        }
        assert_eq!(read(&[1, 2, 3]), Err(SockDiagError::CutOff { what: "test" }));
    }

    #[test]
    fn a_malformed_attribute_ends_the_list() {
        let mut bytes = [5_u16.to_ne_bytes(), 11_u16.to_ne_bytes()].concat();
        bytes.extend([1, 0, 0, 0]);
        bytes.extend([200, 200, 1, 1]);
        assert_eq!(attributes(&bytes).collect::<Vec<_>>(), [(11, &[1_u8][..])]);
    }
}
