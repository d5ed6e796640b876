//! Sums of table entries that 4-bit codes pick, 32 rows at a time.
//!
//! A code of 4 bits picks one of the 16 entries of a table, and a byte shuffle picks 16 at once, so a table never
//! leaves its register while 32 rows pass (André, Kermarrec & Le Scouarnec 2015). Codes therefore lie by column:
//!
//! ```text
//! block of 32 rows   [column 0: 16 bytes] [column 1: 16 bytes] …      byte j = code of row j + 16 · code of row j + 16
//! tables             [column 0: 16 bytes] [column 1: 16 bytes] …      one byte an entry
//! sums               one u16 a row
//! ```
//!
//! Entries have at most 6 bits. So four looked-up bytes can be added as bytes before they are widened, which takes a
//! quarter of the additions of 8-bit entries, and 1 040 columns fit 16 bits; what the two bits would add is far below
//! the error of the codes.

use crate::isa::sealed::Token;

/// Rows of one block.
pub const SCAN_ROWS: usize = 32;

/// The number of columns is a multiple of this: those one register of the widest level takes. Missing columns have
/// tables of zeros.
pub const SCAN_COLUMNS: usize = 4;

/// The largest entry of a table.
pub const SCAN_ENTRY_MAX: u8 = 63;

/// The most columns whose sums fit 16 bits.
pub const SCAN_COLUMNS_MAX: usize = 1040;

/// Columns added as bytes before they are widened: 4 × 63 fits a byte.
const ADDED: usize = 4;

/// What a level does to one block.
pub(crate) trait ScanLanes: Token {
    /// Writes the sums of the 32 rows of one block.
    ///
    /// # Safety
    /// `codes` and `tables` must be valid for reading `16 · columns` bytes, `sums` for writing 32 numbers, and
    /// `columns` must be a multiple of [`SCAN_COLUMNS`].
    unsafe fn scan_block(self, codes: *const u8, tables: *const u8, columns: usize, sums: *mut u16);
}

/// The columns of some tables, and a check that codes and sums fit them.
#[inline(always)]
fn check_shape(codes: &[u8], tables: &[u8], sums: &[u16]) -> usize {
    let columns = tables.len() / 16;
    assert!(
        tables.len() == columns * 16 && columns.is_multiple_of(SCAN_COLUMNS) && columns <= SCAN_COLUMNS_MAX,
        "a scan was given tables of {} bytes: whole columns, a multiple of {SCAN_COLUMNS}, at most {SCAN_COLUMNS_MAX}",
        tables.len()
    );
    let blocks = sums.len() / SCAN_ROWS;
    assert!(
        sums.len() == blocks * SCAN_ROWS && codes.len() == blocks * columns * 16,
        "a scan was given {} bytes of codes for {} sums of {columns} columns",
        codes.len(),
        sums.len()
    );
    columns
}

/// [`Isa::fast_scan`](crate::Isa::fast_scan) of a level with registers.
#[inline(always)]
pub(crate) fn scan_blocks<S: ScanLanes>(isa: S, codes: &[u8], tables: &[u8], sums: &mut [u16]) {
    let columns = check_shape(codes, tables, sums);
    for (block, sums) in sums.chunks_exact_mut(SCAN_ROWS).enumerate() {
        // SAFETY: `check_shape` found 16 · columns bytes of codes for each 32 sums and as many bytes of tables, with
        // columns a multiple of SCAN_COLUMNS; `sums` is a chunk of 32.
        unsafe {
            let codes = codes.as_ptr().add(block * columns * 16);
            isa.scan_block(codes, tables.as_ptr(), columns, sums.as_mut_ptr());
        }
    }
}

