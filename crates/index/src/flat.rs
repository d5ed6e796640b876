//! Exact search: every row is scored.

use std::ops::Range;

use dvse_simd::{Isa, Level, Op, dispatch};
use dvse_types::Metric;

use crate::ann::{AnnIndex, Neighbor, SearchError, SearchParams, SearchStats};
use crate::candidates::{ROWS_MAX, unpack_distance, unpack_row};
use crate::computer::{DistanceComputer, Kernel, Prefetch, RowComputer, with_kernel};
use crate::kinds::IndexParams;
use crate::norms::{Band, NormOrder, STRIDE};
use crate::row_set::RowSet;
use crate::scratch::{Beam, Scratch};
use crate::sections::SectionSink;
use crate::vectors::{Rows, VectorView, with_rows};

/// Rows scored before the best are merged. Large enough to spread the merge, small enough to stay in the first cache.
const BLOCK_ROWS: usize = 64;

/// Fewer rows than this are compared as they lie: the order of their lengths would hardly be begun.
const ORDERED_ROWS_MIN: usize = 8 * STRIDE;

/// An index that compares the query with every row.
///
/// The oracle of all others, the right index for small sets, and the scan of rows no graph holds yet.
#[derive(Debug, Clone)]
pub struct FlatIndex {
    rows: Rows,
    metric: Metric,
    level: Level,
    norms: Option<NormOrder>,
}

impl FlatIndex {
    /// An exact index over `rows`.
    #[must_use]
    pub fn new(rows: Rows, metric: Metric) -> FlatIndex {
        FlatIndex { rows, metric, level: dvse_simd::detect(), norms: None }
    }

    /// Uses the kernels of another instruction set (or the best available one below it).
    #[must_use]
    pub fn with_level(self, level: Level) -> FlatIndex {
        FlatIndex { level, ..self }
    }

    /// Leaves out rows by their length, where that spares much.
    #[must_use]
    pub fn with_norms(self, norms: NormOrder) -> FlatIndex {
        FlatIndex { norms: Some(norms), ..self }
    }

    /// Scores the rows of `set` within `range` (cut to the rows there are) and replaces `out` with the best `k`.
    ///
    /// # Errors
    /// [`SearchError`] when the query does not fit the rows; `out` is empty then.
    pub fn scan(
        &self,
        query: &[f32],
        k: usize,
        range: Range<u32>,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<SearchStats, SearchError> {
        out.clear();
        let range = range.start..range.end.min(self.rows.len()).min(ROWS_MAX);
        with_rows!(&self.rows, view => {
            let (query, beam, _) = scratch.prepare(query, view.dim(), view.stride())?;
            // The order is of all rows: of few of them most would be looked at in vain.
            let is_most = || set.count_below(range.end) as usize * 2 > range.len();
            let norms = self.norms.as_ref().filter(|norms| {
                range.len() >= ORDERED_ROWS_MIN && range == (0..norms.len()) && is_most()
            });
            let metric = self.metric;
            let stats = with_kernel!(self.metric, kernel => {
                dispatch(self.level, ScanOp { view, kernel, metric, query, k, range, set, norms, beam })
            });
            collect(beam, k, out);
            Ok(stats)
        })
    }
}

/// Unpacks the first `k` of the pool.
pub(crate) fn collect(beam: &Beam, k: usize, out: &mut Vec<Neighbor>) {
    let keys = beam.pool.keys().iter().take(k);
    out.extend(keys.map(|key| Neighbor { row: unpack_row(*key), distance: unpack_distance(*key) }));
}

struct ScanOp<'a, V, K> {
    view: &'a V,
    kernel: K,
    metric: Metric,
    query: &'a [f32],
    k: usize,
    range: Range<u32>,
    set: RowSet<'a>,
    /// Of all rows of the range.
    norms: Option<&'a NormOrder>,
    beam: &'a mut Beam,
}

