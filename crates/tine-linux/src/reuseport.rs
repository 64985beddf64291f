//! `SO_ATTACH_REUSEPORT_CBPF`: a classic BPF program chooses among the sockets of one port. Needs no
//! privilege.
//!
//! The program gives an index into the kernel's list of the group's sockets: the order in which they
//! began to listen, except that when one leaves, the last one takes its place. An index out of range
//! makes the kernel fall back to its own hash. [socket(7)](https://man7.org/linux/man-pages/man7/socket.7.html)

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use thiserror::Error;

use crate::{
    cbpf::{Insn, MAX_INSNS, Program},
    checked,
};

/// By what a number is drawn for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// A random number.
    Random,
    /// A hash of the client's address, without its port.
    ClientAddress,
}

/// The choice has too many holes to be written as one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a choice among {sockets} sockets needs {insns} instructions, the kernel takes {MAX_INSNS}"
)]
pub struct TooLong {
    sockets: usize,
    insns: usize,
}

/// Ancillary data of a packet (`linux/filter.h`): offsets from here are not bytes of the packet.
const SKF_AD_OFF: u32 = 0xffff_f000;
const SKF_AD_PROTOCOL: u32 = SKF_AD_OFF;
const SKF_AD_RANDOM: u32 = SKF_AD_OFF + 56;
/// Offsets from here count from the network header.
const SKF_NET_OFF: u32 = 0xfff0_0000;
const ETH_P_IP: u32 = 0x0800;
const IPV4_SOURCE: u32 = SKF_NET_OFF + 12;
const IPV6_SOURCE: u32 = SKF_NET_OFF + 8;

/// Spreads neighbouring addresses: 2³² divided by the golden ratio, odd.
const GOLDEN: u32 = 0x9e37_79b1;

/// The program that draws `n` below `table.len()` and answers `table[n]`.
///
/// An empty table gives a program that leaves every choice to the kernel's hash.
///
/// # Errors
///
/// When `table` is so irregular that the program would be too long.
pub fn program(draw: Draw, table: &[u32]) -> Result<Vec<Insn>, TooLong> {
    let Ok(count @ 1..) = u32::try_from(table.len()) else {
        return Ok(vec![Insn::give(u32::MAX)]);
    };
    let mut program = match draw {
        Draw::Random => vec![Insn::load_word(SKF_AD_RANDOM)],
        Draw::ClientAddress => hash_of_address(),
    };
    program.push(Insn::modulo(count));
    for run in runs(table) {
        // A run ends the program if the number is below its end, or else is stepped over.
        program.push(Insn::if_at_least(run.end, 2, 0));
        program.push(Insn::add(run.offset));
        program.push(Insn::give_a());
    }
    program.push(Insn::give(u32::MAX));
    if program.len() > MAX_INSNS {
        return Err(TooLong { sockets: table.len(), insns: program.len() });
    }
    Ok(program)
}

/// `A = ` a hash of the source address, for either version of IP.
fn hash_of_address() -> Vec<Insn> {
    let mut program = vec![Insn::load_half(SKF_AD_PROTOCOL), Insn::if_equal(ETH_P_IP, 0, 2)];
    program.extend([Insn::load_word(IPV4_SOURCE), Insn::skip(0)]);
    let after_v4 = program.len();
    let mut six = vec![Insn::load_word(IPV6_SOURCE)];
    for word in 1..4 {
        // Multiply before each fold, so that equal words do not cancel out.
        six.extend([Insn::multiply(GOLDEN), Insn::copy_to_x()]);
        six.extend([Insn::load_word(IPV6_SOURCE + 4 * word), Insn::xor_x()]);
    }
    let over = u32::try_from(six.len()).expect("a dozen instructions");
    program[after_v4 - 1] = Insn::skip(over);
    program.extend(six);
    // Only the high half of a product depends on all bits of the address.
    program.extend([Insn::multiply(GOLDEN), Insn::shift_right(16)]);
    program
}

/// Neighbours of the table whose answers are neighbours as well.
struct Run {
    /// One past the last number of the run.
    end: u32,
    /// What is to be added (wrapping) to the number.
    offset: u32,
}

fn runs(table: &[u32]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (number, answer) in (0u32..).zip(table) {
        let offset = answer.wrapping_sub(number);
        match runs.last_mut() {
            Some(last) if last.offset == offset => last.end = number + 1,
            _ => runs.push(Run { end: number + 1, offset }),
        }
    }
    runs
}

/// `setsockopt(SO_ATTACH_REUSEPORT_CBPF)` — lets `program` choose for the whole group of `socket`,
/// from the next connection on; replaces any program attached before.
///
/// # Errors
///
/// `EINVAL` when `socket` has not set `SO_REUSEPORT` or the program is refused.
pub fn attach(socket: impl AsFd, program: &[Insn]) -> io::Result<()> {
    let program = Program::new(program).ok_or(rustix::io::Errno::INVAL)?;
    let length = libc::socklen_t::try_from(size_of::<Program<'_>>()).map_err(io::Error::other)?;
    let fd = socket.as_fd().as_raw_fd();
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF);
    let value: *const Program<'_> = &raw const program;
    // SAFETY: `program` is a live `struct sock_fprog` of the length given, and borrows its
    // instructions; the kernel copies both.
    checked(unsafe { libc::setsockopt(fd, level, name, value.cast(), length) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbpf::machine;

    fn drawn(table: &[u32], number: u32) -> u32 {
        machine::run(&program(Draw::Random, table).unwrap(), |_, _| number)
    }

    #[test]
    fn every_number_leads_to_its_place_in_the_table() {
        for table in [&[0, 1, 2, 3][..], &[0, 2], &[3, 1, 0, 7, 8, 9], &[5], &[2, 2, 1, 1]] {
            for number in 0..20u32 {
                let place = number as usize % table.len();
                assert_eq!(drawn(table, number), table[place], "{number} in {table:?}");
            }
        }
    }

    #[test]
    fn an_empty_table_leaves_the_choice_to_the_kernel() {
        assert_eq!(drawn(&[], 7), u32::MAX);
    }

    #[test]
    fn a_thousand_sockets_with_a_few_holes_need_a_short_program() {
        let table: Vec<u32> = (0..1000).filter(|n| n % 100 != 7).collect();
        assert!(program(Draw::Random, &table).unwrap().len() < 50);
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let table: Vec<u32> = (0..3000).map(|n| 2 * n).collect();
        assert!(program(Draw::Random, &table).is_err());
    }

    fn by_address(table: &[u32], source: [u32; 4], protocol: u32) -> u32 {
        machine::run(&program(Draw::ClientAddress, table).unwrap(), |offset, _| match offset {
            SKF_AD_PROTOCOL => protocol,
            IPV4_SOURCE if protocol == ETH_P_IP => source[0],
            other => source[((other - IPV6_SOURCE) / 4) as usize],
        })
    }

    #[test]
    fn client_addresses_stick_and_spread_for_both_versions() {
        let table = [0, 1, 2, 3];
        for protocol in [ETH_P_IP, 0x86dd] {
            let mut seen = [0u32; 4];
            for host in 0..400u32 {
                let source = [0x7f00_0000 + 4 * host, 0, 0, 4 * host];
                let seat = by_address(&table, source, protocol);
                assert_eq!(seat, by_address(&table, source, protocol));
                seen[seat as usize] += 1;
            }
            assert!(seen.iter().all(|count| *count > 50), "{protocol:#x}: {seen:?}");
        }
    }
}
