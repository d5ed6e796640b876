//! Linking on layer 0 by sketches: the same two phases, at a few nanoseconds a comparison.

use std::ops::Range;

use dvse_simd::{Isa, Op, dispatch};
use dvse_types::Metric;

use super::copies::{are_copies, find_distinct, level_copies};
use super::link::{BackEdge, LinkSpace, Worker};
use crate::candidates::{pack, unpack_row};
use crate::computer::{DistanceComputer, L2, NegatedDot, RowComputer};
use crate::graph::adjacency::{Adjacency, EMPTY, Entry, Slot};
use crate::graph::beam_search::Counters;
use crate::graph::prune::{PruneRule, RowSpace, SketchSpace, SketchSpaceScratch, select_neighbours};
use crate::sketch::adaptive::{AdaptiveQuery, AdaptiveState, Everyone, adaptive_search};
use crate::sketch::computer::SketchComputer;
use crate::sketch::growing::GrowingSketches;
use crate::sketch::prepare::Prepare;
use crate::sketch::query::SketchQuery;
use crate::vectors::VectorView;

/// Memory of linking by sketches.
#[derive(Default)]
pub(super) struct SketchWorker {
    query: SketchQuery,
    adaptive: AdaptiveState,
    starts: Vec<(u32, f32)>,
    estimates: Vec<f32>,
    pub(super) prune: SketchSpaceScratch,
}

impl<V: VectorView> LinkSpace<'_, V> {
    /// Phase 1 for one row on layer 0.
    pub(super) fn choose_by_sketch(
        &self,
        sketches: &GrowingSketches,
        row: u32,
        first: u32,
        entry: Entry,
        worker: &mut Worker,
        edges: &mut Vec<BackEdge>,
    ) {
        let rule = PruneRule::new(self.metric, self.params.alpha, usize::from(self.params.m));
        let mates = first..row;
        dispatch(self.level, ChooseBySketch { space: self, sketches, row, mates, entry, rule, worker });
        let taken = &worker.taken;
        self.graph.set_list(0, row, taken.iter().map(|key| unpack_row(*key)));
        edges.extend(taken.iter().map(|key| BackEdge::of(0, row, *key)));
    }

    /// Phase 2 for one list of layer 0.
    pub(super) fn link_back_by_sketch(
        &self,
        sketches: &GrowingSketches,
        group: &[BackEdge],
        worker: &mut Worker,
    ) {
        dispatch(self.level, LinkBackBySketch { space: self, sketches, group, worker });
    }
}

struct ChooseBySketch<'a, V> {
    space: &'a LinkSpace<'a, V>,
    sketches: &'a GrowingSketches,
    row: u32,
    /// Rows of the batch that are candidates though no list leads to them yet.
    mates: Range<u32>,
    entry: Entry,
    rule: PruneRule,
    worker: &'a mut Worker,
}

