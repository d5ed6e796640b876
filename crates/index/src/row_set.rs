//! Which rows may appear in a result.

use std::ops::Range;

/// The rows a search may return.
///
/// A row outside the set is hidden from the result but still leads the traversal on: hiding never disconnects the
/// graph. Deleted rows, rows a filter rejects and rows newer than the caller's view are all hidden this way.
#[derive(Debug, Clone, Copy)]
pub enum RowSet<'a> {
    /// Every row.
    All,
    /// Rows below this one.
    Below(u32),
    /// Rows whose bit is set: bit `row % 64` of word `row / 64`. Rows past the last word are not in the set.
    Bitmap(&'a [u64]),
}

impl RowSet<'_> {
    /// Whether a row is in the set.
    #[inline(always)]
    #[must_use]
    pub fn contains(&self, row: u32) -> bool {
        match self {
            RowSet::All => true,
            RowSet::Below(end) => row < *end,
            RowSet::Bitmap(words) => {
                words.get((row >> 6) as usize).is_some_and(|word| word >> (row & 63) & 1 != 0)
            }
        }
    }

    /// The rows from `64 · number` on that are in the set: bit by bit, the first lowest.
    #[inline(always)]
    pub(crate) fn word(&self, number: u32) -> u64 {
        match self {
            RowSet::All => u64::MAX,
            RowSet::Below(end) => match end.saturating_sub(number.saturating_mul(64)) {
                0 => 0,
                rows => u64::MAX >> (64 - rows.min(64)),
            },
            RowSet::Bitmap(words) => words.get(number as usize).copied().unwrap_or(0),
        }
    }

    /// Calls `visit` with each row of the set within a range, ascending.
    #[inline(always)]
    pub(crate) fn for_each_within(&self, range: Range<u32>, mut visit: impl FnMut(u32)) {
        match self {
            RowSet::All => range.for_each(visit),
            RowSet::Below(end) => (range.start..range.end.min(*end)).for_each(visit),
            RowSet::Bitmap(words) => {
                let first = (range.start / 64) as usize;
                let last = (range.end as usize).div_ceil(64).min(words.len());
                for (index, word) in words.iter().enumerate().take(last).skip(first) {
                    let mut word = *word;
                    while word != 0 {
                        let row = index as u32 * 64 + word.trailing_zeros();
                        word &= word - 1;
                        if range.contains(&row) {
                            visit(row);
                        }
                    }
                }
            }
        }
    }

    /// How many rows below `rows` are in the set.
    pub(crate) fn count_below(&self, rows: u32) -> u32 {
        match self {
            RowSet::All => rows,
            RowSet::Below(end) => rows.min(*end),
            RowSet::Bitmap(words) => {
                let whole = (rows / 64) as usize;
                let full: u32 = words.iter().take(whole).map(|word| word.count_ones()).sum();
                let rest = words.get(whole).map_or(0, |word| word & ((1 << (rows % 64)) - 1));
                full + rest.count_ones()
            }
        }
    }

    /// Whether every row below `rows` is in the set, as far as that can be told at once: `false` for any bitmap.
    #[must_use]
    pub fn holds_all(&self, rows: u32) -> bool {
        match self {
            RowSet::All => true,
            RowSet::Below(end) => rows <= *end,
            RowSet::Bitmap(_) => false,
        }
    }
}
