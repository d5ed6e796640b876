//! AVX2 with FMA and F16C: eight floats or 32 bytes at a time.

use std::arch::x86_64::*;

use crate::isa::sealed::Token;
use crate::isa_from_lanes::isa_from_lanes;
use crate::lanes::{ByteLanes, HalfLanes, Lanes};

/// The token of [`Level::Avx2`](crate::Level::Avx2).
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// A token, if this CPU has AVX2, FMA, F16C, BMI 1 and 2, LZCNT and POPCNT.
    #[inline]
    #[must_use]
    pub fn new() -> Option<Avx2> {
        let present = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        present.then_some(Avx2(()))
    }
}

impl Token for Avx2 {
    #[inline(always)]
    unsafe fn conjure() -> Self {
        Avx2(())
    }
}

isa_from_lanes!(Avx2, Avx2, "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt", floats own, halves own, words own);

/// Eight lanes set, then eight clear: the mask of `count` lanes starts at 8 − count.
static LANE_MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

// In this block each intrinsic is called under the same proof: `self` exists, so the CPU has AVX2, FMA and F16C.
impl Lanes for Avx2 {
    const FLOATS: usize = 8;
    type F = __m256;

    #[inline(always)]
    fn zero(self) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: the token; the caller vouches for eight floats, and `loadu` asks for no alignment.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_part(self, from: *const f32, count: usize) -> __m256 {
        debug_assert!(0 < count && count < 8);
        // SAFETY: the token; 0 < count < 8, so the mask is read at 1..=7 and its eight lanes end within the 16.
        // Lanes whose mask is clear are not read, and the caller vouches for the first `count`.
        unsafe {
            let mask = _mm256_loadu_si256(LANE_MASKS.as_ptr().add(8 - count).cast());
            _mm256_maskload_ps(from, mask)
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m256) {
        // SAFETY: the token; the caller vouches for eight floats.
        unsafe { _mm256_storeu_ps(to, value) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, value: __m256) -> f32 {
        // SAFETY: the token.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps::<1>(value));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    fn sum_each(self, [a, b, c, d]: [__m256; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        // In each 128 bits: a₀+a₂ b₀+b₂ a₁+a₃ b₁+b₃, the same of c and d, then a b c d.
        // SAFETY: the token; `sums` has four floats.
        unsafe {
            let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let (low, high) =
                (_mm256_shuffle_ps::<0b01_00_01_00>(ab, cd), _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd));
            let four = _mm256_add_ps(low, high);
            let four = _mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps::<1>(four));
            _mm_storeu_ps(sums.as_mut_ptr(), four);
        }
        sums
    }
}

// As above.
impl HalfLanes for Avx2 {
    #[inline(always)]
    unsafe fn load_half(self, from: *const u16) -> __m256 {
        // SAFETY: the token; the caller vouches for eight halves, 16 bytes.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_half_part(self, from: *const u16, count: usize) -> __m256 {
        debug_assert!(0 < count && count < 8);
        let mut whole = [0u16; 8];
        // SAFETY: the caller vouches for `count` < 8 halves at `from`; `whole` is ours and has eight.
        unsafe {
            std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), count);
            self.load_half(whole.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store_half(self, to: *mut u16, value: __m256) {
        // SAFETY: the token; the caller vouches for eight halves, 16 bytes.
        unsafe { _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value)) }
    }
}

// As above.
impl ByteLanes for Avx2 {
    const BYTES: usize = 32;
    type B = __m256i;
    type Sums = __m256i;

    #[inline(always)]
    fn zero_sums(self) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> __m256i {
        // SAFETY: the token; the caller vouches for 32 bytes, and `loadu` asks for no alignment.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load_bytes_part(self, from: *const u8, count: usize) -> __m256i {
        debug_assert!(0 < count && count < 32);
        let mut whole = [0u8; 32];
        // SAFETY: the caller vouches for `count` < 32 bytes at `from`; `whole` is ours and has 32.
        unsafe {
            std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), count);
            self.load_bytes(whole.as_ptr())
        }
    }

    #[inline(always)]
    fn flip_signs(self, bytes: __m256i) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_xor_si256(bytes, _mm256_set1_epi8(i8::MIN)) }
    }

    #[inline(always)]
    fn add_squared_differences(self, sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // One of the two saturating differences is 0, so their union is |a − b|; as 16-bit lanes of at most 255 the
        // products of `madd` and their pairs are far from 2³¹.
        // SAFETY: the token.
        unsafe {
            let difference = _mm256_or_si256(_mm256_subs_epu8(a, b), _mm256_subs_epu8(b, a));
            let zero = _mm256_setzero_si256();
            let low = _mm256_unpacklo_epi8(difference, zero);
            let high = _mm256_unpackhi_epi8(difference, zero);
            let sums = _mm256_add_epi32(sums, _mm256_madd_epi16(low, low));
            _mm256_add_epi32(sums, _mm256_madd_epi16(high, high))
        }
    }

    #[inline(always)]
    fn add_products_u8(self, sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // `maddubs` would be shorter but saturates at 16 bits; bytes widened to 16 bits cannot.
        // SAFETY: the token.
        unsafe {
            let zero = _mm256_setzero_si256();
            let low = _mm256_madd_epi16(_mm256_unpacklo_epi8(a, zero), _mm256_unpacklo_epi8(b, zero));
            let high = _mm256_madd_epi16(_mm256_unpackhi_epi8(a, zero), _mm256_unpackhi_epi8(b, zero));
            _mm256_add_epi32(_mm256_add_epi32(sums, low), high)
        }
    }

    #[inline(always)]
    fn add_products_i8(self, sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // A byte beside its copy, shifted right by 8 with the sign, is the byte widened to 16 bits.
        // SAFETY: the token.
        unsafe {
            let (a_low, a_high) = (_mm256_unpacklo_epi8(a, a), _mm256_unpackhi_epi8(a, a));
            let (b_low, b_high) = (_mm256_unpacklo_epi8(b, b), _mm256_unpackhi_epi8(b, b));
            let low = _mm256_madd_epi16(_mm256_srai_epi16::<8>(a_low), _mm256_srai_epi16::<8>(b_low));
            let high = _mm256_madd_epi16(_mm256_srai_epi16::<8>(a_high), _mm256_srai_epi16::<8>(b_high));
            _mm256_add_epi32(_mm256_add_epi32(sums, low), high)
        }
    }

    #[inline(always)]
    fn add_sums(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    fn total(self, sums: __m256i) -> u32 {
        // SAFETY: the token.
        unsafe {
            let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b11_10>(four));
            let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b01>(two));
            _mm_cvtsi128_si32(one).cast_unsigned()
        }
    }
}
