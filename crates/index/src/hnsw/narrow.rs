//! Lists of neighbours in two bytes each, for graphs of so few rows.
//!
//! A walk reads a list a step, and lists are half of what it keeps coming back to. At two bytes 32 neighbours are one
//! cache line instead of two, and the lists of 65 000 rows leave four megabytes more of the last-level cache to
//! sketches.

use dvse_simd::{AlignedBuf, Isa};

/// Stands for no neighbour, as 2³²−1 does in wide lists. No row has this number.
const EMPTY_NARROW: u16 = u16::MAX;

/// Ids made wide at a time: what one list has by default.
const WIDE: usize = 32;

/// The lists of layer 0, in memory of large pages.
#[derive(Debug)]
pub(super) struct NarrowLists(AlignedBuf<u16>);

impl NarrowLists {
    /// Copies lists of a graph of `rows` rows; `None` where there are too many rows, or none. An id that is not below `rows`
    /// (only a damaged list has one but for the empty slot) becomes an empty slot.
    pub(super) fn of(layer0: &[u32], rows: u32) -> Option<NarrowLists> {
        if rows == 0 || rows > u32::from(EMPTY_NARROW) {
            return None;
        }
        let mut lists = AlignedBuf::zeroed(layer0.len());
        for (narrow, id) in lists.iter_mut().zip(layer0) {
            *narrow = if *id < rows { *id as u16 } else { EMPTY_NARROW };
        }
        Some(NarrowLists(lists))
    }

    pub(super) fn as_slice(&self) -> &[u16] {
        &self.0
    }
}

/// [`Isa::gather_unvisited`] of a narrow list. `limit` is at most 65 535, so an empty slot is never below it.
#[inline(always)]
pub(super) fn gather_narrow<I: Isa>(
    isa: I,
    list: &[u16],
    visited: &[u32],
    limit: u32,
    out: &mut [u32],
) -> usize {
    debug_assert!(limit <= u32::from(EMPTY_NARROW), "an empty slot would be taken for a row");
    let (whole, rest) = list.as_chunks::<WIDE>();
    let mut kept = 0;
    for narrow in whole {
        // Spelled out: `map` is not always compiled into the loop.
        let mut wide = [0; WIDE];
        for (wide, narrow) in wide.iter_mut().zip(narrow) {
            *wide = u32::from(*narrow);
        }
        kept += isa.gather_unvisited(&wide, visited, limit, &mut out[kept..]);
    }
    if !rest.is_empty() {
        let mut wide = [u32::MAX; WIDE];
        for (wide, narrow) in wide.iter_mut().zip(rest) {
            *wide = u32::from(*narrow);
        }
        kept += isa.gather_unvisited(&wide[..rest.len()], visited, limit, &mut out[kept..]);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use dvse_simd::Scalar;
    use proptest::prelude::*;

    proptest! {
        /// Lists of any width, rows at the ends of what fits, ids that only a damaged list has.
        #[test]
        fn narrow_lists_give_what_wide_ones_give(
            list in prop::collection::vec(
                prop_oneof![0_u32..65_535, Just(65_534), Just(u32::MAX), 65_535_u32..70_000], 0..=100),
            seen in prop::collection::vec(0_u32..65_535, 0..40),
            limit in prop_oneof![Just(65_535_u32), Just(65_534), 0_u32..65_535],
        ) {
            let mut visited = vec![0_u32; 65_536 / 32];
            for row in list.iter().filter(|row| **row % 3 == 0 && **row < 65_536).chain(&seen) {
                visited[*row as usize / 32] |= 1 << (row % 32);
            }
            let narrow = NarrowLists::of(&list, 65_535).unwrap();
            let (mut from_wide, mut from_narrow) = (vec![0; list.len() + 16], vec![0; list.len() + 16]);
            let wide = Scalar.gather_unvisited(&list, &visited, limit, &mut from_wide);
            let kept = gather_narrow(Scalar, narrow.as_slice(), &visited, limit, &mut from_narrow);
            prop_assert_eq!(&from_narrow[..kept], &from_wide[..wide]);
        }
    }

    #[test]
    fn graphs_with_rows_beyond_two_bytes_have_none() {
        assert!(NarrowLists::of(&[0, 1], 65_535).is_some());
        assert!(NarrowLists::of(&[0, 1], 65_536).is_none());
        assert!(NarrowLists::of(&[], 0).is_none());
    }
}
