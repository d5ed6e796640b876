//! Which rows of a segment are alive.

/// A bitmap over the rows of one segment, and how many of its bits are set.
///
/// A view holds it behind an `Arc`, and a writer changes its own copy before publishing: a reader's rows never die
/// under it, and the bitmap is at hand in the form in which an index takes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LiveRows {
    words: Vec<u64>,
    rows: u32,
    live: u32,
}

impl LiveRows {
    /// `rows` rows, all alive.
    pub(crate) fn all(rows: u32) -> LiveRows {
        let mut words = vec![u64::MAX; rows.div_ceil(64) as usize];
        if let Some(last) = words.last_mut()
            && !rows.is_multiple_of(64)
        {
            *last = (1 << (rows % 64)) - 1;
        }
        LiveRows { words, rows, live: rows }
    }

    /// Takes a bitmap as it was stored; `None` when it is not one of `rows` rows.
    pub(crate) fn from_words(words: Vec<u64>, rows: u32) -> Option<LiveRows> {
        let fits = words.len() == rows.div_ceil(64) as usize
            && (rows.is_multiple_of(64) || words.last().is_none_or(|last| last >> (rows % 64) == 0));
        let live = words.iter().map(|word| word.count_ones()).sum();
        fits.then_some(LiveRows { words, rows, live })
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Rows, dead ones included.
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    pub(crate) fn live(&self) -> u32 {
        self.live
    }

    pub(crate) fn dead(&self) -> u32 {
        self.rows - self.live
    }

    pub(crate) fn contains(&self, row: u32) -> bool {
        bit(&self.words, row)
    }

    /// Adds a row that is alive.
    pub(crate) fn push(&mut self) {
        if self.rows.is_multiple_of(64) {
            self.words.push(0);
        }
        if let Some(last) = self.words.last_mut() {
            *last |= 1 << (self.rows % 64);
        }
        self.rows += 1;
        self.live += 1;
    }

    /// Marks a row dead; whether it was alive.
    pub(crate) fn kill(&mut self, row: u32) -> bool {
        let was_alive = self.contains(row);
        if was_alive {
            self.words[(row / 64) as usize] &= !(1 << (row % 64));
            self.live -= 1;
        }
        was_alive
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        ones(&self.words)
    }
}

/// Whether a bit is set; bits past the end are not.
pub(crate) fn bit(words: &[u64], row: u32) -> bool {
    words.get((row / 64) as usize).is_some_and(|word| word >> (row % 64) & 1 != 0)
}

/// Sets a bit; a row past the end is passed over.
pub(crate) fn set_bit(words: &mut [u64], row: u32) {
    if let Some(word) = words.get_mut((row / 64) as usize) {
        *word |= 1 << (row % 64);
    }
}

/// The positions of the bits that are set, ascending.
pub(crate) fn ones(words: &[u64]) -> impl Iterator<Item = u32> + '_ {
    words.iter().enumerate().flat_map(|(index, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let row = index as u32 * 64 + rest.trailing_zeros();
                rest &= rest - 1;
                row
            })
        })
    })
}

/// How many bits are set.
pub(crate) fn count_ones(words: &[u64]) -> u32 {
    words.iter().map(|word| word.count_ones()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_die_once_and_are_counted() {
        for rows in [0, 1, 63, 64, 65, 200] {
            let mut grown = LiveRows::default();
            (0..rows).for_each(|_| grown.push());
            assert_eq!(grown, LiveRows::all(rows));
            assert_eq!(LiveRows::from_words(grown.words().to_vec(), rows), Some(grown.clone()));
            assert!(!grown.kill(rows));
            if rows > 0 {
                assert!(grown.kill(rows - 1) && !grown.kill(rows - 1));
                assert_eq!((grown.live(), grown.dead(), grown.rows()), (rows - 1, 1, rows));
                assert_eq!(grown.iter().collect::<Vec<_>>(), (0..rows - 1).collect::<Vec<_>>());
            }
        }
        assert_eq!(LiveRows::from_words(vec![0b10], 1), None);
        assert_eq!(LiveRows::from_words(vec![], 1), None);
    }
}
