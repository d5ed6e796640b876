//! NaN, infinities, zeros and subnormals: in the kernels, and at the door.

use dvse_simd::{all_finite, available, norm_squared, normalize};

use crate::probe::{self, Values};

/// Lengths with every kind of tail of every level.
const LENGTHS: [usize; 9] = [1, 4, 7, 8, 16, 31, 64, 77, 130];

tests! {
    fn one_nan_anywhere_makes_a_nan() {
        for len in LENGTHS {
            let mut values = Values::new(len as u64);
            let (a, b) = (values.floats(len), values.floats(len));
            for at in 0..len {
                let mut bad = a.clone();
                bad[at] = f32::NAN;
                for &level in available() {
                    for got in [probe::floats(level, &bad, [&b; 4]), probe::floats(level, &b, [&bad; 4])] {
                        assert!(got.l2.is_nan() && got.dot.is_nan() && got.parts.0.is_nan(), "{level} {len} {at}");
                        assert!(got.l2_x4.iter().chain(&got.dot_x4).all(|x| x.is_nan()), "{level} {len} {at}");
                    }
                }
            }
        }
    }

    fn a_nan_in_one_row_of_four_stays_there() {
        let mut values = Values::new(11);
        let (a, good) = (values.floats(77), values.floats(77));
        let mut bad = good.clone();
        bad[76] = f32::NAN;
        for &level in available() {
            for k in 0..4 {
                let mut rows = [good.as_slice(); 4];
                rows[k] = &bad;
                let got = probe::floats(level, &a, rows);
                for i in 0..4 {
                    assert_eq!(got.l2_x4[i].is_nan(), i == k, "{level}");
                    assert_eq!(got.dot_x4[i].is_nan(), i == k, "{level}");
                }
            }
        }
    }

    fn infinities_spread_as_ieee_says() {
        for len in LENGTHS {
            for at in 0..len {
                let ones = vec![1.0f32; len];
                let mut up = ones.clone();
                up[at] = f32::INFINITY;
                let down: Vec<f32> = up.iter().map(|x| -x).collect();
                let mut zero = ones.clone();
                zero[at] = 0.0;
                for &level in available() {
                    let context = format!("{level} {len} {at}");
                    let got = probe::floats(level, &ones, [&up; 4]);
                    assert_eq!((got.l2, got.dot), (f32::INFINITY, f32::INFINITY), "{context}");
                    assert_eq!((got.l2_x4, got.dot_x4), ([f32::INFINITY; 4], [f32::INFINITY; 4]), "{context}");
                    let got = probe::floats(level, &ones, [&down; 4]);
                    assert_eq!((got.l2, got.dot), (f32::INFINITY, f32::NEG_INFINITY), "{context}");
                    let got = probe::floats(level, &up, [&up; 4]);
                    assert!(got.l2.is_nan(), "{context}: ∞ − ∞");
                    let got = probe::floats(level, &zero, [&up; 4]);
                    assert!(got.dot.is_nan(), "{context}: 0 · ∞");
                }
            }
        }
    }

    fn zeros_of_both_signs_are_equal() {
        for len in LENGTHS {
            let (plus, minus) = (vec![0.0f32; len], vec![-0.0f32; len]);
            for &level in available() {
                let got = probe::floats(level, &plus, [&minus; 4]);
                assert_eq!((got.l2, got.dot, got.parts), (0.0, 0.0, (0.0, 0.0, 0.0)), "{level}");
            }
        }
    }

    fn subnormals_are_not_flushed() {
        let tiny = f32::from_bits(3);
        for &level in available() {
            let got = probe::floats(level, &[tiny; 9], [&[1.0; 9]; 4]);
            assert_eq!(got.dot, f32::from_bits(27), "{level}");
            let got = probe::halves(level, &[1.0; 9], [&[1; 9]; 4]);
            assert_eq!(got.dot, 9.0 / 16_777_216.0, "{level}: nine times the smallest half");
        }
    }

    fn the_door_sees_every_bad_component() {
        for len in (0..140).chain([1000]) {
            let fine: Vec<f32> = [f32::MAX, f32::MIN, 0.0, -0.0, f32::from_bits(1), 1.0].repeat(len)[..len].to_vec();
            assert!(all_finite(&fine), "{len}");
            for at in 0..len {
                for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0x7f80_0001)] {
                    let mut vector = fine.clone();
                    vector[at] = bad;
                    assert!(!all_finite(&vector), "{len} {at} {bad}");
                }
            }
        }
    }

    fn normalizing_gives_unit_length() {
        let mut values = Values::new(8);
        for len in [1, 2, 3, 8, 9, 100, 768] {
            let vector = values.floats(len);
            // Scales at which a sum of squares in single precision would overflow or vanish.
            for scale in [1.0f32, 1e-30, 1e30, 1e-44] {
                let mut unit: Vec<f32> = vector.iter().map(|x| x * scale).collect();
                if unit.iter().all(|&x| x == 0.0) {
                    continue;
                }
                let exact = unit.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
                let norm = normalize(&mut unit);
                assert!((f64::from(norm) - exact).abs() <= exact * 1e-6 + 1e-45, "{len} {scale}: {norm} {exact}");
                assert!((norm_squared(&unit) - 1.0).abs() < 1e-5, "{len} {scale}: {}", norm_squared(&unit));
            }
        }
    }

    fn vectors_without_direction_are_left_alone() {
        for vector in [vec![], vec![0.0; 5], vec![1.0, f32::INFINITY], vec![f32::NAN, 2.0]] {
            let mut after = vector.clone();
            let norm = normalize(&mut after);
            let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
            assert_eq!(bits(&after), bits(&vector));
            assert!(norm == 0.0 || !norm.is_finite());
        }
    }

    fn norms_are_the_same_bits_everywhere() {
        // Computed apart from this crate, in double precision in the order documented there: replicas on different
        // machines must store the same unit vectors.
        let mut vector = Values::new(2024).floats(1003);
        assert_eq!(norm_squared(&vector).to_bits(), NORM_SQUARED_BITS);
        normalize(&mut vector);
        let hash = vector.iter().fold(0u32, |hash, x| hash.rotate_left(5).wrapping_mul(0x9e37_79b1) ^ x.to_bits());
        assert_eq!(hash, UNIT_VECTOR_HASH);
    }
}

const NORM_SQUARED_BITS: u32 = 0x43a8_ead2;
const UNIT_VECTOR_HASH: u32 = 0xd58d_445a;
