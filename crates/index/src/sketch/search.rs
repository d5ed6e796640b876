//! One query over sketches: the walk, the rows no graph holds yet, the exact comparison of what is left.

use std::ops::Range;

use dvse_simd::{Isa, Op};
use dvse_types::Metric;

use super::adaptive::{
    AdaptiveQuery, AdaptiveState, Everyone, Marked, Members, THRESHOLD_PART, THRESHOLD_POWER_MIN,
    adaptive_search,
};
use super::calibrate::Tuning;
use super::codes::CodeView;
use super::computer::SketchComputer;
use super::entries::Entries;
use super::frontier::CANDIDATES_MAX;
use super::masked::{MaskedQuery, MaskedState, masked_walk};
use super::prepare::Prepare;
use super::query::{SketchQuery, Space};
use super::rerank::{rerank_frontier, rerank_pool};
use super::scan::scan_set;
use super::transform::Transform;
use crate::byte_rows::{ExactRows, QueryCopies, RowCopies};
use crate::coded::CodedQuery;
use crate::computer::{DistanceComputer, Kernel, Prefetch};
use crate::graph::adjacency::Adjacency;
use crate::graph::beam_search::{Counters, LayerQuery, WholeBeam, beam_search, masked_search};
use crate::row_set::RowSet;
use crate::scratch::Beam;
use crate::vectors::VectorView;

/// [`THRESHOLD_PART`] for inner products, whose graphs lead less straight to the nearest.
const THRESHOLD_PART_PRODUCT: f32 = 1.0;

/// Rows estimated at a time where no graph leads.
const BLOCK_ROWS: usize = 64;

/// Candidates are compared exactly when their estimate exceeds the k-th least by no more than so many standard
/// deviations of an estimate, and a part of one more for each doubling of the beam: who asks for more recall is not to
/// lose it to a misjudged estimate, and who asks for less is not to pay for rows that hardly ever matter.
const WINDOW_DEVIATIONS: f32 = 2.0;
const WINDOW_DEVIATIONS_A_DOUBLING: f32 = 0.7;

/// A set is sparse when more than this part of the rows is hidden.
const SPARSE_FROM: u64 = 8;

/// Whether so many rows are hidden that a walk may miss those of the set.
#[inline(always)]
pub(crate) fn is_sparse(passing: u32, rows: u32) -> bool {
    u64::from(passing) * SPARSE_FROM < u64::from(rows) * (SPARSE_FROM - 1)
}

/// Everything about the sketches of an index but the codes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SketchParts<'a> {
    pub(crate) transform: &'a Transform,
    pub(crate) entries: &'a Entries,
    pub(crate) tuning: Tuning,
    pub(crate) space: Space,
    pub(crate) copies: RowCopies<'a>,
}

/// Memory for searches over sketches.
#[derive(Debug, Default)]
pub(crate) struct SketchScratch {
    pub(crate) query: SketchQuery,
    pub(crate) adaptive: AdaptiveState,
    pub(crate) masked: MaskedState,
    starts: Vec<(u32, f32)>,
    pub(crate) copies: QueryCopies,
    /// The query, where rows have codes of a quantiser.
    pub(crate) coded: CodedQuery,
}

/// A query; run, it leaves the nearest rows in the beam's pool, compared exactly.
pub(crate) struct SketchSearch<'a, A, V, C, K> {
    pub(crate) graph: &'a A,
    pub(crate) rows: &'a V,
    pub(crate) codes: &'a C,
    pub(crate) kernel: K,
    pub(crate) parts: SketchParts<'a>,
    /// Padded to the stride of the rows.
    pub(crate) query: &'a [f32],
    pub(crate) k: usize,
    /// Rows farther than this are of no use, by the metric's distance.
    pub(crate) bound: f32,
    pub(crate) metric: Metric,
    /// The graph's entry, below `limit`.
    pub(crate) entry: u32,
    /// `limit` is where the graph ends.
    pub(crate) layer: LayerQuery,
    /// Rows past the graph that have sketches.
    pub(crate) tail: Range<u32>,
    pub(crate) set: RowSet<'a>,
    pub(crate) beam: &'a mut Beam,
    pub(crate) scratch: &'a mut SketchScratch,
}

