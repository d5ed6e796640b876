//! The traversal: best-first search that keeps the best `ef` candidates, in batches.
//!
//! A step takes the nearest unexpanded candidates, gathers their unvisited neighbours into one batch, asks for
//! their rows ahead of use, scores them four at a time and merges the survivors into the beam. Gathering and
//! filtering have no branch that data decides; what can stall is memory, and memory is asked for early.
//!
//! Departures from Malkov & Yashunin 2018 (algorithm 2): one sorted array in place of two heaps; several nodes a
//! step if asked for; distances in batches.

use std::cmp::Reverse;

use super::adjacency::{Adjacency, Slot};
use crate::candidates::{pack, unpack_row};
use crate::computer::{DistanceComputer, Prefetch};
use crate::row_set::RowSet;
use crate::scratch::Beam;

/// How the traversal feeds the machine; changes speed, and `expansions` slightly what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traversal {
    /// Candidates expanded in one step (their neighbours form one batch), at least 1.
    pub expansions: usize,
    /// How rows are asked for ahead of their use.
    pub prefetch: Prefetch,
}

impl Default for Traversal {
    fn default() -> Traversal {
        Traversal { expansions: 1, prefetch: Prefetch::default() }
    }
}

/// What a traversal of one layer is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerQuery {
    pub(crate) layer: u8,
    /// Rows from here on are skipped.
    pub(crate) limit: u32,
    pub(crate) ef: usize,
    pub(crate) max_distances: u64,
    pub(crate) traversal: Traversal,
}

/// What traversals count.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) distances: u64,
    pub(crate) hops: u64,
    pub(crate) stopped_early: bool,
}

/// When a traversal is done, apart from running out of candidates and of budget.
///
/// The rule sees the next candidate's key before it is expanded. With a sorted beam the classic rule needs no code
/// here (a candidate that fell off the beam is never expanded); an adaptive one stops while candidates remain.
pub(crate) trait StopRule {
    fn is_done(&self, beam: &Beam) -> bool;
}

/// Stops when every candidate of the beam is expanded: the rule of `ef_search`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WholeBeam;

impl StopRule for WholeBeam {
    #[inline(always)]
    fn is_done(&self, _beam: &Beam) -> bool {
        false
    }
}

/// Moves greedily towards the query on one layer; returns the local optimum and its distance.
pub(crate) fn greedy_descent<A: Adjacency, C: DistanceComputer>(
    graph: &A,
    computer: &C,
    query: &LayerQuery,
    start: (f32, u32),
    beam: &mut Beam,
    counters: &mut Counters,
) -> (f32, u32) {
    let mut best = pack(start.0, start.1);
    loop {
        beam.batch.clear();
        let slots = graph.slots(query.layer, unpack_row(best));
        beam.batch.extend(slots.iter().map(Slot::get).filter(|row| *row < query.limit));
        computer.score_batch(&beam.batch, best, &mut beam.fresh, query.traversal.prefetch);
        counters.distances += beam.batch.len() as u64;
        counters.hops += 1;
        match beam.fresh.iter().min() {
            Some(closer) => best = *closer,
            None => return (crate::candidates::unpack_distance(best), unpack_row(best)),
        }
    }
}

/// Gathers the unvisited neighbours of a row into the batch and marks them visited.
fn gather<A: Adjacency>(graph: &A, query: &LayerQuery, row: u32, beam: &mut Beam) {
    let slots = graph.slots(query.layer, row);
    let mut kept = beam.batch.len();
    beam.batch.resize(kept + slots.len(), 0);
    for slot in slots {
        let row = slot.get();
        if row < query.limit {
            beam.batch[kept] = row;
            kept += usize::from(beam.visited.insert(row));
        }
    }
    beam.batch.truncate(kept);
}

/// Searches one layer from `starts`; the beam's pool then holds the best `ef` rows found.
pub(crate) fn beam_search<A: Adjacency, C: DistanceComputer, S: StopRule>(
    graph: &A,
    computer: &C,
    query: &LayerQuery,
    starts: &[u32],
    stop: &S,
    beam: &mut Beam,
    counters: &mut Counters,
) {
    begin(computer, query, starts, beam, counters);
    beam.pool.merge(&mut beam.fresh);
    let budget = query.max_distances;
    while !stop.is_done(beam) {
        beam.batch.clear();
        for _ in 0..query.traversal.expansions {
            let Some(row) = beam.pool.expand_next() else { break };
            counters.hops += 1;
            gather(graph, query, row, beam);
        }
        if beam.batch.is_empty() {
            if beam.pool.peek_next().is_none() {
                return;
            }
            continue;
        }
        if let Some(next) = beam.pool.peek_next()
            && query.layer == 0
        {
            // Most often the next to be expanded; its slots arrive while this batch is scored.
            graph.prefetch(next);
        }
        computer.score_batch(&beam.batch, beam.pool.bound(), &mut beam.fresh, query.traversal.prefetch);
        counters.distances += beam.batch.len() as u64;
        beam.pool.merge(&mut beam.fresh);
        if counters.distances >= budget {
            counters.stopped_early = beam.pool.peek_next().is_some();
            return;
        }
    }
}

/// Empties the beam and scores the starts; their keys are left in `fresh`.
fn begin<C: DistanceComputer>(
    computer: &C,
    query: &LayerQuery,
    starts: &[u32],
    beam: &mut Beam,
    counters: &mut Counters,
) {
    beam.visited.reset(query.limit);
    // Not cut to the rows there are: rows past the graph may be merged into the pool afterwards.
    beam.pool.reset(query.ef);
    beam.batch.clear();
    for row in starts {
        if *row < query.limit && beam.visited.insert(*row) {
            beam.batch.push(*row);
        }
    }
    computer.score_batch(&beam.batch, u64::MAX, &mut beam.fresh, query.traversal.prefetch);
    counters.distances += beam.batch.len() as u64;
}

/// Searches layer 0 for rows of `set`; other rows are passed through. The pool then holds the best `ef` rows of
/// the set that were found.
///
/// The walk ends when `ef` rows of the set are held and no nearer candidate is left, or when candidates or the
/// budget run out. A set of few rows makes it long: that is what `max_distances` is for.
pub(crate) fn masked_search<A: Adjacency, C: DistanceComputer>(
    graph: &A,
    computer: &C,
    query: &LayerQuery,
    starts: &[u32],
    set: RowSet<'_>,
    beam: &mut Beam,
    counters: &mut Counters,
) {
    begin(computer, query, starts, beam, counters);
    beam.frontier.clear();
    loop {
        beam.frontier.extend(beam.fresh.iter().map(|key| Reverse(*key)));
        beam.fresh.retain(|key| set.contains(unpack_row(*key)));
        beam.pool.merge(&mut beam.fresh);
        if counters.distances >= query.max_distances {
            counters.stopped_early = !beam.frontier.is_empty();
            return;
        }
        beam.batch.clear();
        for _ in 0..query.traversal.expansions {
            match beam.frontier.pop() {
                Some(Reverse(key)) if key <= beam.pool.bound() => {
                    counters.hops += 1;
                    gather(graph, query, unpack_row(key), beam);
                }
                // Nothing nearer is left.
                _ => {
                    beam.frontier.clear();
                    break;
                }
            }
        }
        if beam.batch.is_empty() && beam.frontier.is_empty() {
            return;
        }
        if let Some(Reverse(next)) = beam.frontier.peek() {
            graph.prefetch(unpack_row(*next));
        }
        computer.score_batch(&beam.batch, beam.pool.bound(), &mut beam.fresh, query.traversal.prefetch);
        counters.distances += beam.batch.len() as u64;
    }
}
