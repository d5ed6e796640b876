//! Whole-vector chores at the door: norm, scaling to unit length, refusing NaN and infinities.
//!
//! Norm and scaling give the same bits on every CPU (no level, no fused operations): a vector normalised by two
//! replicas of one shard must be the same vector.

use crate::isa::{Isa, Op, dispatch};
use crate::level::detect;

/// Sums taken side by side; fixed, because the order of summation is part of the result.
const SUMS: usize = 8;

/// Σ xᵢ², summed in double precision in a fixed order: the same bits on every CPU.
fn norm_squared_f64(vector: &[f32]) -> f64 {
    dispatch(detect(), NormSquared(vector))
}

struct NormSquared<'a>(&'a [f32]);

impl Op for NormSquared<'_> {
    type Output = f64;

    /// Plain code, so that only the width of the registers depends on the level, and nothing about the sum.
    #[inline(always)]
    fn run<I: Isa>(self, _isa: I) -> f64 {
        sum_of_squares(self.0)
    }
}

#[inline(always)]
fn sum_of_squares(vector: &[f32]) -> f64 {
    let (whole, rest) = vector.as_chunks::<SUMS>();
    let mut sums = [0.0f64; SUMS];
    for chunk in whole {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum += f64::from(x) * f64::from(x);
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

/// Σ xᵢ², summed in double precision and rounded once; infinite if it is above the largest `f32`.
#[must_use]
pub fn norm_squared(vector: &[f32]) -> f32 {
    norm_squared_f64(vector) as f32
}

/// The length of a vector: the root of Σ xᵢ² in double precision, the same bits on every CPU.
#[must_use]
pub fn norm(vector: &[f32]) -> f64 {
    norm_squared_f64(vector).sqrt()
}

/// Scales a vector to unit length and returns the length it had.
///
/// A vector without a direction (all zeros, or with a NaN or an infinity in it) is left as it is. Lengths beyond
/// the range of `f32` are handled: the result is of unit length even where the returned length is infinite.
pub fn normalize(vector: &mut [f32]) -> f32 {
    let norm = norm(vector);
    if norm > 0.0 && norm.is_finite() {
        dispatch(detect(), Scale { vector, by: 1.0 / norm });
    }
    norm as f32
}

struct Scale<'a> {
    vector: &'a mut [f32],
    by: f64,
}

impl Op for Scale<'_> {
    type Output = ();

    /// Two roundings in double precision and one in single: as good as a division, at a tenth of its time.
    #[inline(always)]
    fn run<I: Isa>(self, _isa: I) {
        for x in self.vector {
            *x = (f64::from(*x) * self.by) as f32;
        }
    }
}

/// Whether a vector holds no NaN and no infinity. This is the check at the door; it runs at the speed of memory.
#[must_use]
pub fn all_finite(vector: &[f32]) -> bool {
    dispatch(detect(), AllFinite(vector))
}

struct AllFinite<'a>(&'a [f32]);

impl Op for AllFinite<'_> {
    type Output = bool;

    /// Plain integer code: what is neither NaN nor infinite has an exponent that is not all ones. No early exit
    /// inside a chunk, so that the compiler can use the registers of the level it is compiled for.
    #[inline(always)]
    fn run<I: Isa>(self, _isa: I) -> bool {
        const EXPONENT: u32 = 0x7f80_0000;
        let finite = |x: f32| x.to_bits() & EXPONENT != EXPONENT;
        let (whole, rest) = self.0.as_chunks::<64>();
        whole.iter().all(|chunk| chunk.iter().fold(true, |all, &x| all & finite(x)))
            && rest.iter().all(|&x| finite(x))
    }
}