impl<A: Adjacency, V: VectorView, C: CodeView, K: Kernel> Op for SketchSearch<'_, A, V, C, K> {
    type Output = Counters;

    fn run<I: Isa>(self, isa: I) -> Counters {
        let SketchParts { transform, entries, tuning, space, copies } = self.parts;
        let SketchScratch { query, adaptive, masked, starts, copies: memory, .. } = self.scratch;
        let mut counters = Counters::default();
        counters.distances +=
            isa.run(Prepare { query, transform, space, vector: self.query, entries, starts });
        let computer = SketchComputer::new(isa, query, self.codes);
        let exact = ExactRows::new(isa, self.kernel, self.query, self.rows, copies, memory);
        let width = self.layer.ef as f32 / self.k as f32;
        let part = match space {
            Space::Euclidean | Space::Sphere => THRESHOLD_PART,
            Space::Product { .. } => THRESHOLD_PART_PRODUCT,
        };
        let gamma = width.powf((part * tuning.slope).max(THRESHOLD_POWER_MIN));
        let hops_max = AdaptiveQuery::hops_max(self.layer.ef, self.k);
        let window = window_of(self.layer.ef, self.k, tuning, query);
        let unmasked = self.set.holds_all(self.layer.limit);
        let fits = AdaptiveQuery::fits(self.k, self.layer.ef, self.graph.width());
        // Every row can be reached from the graph's entry, though perhaps not from where a walk begins.
        if self.layer.limit > 0 {
            starts.push((self.entry, computer.score(self.entry)));
            counters.distances += 1;
        }
        // Walks by inner product come near by detours: ending where they seem to arrive lost a tenth of what a bound
        // leaves to be found.
        let bound = match space {
            Space::Euclidean | Space::Sphere => {
                bound_of(isa, self.bound, self.metric, space, self.query, 1.0)
            }
            Space::Product { .. } => f32::INFINITY,
        };
        let passing = if unmasked { self.layer.limit } else { self.set.count_below(self.layer.limit) };
        let is_sparse = is_sparse(passing, self.layer.limit);
        let marked = if let RowSet::Bitmap(words) = self.set { Some(words) } else { None };
        if fits && !is_sparse && bound == f32::INFINITY && (unmasked || marked.is_some()) {
            let query = AdaptiveQuery {
                k: self.k,
                gamma,
                slack: 0.0,
                limit: self.layer.limit,
                hops_max,
                max_distances: self.layer.max_distances,
            };
            let walk = AdaptiveWalk {
                graph: self.graph,
                computer: &computer,
                exact: &exact,
                query: &query,
                starts: starts.as_slice(),
                tail: self.tail.clone(),
                window,
            };
            // Few hidden rows are walked over and left out; with none, nothing is asked of a row.
            let answered = if let Some(words) = marked {
                walk.run(Marked(words), self.beam, adaptive, &mut counters)
            } else {
                let end = if let RowSet::Below(end) = self.set { end } else { u32::MAX };
                let tail = self.tail.start..self.tail.end.min(end);
                AdaptiveWalk { tail, ..walk }.run(Everyone, self.beam, adaptive, &mut counters)
            };
            if answered {
                return counters;
            }
        }
        // Rows that came after the view hide at the end of the graph: such a set is neither all nor a bitmap.
        let is_cut = !unmasked && marked.is_none();
        if fits && (is_sparse || is_cut || bound < f32::INFINITY) {
            let walk = MaskedQuery {
                k: self.k,
                gamma,
                limit: self.layer.limit,
                // As many rows more are walked over as the set is smaller.
                hops_max: hops_max.saturating_mul(self.layer.limit.into()) / u64::from(passing.max(1)),
                max_distances: self.layer.max_distances,
                set: self.set,
                is_sparse,
                bound,
            };
            let visited = &mut self.beam.visited;
            masked_walk(self.graph, &computer, &walk, window, starts, visited, masked, &mut counters);
            counters.distances += scan_set(&computer, self.tail.clone(), self.set, window, masked);
            if masked.worst() < f32::INFINITY || counters.stopped_early {
                counters.distances += masked.rerank(&exact, window, self.k, self.beam);
                return counters;
            }
        }
        let mut layer = self.layer;
        // Estimates are a little wrong: a beam just as wide as what is wanted would lose what it misjudges.
        layer.ef = layer.ef.max(self.k + self.k / 4 + 8);
        let starts: Vec<u32> = starts.iter().map(|(row, _)| *row).collect();
        if unmasked {
            beam_search(self.graph, &computer, &layer, &starts, &WholeBeam, self.beam, &mut counters);
        } else {
            masked_search(self.graph, &computer, &layer, &starts, self.set, self.beam, &mut counters);
        }
        counters.distances += scan_masked(&computer, self.tail, self.set, self.beam);
        counters.distances += rerank_pool(&exact, window, self.k, self.beam);
        counters
    }
}

