//! Searching by codes: a walk or a scan finds candidates, and those whose code leaves a chance are compared exactly.

use dvse_simd::{Isa, Op};
use dvse_types::{Metric, Rescore};

use super::CodedQuery;
use super::computer::CodeComputer;
use super::sections::CodedRows;
use crate::byte_rows::{ExactRows, QueryCopies, RowCopies};
use crate::candidates::{pack, unpack_distance, unpack_row};
use crate::computer::{DistanceComputer, Kernel, Prefetch};
use crate::graph::adjacency::Adjacency;
use crate::graph::beam_search::{Counters, LayerQuery, WholeBeam, beam_search, masked_search};
use crate::row_set::RowSet;
use crate::scratch::Beam;
use crate::sketch::adaptive::{
    AdaptiveQuery, AdaptiveState, Everyone, Marked, THRESHOLD_PART, THRESHOLD_POWER_MIN, adaptive_search,
};
use crate::sketch::rerank::rerank_batch;
use crate::sketch::search::is_sparse;
use crate::vectors::VectorView;

/// Standard deviations by which an estimate may be wrong before a candidate is passed over: with two of them one row in
/// forty of those at the very edge is lost, and fewer than one in a thousand of all.
const DEVIATIONS: f32 = 2.0;

/// Of the candidates of a walk those are looked at that are farther than the k-th by no more than so many of its deviations:
/// twice what is needed where both are misjudged alike.
const DEVIATIONS_KEPT: f32 = 4.0 * DEVIATIONS;

/// Rows that a walk begins at, besides the graph's entry: the nearest of the spread ones.
const STARTS: usize = 3;

/// Rows scanned before the best are merged.
const BLOCK_ROWS: usize = 64;

/// One query over codes.
pub(crate) struct CodedSearch<'a, V, K> {
    pub(crate) rows: &'a V,
    pub(crate) kernel: K,
    pub(crate) coded: &'a CodedRows,
    pub(crate) copies: RowCopies<'a>,
    /// Padded to the stride of the rows.
    pub(crate) query: &'a [f32],
    pub(crate) k: usize,
    pub(crate) ef: usize,
    pub(crate) rescore: Rescore,
    pub(crate) set: RowSet<'a>,
    pub(crate) beam: &'a mut Beam,
    pub(crate) scratch: &'a mut CodedQuery,
    pub(crate) forms: &'a mut QueryCopies,
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
        let CodedSearch { rows, kernel, coded, copies, query, k, rescore, beam, scratch, forms, .. } = self;
        let codes = CodeComputer::new(isa, coded.coder(), scratch, coded.rows());
        choose(&codes, k, rescore, beam);
        rerank_batch(&ExactRows::new(isa, kernel, query, rows, copies, forms), k, beam)
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
    pub(crate) adaptive: &'a mut AdaptiveState,
}

impl<A: Adjacency, V: VectorView, K: Kernel> CodedWalk<'_, A, V, K> {
    /// Walks until the nearest that is left is farther than a threshold, as over sketches; candidates are left in the pool.
    /// `false` where that cannot be asked for, or found too little: the walk is to be begun with a plain beam.
    #[inline(always)]
    fn adapt<I: Isa>(
        &mut self,
        computer: &CodeComputer<'_, I>,
        starts: &[(u32, f32)],
        counters: &mut Counters,
    ) -> bool {
        let CodedWalk { search, graph, layer, adaptive, .. } = self;
        let (k, ef, set) = (search.k, search.candidates(), search.set);
        let is_whole = set.holds_all(layer.limit);
        // Rows that came after the view hide at the end of the graph: such a set is neither all nor a bitmap.
        let is_cut = !is_whole && !matches!(set, RowSet::Bitmap(_));
        let few_hidden = is_whole || !is_sparse(set.count_below(layer.limit), layer.limit);
        let fits =
            AdaptiveQuery::fits(k, ef, graph.width()) && !matches!(search.rescore, Rescore::AtLeast(_));
        // Products may be of any sign, and a part of one means nothing.
        let slope = search.coded.slope();
        if !fits
            || is_cut
            || !few_hidden
            || slope <= 0.0
            || search.coded.coder().metric() == Metric::InnerProduct
        {
            return false;
        }
        let nearest = starts.iter().min_by(|(_, a), (_, b)| a.total_cmp(b));
        let slack = nearest.map_or(0.0, |(row, _)| computer.deviation(*row)).min(f32::MAX);
        let query = AdaptiveQuery {
            k,
            gamma: (ef as f32 / k as f32).powf((THRESHOLD_PART * slope).max(THRESHOLD_POWER_MIN)),
            slack,
            limit: layer.limit,
            hops_max: AdaptiveQuery::hops_max(ef, k),
            max_distances: layer.max_distances,
        };
        let (beam, state) = (&mut *search.beam, &mut **adaptive);
        let visited = &mut beam.visited;
        match set {
            RowSet::Bitmap(words) if !is_whole => {
                adaptive_search(*graph, computer, &query, Marked(words), starts, visited, state, counters);
            }
            _ => adaptive_search(*graph, computer, &query, Everyone, starts, visited, state, counters),
        }
        let kth = state.nearest.worst();
        if kth == f32::INFINITY && !counters.stopped_early {
            return false;
        }
        // Of what is farther than the k-th only what may be misjudged by as much.
        let members = || state.frontier.candidates().filter(|(row, _)| is_whole || set.contains(*row));
        let nearest = members().filter(|(_, estimate)| *estimate <= kth);
        let deviation = nearest.fold(0.0_f32, |most, (row, _)| most.max(computer.deviation(row)));
        let bound = kth + DEVIATIONS_KEPT * deviation;
        beam.fresh.clear();
        let kept = members().filter(|(_, estimate)| *estimate <= bound || bound.is_nan());
        beam.fresh.extend(kept.map(|(row, estimate)| pack(estimate, row)));
        beam.pool.reset(beam.fresh.len());
        beam.pool.merge(&mut beam.fresh);
        true
    }
}

impl<A: Adjacency, V: VectorView, K: Kernel> Op for CodedWalk<'_, A, V, K> {
    type Output = Counters;

    fn run<I: Isa>(self, isa: I) -> Counters {
        let mut walk = self;
        let mut counters = Counters::default();
        let coded = walk.search.coded;
        let mut query = std::mem::take(walk.search.scratch);
        query.prepare(coded.coder(), &walk.search.query[..coded.coder().dim()]);
        let computer = CodeComputer::new(isa, coded.coder(), &query, coded.rows());
        let beam = &mut *walk.search.beam;
        computer.score_batch(coded.spread(), u64::MAX, &mut beam.fresh, Prefetch::default());
        counters.distances += coded.spread().len() as u64;
        beam.fresh.sort_unstable();
        let mut starts = [(walk.entry, computer.score(walk.entry).max(0.0)); STARTS + 1];
        counters.distances += 1;
        for (start, key) in starts.iter_mut().zip(beam.fresh.iter().take(STARTS)) {
            *start = (unpack_row(*key), unpack_distance(*key).max(0.0));
        }
        let answered = walk.adapt(&computer, &starts, &mut counters);
        let CodedWalk { search, graph, layer, .. } = walk;
        if !answered {
            let layer = LayerQuery { ef: search.candidates(), ..layer };
            let (beam, starts) = (&mut *search.beam, starts.map(|(row, _)| row));
            if search.set.holds_all(layer.limit) {
                beam_search(graph, &computer, &layer, &starts, &WholeBeam, beam, &mut counters);
            } else {
                masked_search(graph, &computer, &layer, &starts, search.set, beam, &mut counters);
            }
        }
        *search.scratch = query;
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
