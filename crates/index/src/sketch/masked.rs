//! The walk for searches that may return only some of the rows: it passes through the others.
//!
//! It is the walk of [`super::adaptive`] with one change: all rows lead on, and the k-th least estimate that stops
//! it is counted over rows of the set alone. So it sees about as many more rows as the set is smaller, and few hidden
//! rows cost almost nothing. Rows of the set are kept apart from the frontier, which may forget what is far.

use dvse_simd::Isa;

use super::adaptive::NEIGHBOURS_MAX;
use super::codes::CodeView;
use super::computer::SketchComputer;
use super::frontier::{CANDIDATES_MAX, Frontier, NearestK};
use crate::byte_rows::ExactRows;
use crate::computer::Kernel;
use crate::graph::adjacency::Adjacency;
use crate::graph::beam_search::Counters;
use crate::row_set::RowSet;
use crate::scratch::Beam;
use crate::sketch::rerank::rerank_batch;
use crate::vectors::VectorView;
use crate::visited::VisitedSet;

/// Nodes expanded at a time: their neighbours are fetched together.
const EXPANSIONS: usize = 2;

/// Room that gathering may overwrite past its end.
const SLACK: usize = 16;

/// Candidates the frontier keeps when it is full.
const KEPT: usize = CANDIDATES_MAX / 2;

/// Rows of the set are thinned out when there are so many: most of them were near only when little was known.
const FOUND_MAX: usize = 4096;

/// The walk looks whether it gets anywhere after this part of its budget, and gives up where it does not: a set that
/// lies away from the query is not reached before all that is nearer was seen.
const OUTLOOK_PART: u64 = 4;

/// What a masked walk is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaskedQuery<'a> {
    /// Neighbours wanted, which the threshold follows; no more than the set has.
    pub(crate) k: usize,
    /// The threshold as a part of the k-th least estimate.
    pub(crate) gamma: f32,
    /// Rows from here on are skipped.
    pub(crate) limit: u32,
    /// Nodes expanded at most.
    pub(crate) hops_max: u64,
    /// Estimates made at most.
    pub(crate) max_distances: u64,
    /// Rows that may be found.
    pub(crate) set: RowSet<'a>,
    /// Whether so many rows are hidden that a walk may miss those of the set.
    pub(crate) is_sparse: bool,
    /// Rows with an estimate above this are of no use: other segments have enough that are nearer.
    pub(crate) bound: f32,
}

/// With a bound a walk ends once so many expansions brought nothing nearer than what was seen, and nothing that is left is
/// within the bound: before that it is still on its way.
const PATIENCE: u64 = 8;

/// The memory of masked searches.
#[derive(Debug, Default)]
pub(crate) struct MaskedState {
    frontier: Frontier,
    pub(crate) nearest: NearestK,
    /// Rows of the set and their estimates: all that can matter, and some more.
    found: Vec<(u32, f32)>,
    thin_at: usize,
    /// Estimates above this do not count.
    bound: f32,
    batch: Vec<u32>,
    estimates: Vec<f32>,
    survivors: Vec<u32>,
}

impl MaskedState {
    /// Forgets what was found; `k` rows up to `bound` are wanted next.
    pub(crate) fn reset(&mut self, k: usize, bound: f32) {
        self.bound = bound;
        self.frontier.clear();
        self.nearest.reset(k);
        self.found.clear();
        self.thin_at = FOUND_MAX;
        self.batch.resize(EXPANSIONS * NEIGHBOURS_MAX + SLACK, 0);
        self.survivors.resize(EXPANSIONS * NEIGHBOURS_MAX + SLACK, 0);
        self.estimates.resize(EXPANSIONS * NEIGHBOURS_MAX, 0.0);
    }

    /// The estimate that a row has to come below to be among the nearest, as far as is known.
    #[inline(always)]
    pub(crate) fn worst(&self) -> f32 {
        self.nearest.worst().min(self.bound)
    }

    /// Adds a row of the set.
    #[inline(always)]
    pub(crate) fn find(&mut self, row: u32, estimate: f32, window: f32) {
        if self.found.len() >= self.thin_at {
            let bound = self.worst() + window;
            self.found.retain(|(_, estimate)| *estimate <= bound);
            self.thin_at = FOUND_MAX.max(2 * self.found.len());
        }
        self.found.push((row, estimate));
        self.nearest.insert(estimate);
    }

