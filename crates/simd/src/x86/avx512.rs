//! AVX-512 F, BW, DQ and VL: sixteen floats or 64 bytes at a time, with masked tails. Halves are AVX2's.

use std::arch::x86_64::*;

use crate::isa::sealed::Token;
use crate::isa_from_lanes::isa_from_lanes;
use crate::lanes::{ByteLanes, Lanes};
use crate::x86::Avx2;

/// The token of [`Level::Avx512`](crate::Level::Avx512).
#[derive(Clone, Copy, Debug)]
pub struct Avx512(Avx2);

impl Avx512 {
    /// A token, if this CPU has AVX-512 F, BW, DQ and VL besides all that [`Avx2`] wants.
    #[inline]
    #[must_use]
    pub fn new() -> Option<Avx512> {
        let present = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        Avx2::new().filter(|_| present).map(Avx512)
    }

    /// The level whose halves these are. Widening eight of them twice is faster on Zen 4 than widening sixteen once:
    /// four rows of 768 took 18.7 ns each against 25.6.
    #[inline(always)]
    pub(super) fn lower(self) -> Avx2 {
        self.0
    }
}

impl Token for Avx512 {
    #[inline(always)]
    unsafe fn conjure() -> Self {
        // SAFETY: the caller vouches for a CPU with more than AVX2 needs.
        Avx512(unsafe { Avx2::conjure() })
    }
}

isa_from_lanes!(
    Avx512,
    Avx512,
    "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl",
    floats own,
    halves lower,
    words own
);

/// A mask of the first `count` of 16 lanes, 0 < count < 16.
#[inline(always)]
fn first_of_16(count: usize) -> __mmask16 {
    debug_assert!(0 < count && count < 16);
    (1 << count) - 1
}

/// A mask of the first `count` of 64 lanes, 0 < count < 64.
#[inline(always)]
fn first_of_64(count: usize) -> __mmask64 {
    debug_assert!(0 < count && count < 64);
    (1 << count) - 1
}

// In this block each intrinsic is called under the same proof: `self` exists, so the CPU has AVX-512 F, BW, DQ, VL.
impl Lanes for Avx512 {
    const FLOATS: usize = 16;
    type F = __m512;

    #[inline(always)]
    fn zero(self) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: the token; the caller vouches for sixteen floats, and `loadu` asks for no alignment.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_part(self, from: *const f32, count: usize) -> __m512 {
        // SAFETY: the token; lanes outside the mask are neither read nor faulted on, and the caller vouches for the
        // first `count`.
        unsafe { _mm512_maskz_loadu_ps(first_of_16(count), from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m512) {
        // SAFETY: the token; the caller vouches for sixteen floats.
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, value: __m512) -> f32 {
        // SAFETY: the token.
        unsafe { _mm512_reduce_add_ps(value) }
    }

    #[inline(always)]
    fn sum_each(self, [a, b, c, d]: [__m512; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        // As in AVX2: in each 128 bits a₀+a₂ b₀+b₂ a₁+a₃ b₁+b₃, the same of c and d, then a b c d.
        // SAFETY: the token; `sums` has four floats.
        unsafe {
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let (low, high) =
                (_mm512_shuffle_ps::<0b01_00_01_00>(ab, cd), _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd));
            let four = _mm512_add_ps(low, high);
            let four = _mm256_add_ps(_mm512_castps512_ps256(four), _mm512_extractf32x8_ps::<1>(four));
            let four = _mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps::<1>(four));
            _mm_storeu_ps(sums.as_mut_ptr(), four);
        }
        sums
    }
}

// As above.
impl ByteLanes for Avx512 {
    const BYTES: usize = 64;
    type B = __m512i;
    type Sums = __m512i;

    #[inline(always)]
    fn zero_sums(self) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> __m512i {
        // SAFETY: the token; the caller vouches for 64 bytes, and `loadu` asks for no alignment.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load_bytes_part(self, from: *const u8, count: usize) -> __m512i {
        // SAFETY: the token; lanes outside the mask are neither read nor faulted on, and the caller vouches for the
        // first `count`.
        unsafe { _mm512_maskz_loadu_epi8(first_of_64(count), from.cast()) }
    }

    #[inline(always)]
    fn flip_signs(self, bytes: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_xor_si512(bytes, _mm512_set1_epi8(i8::MIN)) }
    }

    #[inline(always)]
    fn add_squared_differences(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // As in AVX2: the union of the two saturating differences is |a − b|.
        // SAFETY: the token.
        unsafe {
            let difference = _mm512_or_si512(_mm512_subs_epu8(a, b), _mm512_subs_epu8(b, a));
            let zero = _mm512_setzero_si512();
            let low = _mm512_unpacklo_epi8(difference, zero);
            let high = _mm512_unpackhi_epi8(difference, zero);
            let sums = _mm512_add_epi32(sums, _mm512_madd_epi16(low, low));
            _mm512_add_epi32(sums, _mm512_madd_epi16(high, high))
        }
    }

    #[inline(always)]
    fn add_products_u8(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe {
            let zero = _mm512_setzero_si512();
            let low = _mm512_madd_epi16(_mm512_unpacklo_epi8(a, zero), _mm512_unpacklo_epi8(b, zero));
            let high = _mm512_madd_epi16(_mm512_unpackhi_epi8(a, zero), _mm512_unpackhi_epi8(b, zero));
            _mm512_add_epi32(_mm512_add_epi32(sums, low), high)
        }
    }

    #[inline(always)]
    fn add_products_i8(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe {
            let (a_low, a_high) = (_mm512_unpacklo_epi8(a, a), _mm512_unpackhi_epi8(a, a));
            let (b_low, b_high) = (_mm512_unpacklo_epi8(b, b), _mm512_unpackhi_epi8(b, b));
            let low = _mm512_madd_epi16(_mm512_srai_epi16::<8>(a_low), _mm512_srai_epi16::<8>(b_low));
            let high = _mm512_madd_epi16(_mm512_srai_epi16::<8>(a_high), _mm512_srai_epi16::<8>(b_high));
            _mm512_add_epi32(_mm512_add_epi32(sums, low), high)
        }
    }

    #[inline(always)]
    fn add_sums(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn total(self, sums: __m512i) -> u32 {
        // SAFETY: the token.
        unsafe { _mm512_reduce_add_epi32(sums).cast_unsigned() }
    }
}
