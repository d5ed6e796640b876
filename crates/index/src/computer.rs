//! Distances from one fixed query: the seam between traversal and whatever the rows are stored as.
//!
//! The traversal asks for nothing but "score these rows" and "these rows soon", so compact codes can stand in for
//! full rows without a change to it.

use std::marker::PhantomData;

use dvse_simd::Isa;
use dvse_types::Metric;

use crate::vectors::VectorView;

/// Distances from one query to rows.
pub(crate) trait DistanceComputer {
    /// Asks for the first `lines` cache lines of what scoring `row` will read.
    fn prefetch(&self, row: u32, lines: usize);

    /// The distance to one row.
    fn score(&self, row: u32) -> f32;

    /// The distances to four rows; the query is read once for all four.
    fn score4(&self, rows: [u32; 4]) -> [f32; 4];
}

/// A metric as kernels. Zero-sized: the metric is chosen once a search, by [`with_kernel!`].
pub(crate) trait Kernel: Copy + Default + Sync {
    fn one<I: Isa>(isa: I, query: &[f32], row: &[f32]) -> f32;
    fn four<I: Isa>(isa: I, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4];
}

/// [`Metric::L2`].
#[derive(Clone, Copy, Default)]
pub(crate) struct L2;

impl Kernel for L2 {
    #[inline(always)]
    fn one<I: Isa>(isa: I, query: &[f32], row: &[f32]) -> f32 {
        isa.l2_squared(query, row)
    }

    #[inline(always)]
    fn four<I: Isa>(isa: I, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        isa.l2_squared_x4(query, rows)
    }
}

/// [`Metric::InnerProduct`].
#[derive(Clone, Copy, Default)]
pub(crate) struct NegatedDot;

impl Kernel for NegatedDot {
    #[inline(always)]
    fn one<I: Isa>(isa: I, query: &[f32], row: &[f32]) -> f32 {
        -isa.dot(query, row)
    }

    #[inline(always)]
    fn four<I: Isa>(isa: I, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        isa.dot_x4(query, rows).map(|dot| -dot)
    }
}

/// [`Metric::Cosine`] of vectors that are already of unit length.
#[derive(Clone, Copy, Default)]
pub(crate) struct OneMinusDot;

impl Kernel for OneMinusDot {
    #[inline(always)]
    fn one<I: Isa>(isa: I, query: &[f32], row: &[f32]) -> f32 {
        1.0 - isa.dot(query, row)
    }

    #[inline(always)]
    fn four<I: Isa>(isa: I, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        isa.dot_x4(query, rows).map(|dot| 1.0 - dot)
    }
}

/// Runs an expression with `$kernel` bound to the kernel of a metric.
macro_rules! with_kernel {
    ($metric:expr, $kernel:ident => $body:expr) => {
        match $metric {
            dvse_types::Metric::L2 => {
                let $kernel = $crate::computer::L2;
                $body
            }
            dvse_types::Metric::InnerProduct => {
                let $kernel = $crate::computer::NegatedDot;
                $body
            }
            dvse_types::Metric::Cosine => {
                let $kernel = $crate::computer::OneMinusDot;
                $body
            }
        }
    };
}
pub(crate) use with_kernel;

/// The widest occlusion factor that means something for a metric: an inner product may be negative, and a factor
/// on a negative distance would turn the rule around.
pub(crate) fn usable_alpha(metric: Metric, alpha: f32) -> f32 {
    match metric {
        // Squared distances: a factor on the distance is its square here.
        Metric::L2 => alpha * alpha,
        // One minus the cosine of unit vectors is half their squared distance.
        Metric::Cosine => alpha * alpha,
        Metric::InnerProduct => 1.0,
    }
}

/// Full-precision rows.
pub(crate) struct RowComputer<'a, I, V, K> {
    isa: I,
    query: &'a [f32],
    rows: &'a V,
    kernel: PhantomData<K>,
}

impl<'a, I: Isa, V: VectorView, K: Kernel> RowComputer<'a, I, V, K> {
    /// `query` is as long as the view's rows, padding included.
    #[inline(always)]
    pub(crate) fn new(isa: I, _kernel: K, query: &'a [f32], rows: &'a V) -> RowComputer<'a, I, V, K> {
        RowComputer { isa, query, rows, kernel: PhantomData }
    }
}

impl<I: Isa, V: VectorView, K: Kernel> DistanceComputer for RowComputer<'_, I, V, K> {
    #[inline(always)]
    fn prefetch(&self, row: u32, lines: usize) {
        self.isa.prefetch(self.rows.row(row), lines);
    }

    #[inline(always)]
    fn score(&self, row: u32) -> f32 {
        K::one(self.isa, self.query, self.rows.row(row))
    }

    #[inline(always)]
    fn score4(&self, rows: [u32; 4]) -> [f32; 4] {
        K::four(self.isa, self.query, rows.map(|row| self.rows.row(row)))
    }
}

/// Scores a batch of rows into packed keys, four at a time, asking for later rows while earlier ones are scored,
/// and keeps those below `bound` in `fresh` (which is overwritten).
///
/// The rows below `ahead` positions in front are asked for as the scoring goes; the caller has not prefetched.
#[inline(always)]
pub(crate) fn score_batch<C: DistanceComputer>(
    computer: &C,
    batch: &[u32],
    bound: u64,
    fresh: &mut Vec<u64>,
    prefetch: Prefetch,
) {
    fresh.clear();
    fresh.resize(batch.len(), 0);
    let mut kept = 0;
    for row in batch.iter().take(prefetch.rows_ahead) {
        computer.prefetch(*row, prefetch.lines);
    }
    let mut fours = batch.chunks_exact(4);
    let mut position = 0;
    for four in fours.by_ref() {
        for row in batch.iter().skip(position + prefetch.rows_ahead).take(4) {
            computer.prefetch(*row, prefetch.lines);
        }
        position += 4;
        let rows = [four[0], four[1], four[2], four[3]];
        let distances = computer.score4(rows);
        for (distance, row) in distances.into_iter().zip(rows) {
            let key = crate::candidates::pack(distance, row);
            // Written always, kept by moving on: no branch that the data decides.
            fresh[kept] = key;
            kept += usize::from(key < bound);
        }
    }
    for row in fours.remainder() {
        let key = crate::candidates::pack(computer.score(*row), *row);
        fresh[kept] = key;
        kept += usize::from(key < bound);
    }
    fresh.truncate(kept);
}

/// How far ahead of the scoring rows are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefetch {
    /// How many rows ahead.
    pub rows_ahead: usize,
    /// Cache lines of each row; the hardware follows a stream that has begun.
    pub lines: usize,
}

impl Default for Prefetch {
    fn default() -> Prefetch {
        Prefetch { rows_ahead: 8, lines: 4 }
    }
}