    /// Leaves the best `k` of the rows found in the beam's pool, with exact distances: of those whose estimate is at most
    /// the k-th least and `window`.
    #[inline(always)]
    pub(crate) fn rerank<I: Isa, V: VectorView, K: Kernel>(
        &self,
        exact: &ExactRows<'_, I, V, K>,
        window: f32,
        k: usize,
        beam: &mut Beam,
    ) -> u64 {
        let bound = self.worst() + window;
        beam.batch.clear();
        beam.batch.extend(self.found.iter().filter(|(_, estimate)| *estimate <= bound).map(|(row, _)| *row));
        rerank_batch(exact, k, beam)
    }
}

/// Walks the graph from `starts` (rows and their estimates); rows of the set are left in the state. Says in the
/// counters when it gave up, because the budget was spent or because it would be.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "as the walk without a mask has, and the window")]
pub(crate) fn masked_walk<I: Isa, A: Adjacency, C: CodeView>(
    graph: &A,
    computer: &SketchComputer<'_, I, C>,
    query: &MaskedQuery<'_>,
    window: f32,
    starts: &[(u32, f32)],
    visited: &mut VisitedSet,
    state: &mut MaskedState,
    counters: &mut Counters,
) {
    let isa = computer.isa();
    isa.vectorize(|| walk(isa, graph, computer, query, window, starts, visited, state, counters));
}

#[expect(clippy::too_many_arguments, reason = "the body of `masked_walk`, compiled for one instruction set")]
#[inline(always)]
fn walk<I: Isa, A: Adjacency, C: CodeView>(
    isa: I,
    graph: &A,
    computer: &SketchComputer<'_, I, C>,
    query: &MaskedQuery<'_>,
    window: f32,
    starts: &[(u32, f32)],
    visited: &mut VisitedSet,
    state: &mut MaskedState,
    counters: &mut Counters,
) {
    state.reset(query.k, query.bound);
    visited.reset(query.limit);
    let (mut least, mut least_at) = (f32::INFINITY, 0);
    for (row, estimate) in starts {
        if *row < query.limit && visited.insert(*row) {
            graph.prefetch(*row);
            state.frontier.push(*row, *estimate);
            if query.set.contains(*row) {
                state.find(*row, *estimate, window);
            }
            least = least.min(*estimate);
        }
    }
    let outlook = query.max_distances / OUTLOOK_PART;
    let (mut hops, mut distances) = (0, 0);
    let mut looked = false;
    loop {
        let settled = hops - least_at >= PATIENCE;
        let stop_at = query.gamma * if settled { state.worst() } else { state.nearest.worst() };
        let mut gathered = 0;
        let mut done = false;
        for _ in 0..EXPANSIONS {
            match state.frontier.nearest(isa) {
                Some((number, estimate)) if estimate <= stop_at => {
                    state.frontier.expand(number);
                    hops += 1;
                    let row = state.frontier.row(number);
                    let fresh = graph.gather(isa, row, visited, query.limit, &mut state.batch[gathered..]);
                    for row in &state.batch[gathered..gathered + fresh] {
                        computer.prefetch(*row);
                    }
                    gathered += fresh;
                }
                _ => {
                    done = true;
                    break;
                }
            }
        }
        computer.estimate(&state.batch[..gathered], &mut state.estimates[..gathered]);
        distances += gathered as u64;
        let gate = query.gamma.max(1.0) * state.nearest.worst();
        if state.frontier.len() + gathered > CANDIDATES_MAX {
            state.frontier.shrink(KEPT);
        }
        let kept = isa.keys_below(&state.estimates[..gathered], gate, &mut state.survivors);
        for position in 0..kept {
            let position = state.survivors[position] as usize;
            let (row, estimate) = (state.batch[position], state.estimates[position]);
            graph.prefetch(row);
            state.frontier.push(row, estimate);
            if estimate < least {
                (least, least_at) = (estimate, hops);
            }
            if query.set.contains(row) {
                state.find(row, estimate, window);
            }
        }
        if done {
            break;
        }
        if hops >= query.hops_max {
            // Of a set that lies away from the query a walk this long has seen the near side only, and the caller has to
            // scan; where few rows are hidden the query is merely hard, and what is held is the answer as without a set.
            counters.stopped_early |= query.is_sparse;
            break;
        }
        if distances >= outlook && (distances >= query.max_distances || !looked) {
            looked = true;
            // With less than a quarter of what is wanted after a quarter of the budget it will not be met.
            let hopeless = state.found.len() * (OUTLOOK_PART as usize) < query.k;
            if hopeless || distances >= query.max_distances {
                counters.stopped_early = true;
                break;
            }
        }
    }
    counters.hops += hops;
    counters.distances += distances;
}
