//! Taking over the graph of rows that stay when a segment is written anew or merged with others.
//!
//! The rows of the largest input come first in the output and keep their lists, renumbered. Where a neighbour is gone,
//! one of its own neighbours takes its place, chosen by the usual rule, and is linked back: a tenth of the work of
//! linking the row, since nothing is searched. Rows that follow are linked as always. Each list is written by one task
//! from the old graph alone, and the back edges are added when all lists are there, sorted, so the outcome depends
//! neither on threads nor on steps.
//!
//! Departure from Singh et al. 2021 (FreshDiskANN, algorithm 4), who prune the whole list again and link nothing back:
//! the neighbours that stay are not judged anew. The rule leaves about half of a list that back edges have filled, and
//! these are not made again: after two turnovers in steps of 4 % lists of images had 10.5 neighbours where fresh ones
//! have 16, and recall at `ef` 16 was two points lower.

use std::ops::Range;

use dvse_simd::{Isa, Op, dispatch};
use dvse_types::Metric;
use rayon::prelude::*;

use super::growing::{GrowingHnsw, LinkError, LinkProgress};
use super::link::{BackEdge, LinkSpace, Linker, Worker};
use super::sealed::SealedHnsw;
use super::sections::SealedGraph;
use crate::ann::AnnIndex;
use crate::candidates::{pack, unpack_row};
use crate::computer::{DistanceComputer, Kernel, with_kernel};
use crate::graph::adjacency::{Adjacency, EMPTY};
use crate::graph::growing::Full;
use crate::graph::prune::{PruneRule, RowSpace, SketchSpace, select_beside};
use crate::sketch::growing::GrowingSketches;
use crate::vectors::{VectorView, with_rows};

/// Rows a task takes over: most of them cost little.
const ROWS_A_TASK: usize = 64;

/// With more than this part of the old rows gone, in percent, all are linked anew.
const GONE_PERCENT_MAX: u64 = 50;

impl GrowingHnsw {
    /// Whether the graph of `from` is of use here when `kept` of its rows stay: it is of the same kind, and most rows
    /// stay.
    #[must_use]
    pub fn can_adopt(&self, from: &SealedHnsw, kept: u32) -> bool {
        let (ours, theirs) = (self.params(), from.params());
        let gone = u64::from(from.covered().saturating_sub(kept));
        (ours.m, ours.layers, ours.sketches) == (theirs.m, theirs.layers, theirs.sketches)
            && self.metric() == from.metric()
            && self.dim() == from.dim()
            && gone * 100 <= u64::from(from.covered()) * GONE_PERCENT_MAX
    }

    /// Takes over the lists of the rows `kept` of another graph (ascending), which are the first rows of this one, in the
    /// same order; as far as row `upto` of this one. To be called, with the same rows, until it says that it is done, and
    /// before anything is linked here.
    ///
    /// # Errors
    /// [`LinkError`]; what was taken over before stays.
    pub fn adopt(
        &self,
        from: &SealedHnsw,
        kept: &[u32],
        upto: u32,
        pool: &rayon::ThreadPool,
    ) -> Result<LinkProgress, LinkError> {
        if !self.can_adopt(from, kept.len() as u32) {
            return Err(LinkError::Foreign);
        }
        let mut new_rows = vec![EMPTY; from.covered() as usize];
        for (new, old) in kept.iter().enumerate() {
            match new_rows.get_mut(*old as usize) {
                Some(place) => *place = new as u32,
                None => return Err(LinkError::Foreign),
            }
        }
        let mut linker = self.linker.lock().map_err(|_| LinkError::Poisoned)?;
        with_rows!(&self.rows, rows => {
            let (there, end) = (VectorView::len(rows), upto.min(kept.len() as u32));
            if end > there {
                return Err(LinkError::NoSuchRows { upto: end, rows: there });
            }
            let space = self.link_space(rows, pool, self.sketch(rows, Some(pool))?);
            let adopter = Adopter { space: &space, from: &from.graph(), kept, new_rows: &new_rows };
            let full = |_| LinkError::Full { upto: end, rows_max: space.graph.rows_max() };
            let first = space.graph.linked();
            if first < end {
                adopter.adopt(&mut linker, first..end).map_err(full)?;
            }
            let done = space.graph.linked() >= kept.len() as u32;
            if done {
                let mut edges = std::mem::take(&mut linker.pending);
                space.link_back(&linker, &mut edges);
                space.repair(&mut linker);
            }
            Ok(LinkProgress { linked: space.graph.linked(), done })
        })
    }
}

struct Adopter<'a, 'b, V> {
    space: &'a LinkSpace<'b, V>,
    from: &'a SealedGraph<'a>,
    /// The old number of each row taken over.
    kept: &'a [u32],
    /// The new number of each old row, `EMPTY` where it is gone.
    new_rows: &'a [u32],
}

