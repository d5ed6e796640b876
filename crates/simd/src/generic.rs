//! The kernels, written once over [`Lanes`].
//!
//! Each is a main loop with several independent sums (so that the latency of one addition hides behind the
//! others), a loop of single registers, and one partial register whose missing lanes are 0: a zero pair adds
//! nothing to any sum here.

use crate::lanes::{ByteLanes, HalfLanes, Lanes};
use crate::scalar::{check_int_lengths, check_lengths};

/// A component as it lies in memory, read as floats.
pub(crate) trait Stored<L: Lanes>: Copy {
    /// See [`Lanes::load`].
    ///
    /// # Safety
    /// As there.
    unsafe fn load(l: L, from: *const Self) -> L::F;

    /// See [`Lanes::load_part`].
    ///
    /// # Safety
    /// As there.
    unsafe fn load_part(l: L, from: *const Self, count: usize) -> L::F;
}

impl<L: Lanes> Stored<L> for f32 {
    #[inline(always)]
    unsafe fn load(l: L, from: *const f32) -> L::F {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { l.load(from) }
    }

    #[inline(always)]
    unsafe fn load_part(l: L, from: *const f32, count: usize) -> L::F {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { l.load_part(from, count) }
    }
}

/// Half precision.
impl<L: HalfLanes> Stored<L> for u16 {
    #[inline(always)]
    unsafe fn load(l: L, from: *const u16) -> L::F {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { l.load_half(from) }
    }

    #[inline(always)]
    unsafe fn load_part(l: L, from: *const u16, count: usize) -> L::F {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { l.load_half_part(from, count) }
    }
}

/// What is summed over pairs of floats; a trait and not a closure, so that inlining is not left to chance.
pub(crate) trait Term {
    /// `sum` with the term of `x` and `y` added, per lane.
    fn add<L: Lanes>(l: L, sum: L::F, x: L::F, y: L::F) -> L::F;
}

/// (x − y)².
pub(crate) struct SquaredDifference;

impl Term for SquaredDifference {
    #[inline(always)]
    fn add<L: Lanes>(l: L, sum: L::F, x: L::F, y: L::F) -> L::F {
        let d = l.sub(x, y);
        l.mul_add(d, d, sum)
    }
}

/// x·y.
pub(crate) struct Product;

impl Term for Product {
    #[inline(always)]
    fn add<L: Lanes>(l: L, sum: L::F, x: L::F, y: L::F) -> L::F {
        l.mul_add(x, y, sum)
    }
}

/// Σ term(aᵢ, bᵢ).
#[inline(always)]
pub(crate) fn sum_pairs<T: Term, S: Stored<L>, L: Lanes>(l: L, a: &[f32], b: &[S]) -> f32 {
    check_lengths(a.len(), b.len());
    let len = a.len();
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let step = L::FLOATS;
    let mut sums = [l.zero(); 4];
    let mut at = 0;
    while len - at >= 4 * step {
        for (k, sum) in sums.iter_mut().enumerate() {
            // SAFETY: both slices have `len` elements, and at + (k + 1)·step ≤ at + 4·step ≤ len.
            let (x, y) = unsafe { (l.load(a.add(at + k * step)), S::load(l, b.add(at + k * step))) };
            *sum = T::add(l, *sum, x, y);
        }
        at += 4 * step;
    }
    while len - at >= step {
        // SAFETY: both slices have `len` elements, and at + step ≤ len.
        let (x, y) = unsafe { (l.load(a.add(at)), S::load(l, b.add(at))) };
        sums[0] = T::add(l, sums[0], x, y);
        at += step;
    }
    let rest = len - at;
    if rest > 0 {
        // SAFETY: `rest` elements are left in both slices, and rest < step as the loop above has ended.
        let (x, y) = unsafe { (l.load_part(a.add(at), rest), S::load_part(l, b.add(at), rest)) };
        sums[1] = T::add(l, sums[1], x, y);
    }
    let [s0, s1, s2, s3] = sums;
    l.sum(l.add(l.add(s0, s1), l.add(s2, s3)))
}