impl<V: VectorView, K: Kernel> Op for ScanOp<'_, V, K> {
    type Output = SearchStats;

    fn run<I: Isa>(mut self, isa: I) -> SearchStats {
        let computer = RowComputer::new(isa, self.kernel, self.query, self.view);
        let mut stats = SearchStats { covered: VectorView::len(self.view), ..SearchStats::default() };
        // A pool is never larger than what can enter it: `k` comes from the user.
        self.beam.pool.reset(self.k.min(self.range.len()));
        if self.k == 0 || self.range.is_empty() {
            return stats;
        }
        self.beam.batch.clear();
        if self.norms.is_some_and(|norms| self.scan_band(&computer, norms, &mut stats)) {
            return stats;
        }
        let ScanOp { range, set, beam, .. } = self;
        set.for_each_within(range, |row| push(&computer, beam, row, IN_A_ROW, &mut stats));
        flush(&computer, beam, IN_A_ROW, &mut stats);
        stats
    }
}

impl<V: VectorView, K: Kernel> ScanOp<'_, V, K> {
    /// Looks at rows in the order of what their lengths say for them until no other can be nearer. `false` where that turns out
    /// to spare little: nothing is known then.
    fn scan_band<C: DistanceComputer>(
        &mut self,
        computer: &C,
        norms: &NormOrder,
        stats: &mut SearchStats,
    ) -> bool {
        let norm = dvse_simd::norm(self.query);
        let mut band = Band::new(norms, self.metric, norm, self.view.dim());
        // After so many rows the k-th tells what the band is worth.
        let mut probe = Some(STRIDE.max(2 * self.k) as u64);
        loop {
            let bound = self.beam.pool.bound();
            let kth = if bound == u64::MAX { f32::INFINITY } else { unpack_distance(bound) };
            if probe.take_if(|rows| stats.distances >= *rows).is_some() && !band.pays(kth) {
                self.beam.pool.reset(self.k.min(self.range.len()));
                return false;
            }
            let rows = band.next(kth);
            if rows.is_empty() {
                return true;
            }
            for row in rows.iter().filter(|row| **row < self.range.end && self.set.contains(**row)) {
                push(computer, self.beam, *row, SCATTERED, stats);
            }
            flush(computer, self.beam, SCATTERED, stats);
        }
    }
}

/// Neighbouring rows are one stream that the hardware follows by itself; only scattered ones need asking.
const IN_A_ROW: Prefetch = Prefetch { rows_ahead: 8, lines: 2 };
const SCATTERED: Prefetch = Prefetch { rows_ahead: 6, lines: usize::MAX };

fn push<C: DistanceComputer>(
    computer: &C,
    beam: &mut Beam,
    row: u32,
    prefetch: Prefetch,
    stats: &mut SearchStats,
) {
    beam.batch.push(row);
    if beam.batch.len() == BLOCK_ROWS {
        flush(computer, beam, prefetch, stats);
    }
}

fn flush<C: DistanceComputer>(computer: &C, beam: &mut Beam, prefetch: Prefetch, stats: &mut SearchStats) {
    computer.score_batch(&beam.batch, beam.pool.bound(), &mut beam.fresh, prefetch);
    beam.pool.merge(&mut beam.fresh);
    stats.distances += beam.batch.len() as u64;
    beam.batch.clear();
}

impl AnnIndex for FlatIndex {
    fn kind(&self) -> &'static str {
        "flat"
    }

    fn built_with(&self) -> Option<IndexParams> {
        None
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn dim(&self) -> usize {
        self.rows.dim()
    }

    fn covered(&self) -> u32 {
        self.rows.len()
    }

    fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<SearchStats, SearchError> {
        self.scan(query, params.k, 0..u32::MAX, set, scratch, out)
    }

    /// Writes nothing: the rows are the index.
    fn persist_on(&self, _: Option<&rayon::ThreadPool>, _sink: &mut dyn SectionSink) -> std::io::Result<()> {
        Ok(())
    }

    fn index_bytes(&self) -> u64 {
        0
    }
}
