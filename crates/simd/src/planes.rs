//! Kernels over codes of one or two bits that lie in planes, a bit of every value each.
//!
//! The bits of a plane become bytes in a register, each with the weight of its plane, and are multiplied with the values of
//! the query as the codes of sketches are.

use crate::lanes::CodeLanes;
use crate::scalar::check_planes;

/// Values that share a word of each plane.
const WORD_LANES: usize = 64;

/// Words whose products are summed before the sums are widened, per register of 64 bytes: a register of codes is one
/// addition, and eight are exact.
const WORDS_A_SUM: usize = 8;

/// See [`Isa::planes`](crate::Isa::planes).
#[inline(always)]
pub(crate) fn planes<L: CodeLanes, const PLANES: usize>(l: L, query: &[i8], row: &[u8]) -> i32 {
    let [sums] = plane_sums::<L, PLANES, 1>(l, query, [row]);
    l.total(sums).cast_signed()
}

/// See [`Isa::planes_x4`](crate::Isa::planes_x4).
#[inline(always)]
pub(crate) fn planes_x4<L: CodeLanes, const PLANES: usize>(l: L, query: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
    l.totals(plane_sums::<L, PLANES, 4>(l, query, rows)).map(u32::cast_signed)
}

#[inline(always)]
fn plane_sums<L: CodeLanes, const PLANES: usize, const N: usize>(
    l: L,
    query: &[i8],
    rows: [&[u8]; N],
) -> [L::Sums; N] {
    for row in rows {
        check_planes::<PLANES>(query.len(), row.len());
    }
    let words = query.len() / WORD_LANES;
    let (query, rows) = (query.as_ptr().cast::<u8>(), rows.map(<[u8]>::as_ptr));
    let mut sums = [l.zero_sums(); N];
    let mut word = 0;
    while word < words {
        let end = (word + WORDS_A_SUM * L::BYTES / WORD_LANES).min(words);
        let mut nibbles = [l.zero_nibbles(); N];
        while word < end {
            let mut bits = [[0; PLANES]; N];
            for (bits, row) in bits.iter_mut().zip(rows) {
                for (plane, bits) in bits.iter_mut().enumerate() {
                    // SAFETY: checked above: a row has PLANES planes of `words` words of eight bytes.
                    let from = unsafe { row.add(8 * (plane * words + word)).cast::<[u8; 8]>().read() };
                    *bits = u64::from_le_bytes(from);
                }
            }
            let mut lane = 0;
            while lane < WORD_LANES {
                // SAFETY: the query has `words` times 64 values, and BYTES divides 64.
                let signed = unsafe { l.load_bytes(query.add(WORD_LANES * word + lane)) };
                for (sum, bits) in nibbles.iter_mut().zip(bits) {
                    let mut codes = l.spread_bits(bits[0] >> lane, 1);
                    for (plane, bits) in bits.iter().enumerate().skip(1) {
                        codes = l.or_bytes(codes, l.spread_bits(bits >> lane, 1 << plane));
                    }
                    *sum = l.add_nibble_products(*sum, codes, signed);
                }
                lane += L::BYTES;
            }
            word += 1;
        }
        for (sum, nibbles) in sums.iter_mut().zip(nibbles) {
            *sum = l.widen_nibbles(*sum, nibbles);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulated::Emulated;
    use crate::isa::Isa;
    use crate::scalar::Scalar;

    /// Rows of any bits and of all of them: the lanes of 16 bits used here panic where they overflow.
    fn check<L: CodeLanes, const PLANES: usize>(l: L) {
        for words in [0, 1, 2, 9, 17] {
            for largest in [true, false] {
                let value = |i: usize| if largest { -127 } else { ((i * 89 % 255) as i8 ^ -128).max(-127) };
                let query: Vec<i8> = (0..WORD_LANES * words).map(value).collect();
                let rows: [Vec<u8>; 4] = std::array::from_fn(|k| {
                    (0..8 * words * PLANES)
                        .map(|i| if k == 3 { 0xff } else { (i * 37 + k * 101) as u8 })
                        .collect()
                });
                let four = rows.each_ref().map(Vec::as_slice);
                assert_eq!(planes_x4::<L, PLANES>(l, &query, four), Scalar.planes_x4::<PLANES>(&query, four));
                assert_eq!(planes::<L, PLANES>(l, &query, four[3]), Scalar.planes::<PLANES>(&query, four[3]));
            }
        }
    }

    #[test]
    fn the_algorithm_is_right_for_registers_of_any_width() {
        check::<_, 1>(Emulated::<4, 16>);
        check::<_, 2>(Emulated::<8, 32>);
        check::<_, 1>(Emulated::<16, 64>);
        check::<_, 2>(Emulated::<4, 16>);
    }
}