impl<V: VectorView> Adopter<'_, '_, V> {
    fn adopt(&self, linker: &mut Linker, range: Range<u32>) -> Result<(), Full> {
        let mut top: Option<(u32, u8)> = None;
        for row in range.clone() {
            let level = self.from.level(self.kept[row as usize]);
            self.space.graph.add_row(row, level)?;
            if top.is_none_or(|(_, best)| level > best) {
                top = Some((row, level));
            }
        }
        if let Some(sketches) = self.space.sketches {
            sketches.raise_linked_norm(self.space.rows, range.end);
        }
        let rows: Vec<u32> = range.clone().collect();
        let shared = &*linker;
        let task = |rows: &[u32]| {
            shared.with_worker(|worker| {
                let mut edges = Vec::new();
                rows.iter().for_each(|row| self.adopt_row(*row, worker, &mut edges));
                edges
            })
        };
        let parts: Vec<Vec<BackEdge>> =
            self.space.pool.install(|| rows.par_chunks(ROWS_A_TASK).map(task).collect());
        linker.pending.extend(parts.into_iter().flatten());
        let entry = self.space.graph.entry();
        let higher = top.filter(|(_, level)| entry.is_none_or(|entry| *level > entry.level));
        self.space.graph.publish(range.end, higher);
        Ok(())
    }

    fn adopt_row(&self, row: u32, worker: &mut Worker, edges: &mut Vec<BackEdge>) {
        let old = self.kept[row as usize];
        for layer in 0..=self.from.level(old) {
            let list = self.from.slots(layer, old);
            let new = |id: u32| self.new_rows.get(id as usize).copied().unwrap_or(EMPTY);
            let there = |id: &u32| *id != EMPTY;
            let Worker { candidates, stay, .. } = &mut *worker;
            stay.clear();
            stay.extend(list.iter().map(|id| new(*id)).filter(there));
            let lost = list.iter().filter(|id| there(id)).count() - stay.len();
            if lost == 0 {
                self.space.graph.set_list(layer, row, stay.iter().copied());
                continue;
            }
            candidates.clear();
            candidates.extend(stay.iter().map(|row| pack(0.0, *row)));
            for gone in list.iter().filter(|id| there(id) && !there(&new(**id))) {
                let beyond = self.from.slots(layer, *gone).iter().map(|id| new(*id));
                let beyond = beyond.filter(|id| there(id) && *id != row);
                candidates.extend(beyond.map(|row| pack(0.0, row)));
            }
            candidates.sort_unstable();
            candidates.dedup();
            self.make_good(layer, row, lost, worker);
            let Worker { taken, stay, .. } = &*worker;
            self.space.graph.set_list(layer, row, taken.iter().map(|key| unpack_row(*key)));
            let won = taken.iter().filter(|key| !stay.contains(&unpack_row(**key)));
            edges.extend(won.map(|key| BackEdge::of(layer, row, *key)));
        }
    }

    /// Takes neighbours for those lost from the worker's candidates, whose distances are not known yet.
    fn make_good(&self, layer: u8, row: u32, lost: usize, worker: &mut Worker) {
        let space = self.space;
        let slots = space.graph.slots(layer, row).len();
        let rule = PruneRule::new(space.metric, space.params.alpha, slots);
        let by_sketch = layer == 0 && space.metric != Metric::InnerProduct;
        if let Some(sketches) = space.sketches.filter(|_| by_sketch) {
            dispatch(space.level, ChooseBySketch { sketches, row, rule, lost, worker });
        } else {
            with_kernel!(space.metric, kernel => {
                dispatch(space.level, ChooseByRow { space, kernel, row, rule, lost, worker });
            });
        }
    }
}

struct ChooseBySketch<'a> {
    sketches: &'a GrowingSketches,
    row: u32,
    rule: PruneRule,
    /// Neighbours to be taken at most.
    lost: usize,
    worker: &'a mut Worker,
}

impl Op for ChooseBySketch<'_> {
    type Output = ();

    fn run<I: Isa>(self, isa: I) {
        let Worker { candidates, taken, sketch, stay, .. } = self.worker;
        let codes = self.sketches.codes();
        let transform = self.sketches.transform();
        let mut space =
            SketchSpace { isa, transform, codes: &codes, row: self.row, scratch: &mut sketch.prune };
        space.rescore(candidates);
        candidates.sort_unstable();
        select_beside(&mut space, candidates, stay, self.rule, self.lost, taken);
    }
}

struct ChooseByRow<'a, 'b, V, K> {
    space: &'a LinkSpace<'b, V>,
    kernel: K,
    row: u32,
    rule: PruneRule,
    /// Neighbours to be taken at most.
    lost: usize,
    worker: &'a mut Worker,
}

impl<V: VectorView, K: Kernel> Op for ChooseByRow<'_, '_, V, K> {
    type Output = ();

    fn run<I: Isa>(self, isa: I) {
        let Worker { beam, candidates, taken, stay, .. } = self.worker;
        let mut space = RowSpace { isa, kernel: self.kernel, rows: self.space.rows };
        beam.batch.clear();
        beam.batch.extend(candidates.iter().map(|key| unpack_row(*key)));
        let prefetch = self.space.params.traversal.prefetch;
        space.computer(self.row).score_batch(&beam.batch, u64::MAX, candidates, prefetch);
        candidates.sort_unstable();
        select_beside(&mut space, candidates, stay, self.rule, self.lost, taken);
    }
}
