//! AVX-512 F, BW, DQ and VL: sixteen floats or 64 bytes at a time, with masked tails.

use std::arch::x86_64::*;

use crate::isa::sealed::Token;
use crate::isa_from_lanes::isa_from_lanes;
use crate::lanes::{ByteLanes, Lanes};
use crate::x86::Avx2;

/// The token of [`Level::Avx512`](crate::Level::Avx512).
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx512 {
    /// A token, if this CPU has AVX-512 F, BW, DQ and VL besides AVX2, FMA and F16C.
    #[inline]
    #[must_use]
    pub fn new() -> Option<Avx512> {
        let present = Avx2::new().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        present.then_some(Avx512(()))
    }
}

impl Token for Avx512 {
    #[inline(always)]
    unsafe fn conjure() -> Self {
        Avx512(())
    }
}

isa_from_lanes!(Avx512, Avx512, "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl", floats own, words own);

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
    unsafe fn load_half(self, from: *const u16) -> __m512 {
        // SAFETY: the token; the caller vouches for sixteen halves, 32 bytes.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_half_part(self, from: *const u16, count: usize) -> __m512 {
        // SAFETY: the token; lanes outside the mask are neither read nor faulted on, and the caller vouches for the
        // first `count`.
        unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_of_16(count), from.cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m512) {
        // SAFETY: the token; the caller vouches for sixteen floats.
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    unsafe fn store_half(self, to: *mut u16, value: __m512) {
        // SAFETY: the token; the caller vouches for sixteen halves, 32 bytes.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value)) }
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
    fn total(self, sums: __m512i) -> u32 {
        // SAFETY: the token.
        unsafe { _mm512_reduce_add_epi32(sums).cast_unsigned() }
    }
}
