//! Linking among copies: rows that equal each other but for rounding.
//!
//! Where a value is there more often than a search for neighbours keeps candidates, all that is found are copies of one
//! value or two, and a row linked to those alone leads nowhere else. So where candidates are copies for the most part, a
//! second walk passes over copies. And where hundreds of rows want a place in the lists of the first few copies, those
//! that find none hang below others: the copies of a value form a tree.

use std::cell::RefCell;

use super::link::LinkSpace;
use crate::candidates::{pack, unpack_distance, unpack_row};
use crate::computer::{DistanceComputer, Prefetch};
use crate::graph::adjacency::{Adjacency, EMPTY, Slot};
use crate::graph::beam_search::{Counters, LayerQuery, WholeBeam, beam_search};
use crate::graph::growing::GrowingGraph;
use crate::graph::prune::is_copy;
use crate::scratch::Beam;
use crate::vectors::VectorView;

/// Of two copies distances differ by this part at most.
const TIE_PART: f32 = 1e-5;

/// Copies of a value that a walk over values keeps, besides those with lower numbers than it has seen: the first copies
/// have been linked longest and lead farthest.
const COPIES_KEPT: u32 = 2;

/// Values at one distance that are told apart.
const TIES_MAX: usize = 8;

/// Whether half of the candidates (keys, best first) are copies of a row or of each other.
pub(super) fn are_copies<V: VectorView>(rows: &V, row: u32, candidates: &[u64]) -> bool {
    let mut copies = 0;
    // The first of each value at the distance of the last candidate.
    let mut firsts: Vec<u64> = Vec::new();
    for candidate in candidates {
        let distance = unpack_distance(*candidate);
        firsts.retain(|first| is_tie(unpack_distance(*first), distance));
        let copy_of = |other: u32| is_copy(rows.row(other), rows.row(unpack_row(*candidate)));
        if firsts.iter().any(|first| copy_of(unpack_row(*first))) {
            copies += 1;
        } else if firsts.is_empty() && copies > 0 && copy_of(row) {
            // Near copies of the row itself may be at any part of the distance from it.
            copies += 1;
        } else if firsts.len() < TIES_MAX {
            firsts.push(*candidate);
        }
    }
    2 * copies >= candidates.len().max(1)
}

/// Gives copies of one value among the candidates (keys, best first) one distance, so that the row with the lowest number
/// stands for it, and orders them again.
pub(super) fn level_copies<V: VectorView>(rows: &V, candidates: &mut Vec<u64>) {
    let mut firsts: Vec<u64> = Vec::new();
    for candidate in candidates.iter_mut() {
        let (distance, row) = (unpack_distance(*candidate), unpack_row(*candidate));
        firsts.retain(|first| is_tie(unpack_distance(*first), distance));
        match firsts.iter().find(|first| is_copy(rows.row(unpack_row(**first)), rows.row(row))) {
            Some(first) => *candidate = pack(unpack_distance(*first), row),
            None if firsts.len() < TIES_MAX => firsts.push(*candidate),
            None => (),
        }
    }
    candidates.sort_unstable();
    candidates.dedup();
}

fn is_tie(one: f32, other: f32) -> bool {
    (one - other).abs() <= TIE_PART * one.abs().max(other.abs())
}

/// Searches a layer for rows near that of `computer`, few copies of each value; they are left in the beam's pool.
pub(super) fn find_distinct<V: VectorView, C: DistanceComputer>(
    graph: &GrowingGraph,
    rows: &V,
    computer: &C,
    query: &LayerQuery,
    starts: &[u32],
    beam: &mut Beam,
) {
    let distinct = Distinct { rows, inner: computer, seen: RefCell::default() };
    beam_search(graph, &distinct, query, starts, &WholeBeam, beam, &mut Counters::default());
}

/// Distances of rows that are no copies of rows seen.
struct Distinct<'a, V, C> {
    rows: &'a V,
    inner: &'a C,
    seen: RefCell<Vec<Value>>,
}

/// A value that a walk has seen.
struct Value {
    distance: f32,
    /// The lowest number of a row that has it.
    row: u32,
    copies: u32,
}

impl<V: VectorView, C> Distinct<'_, V, C> {
    /// Whether a row is to be kept.
    fn admits(&self, key: u64) -> bool {
        let (distance, row) = (unpack_distance(key), unpack_row(key));
        let mut seen = self.seen.borrow_mut();
        let known = seen.iter_mut().find(|value| {
            is_tie(value.distance, distance) && is_copy(self.rows.row(value.row), self.rows.row(row))
        });
        let Some(value) = known else {
            seen.push(Value { distance, row, copies: 1 });
            return true;
        };
        value.copies += 1;
        let is_lower = row < value.row;
        value.row = value.row.min(row);
        is_lower || value.copies <= COPIES_KEPT
    }
}

impl<V: VectorView, C: DistanceComputer> DistanceComputer for Distinct<'_, V, C> {
    fn score(&self, row: u32) -> f32 {
        self.inner.score(row)
    }

    fn score4(&self, rows: [u32; 4]) -> [f32; 4] {
        self.inner.score4(rows)
    }

    fn score_batch(&self, batch: &[u32], bound: u64, fresh: &mut Vec<u64>, prefetch: Prefetch) {
        self.inner.score_batch(batch, bound, fresh, prefetch);
        fresh.retain(|key| self.admits(*key));
    }
}

impl<V: VectorView> LinkSpace<'_, V> {
    /// A row with a free place on layer 0 among the copies of `row` that hang below one of them; `None` where that is no copy.
    pub(super) fn host_among_copies(&self, row: u32, first: u32) -> Option<u32> {
        let is_copy_of_row = |other: u32| other != row && is_copy(self.rows.row(row), self.rows.row(other));
        let mut host = first;
        let mut below = Vec::new();
        let mut depth = 0_u32;
        while is_copy_of_row(host) {
            let slots = self.graph.slots(0, host);
            if slots.iter().any(|slot| slot.get() == EMPTY) {
                return Some(host);
            }
            // Always on to higher numbers, so that the way ends; which of them is left to chance, so that it is short.
            below.clear();
            below.extend(slots.iter().map(Slot::get).filter(|other| *other > host && is_copy_of_row(*other)));
            depth += 1;
            let draw = row.wrapping_mul(0x9e37_79b9).rotate_left(7 * depth).wrapping_mul(0x85eb_ca6b) >> 8;
            host = *below.get(draw as usize % below.len().max(1))?;
        }
        None
    }
}
