//! The search loop over sketches: it stops by distance, not by count.
//!
//! ```text
//! begin at the few nearest of the entries
//! repeat:  take the nearest candidates not yet expanded; stop when the next is farther than γ · d
//!          gather their neighbours that were not seen; estimate all; keep those nearer than γ · d
//! where d is the k-th least estimate so far
//! ```
//!
//! An easy query sees its k-th distance settle early and stops; a hard one goes on. With one γ for all, the same mean
//! recall takes 20 to 40 % fewer estimates than with one beam width for all. The threshold has to gate what enters as
//! well, else the frontier floods and nothing is gained.

use dvse_simd::Isa;

use super::codes::CodeView;
use super::computer::SketchComputer;
use super::frontier::{CANDIDATES_MAX, Frontier, NearestK};
use crate::graph::adjacency::Adjacency;
use crate::graph::beam_search::Counters;
use crate::visited::VisitedSet;

/// Neighbours one expansion may bring: the most slots a row can have.
pub(crate) const NEIGHBOURS_MAX: usize = 256;

/// Nodes expanded in one step: two hide each other's waits for memory; more expand what a better candidate would have
/// spared.
pub(crate) const EXPANSIONS: usize = 2;

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
    /// Rows from here on are skipped.
    pub(crate) limit: u32,
    /// Nodes expanded at most.
    pub(crate) hops_max: u64,
    /// Estimates made at most.
    pub(crate) max_distances: u64,
}

/// The loop's memory.
#[derive(Debug, Default)]
pub(crate) struct AdaptiveState {
    pub(crate) frontier: Frontier,
    pub(crate) nearest: NearestK,
    batch: Vec<u32>,
    estimates: Vec<f32>,
    survivors: Vec<u32>,
}

/// Walks the graph from `starts` (rows and their estimates); candidates are left in the state.
#[inline(never)]
pub(crate) fn adaptive_search<I: Isa, A: Adjacency, C: CodeView>(
    graph: &A,
    computer: &SketchComputer<'_, I, C>,
    query: &AdaptiveQuery,
    starts: &[(u32, f32)],
    visited: &mut VisitedSet,
    state: &mut AdaptiveState,
    counters: &mut Counters,
) {
    let isa = computer.isa();
    isa.vectorize(|| walk(isa, graph, computer, query, starts, visited, state, counters));
}

#[expect(
    clippy::too_many_arguments,
    reason = "the body of `adaptive_search`, compiled for one instruction set"
)]
#[inline(always)]
fn walk<I: Isa, A: Adjacency, C: CodeView>(
    isa: I,
    graph: &A,
    computer: &SketchComputer<'_, I, C>,
    query: &AdaptiveQuery,
    starts: &[(u32, f32)],
    visited: &mut VisitedSet,
    state: &mut AdaptiveState,
    counters: &mut Counters,
) {
    let AdaptiveState { frontier, nearest, batch, estimates, survivors } = state;
    batch.resize(EXPANSIONS * NEIGHBOURS_MAX + SLACK, 0);
    survivors.resize(EXPANSIONS * NEIGHBOURS_MAX + SLACK, 0);
    estimates.resize(EXPANSIONS * NEIGHBOURS_MAX, 0.0);
    visited.reset(query.limit);
    frontier.clear();
    nearest.reset(query.k);
    for (row, estimate) in starts {
        if *row < query.limit && visited.insert(*row) {
            graph.prefetch(*row);
            frontier.push(*row, *estimate);
            nearest.insert(*estimate);
        }
    }
    let mut hops = 0;
    let mut distances = 0;
    let mut done = false;
    while !done {
        let stop_at = query.gamma * nearest.worst();
        let mut gathered = 0;
        for _ in 0..EXPANSIONS {
            match frontier.nearest(isa) {
                Some((number, estimate)) if estimate <= stop_at => {
                    frontier.expand(number);
                    hops += 1;
                    let fresh =
                        graph.gather(isa, frontier.row(number), visited, query.limit, &mut batch[gathered..]);
                    for row in &batch[gathered..gathered + fresh] {
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
        if hops >= query.hops_max || distances >= query.max_distances {
            counters.stopped_early |= distances >= query.max_distances && !done;
            done = true;
        }
        let batch = &batch[..gathered];
        let estimates = &mut estimates[..gathered];
        computer.estimate(batch, estimates);
        distances += gathered as u64;
        // Below 1 a threshold stops the walk before the k-th is settled, but what is among the k nearest belongs in.
        let gate = query.gamma.max(1.0) * nearest.worst();
        if frontier.len() + gathered > CANDIDATES_MAX {
            frontier.shrink(KEPT);
        }
        let kept = isa.keys_below(estimates, gate, survivors);
        for position in &survivors[..kept] {
            let (row, estimate) = (batch[*position as usize], estimates[*position as usize]);
            graph.prefetch(row);
            frontier.push(row, estimate);
            nearest.insert(estimate);
        }
    }
    counters.hops += hops;
    counters.distances += distances;
}
