//! One query over a layered graph, growing or sealed.

use dvse_simd::{Isa, Level, Op, dispatch};
use dvse_types::{Metric, Rescore};

use crate::ann::{Neighbor, SearchError, SearchParams, SearchStats};
use crate::computer::{DistanceComputer, Kernel, RowComputer, with_kernel};
use crate::flat::collect;
use crate::graph::adjacency::{Adjacency, Entry};
use crate::graph::beam_search::{
    Counters, LayerQuery, Traversal, WholeBeam, beam_search, greedy_descent, masked_search,
};
use crate::row_set::RowSet;
use crate::scratch::{Beam, Scratch};
use crate::sketch::codes::CodeView;
use crate::sketch::scan::SketchScan;
use crate::sketch::search::{SketchParts, SketchSearch};
use crate::vectors::VectorView;

/// For more neighbours than this a scan compares rows in full: keeping the k least estimates would cost more than is
/// spared.
pub(super) const SCAN_K_MAX: usize = 512;

/// What a query is run against.
pub(super) struct Target<'a, A, V> {
    pub(super) graph: &'a A,
    /// As the graph said it before `rows` was taken: so every row below the limit can be read.
    pub(super) entry: Option<Entry>,
    pub(super) rows: &'a V,
    pub(super) metric: Metric,
    pub(super) level: Level,
    pub(super) traversal: Traversal,
}

/// Sketches of the rows, and which rows past the graph have one.
pub(super) struct SketchTarget<'a, C> {
    pub(super) codes: &'a C,
    pub(super) parts: SketchParts<'a>,
    /// Where the sketches end.
    pub(super) encoded: u32,
}

impl<C> SketchTarget<'_, C> {
    /// Compares exactly what is asked for: where only what codes choose, estimates are taken to have no noise.
    pub(super) fn rescoring(mut self, rescore: Rescore) -> Self {
        if rescore == Rescore::Chosen {
            self.parts.tuning.noise = 0.0;
        }
        self
    }

    /// Rows that a walk reaches.
    fn walked(&self, entry: Entry) -> u32 {
        if self.parts.entries.taken_from() == 0 { 0 } else { entry.limit }
    }
}

impl<A: Adjacency, V: VectorView> Target<'_, A, V> {
    pub(super) fn search<C: CodeView>(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        sketches: Option<&SketchTarget<'_, C>>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<SearchStats, SearchError> {
        out.clear();
        let (query, beam, sketch_scratch) = scratch.prepare(query, self.rows.dim(), self.rows.stride())?;
        let entry = match (self.entry, sketches) {
            (Some(entry), _) => entry,
            // Nothing is linked, but there are sketches to be looked through.
            (None, Some(_)) => Entry { row: 0, level: 0, limit: 0 },
            (None, None) => return Ok(SearchStats::default()),
        };
        let covered = sketches.map_or(entry.limit, |sketches| sketches.encoded.max(entry.limit));
        if params.k == 0 {
            return Ok(SearchStats { covered, ..SearchStats::default() });
        }
        let layer = LayerQuery {
            layer: 0,
            limit: entry.limit,
            // With sketches a beam narrower than what is wanted means to stop early; without, it makes no sense.
            ef: if sketches.is_some() { params.ef.max(1) } else { params.ef.max(params.k) },
            max_distances: params.max_distances,
            traversal: self.traversal,
        };
        let counters = with_kernel!(self.metric, kernel => match sketches {
            Some(sketches) => dispatch(self.level, SketchSearch {
                graph: self.graph,
                rows: self.rows,
                codes: sketches.codes,
                kernel,
                parts: sketches.parts,
                query,
                k: params.k,
                bound: params.bound,
                metric: self.metric,
                entry: entry.row,
                // Without a row to begin at, linked rows are not walked but looked through like the others.
                layer: LayerQuery { limit: sketches.walked(entry), ..layer },
                tail: sketches.walked(entry)..covered,
                set,
                beam,
                scratch: sketch_scratch,
            }),
            None => dispatch(
                self.level,
                QueryOp { graph: self.graph, rows: self.rows, kernel, query, entry, layer, set, beam },
            ),
        });
        collect(beam, params.k, out);
        Ok(SearchStats {
            distances: counters.distances,
            hops: counters.hops,
            covered,
            stopped_early: counters.stopped_early,
        })
    }
}

impl<A: Adjacency, V: VectorView> Target<'_, A, V> {
    /// Compares the codes of all rows of a set, and in full what is near.
    pub(super) fn scan<C: CodeView>(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        sketches: &SketchTarget<'_, C>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<Option<SearchStats>, SearchError> {
        out.clear();
        let (query, beam, sketch_scratch) = scratch.prepare(query, self.rows.dim(), self.rows.stride())?;
        if params.k == 0 || params.k > SCAN_K_MAX {
            return Ok(None);
        }
        let distances = with_kernel!(self.metric, kernel => dispatch(self.level, SketchScan {
            rows: self.rows,
            codes: sketches.codes,
            kernel,
            parts: sketches.parts,
            query,
            k: params.k,
            ef: params.ef,
            bound: params.bound,
            metric: self.metric,
            range: 0..sketches.encoded,
            set,
            beam,
            scratch: sketch_scratch,
        }));
        collect(beam, params.k, out);
        let covered = sketches.encoded;
        Ok(Some(SearchStats { distances, covered, ..SearchStats::default() }))
    }
}

struct QueryOp<'a, A, V, K> {
    graph: &'a A,
    rows: &'a V,
    kernel: K,
    query: &'a [f32],
    entry: Entry,
    layer: LayerQuery,
    set: RowSet<'a>,
    beam: &'a mut Beam,
}

impl<A: Adjacency, V: VectorView, K: Kernel> Op for QueryOp<'_, A, V, K> {
    type Output = Counters;

    fn run<I: Isa>(self, isa: I) -> Counters {
        let mut counters = Counters::default();
        let computer = RowComputer::new(isa, self.kernel, self.query, self.rows);
        let start = descend(self.graph, &computer, self.entry, 0, &self.layer, self.beam, &mut counters);
        // Every row can be reached on layer 0 from the entry, though perhaps not from where the descent ended.
        let starts = [start, self.entry.row];
        if self.set.holds_all(self.layer.limit) {
            beam_search(self.graph, &computer, &self.layer, &starts, &WholeBeam, self.beam, &mut counters);
        } else {
            masked_search(self.graph, &computer, &self.layer, &starts, self.set, self.beam, &mut counters);
        }
        counters
    }
}

/// Moves greedily from the entry down to just above `layer`; returns where to begin on it.
pub(super) fn descend<A: Adjacency, C: DistanceComputer>(
    graph: &A,
    computer: &C,
    entry: Entry,
    layer: u8,
    query: &LayerQuery,
    beam: &mut Beam,
    counters: &mut Counters,
) -> u32 {
    if entry.level <= layer {
        return entry.row;
    }
    counters.distances += 1;
    let mut best = (computer.score(entry.row), entry.row);
    for upper in (layer + 1..=entry.level).rev() {
        let query = LayerQuery { layer: upper, ..*query };
        best = greedy_descent(graph, computer, &query, best, beam, counters);
    }
    best.1
}
