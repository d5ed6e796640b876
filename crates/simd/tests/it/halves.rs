//! Half precision against its definition: all 65 536 halves, and every boundary of rounding.

use dvse_simd::{Isa, Op, available, dispatch, f16_bits_to_f32, f16_to_f32, f32_to_f16, f32_to_f16_bits};

/// The value of a half by the book, in double precision.
fn by_the_book(half: u16) -> f64 {
    let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(half >> 10 & 0x1f), f64::from(half & 0x3ff));
    match exponent {
        0 => sign * fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        _ => sign * (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

struct Widen<'a>(&'a [u16], &'a mut [f32]);

impl Op for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        isa.f16_to_f32(self.0, self.1);
    }
}

struct Narrow<'a>(&'a [f32], &'a mut [u16]);

impl Op for Narrow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        isa.f32_to_f16(self.0, self.1);
    }
}

tests! {
    fn every_half_has_its_value() {
        for half in 0..=u16::MAX {
            let (got, want) = (f16_bits_to_f32(half), by_the_book(half));
            assert!(f64::from(got) == want || (got.is_nan() && want.is_nan()), "{half:#06x}: {got} {want}");
            assert_eq!(got.is_sign_negative(), half & 0x8000 != 0, "{half:#06x}");
        }
    }

    fn every_level_widens_to_the_same_bits() {
        let halves: Vec<u16> = (0..=u16::MAX).collect();
        for &level in available() {
            for len in [halves.len(), 0, 1, 3, 7, 9, 17, 31] {
                let mut got = vec![0.0; len];
                dispatch(level, Widen(&halves[..len], &mut got));
                for (half, got) in halves.iter().zip(got) {
                    assert_eq!(got.to_bits(), f16_bits_to_f32(*half).to_bits(), "{level} {half:#06x}");
                }
            }
        }
    }

    fn halves_survive_the_round_trip() {
        for half in 0..=u16::MAX {
            let back = f32_to_f16_bits(f16_bits_to_f32(half));
            let quiet = if half & 0x7fff > 0x7c00 { half | 0x0200 } else { half };
            assert_eq!(back, quiet, "{half:#06x}");
        }
    }

    fn every_level_rounds_to_nearest_even() {
        // Around every half that is not a NaN, up to the one after the largest: the half itself, the middle to the
        // next, and the floats beside both.
        let mut values = Vec::new();
        let mut want = Vec::new();
        for half in 0..0x7c00u16 {
            let (here, next) = (f16_bits_to_f32(half), by_the_book(half));
            // Above the largest half the next step of the grid counts, though infinity stands there.
            let above = if half == 0x7bff { 65_536.0 } else { by_the_book(half + 1) };
            let middle = ((next + above) / 2.0) as f32;
            let to_even = if half % 2 == 0 { half } else { half + 1 };
            values.extend([here, here.next_up(), middle.next_down(), middle, middle.next_up()]);
            want.extend([half, half, half, to_even, half + 1]);
        }
        values.extend([f32::MAX, f32::INFINITY, f32::from_bits(1), 1e-10]);
        want.extend([0x7c00, 0x7c00, 0, 0]);
        let mut wrong = Vec::new();
        for sign in [0u16, 0x8000] {
            let signed: Vec<f32> = values.iter().map(|&x| if sign == 0 { x } else { -x }).collect();
            for &level in available() {
                let mut got = vec![0; signed.len()];
                dispatch(level, Narrow(&signed, &mut got));
                for ((&value, &want), &got) in signed.iter().zip(&want).zip(&got) {
                    assert_eq!(f32_to_f16_bits(value), want | sign, "{value:e}");
                    if got != want | sign {
                        wrong.push(format!("{level} makes {got:#06x} of {value:e}"));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} values are wrong: {:?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    }

    fn nans_stay_nans_with_their_payload() {
        let nans: Vec<f32> = (0..32).map(|i| f32::from_bits(0x7f80_0001 | (i << 18) | (i << 31))).collect();
        for &level in available() {
            let mut got = vec![0; nans.len()];
            dispatch(level, Narrow(&nans, &mut got));
            for (nan, got) in nans.iter().zip(got) {
                assert!(got & 0x7fff > 0x7c00, "{level}");
                assert_eq!(got, f32_to_f16_bits(*nan), "{level} {:#x}", nan.to_bits());
            }
        }
    }

    fn slices_are_converted_by_the_best_level() {
        let halves: Vec<u16> = (0..1000).map(|i| i * 31).collect();
        let mut wide = vec![0.0; 1000];
        f16_to_f32(&halves, &mut wide);
        let mut back = vec![0; 1000];
        f32_to_f16(&wide, &mut back);
        assert_eq!(back, halves);
    }
}
