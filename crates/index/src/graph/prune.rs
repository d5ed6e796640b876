//! Which of the candidates become neighbours.
//!
//! The heuristic of Malkov & Yashunin 2018 (algorithm 4) with a factor as in Subramanya et al. 2019 (DiskANN): a
//! candidate is taken unless a neighbour already taken is nearer to it, by the factor `alpha`, than the row itself.
//!
//! Departures. Equal vectors: a taken neighbour that equals the row occludes nothing, or rows with a twin would have no
//! way out of their island of twins; and only a few such neighbours are taken, for the same reason. Candidates are
//! checked against four taken neighbours at a time. Places left are not filled with rejected candidates: measured,
//! that changes nothing but the degree.

use dvse_simd::Isa;
use dvse_types::Metric;

use crate::candidates::{unpack_distance, unpack_row};
use crate::computer::{DistanceComputer, Kernel, RowComputer, twin_distance, usable_alpha};
use crate::vectors::VectorView;

/// How neighbours are chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PruneRule {
    /// Neighbours taken at most.
    pub(crate) keep_max: usize,
    /// Factor of the occlusion test on the metric's distances, at least 1; larger keeps more long edges.
    pub(crate) alpha: f32,
    /// Candidates up to this distance equal the row.
    pub(crate) twin: f32,
}

impl PruneRule {
    /// The rule for a list of `keep_max` slots.
    pub(crate) fn new(metric: Metric, alpha: f32, keep_max: usize) -> PruneRule {
        PruneRule { keep_max, alpha: usable_alpha(metric, alpha), twin: twin_distance(metric) }
    }
}

/// Rows and kernels to compare rows with.
pub(crate) struct RowSpace<'a, I, V, K> {
    pub(crate) isa: I,
    pub(crate) kernel: K,
    pub(crate) rows: &'a V,
}

impl<'a, I: Isa, V: VectorView, K: Kernel> RowSpace<'a, I, V, K> {
    /// A computer with a row as the query.
    #[inline(always)]
    pub(crate) fn computer(&self, row: u32) -> RowComputer<'a, I, V, K> {
        RowComputer::new(self.isa, self.kernel, self.rows.row(row), self.rows)
    }
}

/// One in this many neighbours may equal the row.
const TWIN_PART: usize = 4;

/// Chooses neighbours of a row among candidates (keys of their distance to it, best first, without the row itself)
/// into `taken`, best first.
pub(crate) fn select_neighbours<I: Isa, V: VectorView, K: Kernel>(
    space: &RowSpace<'_, I, V, K>,
    candidates: &[u64],
    rule: PruneRule,
    taken: &mut Vec<u64>,
) {
    taken.clear();
    let twins_max = rule.keep_max / TWIN_PART;
    for candidate in candidates {
        if taken.len() == rule.keep_max {
            break;
        }
        // Candidates come nearest first, so as long as they are twins all that is taken are twins.
        let too_many = taken.len() >= twins_max && unpack_distance(*candidate) <= rule.twin;
        if !too_many && !is_occluded(space, *candidate, taken, rule) {
            taken.push(*candidate);
        }
    }
}

/// Whether a taken neighbour stands between the row and the candidate.
fn is_occluded<I: Isa, V: VectorView, K: Kernel>(
    space: &RowSpace<'_, I, V, K>,
    candidate: u64,
    taken: &[u64],
    rule: PruneRule,
) -> bool {
    let computer = space.computer(unpack_row(candidate));
    let distance = unpack_distance(candidate);
    let occludes =
        |between: f32, taken: u64| rule.alpha * between < distance && unpack_distance(taken) > rule.twin;
    let mut fours = taken.chunks_exact(4);
    for four in fours.by_ref() {
        let rows = [four[0], four[1], four[2], four[3]];
        let between = computer.score4(rows.map(unpack_row));
        if between.into_iter().zip(rows).any(|(between, taken)| occludes(between, taken)) {
            return true;
        }
    }
    fours.remainder().iter().any(|taken| occludes(computer.score(unpack_row(*taken)), *taken))
}
