//! What inverted lists are built with, and how far a search looks into them.

use crate::ann::SearchParams;

/// The parameters of an IVF-PQ index. They are fixed when it is made and kept with it, but for the probing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IvfParams {
    /// Lists, 1 to 65 536; 0 takes about the square root of the rows the index is made for.
    pub lists: u32,
    /// Values that one 4-bit code stands for, 1 to 64. Fewer give finer codes and more of them: a row takes
    /// `dim ÷ (2 · sub_dim)` bytes. The codes of a row are at most 1 040.
    pub sub_dim: u16,
    /// Rows there must be before the lists are trained without a flush; 0 takes 32 for each list. Rows below it
    /// are the caller's to scan.
    pub train_rows: u32,
    /// Where the training sample and its starting points are drawn from.
    pub seed: u64,
    /// How far a search looks.
    pub probing: Probing,
}

impl Default for IvfParams {
    fn default() -> IvfParams {
        IvfParams { lists: 0, sub_dim: 4, train_rows: 0, seed: 0, probing: Probing::default() }
    }
}

/// What `ef` means to inverted lists.
///
/// A search compares the best `ef` rows exactly, chosen by their codes among `ef × rows_per_candidate` rows: so many
/// it scans, nearest lists first. Under a filter that lets a share `s` through it scans `1 ÷ √s` times as many, since
/// fewer neighbours lie farther apart, and goes on until `ef` rows of the set are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probing {
    /// Rows scanned for each candidate, at least 1.
    pub rows_per_candidate: u32,
    /// Lists looked into whatever `ef` is (`nprobe`); 0 goes by rows.
    pub lists: u32,
    /// Rows compared exactly whatever `ef` is; 0 goes by `ef`.
    pub rerank: u32,
}

impl Probing {
    /// The same, but for what a search asks otherwise.
    pub(super) fn asked(self, params: &SearchParams) -> Probing {
        let or = |asked: u32, usual: u32| if asked == 0 { usual } else { asked };
        Probing {
            lists: or(params.lists, self.lists),
            rerank: or(params.rerank, self.rerank),
            rows_per_candidate: self.rows_per_candidate,
        }
    }
}

impl Default for Probing {
    fn default() -> Probing {
        // Fastest at recall 0.95: 60 on fashion-mnist, 120 to 190 on debian-packages; 100 is within a tenth on both.
        Probing { rows_per_candidate: 100, lists: 0, rerank: 0 }
    }
}

/// A parameter out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {got}, it must be {min} to {max}")]
pub struct IvfParamsError {
    /// The parameter.
    pub name: &'static str,
    /// Its value.
    pub got: u64,
    /// The least value allowed.
    pub min: u64,
    /// The greatest value allowed.
    pub max: u64,
}

/// The most lists there can be.
pub(super) const LISTS_MAX: u32 = 1 << 16;

const _: () = assert!(dvse_types::CODES_MAX == dvse_simd::SCAN_COLUMNS_MAX);

impl IvfParams {
    /// Checks every parameter against its range, for vectors of `dim` values.
    ///
    /// # Errors
    /// The first parameter out of range.
    pub fn check(&self, dim: usize) -> Result<(), IvfParamsError> {
        // A code of one value each is the finest there is; more than a scan can sum is refused.
        let finest = (dim as u64).div_ceil(dvse_simd::SCAN_COLUMNS_MAX as u64).max(1);
        let ranges = [
            ("lists", u64::from(self.lists), 0, u64::from(LISTS_MAX)),
            ("sub_dim", u64::from(self.sub_dim), finest, finest.max(64)),
            (
                "probing.rows_per_candidate",
                u64::from(self.probing.rows_per_candidate),
                1,
                u64::from(u32::MAX),
            ),
        ];
        for (name, got, min, max) in ranges {
            if got < min || got > max {
                return Err(IvfParamsError { name, got, min, max });
            }
        }
        Ok(())
    }

    /// The number of lists of an index made for `rows_max` rows.
    pub(super) fn lists_for(&self, rows_max: u32) -> u32 {
        if self.lists != 0 {
            return self.lists;
        }
        // A multiple of 16: centroids are scored in blocks of so many. The square root balances the work on
        // centroids against the work on rows.
        rows_max.isqrt().next_multiple_of(16).clamp(16, LISTS_MAX)
    }

    /// The number of rows at which lists are trained without a flush.
    pub(super) fn train_at(&self, rows_max: u32) -> u32 {
        if self.train_rows != 0 { self.train_rows } else { self.lists_for(rows_max).saturating_mul(32) }
    }
}
