//! Taking over the graph of rows that stay when a segment is written anew or merged with others.
//!
//! The rows of the largest input come first in the output and keep their lists, renumbered. Where a neighbour is gone,
//! its own neighbours take its place as candidates and the list is pruned by the usual rule (Singh et al. 2021,
//! FreshDiskANN, algorithm 4): a tenth of the work of linking the row, since nothing is searched. Rows that follow are
//! linked as always. Each list is written by one task from the old graph alone, so the outcome does not depend on
//! threads.

use std::ops::Range;

use dvse_simd::{Isa, Op, dispatch};
use dvse_types::Metric;
use rayon::prelude::*;

use super::growing::{GrowingHnsw, LinkError, LinkProgress};
use super::link::{LinkSpace, Linker, Worker};
use super::sealed::SealedHnsw;
use super::sections::SealedGraph;
use crate::ann::AnnIndex;
use crate::candidates::{pack, unpack_row};
use crate::computer::{DistanceComputer, Kernel, with_kernel};
use crate::graph::adjacency::{Adjacency, EMPTY};
use crate::graph::growing::Full;
use crate::graph::prune::{PruneRule, RowSpace, SketchSpace, select_neighbours};
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
                adopter.adopt(&linker, first..end).map_err(full)?;
            }
            let done = space.graph.linked() >= kept.len() as u32;
            if done {
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
    fn adopt(&self, linker: &Linker, range: Range<u32>) -> Result<(), Full> {
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
        let task = |rows: &[u32]| {
            linker.with_worker(|worker| rows.iter().for_each(|row| self.adopt_row(*row, worker)));
        };
        self.space.pool.install(|| rows.par_chunks(ROWS_A_TASK).for_each(task));
        let entry = self.space.graph.entry();
        let higher = top.filter(|(_, level)| entry.is_none_or(|entry| *level > entry.level));
        self.space.graph.publish(range.end, higher);
        Ok(())
    }

    fn adopt_row(&self, row: u32, worker: &mut Worker) {
        let old = self.kept[row as usize];
        for layer in 0..=self.from.level(old) {
            let list = self.from.slots(layer, old);
            let new = |id: u32| self.new_rows.get(id as usize).copied().unwrap_or(EMPTY);
            let there = |id: &u32| *id != EMPTY;
            worker.candidates.clear();
            let stays = list.iter().map(|id| new(*id)).filter(there);
            worker.candidates.extend(stays.map(|row| pack(0.0, row)));
            let before = list.iter().filter(|id| there(id)).count();
            if worker.candidates.len() < before {
                for gone in list.iter().filter(|id| there(id) && !there(&new(**id))) {
                    let beyond = self.from.slots(layer, *gone).iter().map(|id| new(*id));
                    let beyond = beyond.filter(|id| there(id) && *id != row);
                    worker.candidates.extend(beyond.map(|row| pack(0.0, row)));
                }
                worker.candidates.sort_unstable();
                worker.candidates.dedup();
                self.prune(layer, row, worker);
            } else {
                let stays = worker.candidates.iter().map(|key| unpack_row(*key));
                self.space.graph.set_list(layer, row, stays);
            }
        }
    }

    /// Makes the list of a row from the worker's candidates, whose distances are not known yet.
    fn prune(&self, layer: u8, row: u32, worker: &mut Worker) {
        let space = self.space;
        let slots = space.graph.slots(layer, row).len();
        if worker.candidates.len() > slots {
            let rule = PruneRule::new(space.metric, space.params.alpha, slots);
            let by_sketch = layer == 0 && space.metric != Metric::InnerProduct;
            if let Some(sketches) = space.sketches.filter(|_| by_sketch) {
                dispatch(space.level, PruneBySketch { sketches, row, rule, worker });
            } else {
                with_kernel!(space.metric, kernel => {
                    dispatch(space.level, PruneByRow { space, kernel, row, rule, worker });
                });
            }
            space.graph.set_list(layer, row, worker.taken.iter().map(|key| unpack_row(*key)));
        } else {
            space.graph.set_list(layer, row, worker.candidates.iter().map(|key| unpack_row(*key)));
        }
    }
}

struct PruneBySketch<'a> {
    sketches: &'a GrowingSketches,
    row: u32,
    rule: PruneRule,
    worker: &'a mut Worker,
}

impl Op for PruneBySketch<'_> {
    type Output = ();

    fn run<I: Isa>(self, isa: I) {
        let Worker { candidates, taken, sketch, .. } = self.worker;
        let codes = self.sketches.codes();
        let transform = self.sketches.transform();
        let mut space =
            SketchSpace { isa, transform, codes: &codes, row: self.row, scratch: &mut sketch.prune };
        space.rescore(candidates);
        candidates.sort_unstable();
        select_neighbours(&mut space, candidates, self.rule, taken);
    }
}

struct PruneByRow<'a, 'b, V, K> {
    space: &'a LinkSpace<'b, V>,
    kernel: K,
    row: u32,
    rule: PruneRule,
    worker: &'a mut Worker,
}

impl<V: VectorView, K: Kernel> Op for PruneByRow<'_, '_, V, K> {
    type Output = ();

    fn run<I: Isa>(self, isa: I) {
        let Worker { beam, candidates, taken, .. } = self.worker;
        let mut space = RowSpace { isa, kernel: self.kernel, rows: self.space.rows };
        beam.batch.clear();
        beam.batch.extend(candidates.iter().map(|key| unpack_row(*key)));
        let prefetch = self.space.params.traversal.prefetch;
        space.computer(self.row).score_batch(&beam.batch, u64::MAX, candidates, prefetch);
        candidates.sort_unstable();
        select_neighbours(&mut space, candidates, self.rule, taken);
    }
}
