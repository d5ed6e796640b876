//! Where walks begin: a sample of the rows, compared with the query first.
//!
//! A hundred or so sketches in a row are read in well under a microsecond, and the nearest of them is as near as a
//! descent through upper layers would come; measured on word, sentence and image vectors, layers above the first
//! gain nothing once sketches are this cheap. Half or double as many entries are within the noise.

use dvse_simd::{AlignedBuf, Isa};

use super::codes::{CodeView, SealedCodes};
use super::computer::SketchComputer;
use super::layout::Layout;
use super::query::SketchQuery;

/// Rows compared before a walk.
pub(crate) const ENTRIES_MAX: usize = 128;

/// Bits of a key that hold the entry's number.
const NUMBER_MASK: u32 = ENTRIES_MAX as u32 - 1;

/// Rows a walk begins at.
const STARTS: usize = 3;

/// Rows to begin at and copies of their sketches.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    rows: Vec<u32>,
    numbers: Vec<u32>,
    sketches: AlignedBuf<u8>,
    taken_from: u32,
}

impl Entries {
    /// Copies the sketches of rows (at most [`ENTRIES_MAX`] of them are taken), which were chosen among the first
    /// `taken_from`.
    pub(crate) fn copy<C: CodeView>(rows: &[u32], taken_from: u32, layout: Layout, codes: &C) -> Entries {
        let rows = &rows[..rows.len().min(ENTRIES_MAX)];
        let mut sketches = AlignedBuf::zeroed(rows.len() * layout.bytes());
        for (to, row) in sketches.chunks_exact_mut(layout.bytes()).zip(rows) {
            to.copy_from_slice(codes.sketch(*row));
        }
        Entries { rows: rows.to_vec(), numbers: (0..rows.len() as u32).collect(), sketches, taken_from }
    }

    /// Evenly spread rows below `rows`, as many as are compared.
    pub(crate) fn spread(rows: u32) -> Vec<u32> {
        let count = rows.min(ENTRIES_MAX as u32);
        (0..count).map(|number| (u64::from(rows) * u64::from(number) / u64::from(count)) as u32).collect()
    }

    /// Rows there were when these were chosen; 0 when there are no entries.
    pub(crate) fn taken_from(&self) -> u32 {
        self.taken_from
    }

    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The nearest entries and their estimates, into `starts`; returns how many were compared.
    #[inline(always)]
    pub(crate) fn nearest<I: Isa>(&self, isa: I, query: &SketchQuery, starts: &mut Vec<(u32, f32)>) -> u64 {
        starts.clear();
        let Some(layout) = query.layout else { return 0 };
        let codes = SealedCodes::new(&self.sketches, layout);
        let mut estimates = [0.0_f32; ENTRIES_MAX];
        let estimates = &mut estimates[..self.rows.len()];
        SketchComputer::new(isa, query, &codes).estimate(&self.numbers, estimates);
        // As in the frontier: the bits of an estimate with the entry's number below.
        let mut keys = [u32::MAX; ENTRIES_MAX];
        for ((key, estimate), number) in keys.iter_mut().zip(estimates.iter()).zip(0..) {
            *key = estimate.to_bits() & !NUMBER_MASK | number;
        }
        for _ in 0..STARTS.min(self.rows.len()) {
            let position = (isa.min_u32(&keys) & NUMBER_MASK) as usize;
            starts.push((self.rows[position], estimates[position]));
            keys[position] = u32::MAX;
        }
        self.rows.len() as u64
    }
}

#[cfg(test)]
mod tests;
