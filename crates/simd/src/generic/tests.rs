//! The algorithms over registers of any width, in plain Rust: also those of instruction sets this machine lacks, and
//! under Miri, which sees any read beyond the end.

use super::*;
use crate::half::{f16_bits_to_f32, f32_to_f16_bits};
use crate::isa::{Isa, sealed::Token};
use crate::scalar::Scalar;

/// Registers of `F` floats and `B` bytes.
#[derive(Clone, Copy)]
struct Emulated<const F: usize, const B: usize>;

impl<const F: usize, const B: usize> Token for Emulated<F, B> {
    unsafe fn conjure() -> Self {
        Emulated
    }
}

impl<const F: usize, const B: usize> Emulated<F, B> {
    fn sum_bytes(sums: u32, a: [u8; B], b: [u8; B], term: impl Fn(u8, u8) -> i32) -> u32 {
        a.into_iter().zip(b).fold(sums, |sum, (x, y)| sum.wrapping_add(term(x, y).cast_unsigned()))
    }
}

/// The first `count` elements behind a pointer, then zeros.
///
/// # Safety
/// `from` must be valid for reading `count` elements.
unsafe fn read<T: Copy + Default, const N: usize>(from: *const T, count: usize) -> [T; N] {
    let mut register = [T::default(); N];
    // SAFETY: promised by the caller.
    register[..count].copy_from_slice(unsafe { std::slice::from_raw_parts(from, count) });
    register
}

impl<const F: usize, const B: usize> Lanes for Emulated<F, B> {
    const FLOATS: usize = F;
    type F = [f32; F];

    fn zero(self) -> [f32; F] {
        [0.0; F]
    }

    unsafe fn load(self, from: *const f32) -> [f32; F] {
        // SAFETY: promised by the caller.
        unsafe { read(from, F) }
    }

    unsafe fn load_part(self, from: *const f32, count: usize) -> [f32; F] {
        assert!(0 < count && count < F);
        // SAFETY: promised by the caller.
        unsafe { read(from, count) }
    }

    unsafe fn load_half(self, from: *const u16) -> [f32; F] {
        // SAFETY: promised by the caller.
        unsafe { read::<u16, F>(from, F) }.map(f16_bits_to_f32)
    }

    unsafe fn load_half_part(self, from: *const u16, count: usize) -> [f32; F] {
        assert!(0 < count && count < F);
        // SAFETY: promised by the caller.
        unsafe { read::<u16, F>(from, count) }.map(f16_bits_to_f32)
    }

    unsafe fn store(self, to: *mut f32, value: [f32; F]) {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts_mut(to, F) }.copy_from_slice(&value);
    }

    unsafe fn store_half(self, to: *mut u16, value: [f32; F]) {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts_mut(to, F) }.copy_from_slice(&value.map(f32_to_f16_bits));
    }

    fn add(self, a: [f32; F], b: [f32; F]) -> [f32; F] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    fn sub(self, a: [f32; F], b: [f32; F]) -> [f32; F] {
        std::array::from_fn(|i| a[i] - b[i])
    }

    fn mul_add(self, a: [f32; F], b: [f32; F], c: [f32; F]) -> [f32; F] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    fn sum(self, value: [f32; F]) -> f32 {
        value.iter().sum()
    }
}

impl<const F: usize, const B: usize> ByteLanes for Emulated<F, B> {
    const BYTES: usize = B;
    type B = [u8; B];
    type Sums = u32;

    fn zero_sums(self) -> u32 {
        0
    }

    unsafe fn load_bytes(self, from: *const u8) -> [u8; B] {
        // SAFETY: promised by the caller.
        unsafe { read(from, B) }
    }

    unsafe fn load_bytes_part(self, from: *const u8, count: usize) -> [u8; B] {
        assert!(0 < count && count < B);
        // SAFETY: promised by the caller.
        unsafe { read(from, count) }
    }

    fn flip_signs(self, bytes: [u8; B]) -> [u8; B] {
        bytes.map(|byte| byte ^ 0x80)
    }

