//! Searching by codes: a walk or a scan finds candidates, and those whose code leaves a chance are compared exactly.

use dvse_simd::{Isa, Op};
use dvse_types::Rescore;

use super::CodedQuery;
use super::computer::CodeComputer;
use super::sections::CodedRows;
use crate::byte_rows::ExactRows;
use crate::candidates::{unpack_distance, unpack_row};
use crate::computer::{DistanceComputer, Kernel, Prefetch};
use crate::graph::adjacency::Adjacency;
use crate::graph::beam_search::{Counters, LayerQuery, WholeBeam, beam_search, masked_search};
use crate::row_set::RowSet;
use crate::scratch::Beam;
use crate::sketch::rerank::rerank_batch;
use crate::vectors::VectorView;

/// Standard deviations by which an estimate may be wrong before a candidate is passed over: with two of them one row in
/// forty of those at the very edge is lost, and fewer than one in a thousand of all.
const DEVIATIONS: f32 = 2.0;

/// Rows that a walk begins at, besides the graph's entry: the nearest of the spread ones.
const STARTS: usize = 3;

/// Rows scanned before the best are merged.
const BLOCK_ROWS: usize = 64;

/// One query over codes.
pub(crate) struct CodedSearch<'a, V, K> {
    pub(crate) rows: &'a V,
    pub(crate) kernel: K,
    pub(crate) coded: &'a CodedRows,
    /// Padded to the stride of the rows.
    pub(crate) query: &'a [f32],
    pub(crate) k: usize,
    pub(crate) ef: usize,
    pub(crate) rescore: Rescore,
    pub(crate) set: RowSet<'a>,
    pub(crate) beam: &'a mut Beam,
    pub(crate) scratch: &'a mut CodedQuery,
}

impl<V: VectorView, K: Kernel> CodedSearch<'_, V, K> {
    /// Candidates kept: estimates are a little wrong, so a beam just as wide as what is wanted would lose what it
    /// misjudges.
    fn candidates(&self) -> usize {
        let least = match self.rescore {
            Rescore::AtLeast(rows) => rows,
            Rescore::Usual | Rescore::Chosen => 0,
        };
        self.ef.max(self.k + self.k / 4 + 8).max(least)
    }

    /// Leaves in the pool the best `k` of its candidates, compared exactly as far as they may be among them.
    #[inline(always)]
    fn finish<I: Isa>(self, isa: I) -> u64 {
        let CodedSearch { rows, kernel, coded, query, k, rescore, beam, scratch, .. } = self;
        let codes = CodeComputer::new(isa, coded.coder(), scratch, coded.rows());
        choose(&codes, k, rescore, beam);
        rerank_batch(&ExactRows::by_floats(isa, kernel, query, rows), k, beam)
    }
}

/// Puts into the batch the candidates of the pool that are to be compared exactly.
#[inline(always)]
fn choose<I: Isa>(codes: &CodeComputer<'_, I>, k: usize, rescore: Rescore, beam: &mut Beam) {
    let keys = beam.pool.keys();
    beam.batch.clear();
    if let Rescore::Chosen = rescore {
        beam.batch.extend(keys.iter().take(k).map(|key| unpack_row(*key)));
        return;
    }
    let at_least = if let Rescore::AtLeast(rows) = rescore { rows } else { k };
    let within: Vec<(u32, f32, f32)> = keys
        .iter()
        .map(|key| {
            let row = unpack_row(*key);
            (row, unpack_distance(*key), DEVIATIONS * codes.deviation(row))
        })
        .collect();
    let mut most: Vec<f32> = within.iter().map(|(_, estimate, error)| estimate + error).collect();
    let bound = match k.checked_sub(1) {
        Some(kth) if kth < most.len() => *most.select_nth_unstable_by(kth, f32::total_cmp).1,
        _ => f32::INFINITY,
    };
    let near = within.iter().enumerate().filter(|(at, (_, estimate, error))| {
        // An error beyond all numbers leaves a chance too.
        *at < at_least.max(k) || estimate - error <= bound || error.is_infinite()
    });
    beam.batch.extend(near.map(|(_, (row, ..))| *row));
}

/// A walk over a graph.
pub(crate) struct CodedWalk<'a, A, V, K> {
    pub(crate) search: CodedSearch<'a, V, K>,
    pub(crate) graph: &'a A,
    /// Every row can be reached from it.
    pub(crate) entry: u32,
    pub(crate) layer: LayerQuery,
}

impl<A: Adjacency, V: VectorView, K: Kernel> Op for CodedWalk<'_, A, V, K> {
    type Output = Counters;

    fn run<I: Isa>(self, isa: I) -> Counters {
        let CodedWalk { search, graph, entry, layer } = self;
        let mut counters = Counters::default();
        let coded = search.coded;
        search.scratch.prepare(coded.coder(), &search.query[..coded.coder().dim()]);
        let layer = LayerQuery { ef: search.candidates(), ..layer };
        let computer = CodeComputer::new(isa, coded.coder(), search.scratch, coded.rows());
        let beam = &mut *search.beam;
        computer.score_batch(coded.spread(), u64::MAX, &mut beam.fresh, Prefetch::default());
        counters.distances += coded.spread().len() as u64;
        beam.fresh.sort_unstable();
        let mut starts = [entry; STARTS + 1];
        for (start, key) in starts.iter_mut().zip(beam.fresh.iter().take(STARTS)) {
            *start = unpack_row(*key);
        }
        if search.set.holds_all(layer.limit) {
            beam_search(graph, &computer, &layer, &starts, &WholeBeam, beam, &mut counters);
        } else {
            masked_search(graph, &computer, &layer, &starts, search.set, beam, &mut counters);
        }
        counters.distances += search.finish(isa);
        counters
    }
}

/// A look at the codes of all rows of the set.
pub(crate) struct CodedScan<'a, V, K>(pub(crate) CodedSearch<'a, V, K>);

impl<V: VectorView, K: Kernel> Op for CodedScan<'_, V, K> {
    type Output = u64;

    fn run<I: Isa>(self, isa: I) -> u64 {
        let CodedScan(search) = self;
        let coded = search.coded;
        search.scratch.prepare(coded.coder(), &search.query[..coded.coder().dim()]);
        // Nothing is lost on the way as in a graph, so there may be more candidates.
        let candidates = 2 * search.candidates();
        let computer = CodeComputer::new(isa, coded.coder(), search.scratch, coded.rows());
        let beam = &mut *search.beam;
        beam.pool.reset(candidates);
        beam.batch.clear();
        let mut distances = 0;
        let mut flush = |beam: &mut Beam| {
            computer.score_batch(&beam.batch, beam.pool.bound(), &mut beam.fresh, Prefetch::default());
            beam.pool.merge(&mut beam.fresh);
            distances += beam.batch.len() as u64;
            beam.batch.clear();
        };
        search.set.for_each_within(0..coded.len(), |row| {
            beam.batch.push(row);
            if beam.batch.len() == BLOCK_ROWS {
                flush(beam);
            }
        });
        flush(beam);
        distances + search.finish(isa)
    }
}
