//! Which of the candidates become neighbours.
//!
//! The heuristic of Malkov & Yashunin 2018 (algorithm 4) with a factor as in Subramanya et al. 2019 (DiskANN): a
//! candidate is taken unless a neighbour already taken is nearer to it, by the factor `alpha`, than the row itself.
//!
//! Two departures. A taken neighbour that equals the row (distance 0) occludes nothing: it would occlude everything
//! and leave rows with a twin no way out of their island of twins. And candidates are checked against four taken
//! neighbours at a time.

use dvse_simd::Isa;

use crate::candidates::{unpack_distance, unpack_row};
use crate::computer::{DistanceComputer, Kernel, RowComputer};
use crate::vectors::VectorView;

/// How neighbours are chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PruneRule {
    /// Neighbours taken at most.
    pub(crate) keep_max: usize,
    /// Factor of the occlusion test on the metric's distances, at least 1; larger keeps more long edges.
    pub(crate) alpha: f32,
    /// Whether the nearest rejected candidates fill the places left.
    pub(crate) fill: bool,
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

/// Chooses neighbours of a row among candidates (keys of their distance to it, best first, without the row itself)
/// into `taken`, best first. `rejected` is working memory.
#[inline(always)]
pub(crate) fn select_neighbours<I: Isa, V: VectorView, K: Kernel>(
    space: &RowSpace<'_, I, V, K>,
    candidates: &[u64],
    rule: PruneRule,
    taken: &mut Vec<u64>,
    rejected: &mut Vec<u64>,
) {
    taken.clear();
    rejected.clear();
    for candidate in candidates {
        if taken.len() == rule.keep_max {
            break;
        }
        if is_occluded(space, *candidate, taken, rule.alpha) {
            rejected.push(*candidate);
        } else {
            taken.push(*candidate);
        }
    }
    if rule.fill {
        let room = rule.keep_max - taken.len();
        taken.extend(rejected.iter().take(room));
        taken.sort_unstable();
    }
}

/// Whether a taken neighbour stands between the row and the candidate.
#[inline(always)]
fn is_occluded<I: Isa, V: VectorView, K: Kernel>(
    space: &RowSpace<'_, I, V, K>,
    candidate: u64,
    taken: &[u64],
    alpha: f32,
) -> bool {
    let computer = space.computer(unpack_row(candidate));
    let distance = unpack_distance(candidate);
    let occludes = |between: f32, taken: u64| alpha * between < distance && unpack_distance(taken) != 0.0;
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
