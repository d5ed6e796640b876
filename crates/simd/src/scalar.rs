//! The oracle: every kernel as the plain loop that defines it, in strict order.
//!
//! The compiler may not reorder floating-point sums, so these loops stay scalar; the claims of speed are measured
//! against them.

use crate::half::{f16_bits_to_f32, f32_to_f16_bits};
use crate::isa::{Isa, MAX_INT_DIM, Op, sealed};
use crate::level::Level;

/// The token of [`Level::Scalar`]; every CPU has it.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

impl sealed::Token for Scalar {
    #[inline(always)]
    unsafe fn conjure() -> Self {
        Scalar
    }
}

/// Stops a call whose slices differ in length.
#[inline(always)]
pub(crate) fn check_lengths(a: usize, b: usize) {
    assert!(a == b, "a kernel was given slices of lengths {a} and {b}");
}

/// Stops an integer kernel whose slices differ in length or could overflow the sum.
#[inline(always)]
pub(crate) fn check_int_lengths(a: usize, b: usize) {
    check_lengths(a, b);
    assert!(a <= MAX_INT_DIM, "an integer kernel was given {a} components, at most {MAX_INT_DIM} are exact");
}

fn fold<A: Copy, B: Copy, S>(a: &[A], b: &[B], start: S, step: impl Fn(S, A, B) -> S) -> S {
    check_lengths(a.len(), b.len());
    a.iter().zip(b).fold(start, |sum, (&x, &y)| step(sum, x, y))
}

fn fold_int<A: Copy, S>(a: &[A], b: &[A], start: S, step: impl Fn(S, A, A) -> S) -> S {
    check_int_lengths(a.len(), b.len());
    fold(a, b, start, step)
}

impl Isa for Scalar {
    const LEVEL: Level = Level::Scalar;

    #[inline(always)]
    fn run<O: Op>(self, op: O) -> O::Output {
        op.run(self)
    }

    #[inline]
    fn l2_squared(self, a: &[f32], b: &[f32]) -> f32 {
        fold(a, b, 0.0, |sum, x, y| sum + (x - y) * (x - y))
    }

    #[inline]
    fn dot(self, a: &[f32], b: &[f32]) -> f32 {
        fold(a, b, 0.0, |sum, x, y| sum + x * y)
    }

    #[inline]
    fn l2_squared_x4(self, q: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        rows.map(|row| self.l2_squared(q, row))
    }

    #[inline]
    fn dot_x4(self, q: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        rows.map(|row| self.dot(q, row))
    }

    #[inline]
    fn cosine_parts(self, a: &[f32], b: &[f32]) -> (f32, f32, f32) {
        fold(a, b, (0.0, 0.0, 0.0), |(ab, aa, bb), x, y| (ab + x * y, aa + x * x, bb + y * y))
    }

    #[inline]
    fn l2_squared_f16(self, q: &[f32], row: &[u16]) -> f32 {
        fold(q, row, 0.0, |sum, x, y| {
            let d = x - f16_bits_to_f32(y);
            sum + d * d
        })
    }

    #[inline]
    fn dot_f16(self, q: &[f32], row: &[u16]) -> f32 {
        fold(q, row, 0.0, |sum, x, y| sum + x * f16_bits_to_f32(y))
    }

    #[inline]
    fn l2_squared_f16_x4(self, q: &[f32], rows: [&[u16]; 4]) -> [f32; 4] {
        rows.map(|row| self.l2_squared_f16(q, row))
    }

    #[inline]
    fn dot_f16_x4(self, q: &[f32], rows: [&[u16]; 4]) -> [f32; 4] {
        rows.map(|row| self.dot_f16(q, row))
    }

    #[inline]
    fn l2_squared_u8(self, a: &[u8], b: &[u8]) -> u32 {
        fold_int(a, b, 0, |sum, x, y| sum + u32::from(x.abs_diff(y)) * u32::from(x.abs_diff(y)))
    }

    #[inline]
    fn dot_u8(self, a: &[u8], b: &[u8]) -> u32 {
        fold_int(a, b, 0, |sum, x, y| sum + u32::from(x) * u32::from(y))
    }

    #[inline]
    fn l2_squared_i8(self, a: &[i8], b: &[i8]) -> u32 {
        fold_int(a, b, 0, |sum, x, y| sum + u32::from(x.abs_diff(y)) * u32::from(x.abs_diff(y)))
    }

    #[inline]
    fn dot_i8(self, a: &[i8], b: &[i8]) -> i32 {
        fold_int(a, b, 0, |sum, x, y| sum + i32::from(x) * i32::from(y))
    }

    #[inline]
    fn l2_squared_u8_x4(self, q: &[u8], rows: [&[u8]; 4]) -> [u32; 4] {
        rows.map(|row| self.l2_squared_u8(q, row))
    }

    #[inline]
    fn dot_u8_x4(self, q: &[u8], rows: [&[u8]; 4]) -> [u32; 4] {
        rows.map(|row| self.dot_u8(q, row))
    }

    #[inline]
    fn l2_squared_i8_x4(self, q: &[i8], rows: [&[i8]; 4]) -> [u32; 4] {
        rows.map(|row| self.l2_squared_i8(q, row))
    }

    #[inline]
    fn dot_i8_x4(self, q: &[i8], rows: [&[i8]; 4]) -> [i32; 4] {
        rows.map(|row| self.dot_i8(q, row))
    }

    fn f16_to_f32(self, from: &[u16], to: &mut [f32]) {
        check_lengths(from.len(), to.len());
        for (to, &from) in to.iter_mut().zip(from) {
            *to = f16_bits_to_f32(from);
        }
    }

    fn f32_to_f16(self, from: &[f32], to: &mut [u16]) {
        check_lengths(from.len(), to.len());
        for (to, &from) in to.iter_mut().zip(from) {
            *to = f32_to_f16_bits(from);
        }
    }

    fn fast_scan(self, codes: &[u8], tables: &[u8], sums: &mut [u16]) {
        crate::fast_scan::scan_blocks_plain(codes, tables, sums);
    }
}