/// The definition.
pub(crate) fn scan_blocks_plain(codes: &[u8], tables: &[u8], sums: &mut [u16]) {
    let columns = check_shape(codes, tables, sums);
    for (block, sums) in sums.chunks_exact_mut(SCAN_ROWS).enumerate() {
        sums.fill(0);
        let (low, high) = sums.split_at_mut(16);
        let codes = &codes[block * columns * 16..][..columns * 16];
        for (codes, table) in codes.chunks_exact(16).zip(tables.chunks_exact(16)) {
            for ((low, high), code) in low.iter_mut().zip(high.iter_mut()).zip(codes) {
                *low = low.wrapping_add(u16::from(table[usize::from(code & 15)]));
                *high = high.wrapping_add(u16::from(table[usize::from(code >> 4)]));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{ADDED, ScanLanes};
    use crate::x86::{Avx2, Avx512};

    // In both blocks each intrinsic is called under the same proof: `self` exists, so the CPU has the level's
    // features; pointers stay within what the caller vouches for, as each step says.

    impl ScanLanes for Avx2 {
        #[inline(always)]
        unsafe fn scan_block(self, codes: *const u8, tables: *const u8, columns: usize, sums: *mut u16) {
            // SAFETY: the token; two columns are 32 bytes, `step` of `steps = columns / 2` (exact, columns is a
            // multiple of 4) reads the bytes 32·step..32·step + 32 of both, and 4 · 8 numbers are stored.
            unsafe {
                let nibble = _mm256_set1_epi8(15);
                let zero = _mm256_setzero_si256();
                // Rows 0..16 and 16..32: sums of all bytes as 16-bit lanes, and of the odd bytes alone.
                let (mut all, mut odd) = ([zero; 2], [zero; 2]);
                let steps = columns / 2;
                let mut step = 0;
                while step < steps {
                    let end = (step + ADDED).min(steps);
                    let mut bytes = [zero; 2];
                    while step < end {
                        let code = _mm256_loadu_si256(codes.add(32 * step).cast());
                        let table = _mm256_loadu_si256(tables.add(32 * step).cast());
                        let low = _mm256_and_si256(code, nibble);
                        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(code), nibble);
                        bytes[0] = _mm256_add_epi8(bytes[0], _mm256_shuffle_epi8(table, low));
                        bytes[1] = _mm256_add_epi8(bytes[1], _mm256_shuffle_epi8(table, high));
                        step += 1;
                    }
                    for half in 0..2 {
                        all[half] = _mm256_add_epi16(all[half], bytes[half]);
                        odd[half] = _mm256_add_epi16(odd[half], _mm256_srli_epi16::<8>(bytes[half]));
                    }
                }
                for half in 0..2 {
                    let even = _mm256_sub_epi16(all[half], _mm256_slli_epi16::<8>(odd[half]));
                    let even =
                        _mm_add_epi16(_mm256_castsi256_si128(even), _mm256_extracti128_si256::<1>(even));
                    let odd = _mm_add_epi16(
                        _mm256_castsi256_si128(odd[half]),
                        _mm256_extracti128_si256::<1>(odd[half]),
                    );
                    store_rows(even, odd, sums.add(16 * half));
                }
            }
        }
    }

    impl ScanLanes for Avx512 {
        #[inline(always)]
        unsafe fn scan_block(self, codes: *const u8, tables: *const u8, columns: usize, sums: *mut u16) {
            // SAFETY: the token; four columns are 64 bytes, `step` of `steps = columns / 4` (exact) reads the bytes
            // 64·step..64·step + 64 of both, and 4 · 8 numbers are stored.
            unsafe {
                let nibble = _mm512_set1_epi8(15);
                let zero = _mm512_setzero_si512();
                let (mut all, mut odd) = ([zero; 2], [zero; 2]);
                let steps = columns / 4;
                let mut step = 0;
                while step < steps {
                    let end = (step + ADDED).min(steps);
                    let mut bytes = [zero; 2];
                    while step < end {
                        let code = _mm512_loadu_si512(codes.add(64 * step).cast());
                        let table = _mm512_loadu_si512(tables.add(64 * step).cast());
                        let low = _mm512_and_si512(code, nibble);
                        let high = _mm512_and_si512(_mm512_srli_epi16::<4>(code), nibble);
                        bytes[0] = _mm512_add_epi8(bytes[0], _mm512_shuffle_epi8(table, low));
                        bytes[1] = _mm512_add_epi8(bytes[1], _mm512_shuffle_epi8(table, high));
                        step += 1;
                    }
                    for half in 0..2 {
                        all[half] = _mm512_add_epi16(all[half], bytes[half]);
                        odd[half] = _mm512_add_epi16(odd[half], _mm512_srli_epi16::<8>(bytes[half]));
                    }
                }
                for half in 0..2 {
                    let even = _mm512_sub_epi16(all[half], _mm512_slli_epi16::<8>(odd[half]));
                    store_rows(fold(even), fold(odd[half]), sums.add(16 * half));
                }
            }
        }
    }

    /// Adds the four quarters.
    #[inline(always)]
    unsafe fn fold(value: __m512i) -> __m128i {
        // SAFETY: the callers run with AVX-512.
        unsafe {
            let half = _mm256_add_epi16(_mm512_castsi512_si256(value), _mm512_extracti64x4_epi64::<1>(value));
            _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
        }
    }

    /// Writes the sums of 16 rows: lane `i` of `even` is row `2 i`, of `odd` row `2 i + 1`.
    #[inline(always)]
    unsafe fn store_rows(even: __m128i, odd: __m128i, to: *mut u16) {
        // SAFETY: the callers run with AVX2 or more and vouch for 16 numbers at `to`; `storeu` asks for no alignment.
        unsafe {
            _mm_storeu_si128(to.cast(), _mm_unpacklo_epi16(even, odd));
            _mm_storeu_si128(to.add(8).cast(), _mm_unpackhi_epi16(even, odd));
        }
    }
}

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod aarch64 {
    use std::arch::aarch64::*;

    use super::{ADDED, ScanLanes};
    use crate::aarch64::Neon;

    impl ScanLanes for Neon {
        #[inline(always)]
        unsafe fn scan_block(self, codes: *const u8, tables: *const u8, columns: usize, sums: *mut u16) {
            // SAFETY: `self` exists, so the CPU has NEON; `column` of `columns` reads the bytes
            // 16·column..16·column + 16 of both, and 4 · 8 numbers are stored.
            unsafe {
                let nibble = vdupq_n_u8(15);
                let mut rows = [vdupq_n_u16(0); 4];
                let mut column = 0;
                while column < columns {
                    let end = (column + ADDED).min(columns);
                    let (mut low, mut high) = (vdupq_n_u8(0), vdupq_n_u8(0));
                    while column < end {
                        let code = vld1q_u8(codes.add(16 * column));
                        let table = vld1q_u8(tables.add(16 * column));
                        low = vaddq_u8(low, vqtbl1q_u8(table, vandq_u8(code, nibble)));
                        high = vaddq_u8(high, vqtbl1q_u8(table, vshrq_n_u8::<4>(code)));
                        column += 1;
                    }
                    rows[0] = vaddw_u8(rows[0], vget_low_u8(low));
                    rows[1] = vaddw_high_u8(rows[1], low);
                    rows[2] = vaddw_u8(rows[2], vget_low_u8(high));
                    rows[3] = vaddw_high_u8(rows[3], high);
                }
                for (part, rows) in rows.into_iter().enumerate() {
                    vst1q_u16(sums.add(8 * part), rows);
                }
            }
        }
    }
}
