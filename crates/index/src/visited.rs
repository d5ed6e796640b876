//! Which rows a traversal has already scored: one bit a row.

/// Above this many words the set clears only what was touched; below, a plain fill is cheaper than keeping a log.
const FILL_WORDS_MAX: usize = 1 << 12;

/// A reusable bitset over rows.
#[derive(Debug, Default)]
pub(crate) struct VisitedSet {
    words: Vec<u64>,
    /// Words set since the last reset; kept only for large sets.
    touched: Vec<u32>,
}

impl VisitedSet {
    /// Forgets all rows and makes room for rows below `rows`.
    pub(crate) fn reset(&mut self, rows: u32) {
        let words = (rows as usize).div_ceil(64);
        if self.words.len() <= FILL_WORDS_MAX {
            self.words.fill(0);
        } else {
            for word in self.touched.drain(..) {
                self.words[word as usize] = 0;
            }
        }
        self.touched.clear();
        if self.words.len() < words {
            // A set that has just become large starts clean, so its (empty) log is right.
            self.words.resize(words, 0);
        }
    }

    /// The set as words of 32 rows: bit `row % 32` of word `row / 32`.
    #[inline(always)]
    pub(crate) fn words32(&self) -> &[u32] {
        // Little-endian, as everything in this crate: the low half of a word comes first.
        bytemuck::cast_slice(&self.words)
    }

    /// Adds rows below the size given to `reset`, moves those that were new to the front, and gives their number.
    #[inline(always)]
    pub(crate) fn insert_all(&mut self, rows: &mut [u32]) -> usize {
        let mut kept = 0;
        if self.words.len() > FILL_WORDS_MAX {
            for position in 0..rows.len() {
                let row = rows[position];
                rows[kept] = row;
                kept += usize::from(self.insert(row));
            }
            return kept;
        }
        for position in 0..rows.len() {
            let row = rows[position];
            let (word, bit) = (&mut self.words[(row >> 6) as usize], 1_u64 << (row & 63));
            rows[kept] = row;
            kept += usize::from(*word & bit == 0);
            *word |= bit;
        }
        kept
    }

    /// Adds a row below the size given to `reset`; returns whether it was new.
    #[inline(always)]
    pub(crate) fn insert(&mut self, row: u32) -> bool {
        let index = (row >> 6) as usize;
        let bit = 1_u64 << (row & 63);
        let large = self.words.len() > FILL_WORDS_MAX;
        let word = &mut self.words[index];
        let fresh = *word & bit == 0;
        if large && *word == 0 {
            self.touched.push(index as u32);
        }
        *word |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_on_reset_small_and_large() {
        for rows in [1, 64, 65, 5_000_000] {
            let mut set = VisitedSet::default();
            for _ in 0..3 {
                set.reset(rows);
                for row in [0, rows / 2, rows - 1] {
                    set.insert(row);
                    assert!(!set.insert(row));
                }
                set.reset(rows);
                for row in [rows / 2, rows - 1] {
                    assert!(set.insert(row) || rows < 3, "row {row} of {rows} was remembered");
                }
            }
        }
    }
}
