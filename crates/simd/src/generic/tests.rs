//! The algorithms over registers of any width, in plain Rust: also those of instruction sets this machine lacks, and
//! under Miri, which sees any read beyond the end.

use super::*;
use crate::emulated::Emulated;
use crate::half::f32_to_f16_bits;
use crate::isa::Isa;
use crate::scalar::Scalar;

/// Small whole numbers, whose sums are exact in any order: results must be equal, not close.
fn check<L: HalfLanes + ByteLanes>(l: L) {
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
