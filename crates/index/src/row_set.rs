//! Which rows may appear in a result.

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
