//! Linking one batch of rows into a growing graph.
//!
//! ```text
//! phase 1, in parallel over the rows of the batch:   search the graph as it was before the batch;
//!                                                    choose neighbours; write the row's own lists
//! phase 2, in parallel over the rows pointed at:     add the back-edges, nearest first; prune where they overflow
//! then:                                              rows that nobody points back at are forced in; publish
//! ```
//!
//! Phase 1 reads no list that phase 1 writes, and phase 2 gives each list to one task, so the outcome does not
//! depend on how tasks are spread over threads.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use dvse_simd::{Isa, Level, Op, dispatch};
use dvse_types::{Metric, turn};
use rayon::prelude::*;

use super::copies::{are_copies, find_distinct, level_copies};
use super::levels::level_in;
use super::link_sketch::SketchWorker;
use super::params::HnswParams;
use super::search::descend;
use crate::candidates::unpack_row;
use crate::computer::{DistanceComputer, Kernel, with_kernel};
use crate::graph::adjacency::{Adjacency, EMPTY, Entry, Slot};
use crate::graph::beam_search::{Counters, LayerQuery, WholeBeam, beam_search};
use crate::graph::growing::{Full, GrowingGraph};
use crate::graph::prune::{PruneRule, RowSpace, select_neighbours};
use crate::graph::reach::ReachTree;
use crate::scratch::Beam;
use crate::sketch::growing::GrowingSketches;
use crate::vectors::VectorView;

/// Rows a task of phase 1 links, so that a task outweighs handing it out.
const ROWS_A_TASK: usize = 8;

/// Batches smaller than this are linked on the calling thread.
const PARALLEL_FROM: usize = 16;

/// The walk that attaches unreachable rows is repeated when the graph has grown by this part since the last.
const REPAIR_PART: u32 = 4;

/// Candidates among which an unreachable row seeks a row to be attached to.
const REPAIR_EF: usize = 64;

/// Working memory of one linking task.
#[derive(Default)]
pub(super) struct Worker {
    pub(super) beam: Beam,
    pub(super) candidates: Vec<u64>,
    pub(super) taken: Vec<u64>,
    /// Neighbours that a list keeps when it is taken over.
    pub(super) stay: Vec<u32>,
    pub(super) sketch: SketchWorker,
    /// Lists changed since the processor was last offered to others.
    lists: u32,
}

/// Lists that a task changes between two offers ([`turn`]): they take about as long as one row's search for neighbours.
const LISTS_A_TURN: u32 = 32;

/// What the linker keeps between batches.
#[derive(Default)]
pub(super) struct Linker {
    workers: Mutex<Vec<Worker>>,
    /// Back edges that wait for all rows to be taken over.
    pub(super) pending: Vec<BackEdge>,
    /// Rows linked when reachability was last repaired.
    repaired_at: u32,
}

/// An edge waiting to be put into the list of the row it starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BackEdge {
    layer: u8,
    /// The row whose list it is for.
    host: u32,
    /// Distance and row of the neighbour.
    key: u64,
}

impl BackEdge {
    pub(super) fn host(&self) -> u32 {
        self.host
    }

    /// The neighbour.
    pub(super) fn row(&self) -> u32 {
        unpack_row(self.key)
    }

    /// The edge back to `row` from a neighbour it has taken.
    pub(super) fn of(layer: u8, row: u32, taken: u64) -> BackEdge {
        BackEdge { layer, host: unpack_row(taken), key: (taken & !u64::from(u32::MAX)) | u64::from(row << 1) }
    }
}

/// What linking works on.
pub(super) struct LinkSpace<'a, V> {
    pub(super) graph: &'a GrowingGraph,
    pub(super) rows: &'a V,
    /// What rows are linked by, see [`link_metric`](crate::computer::link_metric).
    pub(super) metric: Metric,
    pub(super) level: Level,
    pub(super) params: &'a HnswParams,
    pub(super) pool: &'a rayon::ThreadPool,
    /// Sketches of all rows of the batch and before; layer 0 is linked by them.
    pub(super) sketches: Option<&'a GrowingSketches>,
}

