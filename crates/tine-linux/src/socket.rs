//! Socket options and sockets that `std` and `rustix` do not reach.

use std::{
    cmp::Ordering,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use crate::{
    cbpf::{Insn, Program},
    checked,
};

/// The queue of connections that are established and wait to be accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptQueue {
    /// How many wait now.
    pub length: u32,
    /// How many may wait (the backlog, capped at `somaxconn`).
    pub limit: u32,
}

/// `getsockopt(TCP_INFO)` — the accept queue of a listening TCP socket.
///
/// For a listener the kernel puts the length into `tcpi_unacked` and the limit into `tcpi_sacked`
/// (`tcp_get_info` in net/ipv4/tcp.c).
///
/// # Errors
///
/// `EOPNOTSUPP` for sockets that are not TCP.
pub fn accept_queue(socket: impl AsFd) -> io::Result<AcceptQueue> {
    let info = tcp_info(socket)?;
    if info.tcpi_state != LISTEN {
        return Ok(AcceptQueue::default());
    }
    Ok(AcceptQueue { length: info.tcpi_unacked, limit: info.tcpi_sacked })
}

/// `TCP_LISTEN` of `include/net/tcp_states.h`.
const LISTEN: u8 = 10;

/// Whether an established TCP connection waits for its client: everything that came was read, what
/// was sent has arrived, and the last word was the server's. Where nothing was ever said, the client may be about
/// to: that counts as idle after five seconds.
///
/// Both moments are known in ticks of the kernel's clock only. Within one tick the connection counts
/// as idle after a while of silence, which what it has carried tells. Where the server still spoke ten seconds after its
/// client had, it is no answer that was given but a stream of events: that is not idle.
///
/// # Errors
///
/// When it is no TCP connection.
pub fn is_idle_connection(socket: impl AsFd) -> io::Result<bool> {
    /// Milliseconds.
    const FIRST_WORD: u32 = 5_000;
    let info = tcp_info(&socket)?;
    let unread = rustix::io::ioctl_fionread(&socket)?;
    let (sent, received) = (info.tcpi_last_data_sent, info.tcpi_last_data_recv);
    let never = info.tcpi_bytes_received == 0 && info.tcpi_data_segs_out == 0;
    let answered = match sent.cmp(&received) {
        Ordering::Less => true,
        // Before the first word both moments are that of the connection's beginning.
        Ordering::Equal if never => sent >= FIRST_WORD,
        Ordering::Equal => sent >= words(&info).silence(),
        Ordering::Greater => false,
    };
    let never_answered = info.tcpi_bytes_received > 0 && info.tcpi_data_segs_out == 0;
    let streams = exchanged(&info).streams();
    Ok(unread == 0 && info.tcpi_unacked == 0 && answered && !never_answered && !streams)
}

/// What a connection has carried, where both sides have spoken last within one tick.
///
/// A client that asks the moment that it is answered leaves the same trace as one that was answered the moment
/// that it asked, but for one segment: most programs answer with the same number of segments each time, and there
/// is either one question more than there are answers, or there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Words {
    segments_in: u32,
    segments_out: u32,
    /// The client's kernel has confirmed something after its last word: an answer to that.
    confirmed: bool,
}

fn words(info: &libc::tcp_info) -> Words {
    Words {
        segments_in: info.tcpi_data_segs_in,
        segments_out: info.tcpi_data_segs_out.saturating_sub(info.tcpi_total_retrans),
        confirmed: info.tcpi_last_ack_recv < info.tcpi_last_data_recv,
    }
}

impl Words {
    /// For how many milliseconds nobody has spoken where the last word was an answer.
    fn silence(self) -> u32 {
        if self.confirmed {
            return 200;
        }
        let evenly = |questions: u32| questions > 0 && self.segments_out.is_multiple_of(questions);
        match (evenly(self.segments_in), evenly(self.segments_in.saturating_sub(1))) {
            (true, false) => 200,
            // A question waits, and may for long.
            (false, true) => 10_000,
            // Longer than most answers take.
            (true, true) | (false, false) => 1_500,
        }
    }
}

/// What went over a TCP connection since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Bytes that came in.
    pub received: u64,
    /// Bytes that went out and have arrived.
    pub sent: u64,
    /// Segments with data that came in.
    pub segments_in: u32,
    /// Segments with data that went out, those that were sent again included.
    pub segments_out: u32,
    /// Since the last byte went out; to a tick of the kernel's clock.
    pub quiet: Duration,
    /// Since the last byte came in; likewise.
    pub unasked: Duration,
}

/// No answer takes its server so long after its client has spoken.
const STREAM: Duration = Duration::from_secs(10);

impl Exchange {
    /// Whether its server still spoke ten seconds after its client: a stream of events, and no answer.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.received > 0 && self.unasked.saturating_sub(self.quiet) >= STREAM
    }
}

/// `getsockopt(TCP_INFO)` — what has gone over it so far.
///
/// # Errors
///
/// When it is no TCP connection.
pub fn exchange(socket: impl AsFd) -> io::Result<Exchange> {
    Ok(exchanged(&tcp_info(socket)?))
}

fn exchanged(info: &libc::tcp_info) -> Exchange {
    Exchange {
        received: info.tcpi_bytes_received,
        sent: info.tcpi_bytes_acked,
        segments_in: info.tcpi_data_segs_in,
        segments_out: info.tcpi_data_segs_out,
        quiet: Duration::from_millis(info.tcpi_last_data_sent.into()),
        unasked: Duration::from_millis(info.tcpi_last_data_recv.into()),
    }
}

