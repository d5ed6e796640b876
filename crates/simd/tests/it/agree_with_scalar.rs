//! Levels agree with the oracle on ordinary values.

use dvse_simd::{Isa, Level, Op, Scalar, available, dispatch};

/// Floats in [−1, 1) from a small generator, the same on every run.
pub fn floats(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len).map(|_| (next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

struct Everything<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Op for Everything<'_> {
    type Output = (Level, f32, f32, (f32, f32, f32), [f32; 4], [f32; 4]);

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Self::Output {
        let Everything { a, b } = self;
        (
            I::LEVEL,
            isa.l2_squared(a, b),
            isa.dot(a, b),
            isa.cosine_parts(a, b),
            isa.l2_squared_x4(a, [b, a, b, a]),
            isa.dot_x4(a, [b, a, b, a]),
        )
    }
}

#[test]
fn float_kernels_agree_on_every_length() {
    for &level in available() {
        for len in (0..=260).chain([511, 513, 768, 1000, 1537, 4099]) {
            let (a, b) = (floats(1 + len as u64, len), floats(1000 + len as u64, len));
            let (ran, l2, dot, (ab, aa, bb), l2_x4, dot_x4) = dispatch(level, Everything { a: &a, b: &b });
            assert_eq!(ran, level);
            let bound = 1e-6 * (len as f32 + 1.0);
            let close =
                |got: f32, want: f32| assert!((got - want).abs() <= bound, "{level} {len}: {got} {want}");
            close(l2, Scalar.l2_squared(&a, &b));
            close(dot, Scalar.dot(&a, &b));
            close(ab, dot);
            close(aa, Scalar.dot(&a, &a));
            close(bb, Scalar.dot(&b, &b));
            for (got, want) in l2_x4.into_iter().zip([l2, 0.0, l2, 0.0]) {
                close(got, want);
            }
            for (got, want) in dot_x4.into_iter().zip([dot, aa, dot, aa]) {
                close(got, want);
            }
        }
    }
}
