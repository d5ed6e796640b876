//! AVX-512 without VNNI: codes of sketches, and words tested and packed sixteen at a time.

use std::arch::x86_64::*;

use crate::lanes::{CodeLanes, WordLanes};
use crate::x86::Avx512;

// In this file each intrinsic is called under the same proof: `self` exists, so the CPU has AVX-512 F, BW, DQ, VL.
impl CodeLanes for Avx512 {
    /// Lanes of 16 bits.
    type Nibbles = __m512i;

    #[inline(always)]
    fn zero_nibbles(self) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn add_nibble_products(self, sums: __m512i, codes: __m512i, signed: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_add_epi16(sums, _mm512_maddubs_epi16(codes, signed)) }
    }

    #[inline(always)]
    fn widen_nibbles(self, sums: __m512i, nibbles: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_add_epi32(sums, _mm512_madd_epi16(nibbles, _mm512_set1_epi16(1))) }
    }

    #[inline(always)]
    fn low_nibbles(self, bytes: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_and_si512(bytes, _mm512_set1_epi8(15)) }
    }

    #[inline(always)]
    fn high_nibbles(self, bytes: __m512i) -> __m512i {
        // As in AVX2: a shift of 16 bits, and what it brings in from the next byte is masked away.
        // SAFETY: the token.
        unsafe { _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), _mm512_set1_epi8(15)) }
    }

    #[inline(always)]
    fn spread_bits(self, bits: u64, value: u8) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_maskz_set1_epi8(bits, value.cast_signed()) }
    }

    #[inline(always)]
    fn or_bytes(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn add_quads(self, sums: __m512i, unsigned: __m512i, signed: __m512i) -> __m512i {
        // As in AVX2: two products of at most 127² do not saturate.
        // SAFETY: the token.
        unsafe {
            let pairs = _mm512_maddubs_epi16(unsigned, signed);
            _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn splat_quad(self, quad: [u8; 4]) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_set1_epi32(i32::from_le_bytes(quad)) }
    }

    #[inline(always)]
    unsafe fn store_sums(self, to: *mut i32, sums: __m512i) {
        // SAFETY: the token; the caller vouches for sixteen words.
        unsafe { _mm512_storeu_si512(to.cast(), sums) }
    }

    #[inline(always)]
    fn totals(self, [a, b, c, d]: [__m512i; 4]) -> [u32; 4] {
        let mut totals = [0; 4];
        // As in AVX2: in each 128 bits a₀+a₂ b₀+b₂ a₁+a₃ b₁+b₃, the same of c and d, then a b c d. Adding up the halves
        // of each register first was slower on Zen 4.
        // SAFETY: the token; `totals` has four words.
        unsafe {
            let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            let four = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
            let four = _mm256_add_epi32(_mm512_castsi512_si256(four), _mm512_extracti64x4_epi64::<1>(four));
            let four = _mm_add_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256::<1>(four));
            _mm_storeu_si128(totals.as_mut_ptr().cast(), four);
        }
        totals
    }
}

impl WordLanes for Avx512 {
    const WORDS: usize = 16;
    type W = __m512i;

    #[inline(always)]
    unsafe fn load_words(self, from: *const u32) -> __m512i {
        // SAFETY: the token; the caller vouches for sixteen words.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load_words_part(self, from: *const u32, count: usize, fill: u32) -> __m512i {
        debug_assert!(0 < count && count < 16);
        // SAFETY: the token; lanes outside the mask are neither read nor faulted on, and the caller vouches for the
        // first `count`.
        unsafe { _mm512_mask_loadu_epi32(self.splat_word(fill), (1 << count) - 1, from.cast()) }
    }

    #[inline(always)]
    fn splat_word(self, word: u32) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    fn count_up(self, first: u32) -> __m512i {
        // SAFETY: the token.
        unsafe {
            let places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            _mm512_add_epi32(self.splat_word(first), places)
        }
    }

    #[inline(always)]
    fn min_words(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_min_epu32(a, b) }
    }

    #[inline(always)]
    fn smallest(self, words: __m512i) -> u32 {
        // SAFETY: the token.
        unsafe { _mm512_reduce_min_epu32(words) }
    }

    #[inline(always)]
    fn equal(self, a: __m512i, b: __m512i) -> u32 {
        // SAFETY: the token.
        u32::from(unsafe { _mm512_cmpeq_epi32_mask(a, b) })
    }

    #[inline(always)]
    fn below(self, floats: __m512i, gate: f32) -> u32 {
        // SAFETY: the token.
        u32::from(unsafe {
            _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_castsi512_ps(floats), _mm512_set1_ps(gate))
        })
    }

    #[inline(always)]
    unsafe fn clear_bits(self, ids: __m512i, bits: *const u32, limit: u32) -> u32 {
        // SAFETY: the token; lanes out of range are not read, and for the others the caller vouches. An index is
        // below 2²⁷, so it is not negative.
        u32::from(unsafe {
            let in_range = _mm512_cmplt_epu32_mask(ids, self.splat_word(limit));
            let index = _mm512_srli_epi32::<5>(ids);
            let word = _mm512_mask_i32gather_epi32::<4>(_mm512_setzero_si512(), in_range, index, bits.cast());
            // A rotation takes its count modulo 32.
            let bit = _mm512_rolv_epi32(self.splat_word(1), ids);
            _mm512_mask_testn_epi32_mask(in_range, word, bit)
        })
    }

    #[inline(always)]
    unsafe fn store_chosen(self, to: *mut u32, words: __m512i, mask: u32) {
        // Packed in a register and stored whole: packing into memory is microcode on Zen 4, some 140 cycles.
        // SAFETY: the token; the caller vouches for sixteen words.
        unsafe { _mm512_storeu_si512(to.cast(), _mm512_maskz_compress_epi32(mask as __mmask16, words)) }
    }
}