impl<V: VectorView> LinkSpace<'_, V> {
    /// Links the rows of a batch, which follow those linked, and publishes them.
    pub(super) fn link_batch(&self, linker: &mut Linker, batch: Range<u32>) -> Result<(), Full> {
        let mut top = None;
        for row in batch.clone() {
            let level = level_in(self.params, row);
            self.graph.add_row(row, level)?;
            if top.is_none_or(|(_, best)| level > best) {
                top = Some((row, level));
            }
        }
        let entry = self.graph.entry();
        if let Some(sketches) = self.sketches {
            sketches.raise_linked_norm(self.rows, batch.end);
        }
        if let Some(entry) = entry {
            let mut edges = self.choose_all(linker, batch.clone(), entry);
            self.link_back(linker, &mut edges);
            self.force_in(batch.clone());
        }
        let higher = top.filter(|(_, level)| entry.is_none_or(|entry| *level > entry.level));
        self.graph.publish(batch.end, higher);
        if batch.end - linker.repaired_at > linker.repaired_at / REPAIR_PART + 64 {
            self.repair(linker);
        }
        Ok(())
    }

    /// Phase 1: each row's neighbours; returns the edges to be added backwards.
    fn choose_all(&self, linker: &Linker, batch: Range<u32>, entry: Entry) -> Vec<BackEdge> {
        let choose = |rows: &[u32]| {
            linker.with_worker(|worker| {
                let mut edges = Vec::new();
                for row in rows {
                    turn::offer();
                    let first = batch.start;
                    if let Some(sketches) = self.sketches {
                        self.choose_by_sketch(sketches, *row, first, entry, worker, &mut edges);
                        if self.graph.level(*row) == 0 {
                            continue;
                        }
                    }
                    with_kernel!(self.metric, kernel => dispatch(
                        self.level,
                        ChooseOp { space: self, kernel, row: *row, first, entry, worker, edges: &mut edges },
                    ));
                }
                edges
            })
        };
        let rows: Vec<u32> = batch.clone().collect();
        if rows.len() < PARALLEL_FROM {
            return choose(&rows);
        }
        let parts: Vec<Vec<BackEdge>> =
            self.pool.install(|| rows.par_chunks(ROWS_A_TASK).map(choose).collect());
        parts.concat()
    }

    /// Phase 2: adds edges to the lists they are for.
    pub(super) fn link_back(&self, linker: &Linker, edges: &mut [BackEdge]) {
        edges.sort_unstable();
        let link = |group: &[BackEdge]| {
            linker.with_worker(|worker| {
                worker.lists = worker.lists.wrapping_add(1);
                if worker.lists.is_multiple_of(LISTS_A_TURN) {
                    turn::offer();
                }
                let by_sketch = group.first().is_some_and(|edge| edge.layer == 0);
                // Sketches of an inner product do not hold norms, so rows cannot be compared with each other by them.
                let by_sketch = by_sketch && self.metric != Metric::InnerProduct;
                if let Some(sketches) = self.sketches.filter(|_| by_sketch) {
                    self.link_back_by_sketch(sketches, group, worker);
                    return;
                }
                with_kernel!(self.metric, kernel => dispatch(
                    self.level,
                    LinkBackOp { space: self, kernel, group, worker },
                ));
            });
        };
        let same_list = |a: &BackEdge, b: &BackEdge| (a.layer, a.host) == (b.layer, b.host);
        if edges.len() < PARALLEL_FROM * usize::from(self.params.m) {
            edges.chunk_by(same_list).for_each(link);
        } else {
            let groups: Vec<&[BackEdge]> = edges.chunk_by(same_list).collect();
            self.pool.install(|| groups.into_par_iter().with_min_len(ROWS_A_TASK).for_each(link));
        }
    }

    /// Gives each row of the batch that none of its neighbours points back at an edge from the nearest of them.
    fn force_in(&self, batch: Range<u32>) {
        for row in batch {
            let neighbours = || self.graph.slots(0, row).iter().map(Slot::get).filter(|id| *id != EMPTY);
            let points_here = |host: u32| self.graph.slots(0, host).iter().any(|slot| slot.get() == row);
            if neighbours().any(points_here) {
                continue;
            }
            let room = |host: &u32| self.graph.slots(0, *host).iter().any(|slot| slot.get() == EMPTY);
            let host = neighbours().find(room).or_else(|| self.host_among_copies(row, neighbours().next()?));
            let Some(host) = host.or_else(|| neighbours().next()) else { continue };
            let slots = self.graph.slots(0, host);
            let free = slots.iter().find(|slot| slot.get() == EMPTY);
            // With no room the last edge goes: the farthest or the latest. Whatever that cuts off, `repair` finds.
            if let Some(slot) = free.or(slots.last()) {
                slot.store(row, Ordering::Relaxed);
            }
        }
    }

    /// Attaches every row that cannot be reached from the entry on layer 0.
    pub(super) fn repair(&self, linker: &mut Linker) {
        let Some(entry) = self.graph.entry() else { return };
        let mut tree = ReachTree::walk(self.graph, entry.row, entry.limit);
        let mut from = 0;
        while let Some(row) = tree.next_unreached(from) {
            let hosts = linker.with_worker(|worker| {
                with_kernel!(self.metric, kernel => dispatch(
                    self.level,
                    HostsOp { space: self, kernel, row, entry, worker },
                ));
                worker.beam.pool.keys().iter().map(|key| unpack_row(*key)).collect::<Vec<u32>>()
            });
            let copy = hosts.first().and_then(|host| self.host_among_copies(row, *host));
            tree.attach(self.graph, row, copy.into_iter().chain(hosts));
            from = row + 1;
        }
        linker.repaired_at = entry.limit;
    }

    pub(super) fn layer_query(&self, layer: u8, limit: u32, ef: usize) -> LayerQuery {
        LayerQuery { layer, limit, ef, max_distances: u64::MAX, traversal: self.params.traversal }
    }
}

