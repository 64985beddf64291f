//! Classic BPF instructions, typed: the language of seccomp filters and of
//! `SO_ATTACH_REUSEPORT_CBPF`.
//!
//! One accumulator `A`, one index register `X`, 32 bits each. See
//! [networking/filter](https://docs.kernel.org/networking/filter.html).

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    code: u16,
    if_true: u8,
    if_false: u8,
    k: u32,
}

/// The longest program that the kernel takes (`BPF_MAXINSNS`).
pub const MAX_INSNS: usize = 4096;

const LD_W_ABS: u16 = 0x20;
const LD_H_ABS: u16 = 0x28;
const LD_B_ABS: u16 = 0x30;
const ADD_K: u16 = 0x04;
const MUL_K: u16 = 0x24;
const XOR_X: u16 = 0xac;
const MOD_K: u16 = 0x94;
const RSH_K: u16 = 0x74;
const AND_K: u16 = 0x54;
const JA: u16 = 0x05;
const JEQ_K: u16 = 0x15;
const JGT_K: u16 = 0x25;
const JGE_K: u16 = 0x35;
const RET_K: u16 = 0x06;
const RET_A: u16 = 0x16;
const TAX: u16 = 0x07;

impl Insn {
    const fn plain(code: u16, k: u32) -> Self {
        Self { code, if_true: 0, if_false: 0, k }
    }

    /// `A = ` the 32 bits at `offset`.
    #[must_use]
    pub const fn load_word(offset: u32) -> Self {
        Self::plain(LD_W_ABS, offset)
    }

    /// `A = ` the 16 bits at `offset`.
    #[must_use]
    pub const fn load_half(offset: u32) -> Self {
        Self::plain(LD_H_ABS, offset)
    }

    /// `A = ` the byte at `offset`.
    #[must_use]
    pub const fn load_byte(offset: u32) -> Self {
        Self::plain(LD_B_ABS, offset)
    }

    /// `A += k`, wrapping.
    #[must_use]
    pub const fn add(k: u32) -> Self {
        Self::plain(ADD_K, k)
    }

    /// `A *= k`, wrapping.
    #[must_use]
    pub const fn multiply(k: u32) -> Self {
        Self::plain(MUL_K, k)
    }

    /// `A %= k`; the kernel refuses a program in which `k` is 0.
    #[must_use]
    pub const fn modulo(k: u32) -> Self {
        Self::plain(MOD_K, k)
    }

    /// `A >>= k`.
    #[must_use]
    pub const fn shift_right(k: u32) -> Self {
        Self::plain(RSH_K, k)
    }

    /// `A &= k`.
    #[must_use]
    pub const fn and(k: u32) -> Self {
        Self::plain(AND_K, k)
    }

    /// `A ^= X`.
    #[must_use]
    pub const fn xor_x() -> Self {
        Self::plain(XOR_X, 0)
    }

    /// `X = A`.
    #[must_use]
    pub const fn copy_to_x() -> Self {
        Self::plain(TAX, 0)
    }

    /// Skips `by` instructions.
    #[must_use]
    pub const fn skip(by: u32) -> Self {
        Self::plain(JA, by)
    }

    /// Skips `if_true` instructions when `A == k`, otherwise `if_false`.
    #[must_use]
    pub const fn if_equal(k: u32, if_true: u8, if_false: u8) -> Self {
        Self { code: JEQ_K, if_true, if_false, k }
    }

    /// Skips `if_true` instructions when `A > k`, otherwise `if_false`.
    #[must_use]
    pub const fn if_greater(k: u32, if_true: u8, if_false: u8) -> Self {
        Self { code: JGT_K, if_true, if_false, k }
    }

    /// Skips `if_true` instructions when `A >= k`, otherwise `if_false`.
    #[must_use]
    pub const fn if_at_least(k: u32, if_true: u8, if_false: u8) -> Self {
        Self { code: JGE_K, if_true, if_false, k }
    }

    /// Ends with `k`.
    #[must_use]
    pub const fn give(k: u32) -> Self {
        Self::plain(RET_K, k)
    }

    /// Ends with `A`.
    #[must_use]
    pub const fn give_a() -> Self {
        Self::plain(RET_A, 0)
    }
}

/// What the kernel is shown of a program: `struct sock_fprog`.
///
/// Borrows the instructions, so that the pointer in it cannot outlive them.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Program<'a> {
    len: u16,
    insns: *const Insn,
    lives: std::marker::PhantomData<&'a [Insn]>,
}

impl<'a> Program<'a> {
    /// `None` when there are more than [`MAX_INSNS`] instructions.
    pub(crate) fn new(insns: &'a [Insn]) -> Option<Self> {
        if insns.len() > MAX_INSNS {
            return None;
        }
        let len = u16::try_from(insns.len()).ok()?;
        Some(Self { len, insns: insns.as_ptr(), lives: std::marker::PhantomData })
    }
}

#[cfg(test)]
pub(crate) mod machine {
    //! Runs a program as the kernel would, so that programs can be tested on every packet.

    use super::{
        ADD_K, AND_K, Insn, JA, JEQ_K, JGE_K, JGT_K, LD_B_ABS, LD_H_ABS, LD_W_ABS, MOD_K, MUL_K,
        RET_A, RET_K, RSH_K, TAX, XOR_X,
    };

    /// Gives what the program returns; `load` answers `(offset, bytes)`.
    pub(crate) fn run(program: &[Insn], load: impl Fn(u32, u32) -> u32) -> u32 {
        let (mut a, mut x, mut at) = (0u32, 0u32, 0usize);
        loop {
            let insn = program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { insn.if_true } else { insn.if_false });
            match insn.code {
                LD_W_ABS => a = load(insn.k, 4),
                LD_H_ABS => a = load(insn.k, 2),
                LD_B_ABS => a = load(insn.k, 1),
                ADD_K => a = a.wrapping_add(insn.k),
                MUL_K => a = a.wrapping_mul(insn.k),
                MOD_K => a %= insn.k,
                RSH_K => a >>= insn.k,
                AND_K => a &= insn.k,
                XOR_X => a ^= x,
                TAX => x = a,
                JA => at += insn.k as usize,
                JEQ_K => at += jump(a == insn.k),
                JGT_K => at += jump(a > insn.k),
                JGE_K => at += jump(a >= insn.k),
                RET_A => return a,
                RET_K => return insn.k,
                other => panic!("no such instruction: {other:#x}"),
            }
        }
    }
}