/// Σ term(qᵢ, rowᵢ) for four rows.
#[inline(always)]
pub(crate) fn sum_pairs_x4<T: Term, S: Stored<L>, L: Lanes>(l: L, q: &[f32], rows: [&[S]; 4]) -> [f32; 4] {
    for row in rows {
        check_lengths(q.len(), row.len());
    }
    let len = q.len();
    let q = q.as_ptr();
    let [r0, r1, r2, r3] = rows;
    let rows = [r0.as_ptr(), r1.as_ptr(), r2.as_ptr(), r3.as_ptr()];
    let step = L::FLOATS;
    let mut even = [l.zero(); 4];
    let mut odd = [l.zero(); 4];
    let mut at = 0;
    while len - at >= 2 * step {
        // SAFETY: all five slices have `len` elements, and at + 2·step ≤ len.
        unsafe {
            let x = l.load(q.add(at));
            for (sum, row) in even.iter_mut().zip(rows) {
                *sum = T::add(l, *sum, x, S::load(l, row.add(at)));
            }
            let x = l.load(q.add(at + step));
            for (sum, row) in odd.iter_mut().zip(rows) {
                *sum = T::add(l, *sum, x, S::load(l, row.add(at + step)));
            }
        }
        at += 2 * step;
    }
    if len - at >= step {
        // SAFETY: all five slices have `len` elements, and at + step ≤ len.
        unsafe {
            let x = l.load(q.add(at));
            for (sum, row) in even.iter_mut().zip(rows) {
                *sum = T::add(l, *sum, x, S::load(l, row.add(at)));
            }
        }
        at += step;
    }
    let rest = len - at;
    if rest > 0 {
        // SAFETY: `rest` elements are left in all five slices, and rest < step: fewer than 2·step were left after
        // the loop, and the branch above took a whole step if there was one.
        unsafe {
            let x = l.load_part(q.add(at), rest);
            for (sum, row) in odd.iter_mut().zip(rows) {
                *sum = T::add(l, *sum, x, S::load_part(l, row.add(at), rest));
            }
        }
    }
    let [e0, e1, e2, e3] = even;
    let [o0, o1, o2, o3] = odd;
    l.sum_each([l.add(e0, o0), l.add(e1, o1), l.add(e2, o2), l.add(e3, o3)])
}

/// `(Σ aᵢ·bᵢ, Σ aᵢ², Σ bᵢ²)`.
#[inline(always)]
pub(crate) fn cosine_parts<L: Lanes>(l: L, a: &[f32], b: &[f32]) -> (f32, f32, f32) {
    check_lengths(a.len(), b.len());
    let len = a.len();
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let step = L::FLOATS;
    let mut even = [l.zero(); 3];
    let mut odd = [l.zero(); 3];
    let mut at = 0;
    while len - at >= 2 * step {
        // SAFETY: both slices have `len` elements, and at + 2·step ≤ len.
        unsafe {
            even = add_parts(l, even, l.load(a.add(at)), l.load(b.add(at)));
            odd = add_parts(l, odd, l.load(a.add(at + step)), l.load(b.add(at + step)));
        }
        at += 2 * step;
    }
    if len - at >= step {
        // SAFETY: both slices have `len` elements, and at + step ≤ len.
        even = unsafe { add_parts(l, even, l.load(a.add(at)), l.load(b.add(at))) };
        at += step;
    }
    let rest = len - at;
    if rest > 0 {
        // SAFETY: `rest` elements are left in both slices, and rest < step: fewer than 2·step were left after the
        // loop, and the branch above took a whole step if there was one.
        odd = unsafe { add_parts(l, odd, l.load_part(a.add(at), rest), l.load_part(b.add(at), rest)) };
    }
    (l.sum(l.add(even[0], odd[0])), l.sum(l.add(even[1], odd[1])), l.sum(l.add(even[2], odd[2])))
}

#[inline(always)]
fn add_parts<L: Lanes>(l: L, [ab, aa, bb]: [L::F; 3], x: L::F, y: L::F) -> [L::F; 3] {
    [l.mul_add(x, y, ab), l.mul_add(x, x, aa), l.mul_add(y, y, bb)]
}

/// What is summed over pairs of bytes. Pairs of zero bytes must add nothing.
pub(crate) trait ByteTerm {
    /// The type of the components.
    type Byte: Copy;

    /// `sums` with the terms of `x` and `y` added, modulo 2³².
    fn add<L: ByteLanes>(l: L, sums: L::Sums, x: L::B, y: L::B) -> L::Sums;
}

/// (x − y)² of unsigned bytes.
pub(crate) struct SquaredDifferenceU8;

impl ByteTerm for SquaredDifferenceU8 {
    type Byte = u8;

    #[inline(always)]
    fn add<L: ByteLanes>(l: L, sums: L::Sums, x: L::B, y: L::B) -> L::Sums {
        l.add_squared_differences(sums, x, y)
    }
}

/// (x − y)² of signed bytes.
pub(crate) struct SquaredDifferenceI8;

impl ByteTerm for SquaredDifferenceI8 {
    type Byte = i8;

    #[inline(always)]
    fn add<L: ByteLanes>(l: L, sums: L::Sums, x: L::B, y: L::B) -> L::Sums {
        l.add_squared_differences(sums, l.flip_signs(x), l.flip_signs(y))
    }
}

/// x·y of unsigned bytes.
pub(crate) struct ProductU8;

impl ByteTerm for ProductU8 {
    type Byte = u8;

    #[inline(always)]
    fn add<L: ByteLanes>(l: L, sums: L::Sums, x: L::B, y: L::B) -> L::Sums {
        l.add_products_u8(sums, x, y)
    }
}

/// x·y of signed bytes.
pub(crate) struct ProductI8;

impl ByteTerm for ProductI8 {
    type Byte = i8;