/// How much was said over a TCP connection, and whether it seems to be all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// Segments with data that came in.
    pub segments_in: u32,
    /// Segments with data that went out, those that were sent again included.
    pub segments_out: u32,
    /// Bytes that went out, those that were sent again not included (Linux 4.19).
    pub sent: u64,
    /// Everything that came was read, everything that was written has gone out, and at most the last two
    /// segments are not acknowledged: so many a client may keep for a moment (RFC 1122, 4.2.3.2).
    pub settled: bool,
}

/// `getsockopt(TCP_INFO)` — how much was said over it.
///
/// # Errors
///
/// When it is no TCP connection.
pub fn spoken(socket: impl AsFd) -> io::Result<Spoken> {
    let unread = rustix::io::ioctl_fionread(&socket)?;
    let info = tcp_info(socket)?;
    Ok(Spoken {
        segments_in: info.tcpi_data_segs_in,
        segments_out: info.tcpi_data_segs_out,
        sent: info.tcpi_bytes_sent.saturating_sub(info.tcpi_bytes_retrans),
        settled: unread == 0 && info.tcpi_notsent_bytes == 0 && info.tcpi_unacked <= 2,
    })
}

/// How many bytes have come in over a TCP connection since it was made.
///
/// # Errors
///
/// When it is no TCP connection.
pub fn bytes_received(socket: impl AsFd) -> io::Result<u64> {
    Ok(tcp_info(socket)?.tcpi_bytes_received)
}

/// `SO_DOMAIN` — whether it is a UNIX socket, of which the kernel counts nothing.
///
/// # Errors
///
/// When it is no socket.
pub fn is_unix(socket: impl AsFd) -> io::Result<bool> {
    Ok(rustix::net::sockopt::socket_domain(socket)? == rustix::net::AddressFamily::UNIX)
}

fn tcp_info(socket: impl AsFd) -> io::Result<libc::tcp_info> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    get(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)?;
    // SAFETY: `tcp_info` is integers only, so zeroed memory into which the kernel has copied some
    // bytes is a valid value.
    Ok(unsafe { info.assume_init() })
}

/// `getsockopt(SO_NETNS_COOKIE)` — a number for the network namespace that the socket lives in
/// (Linux 5.14).
///
/// # Errors
///
/// `ENOPROTOOPT` on older kernels.
pub fn network_namespace(socket: impl AsFd) -> io::Result<u64> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let mut cookie = MaybeUninit::<u64>::zeroed();
    get(socket, libc::SOL_SOCKET, SO_NETNS_COOKIE, &mut cookie)?;
    // SAFETY: zeroed at first, and an integer whatever the kernel wrote.
    Ok(unsafe { cookie.assume_init() })
}

fn get<T>(
    socket: impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &mut MaybeUninit<T>,
) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `value` is writable for `length` bytes, its own size; the kernel writes no more.
    let rc =
        unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &raw mut length) };
    checked(rc).map(|_| ())
}

/// `setsockopt(SO_PEEK_OFF)` — a look with `MSG_PEEK` begins after so many bytes from now on, and each look
/// moves that on by what it saw (socket(7)). UNIX sockets only, before Linux 6.9.
///
/// # Errors
///
/// `EOPNOTSUPP` where the protocol cannot.
pub fn peek_from(socket: impl AsFd, offset: i32) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    let fd = socket.as_fd().as_raw_fd();
    let value: *const libc::c_int = &raw const offset;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEEK_OFF);
    // SAFETY: `offset` is a live `c_int` of the length given; the kernel copies it.
    checked(unsafe { libc::setsockopt(fd, level, name, value.cast(), length) })?;
    Ok(())
}

/// `bind(2)` with an address exactly as a program laid it out in memory.
///
/// # Errors
///
/// As `bind(2)` tells.
pub fn bind_raw(socket: impl AsFd, address: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(address.len()).map_err(io::Error::other)?;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads `length` bytes of the borrowed slice and interprets them itself.
    checked(unsafe { libc::bind(fd, address.as_ptr().cast(), length) })?;
    Ok(())
}

/// Makes a TCP listener drop new connection requests without an answer, while those that began
/// before go on: the client sends again a second later, and is then refused or served.
///
/// A socket filter that loses segments with SYN and without ACK (`SO_ATTACH_FILTER`, socket(7)).
/// Some kernels (6.18.44) give TCP sockets one only with `CAP_NET_ADMIN`, and `EPERM` without.
///
/// # Errors
///
/// As `setsockopt(2)` tells.
pub fn close_gate(listener: impl AsFd) -> io::Result<()> {
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_AND_ACK: u32 = 0x12;
    let insns = [
        Insn::load_byte(FLAGS),
        Insn::and(SYN_AND_ACK),
        Insn::if_equal(SYN, 0, 1),
        Insn::give(0),
        Insn::give(u32::MAX),
    ];
    let program = Program::new(&insns).ok_or(rustix::io::Errno::INVAL)?;
    let length = libc::socklen_t::try_from(size_of::<Program<'_>>()).map_err(io::Error::other)?;
    let fd = listener.as_fd().as_raw_fd();
    let value: *const Program<'_> = &raw const program;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    // SAFETY: `program` is a live `struct sock_fprog` of the length given and borrows `insns`; the
    // kernel copies both.
    checked(unsafe { libc::setsockopt(fd, level, name, value.cast(), length) })?;
    Ok(())
}
