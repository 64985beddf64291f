//! The bind trap: a seccomp filter whose only result but "allow" is "ask the supervisor", for
//! `bind(2)` and `listen(2)`; and the [`Listener`] on which the questions arrive.
//!
//! The filter is installed between fork and exec by [`crate::spawn`]; every process that descends
//! from there inherits it. Nothing is asked per connection.
//!
//! [seccomp_unotify(2)](https://man7.org/linux/man-pages/man2/seccomp_unotify.2.html)

mod notify;

pub use notify::{Listener, Notification};

use crate::cbpf::Insn;

/// Which calls are trapped besides `bind` and `listen`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trap {
    /// `setsockopt(IPPROTO_IPV6, IPV6_V6ONLY)` too: needed only where the caller's socket cannot be
    /// looked at (`pidfd_getfd` denied), for then nothing else tells the flag.
    pub v6only: bool,
}

/// A trapped call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `bind(fd, address, length)`.
    Bind {
        /// The caller's descriptor number.
        fd: i32,
        /// Where the address lies in the caller's memory.
        address: u64,
        /// How long it says the address is, in bytes.
        length: u32,
    },
    /// `listen(fd, backlog)`.
    Listen {
        /// The caller's descriptor number.
        fd: i32,
        /// As the program gave it; the kernel caps it at `somaxconn`.
        backlog: i32,
    },
    /// `setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, value, 4)`.
    SetV6Only {
        /// The caller's descriptor number.
        fd: i32,
        /// Where the value, an `int`, lies in the caller's memory.
        value: u64,
    },
    /// Something that the filter does not ask about.
    Other,
}

#[cfg(target_arch = "x86_64")]
const NATIVE_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE_ARCH: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const NATIVE_ARCH: u32 = 0xc000_00f3;

const RET_ALLOW: u32 = 0x7fff_0000;
const RET_USER_NOTIF: u32 = 0x7fc0_0000;

// `struct seccomp_data`: nr, arch, instruction pointer, six arguments of 64 bits. The low half of an
// argument comes first on the little-endian machines that tine knows.
const NR: u32 = 0;
const ARCH: u32 = 4;
const fn argument(n: u32) -> u32 {
    16 + 8 * n
}

/// `struct sockaddr_nl`: glibc binds such a socket at every look-up of a name, which must never wait
/// for a supervisor. A UNIX path of nine letters has the same length, and is not shared for that.
const NETLINK_ADDRESS: u32 = 12;
/// A UNIX address of the bare family asks the kernel to pick a name (`unix(7)`, autobind).
const SHORTEST_ADDRESS: u32 = 3;
/// `struct sockaddr_storage`: the kernel refuses more.
const LONGEST_ADDRESS: u32 = 128;

impl Trap {
    /// The filter as a program.
    pub(crate) fn filter(self) -> Vec<Insn> {
        let (bind, listen) = (number(libc::SYS_bind), number(libc::SYS_listen));
        let setsockopt = number(libc::SYS_setsockopt);
        let mut program = vec![
            Insn::load_word(ARCH),
            Insn::if_equal(NATIVE_ARCH, 1, 0),
            Insn::give(RET_ALLOW),
            Insn::load_word(NR),
            // bind: only with an address that may be of the internet or a path.
            Insn::if_equal(bind, 0, 6),
            Insn::load_word(argument(2)),
            Insn::if_greater(LONGEST_ADDRESS, 3, 0),
            Insn::if_at_least(SHORTEST_ADDRESS, 0, 2),
            Insn::if_equal(NETLINK_ADDRESS, 1, 0),
            Insn::give(RET_USER_NOTIF),
            Insn::give(RET_ALLOW),
            Insn::if_equal(listen, 0, 1),
            Insn::give(RET_USER_NOTIF),
        ];
        if self.v6only {
            program.extend([
                Insn::if_equal(setsockopt, 0, 5),
                Insn::load_word(argument(1)),
                Insn::if_equal(libc::IPPROTO_IPV6.cast_unsigned(), 0, 3),
                Insn::load_word(argument(2)),
                Insn::if_equal(libc::IPV6_V6ONLY.cast_unsigned(), 0, 1),
                Insn::give(RET_USER_NOTIF),
            ]);
        }
        program.push(Insn::give(RET_ALLOW));
        program
    }
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).expect("the numbers of system calls are small")
}

impl Call {
    /// Reads number and arguments as `struct seccomp_data` has them.
    fn read(nr: i32, args: [u64; 6]) -> Self {
        // The kernel itself looks at the low 32 bits of an `int` argument only.
        #[expect(clippy::cast_possible_truncation, reason = "an int argument is its low half")]
        let int = |n: usize| args[n] as u32;
        match libc::c_long::from(nr) {
            libc::SYS_bind => {
                Self::Bind { fd: int(0).cast_signed(), address: args[1], length: int(2) }
            }
            libc::SYS_listen => {
                Self::Listen { fd: int(0).cast_signed(), backlog: int(1).cast_signed() }
            }
            libc::SYS_setsockopt => Self::SetV6Only { fd: int(0).cast_signed(), value: args[3] },
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbpf::machine;

    fn verdict(trap: Trap, nr: libc::c_long, args: [u32; 3], arch: u32) -> u32 {
        machine::run(&trap.filter(), |offset, _| match offset {
            NR => u32::try_from(nr).unwrap(),
            ARCH => arch,
            16 => args[0],
            24 => args[1],
            32 => args[2],
            other => panic!("reads {other}"),
        })
    }

    #[test]
    fn bind_and_listen_are_asked_about_and_nothing_else() {
        let plain = Trap::default();
        for length in [3, 16, 28, 110, 128] {
            let args = [3, 0x1000, length];
            assert_eq!(verdict(plain, libc::SYS_bind, args, NATIVE_ARCH), RET_USER_NOTIF);
        }
        assert_eq!(verdict(plain, libc::SYS_listen, [3, 5, 0], NATIVE_ARCH), RET_USER_NOTIF);
        for call in [libc::SYS_connect, libc::SYS_accept4, libc::SYS_setsockopt, libc::SYS_read] {
            assert_eq!(verdict(plain, call, [3, 41, 26], NATIVE_ARCH), RET_ALLOW);
        }
    }

    #[test]
    fn netlink_and_impossible_addresses_never_wait_for_the_supervisor() {
        for length in [0, 2, NETLINK_ADDRESS, 129, u32::MAX] {
            let args = [3, 0x1000, length];
            assert_eq!(verdict(Trap::default(), libc::SYS_bind, args, NATIVE_ARCH), RET_ALLOW);
        }
    }

    #[test]
    fn another_architecture_is_let_through() {
        assert_eq!(verdict(Trap::default(), libc::SYS_bind, [3, 0, 16], 0x4000_0003), RET_ALLOW);
    }

    #[test]
    fn v6only_is_asked_about_on_request() {
        let trap = Trap { v6only: true };
        assert_eq!(verdict(trap, libc::SYS_setsockopt, [3, 41, 26], NATIVE_ARCH), RET_USER_NOTIF);
        assert_eq!(verdict(trap, libc::SYS_setsockopt, [3, 1, 26], NATIVE_ARCH), RET_ALLOW);
        assert_eq!(verdict(trap, libc::SYS_setsockopt, [3, 41, 2], NATIVE_ARCH), RET_ALLOW);
        assert_eq!(verdict(trap, libc::SYS_listen, [3, 5, 0], NATIVE_ARCH), RET_USER_NOTIF);
    }
}
