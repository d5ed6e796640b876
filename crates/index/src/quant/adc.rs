//! Asymmetric distances: a query's tables, by which a sum of entries estimates an inner product with coded vectors.

use dvse_simd::{AlignedBuf, Isa, Op, SCAN_ENTRY_MAX};

use super::centroids::{Column, LANES, dots};
use super::pq::Codebooks;

/// The largest part of an estimate. Four of them add up to a number or to an infinity, never to NaN, which would be
/// neither near nor far and hide its row; only products near the largest `f32` come there.
const ESTIMATE_MAX: f32 = f32::MAX / 4.0;

/// A part of an estimate within bounds.
#[inline(always)]
pub(crate) fn bounded(part: f32) -> f32 {
    if part.is_nan() { 0.0 } else { part.clamp(-ESTIMATE_MAX, ESTIMATE_MAX) }
}

/// The tables of one query, in memory that is used again.
#[derive(Default)]
pub(crate) struct Tables {
    exact: Vec<Column>,
    /// 16 entries of at most 6 bits a column.
    pub(crate) entries: AlignedBuf<u8>,
    /// What a sum of entries is to be multiplied with.
    pub(crate) scale: f32,
    /// What is to be added then.
    pub(crate) offset: f32,
}

impl Tables {
    /// Makes the tables of `factor · ⟨query, vector⟩`. The query is padded to whole columns.
    ///
    /// One scale serves all columns, so that sums stay comparable: the widest column uses the whole range.
    #[inline(never)]
    pub(crate) fn fill<I: Isa>(&mut self, isa: I, books: &Codebooks<'_>, query: &[f32], factor: f32) {
        isa.run(FillOp { tables: self, books, query, factor });
    }

    #[inline(always)]
    fn fill_columns(&mut self, books: &Codebooks<'_>, query: &[f32], factor: f32) {
        let shape = books.shape;
        let bytes = shape.block_bytes();
        if self.entries.len() != bytes {
            self.entries = AlignedBuf::zeroed(bytes);
        }
        self.exact.clear();
        let (mut span, mut lows) = (0.0_f32, 0.0_f32);
        let columns = query.chunks_exact(shape.sub_dim).zip(books.codewords.chunks_exact(shape.sub_dim));
        for (query, book) in columns {
            let [mut column] = dots([query], book);
            column.iter_mut().for_each(|entry| *entry *= factor);
            let low = column.iter().copied().fold(f32::INFINITY, |low, x| if x < low { x } else { low });
            column.iter_mut().for_each(|entry| *entry -= low);
            let high = column.iter().copied().fold(0.0, |high, x| if x > high { x } else { high });
            span = if high > span { high } else { span };
            lows += low;
            self.exact.push(column);
        }
        let steps = if span > 0.0 { f32::from(SCAN_ENTRY_MAX) / span } else { 0.0 };
        // A span too small to be divided by is no span; one too large leaves nothing but its own column.
        let steps = if steps.is_finite() { steps } else { 0.0 };
        let (entries, padding) = self.entries.split_at_mut(self.exact.len() * LANES);
        for (entries, exact) in entries.chunks_exact_mut(LANES).zip(&self.exact) {
            for (entry, exact) in entries.iter_mut().zip(exact) {
                *entry = (exact * steps + 0.5) as u8;
            }
        }
        padding.fill(0);
        // So that no sum of entries, however large, takes an estimate out of bounds.
        self.scale = if steps > 0.0 { (1.0 / steps).min(ESTIMATE_MAX / 65_536.0) } else { 0.0 };
        self.offset = bounded(lows);
    }
}

struct FillOp<'a> {
    tables: &'a mut Tables,
    books: &'a Codebooks<'a>,
    query: &'a [f32],
    factor: f32,
}

impl Op for FillOp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, _isa: I) {
        self.tables.fill_columns(self.books, self.query, self.factor);
    }
}