impl Linker {
    /// Runs `f` with working memory no other task has. What it holds beforehand does not matter.
    pub(super) fn with_worker<R>(&self, f: impl FnOnce(&mut Worker) -> R) -> R {
        let take = || self.workers.lock().ok()?.pop();
        let mut worker = take().unwrap_or_default();
        let result = f(&mut worker);
        if let Ok(mut workers) = self.workers.lock() {
            workers.push(worker);
        }
        result
    }
}

/// Phase 1 for one row.
struct ChooseOp<'a, V, K> {
    space: &'a LinkSpace<'a, V>,
    kernel: K,
    row: u32,
    /// The first row of the batch.
    first: u32,
    entry: Entry,
    worker: &'a mut Worker,
    edges: &'a mut Vec<BackEdge>,
}

impl<V: VectorView, K: Kernel> Op for ChooseOp<'_, V, K> {
    type Output = ();

    fn run<I: Isa>(self, isa: I) {
        let LinkSpace { graph, rows, metric, params, .. } = *self.space;
        let mut space = RowSpace { isa, kernel: self.kernel, rows };
        let Worker { beam, candidates, taken, .. } = self.worker;
        let computer = space.computer(self.row);
        let level = graph.level(self.row);
        let mut counters = Counters::default();
        let descent = self.space.layer_query(0, self.entry.limit, 1);
        let low = level.min(self.entry.level);
        let mut start = descend(graph, &computer, self.entry, low, &descent, beam, &mut counters);
        let lowest = if self.space.sketches.is_some() { 1 } else { 0 };
        for layer in (lowest..=level).rev() {
            if layer <= self.entry.level {
                let ef = usize::from(params.ef_construction);
                let query = self.space.layer_query(layer, self.entry.limit, ef);
                beam_search(graph, &computer, &query, &[start], &WholeBeam, beam, &mut counters);
                start = beam.pool.keys().first().map_or(start, |key| unpack_row(*key));
            } else {
                beam.pool.reset(usize::from(params.ef_construction));
            }
            // Rows of the batch before this one. All of them are looked at: data often comes in an order in which
            // the nearest rows follow each other.
            beam.batch.clear();
            let mates = (self.first..self.row).filter(|mate| graph.level(*mate) >= layer);
            beam.batch.extend(mates);
            let bound = beam.pool.bound();
            computer.score_batch(&beam.batch, bound, &mut beam.fresh, params.traversal.prefetch);
            beam.pool.merge(&mut beam.fresh);

            candidates.clear();
            candidates.extend(beam.pool.keys().iter().map(|key| key & !1));
            let ef = usize::from(params.ef_construction);
            if layer <= self.entry.level && candidates.len() >= ef && are_copies(rows, self.row, candidates) {
                let query = self.space.layer_query(layer, self.entry.limit, ef);
                find_distinct(graph, rows, &computer, &query, &[start, self.entry.row], beam);
                candidates.extend(beam.pool.keys().iter().map(|key| key & !1));
                candidates.sort_unstable();
                level_copies(rows, candidates);
            }
            let rule = PruneRule::new(metric, params.alpha, usize::from(params.m));
            let rule = space.rule(rule, metric, self.row);
            select_neighbours(&mut space, candidates, rule, taken);
            graph.set_list(layer, self.row, taken.iter().map(|key| unpack_row(*key)));
            self.edges.extend(taken.iter().map(|key| BackEdge::of(layer, self.row, *key)));
        }
    }
}

