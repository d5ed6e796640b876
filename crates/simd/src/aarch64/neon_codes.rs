//! NEON: codes of sketches.

use std::arch::aarch64::*;

use crate::aarch64::Neon;
use crate::lanes::CodeLanes;

// In this block each intrinsic is called under the same proof: `self` exists, so the CPU has NEON.
//
// Codes are taken as signed bytes, which only bytes above 127 notice, and these meet a 0.
impl CodeLanes for Neon {
    type Nibbles = int16x8_t;

    #[inline(always)]
    fn zero_nibbles(self) -> int16x8_t {
        // SAFETY: the token.
        unsafe { vdupq_n_s16(0) }
    }

    #[inline(always)]
    fn add_nibble_products(self, sums: int16x8_t, codes: uint8x16_t, signed: uint8x16_t) -> int16x8_t {
        // SAFETY: the token.
        unsafe {
            let (codes, signed) = (vreinterpretq_s8_u8(codes), vreinterpretq_s8_u8(signed));
            let sums = vmlal_s8(sums, vget_low_s8(codes), vget_low_s8(signed));
            vmlal_high_s8(sums, codes, signed)
        }
    }

    #[inline(always)]
    fn widen_nibbles(self, sums: uint32x4_t, nibbles: int16x8_t) -> uint32x4_t {
        // SAFETY: the token.
        unsafe { vreinterpretq_u32_s32(vpadalq_s16(vreinterpretq_s32_u32(sums), nibbles)) }
    }

    #[inline(always)]
    fn low_nibbles(self, bytes: uint8x16_t) -> uint8x16_t {
        // SAFETY: the token.
        unsafe { vandq_u8(bytes, vdupq_n_u8(15)) }
    }

    #[inline(always)]
    fn high_nibbles(self, bytes: uint8x16_t) -> uint8x16_t {
        // SAFETY: the token.
        unsafe { vshrq_n_u8::<4>(bytes) }
    }

    #[inline(always)]
    fn spread_bits(self, bits: u64, value: u8) -> uint8x16_t {
        // SAFETY: the token.
        unsafe {
            let bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
            let bytes = vcombine_u8(vdup_n_u8(bits as u8), vdup_n_u8((bits >> 8) as u8));
            vandq_u8(vtstq_u8(bytes, bit), vdupq_n_u8(value))
        }
    }

    #[inline(always)]
    fn or_bytes(self, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: the token.
        unsafe { vorrq_u8(a, b) }
    }

    #[inline(always)]
    fn add_quads(self, sums: uint32x4_t, unsigned: uint8x16_t, signed: uint8x16_t) -> uint32x4_t {
        // Neighbouring products are added twice, first as 16 bits, where 2 · 127² is 32 258 and fits.
        // SAFETY: the token.
        unsafe {
            let (codes, signed) = (vreinterpretq_s8_u8(unsigned), vreinterpretq_s8_u8(signed));
            let low = vmull_s8(vget_low_s8(codes), vget_low_s8(signed));
            let pairs = vpaddq_s16(low, vmull_high_s8(codes, signed));
            vreinterpretq_u32_s32(vpadalq_s16(vreinterpretq_s32_u32(sums), pairs))
        }
    }

    #[inline(always)]
    fn splat_quad(self, quad: [u8; 4]) -> uint8x16_t {
        // SAFETY: the token.
        unsafe { vreinterpretq_u8_u32(vdupq_n_u32(u32::from_le_bytes(quad))) }
    }

    #[inline(always)]
    unsafe fn store_sums(self, to: *mut i32, sums: uint32x4_t) {
        // SAFETY: the token; the caller vouches for four words.
        unsafe { vst1q_u32(to.cast(), sums) }
    }

    #[inline(always)]
    fn totals(self, [a, b, c, d]: [uint32x4_t; 4]) -> [u32; 4] {
        let mut totals = [0; 4];
        // SAFETY: the token; `totals` has four words.
        unsafe { vst1q_u32(totals.as_mut_ptr(), vpaddq_u32(vpaddq_u32(a, b), vpaddq_u32(c, d))) };
        totals
    }
}
