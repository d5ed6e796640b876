//! NEON: four floats or 16 bytes at a time.

use std::arch::aarch64::*;
use std::arch::asm;
use std::arch::is_aarch64_feature_detected;

use crate::isa::sealed::Token;
use crate::isa_from_lanes::isa_from_lanes;
use crate::lanes::{ByteLanes, HalfLanes, Lanes};
use crate::scalar::Scalar;

/// The token of [`Level::Neon`](crate::Level::Neon).
#[derive(Clone, Copy, Debug)]
pub struct Neon(());

impl Neon {
    /// A token, if this CPU has NEON; practically every AArch64 CPU has.
    #[inline]
    #[must_use]
    pub fn new() -> Option<Neon> {
        is_aarch64_feature_detected!("neon").then_some(Neon(()))
    }

    /// The level whose kernels of words these are: without a gather, and with four words a register, packing by
    /// table gains nothing on plain code.
    #[inline(always)]
    fn lower(self) -> Scalar {
        Scalar
    }
}

impl Token for Neon {
    #[inline(always)]
    unsafe fn conjure() -> Self {
        Neon(())
    }
}

isa_from_lanes!(Neon, Neon, "neon", floats own, halves own, words lower);

// In this block each intrinsic is called under the same proof: `self` exists, so the CPU has NEON.
impl Lanes for Neon {
    const FLOATS: usize = 4;
    type F = float32x4_t;

    #[inline(always)]
    fn zero(self) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vdupq_n_f32(0.0) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> float32x4_t {
        // SAFETY: the token; the caller vouches for four floats.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn load_part(self, from: *const f32, count: usize) -> float32x4_t {
        debug_assert!(0 < count && count < 4);
        let mut whole = [0.0f32; 4];
        // SAFETY: the caller vouches for `count` < 4 floats at `from`; `whole` is ours and has four.
        unsafe {
            std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), count);
            self.load(whole.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: float32x4_t) {
        // SAFETY: the token; the caller vouches for four floats.
        unsafe { vst1q_f32(to, value) }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    fn sum(self, value: float32x4_t) -> f32 {
        // SAFETY: the token.
        unsafe { vaddvq_f32(value) }
    }

    #[inline(always)]
    fn sum_each(self, [a, b, c, d]: [float32x4_t; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        // SAFETY: the token; `sums` has four floats.
        unsafe { vst1q_f32(sums.as_mut_ptr(), vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d))) };
        sums
    }
}

// As above.
impl HalfLanes for Neon {
    #[inline(always)]
    unsafe fn load_half(self, from: *const u16) -> float32x4_t {
        // The intrinsic wants the primitive half type, which is not stable; the instruction is.
        // SAFETY: the token; the caller vouches for four halves. `fcvtl` only reads and writes the registers named.
        unsafe {
            let halves = vld1_u16(from);
            let floats: float32x4_t;
            asm!("fcvtl {out:v}.4s, {half:v}.4h", out = out(vreg) floats, half = in(vreg) halves,
                options(pure, nomem, nostack, preserves_flags));
            floats
        }
    }

    #[inline(always)]
    unsafe fn load_half_part(self, from: *const u16, count: usize) -> float32x4_t {
        debug_assert!(0 < count && count < 4);
        let mut whole = [0u16; 4];
        // SAFETY: the caller vouches for `count` < 4 halves at `from`; `whole` is ours and has four.
        unsafe {
            std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), count);
            self.load_half(whole.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store_half(self, to: *mut u16, value: float32x4_t) {
        // SAFETY: the token; the caller vouches for four halves. `fcvtn` only reads and writes the registers named;
        // it rounds to nearest, ties to even, as Rust programs may assume of the control register.
        unsafe {
            let halves: uint16x4_t;
            asm!("fcvtn {out:v}.4h, {value:v}.4s", out = out(vreg) halves, value = in(vreg) value,
                options(pure, nomem, nostack, preserves_flags));
            vst1_u16(to, halves);
        }
    }
}

// As above.
impl ByteLanes for Neon {
    const BYTES: usize = 16;
    type B = uint8x16_t;
    type Sums = uint32x4_t;

    #[inline(always)]
    fn zero_sums(self) -> uint32x4_t {
        // SAFETY: the token.
        unsafe { vdupq_n_u32(0) }
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> uint8x16_t {
        // SAFETY: the token; the caller vouches for 16 bytes.
        unsafe { vld1q_u8(from) }
    }

    #[inline(always)]
    unsafe fn load_bytes_part(self, from: *const u8, count: usize) -> uint8x16_t {
        debug_assert!(0 < count && count < 16);
        let mut whole = [0u8; 16];
        // SAFETY: the caller vouches for `count` < 16 bytes at `from`; `whole` is ours and has 16.
        unsafe {
            std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), count);
            self.load_bytes(whole.as_ptr())
        }
    }

    #[inline(always)]
    fn flip_signs(self, bytes: uint8x16_t) -> uint8x16_t {
        // SAFETY: the token.
        unsafe { veorq_u8(bytes, vdupq_n_u8(0x80)) }
    }

    #[inline(always)]
    fn add_squared_differences(self, sums: uint32x4_t, a: uint8x16_t, b: uint8x16_t) -> uint32x4_t {
        // SAFETY: the token.
        unsafe {
            let difference = vabdq_u8(a, b);
            self.add_products_u8(sums, difference, difference)
        }
    }

    #[inline(always)]
    fn add_products_u8(self, sums: uint32x4_t, a: uint8x16_t, b: uint8x16_t) -> uint32x4_t {
        // A product of bytes is at most 255², which fits 16 unsigned bits; pairs are added into 32 bits.
        // SAFETY: the token.
        unsafe {
            let low = vmull_u8(vget_low_u8(a), vget_low_u8(b));
            let high = vmull_high_u8(a, b);
            vpadalq_u16(vpadalq_u16(sums, low), high)
        }
    }

    #[inline(always)]
    fn add_products_i8(self, sums: uint32x4_t, a: uint8x16_t, b: uint8x16_t) -> uint32x4_t {
        // A product of signed bytes is between −128·127 and 128², which fits 16 signed bits.
        // SAFETY: the token.
        unsafe {
            let (a, b) = (vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b));
            let low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
            let high = vmull_high_s8(a, b);
            let sums = vreinterpretq_s32_u32(sums);
            vreinterpretq_u32_s32(vpadalq_s16(vpadalq_s16(sums, low), high))
        }
    }

    #[inline(always)]
    fn add_sums(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        // SAFETY: the token.
        unsafe { vaddq_u32(a, b) }
    }

    #[inline(always)]
    fn total(self, sums: uint32x4_t) -> u32 {
        // SAFETY: the token.
        unsafe { vaddvq_u32(sums) }
    }
}
