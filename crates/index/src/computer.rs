//! Distances from one fixed query: the seam between traversal and whatever the rows are stored as.
//!
//! The traversal asks for nothing but "score these rows" and "these rows soon", so compact codes can stand in for
//! full rows without a change to it.

use std::marker::PhantomData;

use dvse_simd::{Isa, Op};
use dvse_types::Metric;

use crate::candidates::pack;
use crate::half_rows::HalfForm;
use crate::vectors::VectorView;

/// Distances from one query to rows.
///
/// The methods are calls, not inlined into the traversal: each is compiled for its instruction set as a whole and
/// does enough work (four rows or more, but for `score`) to outweigh the call, and the traversal stays small.
pub(crate) trait DistanceComputer {
    /// The distance to one row.
    fn score(&self, row: u32) -> f32;

    /// The distances to four rows; the query is read once for all four.
    fn score4(&self, rows: [u32; 4]) -> [f32; 4];

    /// Scores rows into packed keys, asking for later rows while earlier ones are scored, and replaces `fresh` with
    /// the keys below `bound`, in the order of `batch`.
    fn score_batch(&self, batch: &[u32], bound: u64, fresh: &mut Vec<u64>, prefetch: Prefetch);
}

/// A metric as kernels. Zero-sized: the metric is chosen once a search, by [`with_kernel!`].
pub(crate) trait Kernel: Copy + Default + Sync {
    fn one<I: Isa>(isa: I, query: &[f32], row: &[f32]) -> f32;
    fn four<I: Isa>(isa: I, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4];
    /// The same of whole numbers from 0 to 255.
    fn one_bytes<I: Isa>(isa: I, query: &[u8], row: &[u8]) -> f32;
    fn four_bytes<I: Isa>(isa: I, query: &[u8], rows: [&[u8]; 4]) -> [f32; 4];
    /// What [`Kernel::one_halves`] gives.
    const HALF: HalfForm;
    /// The distance to a row of halves; of a product, only its negation.
    #[inline(always)]
    fn one_halves<I: Isa>(isa: I, query: &[f32], row: &[u16]) -> f32 {
        match Self::HALF {
            HalfForm::Squared => isa.l2_squared_f16(query, row),
            HalfForm::Product { .. } => -isa.dot_f16(query, row),
        }
    }
    #[inline(always)]
    fn four_halves<I: Isa>(isa: I, query: &[f32], rows: [&[u16]; 4]) -> [f32; 4] {
        match Self::HALF {
            HalfForm::Squared => isa.l2_squared_f16_x4(query, rows),
            HalfForm::Product { .. } => {
                let [a, b, c, d] = isa.dot_f16_x4(query, rows);
                [-a, -b, -c, -d]
            }
        }
    }
}

/// [`Metric::L2`].
#[derive(Clone, Copy, Default)]
pub(crate) struct L2;

impl Kernel for L2 {
    const HALF: HalfForm = HalfForm::Squared;

    #[inline(always)]
    fn one<I: Isa>(isa: I, query: &[f32], row: &[f32]) -> f32 {
        isa.l2_squared(query, row)
    }

    #[inline(always)]
    fn four<I: Isa>(isa: I, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        isa.l2_squared_x4(query, rows)
    }

    #[inline(always)]
    fn one_bytes<I: Isa>(isa: I, query: &[u8], row: &[u8]) -> f32 {
        isa.l2_squared_u8(query, row) as f32
    }

    #[inline(always)]
    fn four_bytes<I: Isa>(isa: I, query: &[u8], rows: [&[u8]; 4]) -> [f32; 4] {
        let [a, b, c, d] = isa.l2_squared_u8_x4(query, rows);
        [a as f32, b as f32, c as f32, d as f32]
    }
}

/// [`Metric::InnerProduct`].
#[derive(Clone, Copy, Default)]
pub(crate) struct NegatedDot;

impl Kernel for NegatedDot {
    const HALF: HalfForm = HalfForm::Product { constant: 0.0 };

    #[inline(always)]
    fn one<I: Isa>(isa: I, query: &[f32], row: &[f32]) -> f32 {
        -isa.dot(query, row)
    }

    #[inline(always)]
    fn four<I: Isa>(isa: I, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        let [a, b, c, d] = isa.dot_x4(query, rows);
        [-a, -b, -c, -d]
    }

    #[inline(always)]
    fn one_bytes<I: Isa>(isa: I, query: &[u8], row: &[u8]) -> f32 {
        -(isa.dot_u8(query, row) as f32)
    }

    #[inline(always)]
    fn four_bytes<I: Isa>(isa: I, query: &[u8], rows: [&[u8]; 4]) -> [f32; 4] {
        let [a, b, c, d] = isa.dot_u8_x4(query, rows);
        [-(a as f32), -(b as f32), -(c as f32), -(d as f32)]
    }
}

/// [`Metric::Cosine`] of vectors that are already of unit length.
#[derive(Clone, Copy, Default)]
pub(crate) struct OneMinusDot;

