//! IEEE half precision, stored as the bits in a `u16` (the primitive type is not stable yet).

use crate::isa::{Isa, Op, dispatch};
use crate::level::detect;

/// The single-precision value of a half. Exact; a NaN becomes quiet and keeps its payload.
#[inline]
#[must_use]
pub fn f16_bits_to_f32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7fff);
    let bits = match magnitude {
        // Subnormal or zero: the value is magnitude × 2⁻²⁴, and a float holds that product exactly.
        0..0x0400 => (magnitude as f32 * f32::from_bits(0x3380_0000)).to_bits(),
        // Normal: widen the fraction and move the exponent from bias 15 to bias 127.
        0x0400..0x7c00 => (magnitude << 13) + ((127 - 15) << 23),
        0x7c00 => 0x7f80_0000,
        _ => 0x7fc0_0000 | (magnitude << 13),
    };
    f32::from_bits(sign | bits)
}

/// The half nearest to a single-precision value, ties to even.
///
/// What rounds to 65 520 or more becomes infinite; a NaN becomes quiet and keeps the upper bits of its payload.
#[inline]
#[must_use]
pub fn f32_to_f16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude > 0x7f80_0000 {
        0x7e00 | ((magnitude >> 13) & 0x03ff)
    } else if magnitude >= 0x477f_f000 {
        // 65 520, halfway between the largest half and the next power of two, rounds to even: up.
        0x7c00
    } else if magnitude >= 0x3880_0000 {
        // Normal: round the 13 bits that go; a carry runs on into the exponent, which is what is wanted.
        let odd = (magnitude >> 13) & 1;
        (magnitude - ((127 - 15) << 23) + 0x0fff + odd) >> 13
    } else {
        // Subnormal: at 0.5 the last place of a float is 2⁻²⁴, the unit of half subnormals, so the addition rounds.
        (f32::from_bits(magnitude) + 0.5).to_bits() - 0x3f00_0000
    };
    sign | half as u16
}

/// Converts a slice of halves, see [`f16_bits_to_f32`]. Panics if the lengths differ.
pub fn f16_to_f32(from: &[u16], to: &mut [f32]) {
    dispatch(detect(), Widen { from, to });
}

/// Converts a slice to halves, see [`f32_to_f16_bits`]. Panics if the lengths differ.
pub fn f32_to_f16(from: &[f32], to: &mut [u16]) {
    dispatch(detect(), Narrow { from, to });
}

struct Widen<'a> {
    from: &'a [u16],
    to: &'a mut [f32],
}

impl Op for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        isa.f16_to_f32(self.from, self.to);
    }
}

struct Narrow<'a> {
    from: &'a [f32],
    to: &'a mut [u16],
}

impl Op for Narrow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        isa.f32_to_f16(self.from, self.to);
    }
}