    fn add_squared_differences(self, sums: u32, a: [u8; B], b: [u8; B]) -> u32 {
        Self::sum_bytes(sums, a, b, |x, y| i32::from(x.abs_diff(y)).pow(2))
    }

    fn add_products_u8(self, sums: u32, a: [u8; B], b: [u8; B]) -> u32 {
        Self::sum_bytes(sums, a, b, |x, y| i32::from(x) * i32::from(y))
    }

    fn add_products_i8(self, sums: u32, a: [u8; B], b: [u8; B]) -> u32 {
        Self::sum_bytes(sums, a, b, |x, y| i32::from(x as i8) * i32::from(y as i8))
    }

    fn total(self, sums: u32) -> u32 {
        sums
    }
}

/// Small whole numbers, whose sums are exact in any order: results must be equal, not close.
fn check<L: Lanes + ByteLanes>(l: L) {
    let step = if cfg!(miri) { 7 } else { 1 };
    for len in (0..=4 * L::FLOATS.max(L::BYTES) + L::FLOATS + 3).step_by(step) {
        let a: Vec<f32> = (0..len).map(|i| (i % 13) as f32 - 5.0).collect();
        let b: Vec<f32> = (0..len).map(|i| (i % 11) as f32 - 6.0).collect();
        let h: Vec<u16> = b.iter().map(|&x| f32_to_f16_bits(x)).collect();
        let u: Vec<u8> = (0..len).map(|i| (i * 37) as u8).collect();
        let v: Vec<u8> = (0..len).map(|i| (i * 101 + 128) as u8).collect();
        let (i, j): (&[i8], &[i8]) = (bytemuck::cast_slice(&u), bytemuck::cast_slice(&v));
        let (l2, dot) = (Scalar.l2_squared(&a, &b), Scalar.dot(&a, &b));

        assert_eq!(sum_pairs::<SquaredDifference, f32, L>(l, &a, &b), l2, "{len}");
        assert_eq!(sum_pairs::<Product, f32, L>(l, &a, &b), dot, "{len}");
        assert_eq!(sum_pairs::<SquaredDifference, u16, L>(l, &a, &h), l2, "{len}");
        assert_eq!(sum_pairs::<Product, u16, L>(l, &a, &h), dot, "{len}");
        let four = sum_pairs_x4::<SquaredDifference, f32, L>(l, &a, [&b, &a, &b, &a]);
        assert_eq!(four, [l2, 0.0, l2, 0.0], "{len}");
        assert_eq!(sum_pairs_x4::<Product, u16, L>(l, &a, [&h; 4]), [dot; 4], "{len}");
        assert_eq!(cosine_parts(l, &a, &b), Scalar.cosine_parts(&a, &b), "{len}");

        assert_eq!(
            sum_bytes::<SquaredDifferenceU8, L, 1>(l, &u, [&v]),
            [Scalar.l2_squared_u8(&u, &v)],
            "{len}"
        );
        assert_eq!(sum_bytes::<ProductU8, L, 1>(l, &u, [&v]), [Scalar.dot_u8(&u, &v)], "{len}");
        assert_eq!(sum_bytes::<SquaredDifferenceI8, L, 1>(l, i, [j]), [Scalar.l2_squared_i8(i, j)], "{len}");
        let want = Scalar.dot_i8(i, j).cast_unsigned();
        assert_eq!(sum_bytes::<ProductI8, L, 4>(l, i, [j; 4]), [want; 4], "{len}");

        let (mut wide, mut narrow) = (vec![0.0; len], vec![0; len]);
        f16_to_f32(l, &h, &mut wide);
        f32_to_f16(l, &wide, &mut narrow);
        assert_eq!((wide, narrow), (b, h), "{len}");
    }
}

#[test]
fn algorithms_are_right_for_registers_of_128_bits() {
    check(Emulated::<4, 16>);
}

#[test]
fn algorithms_are_right_for_registers_of_256_bits() {
    check(Emulated::<8, 32>);
}

#[test]
fn algorithms_are_right_for_registers_of_512_bits() {
    check(Emulated::<16, 64>);
}
