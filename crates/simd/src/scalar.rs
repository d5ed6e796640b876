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

/// Rows that lie together in the transform of [`Isa::project`].
pub(crate) const ROWS_A_BLOCK: usize = 64;

/// Stops a kernel of sketches with `CODES` codes a byte whose slices are of the wrong length.
#[inline(always)]
pub(crate) fn check_sketch<const LINES: usize, const CODES: usize>(query: usize, row: usize) {
    const { assert!(LINES >= 1 && LINES <= 4, "a sketch has one to four lines") };
    assert!(row == 64 * LINES, "a sketch of {LINES} lines was given as {row} bytes");
    assert!(query == CODES * row, "a sketch of {row} bytes was given a query of {query} values");
}

/// Stops a kernel of planes whose slices are of the wrong length or could overflow the sum.
#[inline(always)]
pub(crate) fn check_planes<const PLANES: usize>(query: usize, row: usize) {
    const { assert!(PLANES == 1 || PLANES == 2, "a code has one plane or two") };
    assert!(query <= MAX_INT_DIM && query.is_multiple_of(64), "planes were given a query of {query} values");
    assert!(row == PLANES * query / 8, "{PLANES} planes of {query} bits were given as {row} bytes");
}

/// Stops a projection whose slices do not match or whose sums could overflow.
#[inline(always)]
pub(crate) fn check_project(transform: usize, query: usize, out: usize) {
    assert!(query <= MAX_INT_DIM && query.is_multiple_of(4), "a projection was given {query} columns");
    assert!(out.is_multiple_of(ROWS_A_BLOCK), "a projection was given {out} rows");
    let matches = query.checked_mul(out) == Some(transform);
    assert!(matches, "a transform of {transform} values is not {out} rows of {query}");
}

/// Stops a gathering whose slices are too short.
#[inline(always)]
pub(crate) fn check_gather(ids: usize, visited: usize, limit: u32, out: usize) {
    assert!(visited >= limit.div_ceil(32) as usize, "{visited} words have no bit for each id below {limit}");
    assert!(out.checked_sub(16) >= Some(ids), "{ids} ids were given room for {out}");
}

/// Stops a packing of positions whose output is too short.
#[inline(always)]
pub(crate) fn check_keys(estimates: usize, out: usize) {
    assert!(out.checked_sub(16) >= Some(estimates), "{estimates} estimates were given room for {out}");
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

    #[inline]
    fn sketch4<const LINES: usize>(self, query: &[i8], row: &[u8]) -> i32 {
        check_sketch::<LINES, 2>(query.len(), row.len());
        let product = |code: u8, value: i8| i32::from(code) * i32::from(value);
        let (lines, _) = row.as_chunks::<64>();
        let (queries, _) = query.as_chunks::<128>();
        let line_sum = |(line, query): (&[u8; 64], &[i8; 128])| -> i32 {
            let (low, high) = query.split_at(64);
            let halves = low.iter().zip(high);
            line.iter()
                .zip(halves)
                .map(|(&byte, (&low, &high))| product(byte & 15, low) + product(byte >> 4, high))
                .sum()
        };
        lines.iter().zip(queries).map(line_sum).sum()
    }

    #[inline]
    fn sketch4_x4<const LINES: usize>(self, query: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
        rows.map(|row| self.sketch4::<LINES>(query, row))
    }

    #[inline]
    fn sketch7<const LINES: usize>(self, query: &[i8], row: &[u8]) -> i32 {
        check_sketch::<LINES, 1>(query.len(), row.len());
        fold(row, query, 0, |sum, code, value| sum + i32::from(code) * i32::from(value))
    }

    #[inline]
    fn sketch7_x4<const LINES: usize>(self, query: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
        rows.map(|row| self.sketch7::<LINES>(query, row))
    }

    #[inline]
    fn planes<const PLANES: usize>(self, query: &[i8], row: &[u8]) -> i32 {
        check_planes::<PLANES>(query.len(), row.len());
        let plane_sum = |plane: &[u8]| -> i32 {
            let (values, _) = query.as_chunks::<8>();
            let bits = plane.iter().zip(values).map(|(&byte, values)| -> i32 {
                let values = values.iter().enumerate();
                values.map(|(bit, &value)| i32::from(byte >> bit & 1) * i32::from(value)).sum()
            });
            bits.sum()
        };
        let planes = row.chunks_exact((query.len() / 8).max(1));
        planes.enumerate().map(|(plane, bits)| plane_sum(bits) << plane).sum()
    }

    #[inline]
    fn planes_x4<const PLANES: usize>(self, query: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
        rows.map(|row| self.planes::<PLANES>(query, row))
    }

    fn project(self, transform: &[i8], query: &[u8], out: &mut [i32]) {
        check_project(transform.len(), query.len(), out.len());
        out.fill(0);
        let (quads, _) = query.as_chunks::<4>();
        let (outs, _) = out.as_chunks_mut::<ROWS_A_BLOCK>();
        let (weights, _) = transform.as_chunks::<4>();
        for (block, out) in outs.iter_mut().enumerate() {
            for (number, quad) in quads.iter().enumerate() {
                let start = (block * quads.len() + number) * ROWS_A_BLOCK;
                for (sum, weights) in out.iter_mut().zip(&weights[start..start + ROWS_A_BLOCK]) {
                    *sum = fold(weights, quad, *sum, |sum, weight, value| {
                        sum + i32::from(weight) * i32::from(value)
                    });
                }
            }
        }
    }

    /// Without a branch on the bits: what passes is as good as random.
    #[inline]
    fn gather_unvisited(self, ids: &[u32], visited: &[u32], limit: u32, out: &mut [u32]) -> usize {
        check_gather(ids.len(), visited.len(), limit, out.len());
        let mut count = 0;
        for &id in ids {
            let word = visited.get((id >> 5) as usize).copied().unwrap_or(u32::MAX);
            out[count] = id;
            count += usize::from(id < limit && word >> (id & 31) & 1 == 0);
        }
        count
    }

    #[inline]
    fn keys_below(self, estimates: &[f32], gate: f32, out: &mut [u32]) -> usize {
        check_keys(estimates.len(), out.len());
        let mut count = 0;
        for (position, &estimate) in estimates.iter().enumerate() {
            out[count] = position as u32;
            count += usize::from(estimate < gate);
        }
        count
    }

    #[inline]
    fn min_u32(self, values: &[u32]) -> u32 {
        values.iter().copied().fold(u32::MAX, u32::min)
    }

    #[inline]
    fn position_u32(self, values: &[u32], wanted: u32) -> Option<usize> {
        values.iter().position(|&value| value == wanted)
    }
}