/// A bound on the metric's distance as one on what estimates are of, for a query made `scale` times as long.
#[inline(always)]
pub(crate) fn bound_of<I: Isa>(
    isa: I,
    bound: f32,
    metric: Metric,
    space: Space,
    query: &[f32],
    scale: f32,
) -> f32 {
    if bound == f32::INFINITY {
        return bound;
    }
    match (metric, space) {
        // Of unit vectors.
        (Metric::Cosine, _) => 2.0 * bound,
        (_, Space::Euclidean | Space::Sphere) => bound,
        (_, Space::Product { norm_max }) => 2.0 * scale * (isa.dot(query, query).sqrt() * norm_max + bound),
    }
    .max(0.0)
}

/// By how much an estimate may exceed the k-th least of an answer that is compared exactly.
#[inline(always)]
pub(crate) fn window_of(ef: usize, k: usize, tuning: Tuning, query: &SketchQuery) -> f32 {
    let width = ef as f32 / k as f32;
    let deviations = WINDOW_DEVIATIONS + WINDOW_DEVIATIONS_A_DOUBLING * width.max(1.0).log2();
    // Of a query too long for a float the radius is infinite; without noise that would be no number.
    (deviations * tuning.noise * query.radius).min(f32::MAX)
}

/// An adaptive walk, the look at the rows that no graph holds yet, and the exact comparison.
struct AdaptiveWalk<'a, 'q, I, A, V, C, K> {
    graph: &'a A,
    computer: &'a SketchComputer<'a, I, C>,
    exact: &'a ExactRows<'q, I, V, K>,
    query: &'a AdaptiveQuery,
    starts: &'a [(u32, f32)],
    tail: Range<u32>,
    window: f32,
}

impl<I: Isa, A: Adjacency, V: VectorView, C: CodeView, K: Kernel> AdaptiveWalk<'_, '_, I, A, V, C, K> {
    /// Leaves the answer in the beam's pool. `false` when the walk ran out of ways before it had found enough: it is to be
    /// begun again otherwise.
    #[inline(always)]
    fn run<M: Members>(
        self,
        members: M,
        beam: &mut Beam,
        state: &mut AdaptiveState,
        counters: &mut Counters,
    ) -> bool {
        let AdaptiveWalk { graph, computer, exact, query, starts, tail, window } = self;
        adaptive_search(graph, computer, query, members, starts, &mut beam.visited, state, counters);
        counters.distances += scan_into(computer, tail, members, window, state);
        if state.nearest.worst() == f32::INFINITY && !counters.stopped_early {
            return false;
        }
        let estimate_max = state.nearest.worst() + window;
        counters.distances += rerank_frontier(exact, &state.frontier, members, estimate_max, query.k, beam);
        true
    }
}

/// Adds the members of a range to the candidates where their estimate is near enough to matter.
fn scan_into<I: Isa, C: CodeView, M: Members>(
    computer: &SketchComputer<'_, I, C>,
    range: Range<u32>,
    members: M,
    window: f32,
    state: &mut AdaptiveState,
) -> u64 {
    let mut rows = [0_u32; BLOCK_ROWS];
    let mut estimates = [0.0_f32; BLOCK_ROWS];
    let mut next = range.start;
    while next < range.end {
        let count = (range.end - next).min(BLOCK_ROWS as u32) as usize;
        for (row, number) in rows.iter_mut().zip(next..) {
            *row = number;
        }
        let estimates = &mut estimates[..count];
        computer.estimate(&rows[..count], estimates);
        for (row, estimate) in rows.iter().zip(estimates.iter()) {
            if *estimate < state.nearest.worst() + window && members.has(*row) {
                if state.frontier.len() == CANDIDATES_MAX {
                    state.frontier.shrink(CANDIDATES_MAX / 2);
                }
                state.frontier.push(*row, *estimate);
                state.nearest.insert(*estimate);
            }
        }
        next += count as u32;
    }
    u64::from(range.end.saturating_sub(range.start))
}

/// Merges the rows of a range that are in the set into the pool, by estimate.
fn scan_masked<C: DistanceComputer>(
    computer: &C,
    range: Range<u32>,
    set: RowSet<'_>,
    beam: &mut Beam,
) -> u64 {
    let mut scanned = 0;
    let mut next = range.start;
    while next < range.end {
        let end = range.end.min(next + BLOCK_ROWS as u32);
        beam.batch.clear();
        beam.batch.extend((next..end).filter(|row| set.contains(*row)));
        computer.score_batch(&beam.batch, beam.pool.bound(), &mut beam.fresh, Prefetch::default());
        beam.pool.merge(&mut beam.fresh);
        scanned += beam.batch.len() as u64;
        next = end;
    }
    scanned
}