/// Phase 2 for one list: `group` are edges of the same host and layer, nearest first.
struct LinkBackOp<'a, V, K> {
    space: &'a LinkSpace<'a, V>,
    kernel: K,
    group: &'a [BackEdge],
    worker: &'a mut Worker,
}

impl<V: VectorView, K: Kernel> Op for LinkBackOp<'_, V, K> {
    type Output = ();

    fn run<I: Isa>(self, isa: I) {
        let LinkSpace { graph, rows, metric, params, .. } = *self.space;
        let Some(BackEdge { layer, host, .. }) = self.group.first().copied() else { return };
        let Worker { beam, candidates, taken, .. } = self.worker;
        let slots = graph.slots(layer, host);
        beam.batch.clear();
        beam.batch.extend(slots.iter().map(Slot::get).filter(|id| *id != EMPTY));
        if beam.batch.len() + self.group.len() <= slots.len() {
            let fresh = self.group.iter().map(|edge| unpack_row(edge.key));
            graph.set_list(layer, host, beam.batch.iter().copied().chain(fresh));
            return;
        }
        let mut space = RowSpace { isa, kernel: self.kernel, rows };
        space.computer(host).score_batch(&beam.batch, u64::MAX, &mut beam.fresh, params.traversal.prefetch);
        candidates.clear();
        candidates.extend(&beam.fresh);
        candidates.extend(self.group.iter().map(|edge| edge.key));
        candidates.sort_unstable();
        candidates.dedup();
        let rule = space.rule(PruneRule::new(metric, params.alpha, slots.len()).filled(), metric, host);
        select_neighbours(&mut space, candidates, rule, taken);
        graph.set_list(layer, host, taken.iter().map(|key| unpack_row(*key)));
    }
}

/// Finds rows near an unreachable one that could point at it: they are left in the worker's pool.
struct HostsOp<'a, V, K> {
    space: &'a LinkSpace<'a, V>,
    kernel: K,
    row: u32,
    entry: Entry,
    worker: &'a mut Worker,
}

impl<V: VectorView, K: Kernel> Op for HostsOp<'_, V, K> {
    type Output = ();

    fn run<I: Isa>(self, isa: I) {
        let graph = self.space.graph;
        let space = RowSpace { isa, kernel: self.kernel, rows: self.space.rows };
        let computer = space.computer(self.row);
        let query = self.space.layer_query(0, self.entry.limit, REPAIR_EF);
        let beam = &mut self.worker.beam;
        beam_search(graph, &computer, &query, &[self.entry.row], &WholeBeam, beam, &mut Counters::default());
    }
}