impl<V: VectorView> Op for ChooseBySketch<'_, V> {
    type Output = ();

    fn run<I: Isa>(self, isa: I) {
        let LinkSpace { graph, rows, metric, params, .. } = *self.space;
        let rule = self.rule;
        let Worker { beam, candidates, taken, sketch, .. } = self.worker;
        let SketchWorker { query, adaptive, starts, estimates, prune } = sketch;
        let codes = self.sketches.codes();
        let entries = self.sketches.entries();
        let ef = usize::from(params.ef_construction);
        let (transform, space) = (self.sketches.transform(), self.sketches.link_space());
        isa.run(Prepare { query, transform, space, vector: rows.row(self.row), entries: &entries, starts });
        let computer = SketchComputer::new(isa, query, &codes);
        // The k-th least with k as wide as the beam and a threshold of 1 is the beam search of HNSW.
        let walk = AdaptiveQuery {
            k: ef,
            gamma: 1.0,
            slack: 0.0,
            limit: self.entry.limit,
            hops_max: u64::MAX,
            max_distances: u64::MAX,
        };
        let mut counters = Counters::default();
        adaptive_search(
            graph,
            &computer,
            &walk,
            Everyone,
            starts,
            &mut beam.visited,
            adaptive,
            &mut counters,
        );
        let worst = adaptive.nearest.worst();
        candidates.clear();
        let near = adaptive.frontier.candidates().filter(|(_, estimate)| *estimate <= worst);
        candidates.extend(near.map(|(row, estimate)| pack(estimate, row)));
        // Rows of the batch before this one: data often comes in an order in which the nearest rows follow each other.
        beam.batch.clear();
        beam.batch.extend(self.mates);
        estimates.clear();
        estimates.resize(beam.batch.len(), 0.0);
        computer.estimate(&beam.batch, estimates);
        let mates = beam.batch.iter().zip(estimates.iter()).filter(|(_, estimate)| **estimate < worst);
        candidates.extend(mates.map(|(row, estimate)| pack(*estimate, *row)));
        // A row that is linked finds itself; and knows neighbours the walk may have missed.
        candidates.retain(|key| unpack_row(*key) != self.row);
        candidates.sort_unstable();
        candidates.truncate(ef);
        if candidates.len() >= ef && are_copies(rows, self.row, candidates) {
            // Of rows in full: copies are told by them. As rows are near by products if at all, they are by distance.
            let full = RowComputer::new(isa, L2, rows.row(self.row), rows);
            let walk = self.space.layer_query(0, self.entry.limit, ef);
            let first = candidates.first().map_or(self.entry.row, |key| unpack_row(*key));
            find_distinct(graph, rows, &full, &walk, &[first, self.entry.row], beam);
            beam.batch.clear();
            beam.batch
                .extend(beam.pool.keys().iter().map(|key| unpack_row(*key)).filter(|row| *row != self.row));
            estimates.clear();
            estimates.resize(beam.batch.len(), 0.0);
            computer.estimate(&beam.batch, estimates);
            let found = beam.batch.iter().zip(estimates.iter());
            candidates.extend(found.map(|(row, estimate)| pack(*estimate, *row)));
            candidates.sort_unstable();
            level_copies(rows, candidates);
        }
        if metric == Metric::InnerProduct {
            // Sketches of an inner product do not hold norms, so rows cannot be compared with each other by them.
            let mut space = RowSpace { isa, kernel: NegatedDot, rows };
            beam.batch.clear();
            beam.batch.extend(candidates.iter().map(|key| unpack_row(*key)));
            let prefetch = params.traversal.prefetch;
            space.computer(self.row).score_batch(&beam.batch, u64::MAX, candidates, prefetch);
            candidates.sort_unstable();
            let rule = space.rule(rule, metric, self.row);
            select_neighbours(&mut space, candidates, rule, taken);
        } else {
            let transform = self.sketches.transform();
            let mut space = SketchSpace { isa, transform, codes: &codes, row: self.row, scratch: prune };
            select_neighbours(&mut space, candidates, rule, taken);
        }
    }
}

/// `group` are edges of the same host on layer 0, nearest first.
struct LinkBackBySketch<'a, V> {
    space: &'a LinkSpace<'a, V>,
    sketches: &'a GrowingSketches,
    group: &'a [BackEdge],
    worker: &'a mut Worker,
}

impl<V: VectorView> Op for LinkBackBySketch<'_, V> {
    type Output = ();

    fn run<I: Isa>(self, isa: I) {
        let LinkSpace { graph, metric, params, .. } = *self.space;
        let Some(host) = self.group.first().map(BackEdge::host) else { return };
        let Worker { candidates, taken, sketch, .. } = self.worker;
        let slots = graph.slots(0, host);
        candidates.clear();
        let known = slots.iter().map(Slot::get).filter(|id| *id != EMPTY);
        candidates.extend(known.chain(self.group.iter().map(BackEdge::row)).map(|row| pack(0.0, row)));
        candidates.sort_unstable();
        candidates.dedup();
        if candidates.len() <= slots.len() {
            graph.set_list(0, host, candidates.iter().map(|key| unpack_row(*key)));
            return;
        }
        let codes = self.sketches.codes();
        let transform = self.sketches.transform();
        let mut space = SketchSpace { isa, transform, codes: &codes, row: host, scratch: &mut sketch.prune };
        space.rescore(candidates);
        candidates.sort_unstable();
        candidates.dedup();
        let rule = PruneRule::new(metric, params.alpha, slots.len()).filled();
        select_neighbours(&mut space, candidates, rule, taken);
        graph.set_list(0, host, taken.iter().map(|key| unpack_row(*key)));
    }
}
