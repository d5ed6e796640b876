//! The search loop over sketches, and over other codes: it stops by distance, not by count.
//!
//! ```text
//! begin at the few nearest of the entries
//! repeat:  take the nearest candidate not yet expanded; stop when it is farther than γ · d
//!          gather its neighbours that were not seen and ask for their sketches
//!          estimate those gathered in the step before; keep those nearer than γ · d
//! where d is the k-th least estimate so far
//! ```
//!
//! An easy query sees its k-th distance settle early and stops; a hard one goes on. With one γ for all, the same mean
//! recall takes 20 to 40 % fewer estimates than with one beam width for all. The threshold has to gate what enters as
//! well, else the frontier floods and nothing is gained.

use dvse_simd::{Isa, Op};

use super::frontier::{CANDIDATES_MAX, Frontier, NearestK};
use crate::graph::adjacency::Adjacency;
use crate::graph::beam_search::Counters;
use crate::visited::VisitedSet;

/// Neighbours one expansion may bring: the most slots a row can have.
pub(crate) const NEIGHBOURS_MAX: usize = 256;

/// Room that gathering may overwrite past its end.
const SLACK: usize = 16;

/// Candidates kept when the frontier is full.
const KEPT: usize = CANDIDATES_MAX / 2;

/// What the loop is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdaptiveQuery {
    /// Neighbours wanted, which the threshold follows.
    pub(crate) k: usize,
    /// The threshold as a part of the k-th least estimate.
    pub(crate) gamma: f32,
    /// What is added to the threshold, for estimates whose noise is no part of the distance.
    pub(crate) slack: f32,
    /// Rows from here on are skipped.
    pub(crate) limit: u32,
    /// Nodes expanded at most.
    pub(crate) hops_max: u64,
    /// Estimates made at most.
    pub(crate) max_distances: u64,
}

impl AdaptiveQuery {
    /// Expansions after which a walk for a beam of a width ends however hard the query.
    pub(crate) fn hops_max(ef: usize, k: usize) -> u64 {
        HOPS_AT_LEAST + HOPS_A_CANDIDATE * ef.max(k) as u64
    }

    /// Whether a walk is made for so many neighbours, so wide a beam and a graph with so many slots a row.
    pub(crate) fn fits(k: usize, ef: usize, width: usize) -> bool {
        k <= ADAPTIVE_K_MAX && ef <= ADAPTIVE_EF_MAX && width <= NEIGHBOURS_MAX
    }
}

/// Hops after which a walk ends however hard the query: a part that grows with the beam, and one that does not. Where
/// walks ended after four times the mean, recall stopped rising at 0.98.
const HOPS_A_CANDIDATE: u64 = 8;
const HOPS_AT_LEAST: u64 = 64;

/// So many neighbours are sought by the adaptive loop; more of them by a plain beam.
const ADAPTIVE_K_MAX: usize = CANDIDATES_MAX / 4;

/// A beam up to this wide is taken for a threshold; a wider one is meant as it is.
const ADAPTIVE_EF_MAX: usize = 2048;

/// The part of the slope by which a beam's width becomes a threshold: `γ = (ef / k)^(part · slope)`.
///
/// With 1 the threshold would be the distance at which a beam of that width ends on the average, and find far more
/// than that beam does, since hard queries go on. With this part the same `ef` finds about what it finds in a plain
/// beam, with less work.
pub(crate) const THRESHOLD_PART: f32 = 0.36;

/// The least power of `ef / k`. Where the local dimension is high distances hardly grow with rank,
/// but walks are no easier: glosses of words, coded coarsely, kept a recall of 0.91 at 256 without this.
pub(crate) const THRESHOLD_POWER_MIN: f32 = 0.08;

/// Estimates of squared distances, or of what is ordered as they are, from one query.
pub(crate) trait Estimator {
    /// The instruction set of the kernels.
    type Isa: Isa;

    fn isa(&self) -> Self::Isa;

    /// Estimates the distances to rows, none below 0 and each finite, and asks for the codes of the rows `ahead` in between.
    fn estimate_and_fetch(&self, rows: &[u32], out: &mut [f32], ahead: &[u32]);
}

/// Which rows may be found; the others lead on.
pub(crate) trait Members: Copy {
    fn has(self, row: u32) -> bool;
}

/// All of them.
#[derive(Clone, Copy)]
pub(crate) struct Everyone;

impl Members for Everyone {
    #[inline(always)]
    fn has(self, _row: u32) -> bool {
        true
    }
}

/// Rows whose bit is set, as in [`RowSet::Bitmap`](crate::row_set::RowSet::Bitmap).
#[derive(Clone, Copy)]
pub(crate) struct Marked<'a>(pub(crate) &'a [u64]);