impl Kernel for OneMinusDot {
    const HALF: HalfForm = HalfForm::Product { constant: 1.0 };

    #[inline(always)]
    fn one<I: Isa>(isa: I, query: &[f32], row: &[f32]) -> f32 {
        1.0 - isa.dot(query, row)
    }

    #[inline(always)]
    fn four<I: Isa>(isa: I, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        let [a, b, c, d] = isa.dot_x4(query, rows);
        [1.0 - a, 1.0 - b, 1.0 - c, 1.0 - d]
    }

    #[inline(always)]
    fn one_bytes<I: Isa>(isa: I, query: &[u8], row: &[u8]) -> f32 {
        1.0 - isa.dot_u8(query, row) as f32
    }

    #[inline(always)]
    fn four_bytes<I: Isa>(isa: I, query: &[u8], rows: [&[u8]; 4]) -> [f32; 4] {
        let [a, b, c, d] = isa.dot_u8_x4(query, rows);
        [1.0 - a as f32, 1.0 - b as f32, 1.0 - c as f32, 1.0 - d as f32]
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

/// What whole rows are linked by while it is not known which rows have the largest products: an inner product is no
/// distance, and where a few long rows have them all its graph leaves most rows with few ways or none. Neighbours by
/// distance lead to the largest product as they lead to a point far away.
pub(crate) fn link_metric(metric: Metric) -> Metric {
    match metric {
        Metric::InnerProduct => Metric::L2,
        Metric::L2 | Metric::Cosine => metric,
    }
}

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

/// Up to which distance two rows count as equal. For cosine that covers the rounding of unit vectors; inner products
/// do not tell equal rows from others.
pub(crate) fn twin_distance(metric: Metric) -> f32 {
    match metric {
        Metric::L2 => 0.0,
        Metric::Cosine => 1e-6,
        Metric::InnerProduct => f32::NEG_INFINITY,
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
    #[inline(never)]
    fn score(&self, row: u32) -> f32 {
        self.isa.vectorize(|| K::one(self.isa, self.query, self.rows.row(row)))
    }

    #[inline(never)]
    fn score4(&self, rows: [u32; 4]) -> [f32; 4] {
        self.isa.vectorize(|| K::four(self.isa, self.query, self.four_rows(rows)))
    }

    #[inline(never)]
    fn score_batch(&self, batch: &[u32], bound: u64, fresh: &mut Vec<u64>, prefetch: Prefetch) {
        self.isa.run(ScoreRows { computer: self, batch, bound, fresh, prefetch });
    }
}

impl<I: Isa, V: VectorView, K: Kernel> RowComputer<'_, I, V, K> {
    /// Spelled out: a closure given to `map` is not always compiled into the loop.
    #[inline(always)]
    fn four_rows(&self, [a, b, c, d]: [u32; 4]) -> [&[f32]; 4] {
        [self.rows.row(a), self.rows.row(b), self.rows.row(c), self.rows.row(d)]
    }

    #[inline(always)]
    fn score_rows(&self, batch: &[u32], bound: u64, fresh: &mut Vec<u64>, prefetch: Prefetch) {
        fresh.clear();
        fresh.resize(batch.len(), 0);
        let mut kept = 0;
        for row in batch.iter().take(prefetch.rows_ahead) {
            self.isa.prefetch(self.rows.row(*row), prefetch.lines);
        }
        let mut ahead = batch.iter().skip(prefetch.rows_ahead);
        let (fours, rest) = batch.as_chunks::<4>();
        for rows in fours {
            for row in ahead.by_ref().take(4) {
                self.isa.prefetch(self.rows.row(*row), prefetch.lines);
            }
            let distances = K::four(self.isa, self.query, self.four_rows(*rows));
            for (distance, row) in distances.into_iter().zip(rows) {
                let key = pack(distance, *row);
                // Written always, kept by moving on: no branch that the data decides.
                fresh[kept] = key;
                kept += usize::from(key < bound);
            }
        }
        for row in rest {
            let key = pack(K::one(self.isa, self.query, self.rows.row(*row)), *row);
            fresh[kept] = key;
            kept += usize::from(key < bound);
        }
        fresh.truncate(kept);
    }
}

/// See [`DistanceComputer::score_batch`]. Not a closure: those are not always compiled into the function that has the
/// instruction set.
struct ScoreRows<'a, 'b, I, V, K> {
    computer: &'a RowComputer<'b, I, V, K>,
    batch: &'a [u32],
    bound: u64,
    fresh: &'a mut Vec<u64>,
    prefetch: Prefetch,
}

impl<I: Isa, V: VectorView, K: Kernel> Op for ScoreRows<'_, '_, I, V, K> {
    type Output = ();

    #[inline(always)]
    fn run<J: Isa>(self, _: J) {
        self.computer.score_rows(self.batch, self.bound, self.fresh, self.prefetch);
    }
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