    #[inline(always)]
    fn add<L: ByteLanes>(l: L, sums: L::Sums, x: L::B, y: L::B) -> L::Sums {
        l.add_products_i8(sums, x, y)
    }
}

/// Σ term(qᵢ, rowᵢ) modulo 2³² for `N` rows of bytes.
#[inline(always)]
pub(crate) fn sum_bytes<T: ByteTerm, L: ByteLanes, const N: usize>(
    l: L,
    q: &[T::Byte],
    rows: [&[T::Byte]; N],
) -> [u32; N] {
    const { assert!(size_of::<T::Byte>() == 1) };
    for row in rows {
        check_int_lengths(q.len(), row.len());
    }
    let len = q.len();
    let q = q.as_ptr().cast::<u8>();
    let rows = rows.map(|row| row.as_ptr().cast::<u8>());
    let mut sums = [l.zero_sums(); N];
    let mut at = 0;
    // A single row has a second chain of sums; four rows are four chains already.
    if N == 1 {
        let mut odd = sums[0];
        while len - at >= 2 * L::BYTES {
            // SAFETY: all slices have `len` components of one byte (asserted above), and at + 2·BYTES ≤ len.
            unsafe {
                sums[0] = T::add(l, sums[0], l.load_bytes(q.add(at)), l.load_bytes(rows[0].add(at)));
                let next = at + L::BYTES;
                odd = T::add(l, odd, l.load_bytes(q.add(next)), l.load_bytes(rows[0].add(next)));
            }
            at += 2 * L::BYTES;
        }
        sums[0] = l.add_sums(sums[0], odd);
    }
    while len - at >= L::BYTES {
        // SAFETY: all slices have `len` components of one byte (asserted above), and at + BYTES ≤ len.
        unsafe {
            let x = l.load_bytes(q.add(at));
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum = T::add(l, *sum, x, l.load_bytes(row.add(at)));
            }
        }
        at += L::BYTES;
    }
    let rest = len - at;
    if rest > 0 {
        // SAFETY: `rest` bytes are left in all slices, and rest < BYTES as the loop above has ended.
        unsafe {
            let x = l.load_bytes_part(q.add(at), rest);
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum = T::add(l, *sum, x, l.load_bytes_part(row.add(at), rest));
            }
        }
    }
    let mut totals = [0; N];
    for (total, sum) in totals.iter_mut().zip(sums) {
        *total = l.total(sum);
    }
    totals
}

/// Σ term(aᵢ, bᵢ) modulo 2³² for bytes.
#[inline(always)]
pub(crate) fn sum_byte_pairs<T: ByteTerm, L: ByteLanes>(l: L, a: &[T::Byte], b: &[T::Byte]) -> u32 {
    let [sum] = sum_bytes::<T, L, 1>(l, a, [b]);
    sum
}

/// Σ aᵢ·bᵢ of signed bytes.
#[inline(always)]
pub(crate) fn dot_i8<L: ByteLanes>(l: L, a: &[i8], b: &[i8]) -> i32 {
    sum_byte_pairs::<ProductI8, L>(l, a, b).cast_signed()
}

/// Σ qᵢ·rowᵢ of signed bytes for four rows.
#[inline(always)]
pub(crate) fn dot_i8_x4<L: ByteLanes>(l: L, q: &[i8], rows: [&[i8]; 4]) -> [i32; 4] {
    sum_bytes::<ProductI8, L, 4>(l, q, rows).map(u32::cast_signed)
}

/// Halves to floats.
#[inline(always)]
pub(crate) fn f16_to_f32<L: HalfLanes>(l: L, from: &[u16], to: &mut [f32]) {
    check_lengths(from.len(), to.len());
    let whole = from.len() - from.len() % L::FLOATS;
    let mut at = 0;
    while at < whole {
        // SAFETY: at + FLOATS ≤ whole ≤ the length of both slices, which do not overlap.
        unsafe { l.store(to.as_mut_ptr().add(at), l.load_half(from.as_ptr().add(at))) };
        at += L::FLOATS;
    }
    for (to, &from) in to[whole..].iter_mut().zip(&from[whole..]) {
        *to = crate::half::f16_bits_to_f32(from);
    }
}

/// Floats to halves.
#[inline(always)]
pub(crate) fn f32_to_f16<L: HalfLanes>(l: L, from: &[f32], to: &mut [u16]) {
    check_lengths(from.len(), to.len());
    let whole = from.len() - from.len() % L::FLOATS;
    let mut at = 0;
    while at < whole {
        // SAFETY: at + FLOATS ≤ whole ≤ the length of both slices, which do not overlap.
        unsafe { l.store_half(to.as_mut_ptr().add(at), l.load(from.as_ptr().add(at))) };
        at += L::FLOATS;
    }
    for (to, &from) in to[whole..].iter_mut().zip(&from[whole..]) {
        *to = crate::half::f32_to_f16_bits(from);
    }
}

#[cfg(test)]
mod tests;
