//! AVX2: codes of sketches, and words tested and packed eight at a time.

use std::arch::x86_64::*;

use crate::lanes::{CodeLanes, WordLanes};
use crate::x86::Avx2;

// In this file each intrinsic is called under the same proof: `self` exists, so the CPU has AVX2.
impl CodeLanes for Avx2 {
    /// Lanes of 16 bits.
    type Nibbles = __m256i;

    #[inline(always)]
    fn zero_nibbles(self) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn add_nibble_products(self, sums: __m256i, codes: __m256i, signed: __m256i) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_add_epi16(sums, _mm256_maddubs_epi16(codes, signed)) }
    }

    #[inline(always)]
    fn widen_nibbles(self, sums: __m256i, nibbles: __m256i) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(nibbles, _mm256_set1_epi16(1))) }
    }

    #[inline(always)]
    fn low_nibbles(self, bytes: __m256i) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_and_si256(bytes, _mm256_set1_epi8(15)) }
    }

    #[inline(always)]
    fn high_nibbles(self, bytes: __m256i) -> __m256i {
        // There is no shift of bytes; what a shift of 16 bits brings in from the next byte is masked away.
        // SAFETY: the token.
        unsafe { _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(15)) }
    }

    #[inline(always)]
    fn spread_bits(self, bits: u64, value: u8) -> __m256i {
        // Each byte of the bits in eight places, and in each place one bit of it left: of 0 and that bit, which is it?
        // SAFETY: the token.
        unsafe {
            let word = _mm256_set1_epi32((bits as u32).cast_signed());
            let places =
                _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
            let left = _mm256_and_si256(_mm256_shuffle_epi8(word, places), bit);
            _mm256_and_si256(_mm256_cmpeq_epi8(left, bit), _mm256_set1_epi8(value.cast_signed()))
        }
    }

    #[inline(always)]
    fn or_bytes(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_or_si256(a, b) }
    }

    #[inline(always)]
    fn add_quads(self, sums: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
        // Two products of at most 127² are 32 258 and do not saturate, but a third would.
        // SAFETY: the token.
        unsafe {
            let pairs = _mm256_maddubs_epi16(unsigned, signed);
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn splat_quad(self, quad: [u8; 4]) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_set1_epi32(i32::from_le_bytes(quad)) }
    }

    #[inline(always)]
    unsafe fn store_sums(self, to: *mut i32, sums: __m256i) {
        // SAFETY: the token; the caller vouches for eight words.
        unsafe { _mm256_storeu_si256(to.cast(), sums) }
    }

    #[inline(always)]
    fn totals(self, [a, b, c, d]: [__m256i; 4]) -> [u32; 4] {
        let mut totals = [0; 4];
        // In each 128 bits: a₀+a₂ b₀+b₂ a₁+a₃ b₁+b₃, the same of c and d, then a b c d.
        // SAFETY: the token; `totals` has four words.
        unsafe {
            let ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            let four = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
            let four = _mm_add_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256::<1>(four));
            _mm_storeu_si128(totals.as_mut_ptr().cast(), four);
        }
        totals
    }
}

/// For each mask of eight words the places of those chosen, in order; the rest is 0.
static CHOSEN: [[u8; 8]; 256] = chosen();

const fn chosen() -> [[u8; 8]; 256] {
    let mut table = [[0; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut place, mut count) = (0, 0);
        while place < 8 {
            if mask >> place & 1 == 1 {
                table[mask][count] = place as u8;
                count += 1;
            }
            place += 1;
        }
        mask += 1;
    }
    table
}

/// The top bits of eight words.
#[inline(always)]
fn top_bits(_proof: Avx2, words: __m256i) -> u32 {
    // SAFETY: the token.
    unsafe { _mm256_movemask_ps(_mm256_castsi256_ps(words)).cast_unsigned() }
}

impl WordLanes for Avx2 {
    const WORDS: usize = 8;
    type W = __m256i;

    #[inline(always)]
    unsafe fn load_words(self, from: *const u32) -> __m256i {
        // SAFETY: the token; the caller vouches for eight words.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load_words_part(self, from: *const u32, count: usize, fill: u32) -> __m256i {
        debug_assert!(0 < count && count < 8);
        // SAFETY: the token; lanes whose mask is clear are not read, and the caller vouches for the first `count`.
        unsafe {
            let mask = _mm256_cmpgt_epi32(self.splat_word(count as u32), self.count_up(0));
            let read = _mm256_maskload_epi32(from.cast(), mask);
            _mm256_blendv_epi8(self.splat_word(fill), read, mask)
        }
    }

    #[inline(always)]
    fn splat_word(self, word: u32) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    fn count_up(self, first: u32) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_add_epi32(self.splat_word(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
    }

    #[inline(always)]
    fn min_words(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_min_epu32(a, b) }
    }

    #[inline(always)]
    fn smallest(self, words: __m256i) -> u32 {
        // SAFETY: the token.
        unsafe {
            let four = _mm_min_epu32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            let two = _mm_min_epu32(four, _mm_shuffle_epi32::<0b11_10>(four));
            let one = _mm_min_epu32(two, _mm_shuffle_epi32::<0b01>(two));
            _mm_cvtsi128_si32(one).cast_unsigned()
        }
    }

    #[inline(always)]
    fn equal(self, a: __m256i, b: __m256i) -> u32 {
        // SAFETY: the token.
        top_bits(self, unsafe { _mm256_cmpeq_epi32(a, b) })
    }

    #[inline(always)]
    fn below(self, floats: __m256i, gate: f32) -> u32 {
        // SAFETY: the token.
        unsafe {
            let less = _mm256_cmp_ps::<_CMP_LT_OQ>(_mm256_castsi256_ps(floats), _mm256_set1_ps(gate));
            _mm256_movemask_ps(less).cast_unsigned()
        }
    }

    #[inline(always)]
    unsafe fn clear_bits(self, ids: __m256i, bits: *const u32, limit: u32) -> u32 {
        // There is no unsigned comparison: an id is out of range if it is the larger of itself and the limit.
        // SAFETY: the token; lanes out of range are not read, and for the others the caller vouches. An index is
        // below 2²⁷, so it is not negative.
        unsafe {
            let out_of_range = _mm256_cmpeq_epi32(_mm256_max_epu32(ids, self.splat_word(limit)), ids);
            let in_range = _mm256_xor_si256(out_of_range, self.splat_word(u32::MAX));
            let index = _mm256_srli_epi32::<5>(ids);
            let word = _mm256_mask_i32gather_epi32::<4>(_mm256_setzero_si256(), bits.cast(), index, in_range);
            // The bit goes to the top: to the left by 31 less its number.
            let shift = _mm256_andnot_si256(ids, self.splat_word(31));
            top_bits(self, _mm256_andnot_si256(_mm256_sllv_epi32(word, shift), in_range))
        }
    }

    #[inline(always)]
    unsafe fn store_chosen(self, to: *mut u32, words: __m256i, mask: u32) {
        let places = &CHOSEN[mask as usize & 255];
        // SAFETY: the token; the table's entry has the eight bytes read, and the caller vouches for eight words.
        unsafe {
            let places = _mm256_cvtepu8_epi32(_mm_loadl_epi64(places.as_ptr().cast()));
            _mm256_storeu_si256(to.cast(), _mm256_permutevar8x32_epi32(words, places));
        }
    }
}
