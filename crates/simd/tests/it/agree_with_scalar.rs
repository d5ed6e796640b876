//! Levels agree with the definition on ordinary values: floats within rounding, integers bit for bit.

use dvse_simd::{Isa, Kernels, Level, MAX_INT_DIM, Scalar, available, f16_bits_to_f32};

use crate::probe::{self, Values, signed};

/// All short lengths, where every tail occurs, and some odd long ones.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=260).chain([383, 384, 511, 513, 768, 1000, 1537, 4099])
}

/// Σ term(x, y) in double precision, and the sum of the magnitudes, in which errors are measured.
fn exact(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> (f64, f64) {
    a.iter().zip(b).fold((0.0, 0.0), |(sum, size), (&x, &y)| {
        let t = term(f64::from(x), f64::from(y));
        (sum + t, size + t.abs())
    })
}

/// Rounding may cost one half of the last place per operation on the way, here bounded by one per sixteen components
/// and some for short vectors; the strict order of the scalar loop may cost one per component.
#[track_caller]
fn check(level: Level, len: usize, what: &str, got: f32, (want, size): (f64, f64)) {
    let places = if level == Level::Scalar { len as f64 + 4.0 } else { len as f64 / 4.0 + 8.0 };
    let bound = size * places * f64::from(f32::EPSILON) + f64::from(f32::MIN_POSITIVE);
    let error = (f64::from(got) - want).abs();
    assert!(error <= bound, "{level} {what} of {len}: {got}, want {want}, off by {error:e}, bound {bound:e}");
}

fn squared_difference(x: f64, y: f64) -> f64 {
    (x - y) * (x - y)
}

fn product(x: f64, y: f64) -> f64 {
    x * y
}

tests! {
    fn float_kernels_agree_on_every_length() {
        for len in lengths() {
            let mut values = Values::new(len as u64 + 1);
            let a = values.floats(len);
            let rows = [values.floats(len), values.floats(len), values.floats(len), values.floats(len)];
            let [b, ..] = &rows;
            for &level in available() {
                let got = probe::floats(level, &a, rows.each_ref().map(Vec::as_slice));
                check(level, len, "l2", got.l2, exact(&a, b, squared_difference));
                check(level, len, "dot", got.dot, exact(&a, b, product));
                check(level, len, "dot of parts", got.parts.0, exact(&a, b, product));
                check(level, len, "|a|²", got.parts.1, exact(&a, &a, product));
                check(level, len, "|b|²", got.parts.2, exact(b, b, product));
                for (k, row) in rows.iter().enumerate() {
                    check(level, len, "l2_x4", got.l2_x4[k], exact(&a, row, squared_difference));
                    check(level, len, "dot_x4", got.dot_x4[k], exact(&a, row, product));
                }
            }
        }
    }

    fn half_kernels_agree_on_every_length() {
        for len in lengths() {
            let mut values = Values::new(len as u64 + 77);
            let a = values.floats(len);
            let rows = [values.halves(len), values.halves(len), values.halves(len), values.halves(len)];
            let wide = rows.each_ref().map(|row| row.iter().map(|&h| f16_bits_to_f32(h)).collect::<Vec<f32>>());
            for &level in available() {
                let got = probe::halves(level, &a, rows.each_ref().map(Vec::as_slice));
                check(level, len, "l2_f16", got.l2, exact(&a, &wide[0], squared_difference));
                check(level, len, "dot_f16", got.dot, exact(&a, &wide[0], product));
                for (k, row) in wide.iter().enumerate() {
                    check(level, len, "l2_f16_x4", got.l2_x4[k], exact(&a, row, squared_difference));
                    check(level, len, "dot_f16_x4", got.dot_x4[k], exact(&a, row, product));
                }
            }
        }
    }

    fn byte_kernels_are_exact_on_every_length() {
        for len in lengths() {
            let mut values = Values::new(len as u64 + 999);
            let a = values.bytes(len);
            let rows = [values.bytes(len), values.bytes(len), values.bytes(len), values.bytes(len)];
            let rows = rows.each_ref().map(Vec::as_slice);
            let want = probe::bytes(Level::Scalar, &a, rows);
            for &level in available() {
                assert_eq!(probe::bytes(level, &a, rows), want, "{level} {len}");
            }
        }
    }

    fn byte_kernels_do_not_saturate() {
        // The extremes of both readings of a byte: 0 and 255, −128 and 127 (0x80 and 0x7f), and −1 (0xff again).
        let extremes = [0x00, 0x01, 0x7f, 0x80, 0x81, 0xfe, 0xff];
        for x in extremes {
            for y in extremes {
                for len in [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 1000, MAX_INT_DIM] {
                    let (a, b) = (vec![x; len], vec![y; len]);
                    let n = len as i64;
                    let (xi, yi) = (i64::from(x as i8), i64::from(y as i8));
                    let (xu, yu) = (i64::from(x), i64::from(y));
                    for &level in available() {
                        let got = probe::bytes(level, &a, [&b; 4]);
                        let context = format!("{level} {x} {y} {len}");
                        assert_eq!(i64::from(got.l2_u8), n * (xu - yu) * (xu - yu), "{context}");
                        assert_eq!(i64::from(got.dot_u8), n * xu * yu, "{context}");
                        assert_eq!(i64::from(got.l2_i8), n * (xi - yi) * (xi - yi), "{context}");
                        assert_eq!(i64::from(got.dot_i8), n * xi * yi, "{context}");
                        assert_eq!(got.l2_u8_x4, [got.l2_u8; 4], "{context}");
                        assert_eq!(got.dot_u8_x4, [got.dot_u8; 4], "{context}");
                        assert_eq!(got.l2_i8_x4, [got.l2_i8; 4], "{context}");
                        assert_eq!(got.dot_i8_x4, [got.dot_i8; 4], "{context}");
                    }
                }
            }
        }
    }

    fn every_pair_of_bytes_is_exact() {
        // One long row runs through all second operands, at every position of a register.
        for x in 0..=255u8 {
            let a = vec![x; 257];
            let b: Vec<u8> = (0..257).map(|i| (i % 256) as u8).collect();
            let want = probe::bytes(Level::Scalar, &a, [&b; 4]);
            let sum: i64 = b.iter().map(|&y| i64::from(x as i8) * i64::from(y as i8)).sum();
            assert_eq!(i64::from(want.dot_i8), sum);
            for &level in available() {
                assert_eq!(probe::bytes(level, &a, [&b; 4]), want, "{level} {x}");
            }
        }
    }

    fn tables_hold_the_kernels_of_their_level() {
        let mut values = Values::new(5);
        let (a, b) = (values.floats(301), values.floats(301));
        let (h, u, v) = (values.halves(301), values.bytes(301), values.bytes(301));
        let (i, j) = (signed(&u), signed(&v));
        for &level in available() {
            let table = Kernels::for_level(level);
            let floats = probe::floats(level, &a, [&b; 4]);
            let halves = probe::halves(level, &a, [&h; 4]);
            let bytes = probe::bytes(level, &u, [&v; 4]);
            assert_eq!(table.level, level);
            assert_eq!((table.l2_squared)(&a, &b), floats.l2, "{level}");
            assert_eq!((table.dot)(&a, &b), floats.dot, "{level}");
            assert_eq!((table.cosine_parts)(&a, &b), floats.parts, "{level}");
            assert_eq!((table.l2_squared_f16)(&a, &h), halves.l2, "{level}");
            assert_eq!((table.dot_f16)(&a, &h), halves.dot, "{level}");
            assert_eq!((table.l2_squared_u8)(&u, &v), bytes.l2_u8, "{level}");
            assert_eq!((table.dot_u8)(&u, &v), bytes.dot_u8, "{level}");
            assert_eq!((table.l2_squared_i8)(&i, &j), bytes.l2_i8, "{level}");
            assert_eq!((table.dot_i8)(&i, &j), bytes.dot_i8, "{level}");
        }
    }

    fn closures_run_in_vectorize() {
        let mut values = Values::new(6);
        let (a, b) = (values.floats(100), values.floats(100));
        assert_eq!(Scalar.vectorize(|| Scalar.dot(&a, &b)), Scalar.dot(&a, &b));
        #[cfg(target_arch = "x86_64")]
        if let Some(isa) = dvse_simd::Avx2::new() {
            assert_eq!(isa.vectorize(|| isa.dot(&a, &b)), isa.dot(&a, &b));
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(isa) = dvse_simd::Avx512::new() {
            assert_eq!(isa.vectorize(|| isa.dot(&a, &b)), isa.dot(&a, &b));
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(isa) = dvse_simd::Avx512Vnni::new() {
            assert_eq!(isa.vectorize(|| isa.dot(&a, &b)), isa.dot(&a, &b));
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(isa) = dvse_simd::Neon::new() {
            assert_eq!(isa.vectorize(|| isa.dot(&a, &b)), isa.dot(&a, &b));
        }
    }
}