impl Members for Marked<'_> {
    #[inline(always)]
    fn has(self, row: u32) -> bool {
        self.0.get((row >> 6) as usize).copied().unwrap_or(0) >> (row & 63) & 1 != 0
    }
}

/// The loop's memory.
#[derive(Debug, Default)]
pub(crate) struct AdaptiveState {
    pub(crate) frontier: Frontier,
    pub(crate) nearest: NearestK,
    /// Neighbours gathered in this step and in the one before.
    batches: [Vec<u32>; 2],
    estimates: Vec<f32>,
    survivors: Vec<u32>,
}

/// Walks the graph from `starts` (rows and their estimates); candidates are left in the state, those that are no members
/// among them. The threshold follows the k-th least estimate of the members.
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "a loop over borrowed parts of an index and a scratch")]
pub(crate) fn adaptive_search<E: Estimator, A: Adjacency, M: Members>(
    graph: &A,
    computer: &E,
    query: &AdaptiveQuery,
    members: M,
    starts: &[(u32, f32)],
    visited: &mut VisitedSet,
    state: &mut AdaptiveState,
    counters: &mut Counters,
) {
    computer.isa().run(Walk { graph, computer, query, members, starts, visited, state, counters });
}

/// The body of [`adaptive_search`], compiled for one instruction set. Not a closure: those are not always compiled into
/// the function that has the instruction set.
struct Walk<'a, E, A, M> {
    graph: &'a A,
    computer: &'a E,
    query: &'a AdaptiveQuery,
    members: M,
    starts: &'a [(u32, f32)],
    visited: &'a mut VisitedSet,
    state: &'a mut AdaptiveState,
    counters: &'a mut Counters,
}

impl<E: Estimator, A: Adjacency, M: Members> Op for Walk<'_, E, A, M> {
    type Output = ();

    #[inline(always)]
    fn run<J: Isa>(self, _: J) {
        let Walk { graph, computer, query, members, starts, visited, state, counters } = self;
        let isa = computer.isa();
        let AdaptiveState { frontier, nearest, batches: [next, waiting], estimates, survivors } = state;
        let (mut next, mut waiting) = (next, waiting);
        next.resize(NEIGHBOURS_MAX + SLACK, 0);
        waiting.resize(NEIGHBOURS_MAX + SLACK, 0);
        survivors.resize(NEIGHBOURS_MAX + SLACK, 0);
        estimates.resize(NEIGHBOURS_MAX, 0.0);
        visited.reset(query.limit);
        frontier.clear();
        nearest.reset(query.k);
        for (row, estimate) in starts {
            if *row < query.limit && visited.insert(*row) {
                graph.prefetch(*row);
                frontier.push(*row, *estimate);
                if members.has(*row) {
                    nearest.insert(*estimate);
                }
            }
        }
        let (mut hops, mut distances) = (0, 0);
        let mut waiting_rows = 0;
        loop {
            let stop_at = query.gamma * nearest.worst() + query.slack;
            let candidate = frontier.nearest(isa).filter(|(_, estimate)| *estimate <= stop_at);
            let spent = distances >= query.max_distances;
            let gathered = match candidate {
                Some((number, _)) if hops < query.hops_max && !spent => {
                    frontier.expand(number);
                    hops += 1;
                    graph.gather(isa, frontier.row(number), visited, query.limit, next)
                }
                _ if waiting_rows == 0 => {
                    counters.stopped_early |= spent && candidate.is_some();
                    break;
                }
                _ => 0,
            };
            // Estimated are the rows of the step before, whose sketches had this step to arrive.
            let rows = &waiting[..waiting_rows];
            let estimates = &mut estimates[..waiting_rows];
            computer.estimate_and_fetch(rows, estimates, &next[..gathered]);
            distances += waiting_rows as u64;
            // Below 1 a threshold stops the walk before the k-th is settled, but what is among the k nearest belongs in.
            let gate = query.gamma.max(1.0) * nearest.worst() + query.slack;
            if frontier.len() + waiting_rows > CANDIDATES_MAX {
                frontier.shrink(KEPT);
            }
            let kept = isa.keys_below(estimates, gate, survivors);
            for position in &survivors[..kept] {
                let (row, estimate) = (rows[*position as usize], estimates[*position as usize]);
                graph.prefetch(row);
                frontier.push(row, estimate);
                // No branch: infinity changes nothing.
                nearest.insert(if members.has(row) { estimate } else { f32::INFINITY });
            }
            std::mem::swap(&mut next, &mut waiting);
            waiting_rows = gathered;
        }
        counters.hops += hops;
        counters.distances += distances;
    }
}
