//! Which of the candidates become neighbours.
//!
//! The heuristic of Malkov & Yashunin 2018 (algorithm 4) with a factor as in Subramanya et al. 2019 (DiskANN): a
//! candidate is taken unless a neighbour already taken is nearer to it, by the factor `alpha`, than the row itself.
//!
//! Departures. Equal vectors: a taken neighbour that equals the row occludes nothing, or rows with a twin would have no
//! way out of their island of twins; and only a few such neighbours are taken, for the same reason, but where a list has
//! places left when all others are in: twins that hang there stay reachable. Candidates are checked against four taken neighbours at a time. Places left are not filled with rejected candidates: measured,
//! that changes nothing but the degree.

use dvse_simd::Isa;
use dvse_types::Metric;

use crate::candidates::{pack, unpack_distance, unpack_row};
use crate::computer::{DistanceComputer, Kernel, RowComputer, twin_distance, usable_alpha};
use crate::sketch::codes::CodeView;
use crate::sketch::computer::SketchComputer;
use crate::sketch::layout::FACTOR_BYTES;
use crate::sketch::query::SketchQuery;
use crate::sketch::transform::Transform;
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
    /// The squared length of the row where distances are products: a row that equals it is as long besides.
    square: Option<f32>,
    /// Whether places that are left are given to more twins.
    fills: bool,
}

impl PruneRule {
    /// The rule for a list of `keep_max` slots.
    pub(crate) fn new(metric: Metric, alpha: f32, keep_max: usize) -> PruneRule {
        let (alpha, twin) = (usable_alpha(metric, alpha), twin_distance(metric));
        PruneRule { keep_max, alpha, twin, square: None, fills: false }
    }

    /// The same, with places that are left filled up: for a list that others hang on.
    pub(crate) fn filled(self) -> PruneRule {
        PruneRule { fills: true, ..self }
    }

    /// The same for a row of a squared length: what differs from it by no more than floats are rounded equals it.
    pub(crate) fn for_length(self, metric: Metric, square: f32) -> PruneRule {
        let rounding = ROUNDING_PART * square;
        match metric {
            Metric::L2 => PruneRule { twin: self.twin.max(rounding), ..self },
            Metric::Cosine => self,
            Metric::InnerProduct => {
                PruneRule { twin: -square + PRODUCT_PART * square, square: Some(square), ..self }
            }
        }
    }
}

/// The part of the squared length of a row up to which a squared distance from it is rounding: a few units in the last
/// place of each value.
const ROUNDING_PART: f32 = 1e-13;

/// The same where nothing is lost by a row that is taken for a copy of another.
const COPY_PART: f32 = 1e-12;

/// The same of a product, whose rounding is not squared.
const PRODUCT_PART: f32 = 1e-6;

/// Whether one row equals another but for rounding. For the few that are as far from a third as each other.
pub(crate) fn is_copy(row: &[f32], other: &[f32]) -> bool {
    let parts = row.iter().zip(other).fold((0.0, 0.0), |(apart, square), (x, y)| {
        let (x, y) = (f64::from(*x), f64::from(*y));
        (apart + (x - y) * (x - y), square + x * x)
    });
    parts.0 <= f64::from(COPY_PART) * parts.1
}

/// A way to compare candidates with the row and with each other.
pub(crate) trait PruneSpace {
    /// Whether a candidate equals the row.
    fn is_twin(&self, candidate: u64, rule: PruneRule) -> bool;

    /// Whether a taken neighbour that is no twin is nearer to the candidate, by the rule's factor, than the row is.
    fn is_occluded(&mut self, candidate: u64, taken: &[u64], rule: PruneRule) -> bool;
}

/// The lowest bit of a taken key: the neighbour equals the row.
pub(crate) const TWIN: u64 = 1;

/// One in this many neighbours may equal the row.
const TWIN_PART: usize = 4;

/// Chooses neighbours of a row among candidates (keys of their distance to it, best first, lowest bit 0, without the row
/// itself) into `taken`, best first, the lowest bit set for twins. Twins in places that were left come last.
pub(crate) fn select_neighbours<S: PruneSpace>(
    space: &mut S,
    candidates: &[u64],
    rule: PruneRule,
    taken: &mut Vec<u64>,
) {
    taken.clear();
    // Twins are all as good; the lowest numbers have been linked longest and lead farthest.
    let mut twins: Vec<u64> =
        candidates.iter().copied().filter(|candidate| space.is_twin(*candidate, rule)).collect();
    twins.sort_unstable_by_key(|twin| unpack_row(*twin));
    let (first, rest) = twins.split_at(twins.len().min(rule.keep_max / TWIN_PART));
    taken.extend(first.iter().map(|twin| twin | TWIN));
    for candidate in candidates {
        if taken.len() == rule.keep_max {
            return;
        }
        let is_twin = !twins.is_empty() && twins.contains(candidate);
        if !is_twin && !space.is_occluded(*candidate, taken, rule) {
            taken.push(*candidate);
        }
    }
    if rule.fills {
        taken.extend(rest.iter().take(rule.keep_max - taken.len()).map(|twin| twin | TWIN));
    }
}

/// Chooses at most `more` neighbours beside those that a row has (`stay`, which are among the candidates): these are
/// taken as they are, and occlude what is farther. Otherwise as [`select_neighbours`], but that twins come last.
pub(crate) fn select_beside<S: PruneSpace>(
    space: &mut S,
    candidates: &[u64],
    stay: &[u32],
    rule: PruneRule,
    more: usize,
    taken: &mut Vec<u64>,
) {
    taken.clear();
    let mut places = more.min(rule.keep_max.saturating_sub(stay.len()));
    let mut twins = 0;
    for candidate in candidates {
        let is_twin = space.is_twin(*candidate, rule);
        if stay.contains(&unpack_row(*candidate)) {
            twins += usize::from(is_twin);
            taken.push(*candidate | if is_twin { TWIN } else { 0 });
        } else if places > 0 && !is_twin && !space.is_occluded(*candidate, taken, rule) {
            taken.push(*candidate);
            places -= 1;
        }
    }
    places = places.min((rule.keep_max / TWIN_PART).saturating_sub(twins));
    for candidate in candidates {
        if places == 0 {
            return;
        }
        if !stay.contains(&unpack_row(*candidate)) && space.is_twin(*candidate, rule) {
            taken.push(candidate | TWIN);
            places -= 1;
        }
    }
}

/// Compares full rows.
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

    /// The rule for the list of a row.
    #[inline(always)]
    pub(crate) fn rule(&self, rule: PruneRule, metric: Metric, row: u32) -> PruneRule {
        let row = self.rows.row(row);
        rule.for_length(metric, self.isa.vectorize(|| self.isa.dot(row, row)))
    }
}

impl<I: Isa, V: VectorView, K: Kernel> PruneSpace for RowSpace<'_, I, V, K> {
    fn is_twin(&self, candidate: u64, rule: PruneRule) -> bool {
        let distance = unpack_distance(candidate);
        distance <= rule.twin
            && rule.square.is_none_or(|square| {
                let row = self.rows.row(unpack_row(candidate));
                let alike = |product: f32| (product - square).abs() <= PRODUCT_PART * square;
                alike(-distance) && alike(self.isa.vectorize(|| self.isa.dot(row, row)))
            })
    }

    fn is_occluded(&mut self, candidate: u64, taken: &[u64], rule: PruneRule) -> bool {
        let computer = self.computer(unpack_row(candidate));
        let distance = unpack_distance(candidate);
        let occludes = |between: f32, taken: u64| rule.alpha * between < distance && taken & TWIN == 0;
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
}

/// Compares sketches. What two rows have outside their sketches counts as different, so rows are a little nearer than
/// they seem; twins are told by equal codes.
pub(crate) struct SketchSpace<'a, I, C> {
    pub(crate) isa: I,
    pub(crate) transform: &'a Transform,
    pub(crate) codes: &'a C,
    /// The row whose neighbours are chosen.
    pub(crate) row: u32,
    pub(crate) scratch: &'a mut SketchSpaceScratch,
}

/// Memory of a [`SketchSpace`].
#[derive(Debug, Default)]
pub(crate) struct SketchSpaceScratch {
    query: SketchQuery,
    rows: Vec<u32>,
    estimates: Vec<f32>,
}

impl<I: Isa, C: CodeView> SketchSpace<'_, I, C> {
    /// Replaces the distances of keys (any order) by those from the row's own sketch.
    pub(crate) fn rescore(&mut self, keys: &mut [u64]) {
        let SketchSpaceScratch { query, rows, estimates } = &mut *self.scratch;
        let (isa, transform, codes) = (self.isa, self.transform, self.codes);
        isa.vectorize(|| query.prepare_sketch(transform, codes.sketch(self.row)));
        rows.clear();
        rows.extend(keys.iter().map(|key| unpack_row(*key)));
        estimates.clear();
        estimates.resize(rows.len(), 0.0);
        SketchComputer::new(isa, query, codes).estimate(rows, estimates);
        for (key, (row, estimate)) in keys.iter_mut().zip(rows.iter().zip(estimates.iter())) {
            *key = pack(*estimate, *row);
        }
    }
}

impl<I: Isa, C: CodeView> PruneSpace for SketchSpace<'_, I, C> {
    fn is_twin(&self, candidate: u64, _rule: PruneRule) -> bool {
        let codes = |row: u32| {
            let sketch = self.codes.sketch(row);
            &sketch[..sketch.len() - FACTOR_BYTES]
        };
        codes(self.row) == codes(unpack_row(candidate))
    }

    fn is_occluded(&mut self, candidate: u64, taken: &[u64], rule: PruneRule) -> bool {
        let distance = unpack_distance(candidate);
        let SketchSpaceScratch { query, rows, estimates } = &mut *self.scratch;
        let (isa, transform, codes) = (self.isa, self.transform, self.codes);
        isa.vectorize(|| query.prepare_sketch(transform, codes.sketch(unpack_row(candidate))));
        rows.clear();
        rows.extend(taken.iter().map(|key| unpack_row(*key)));
        estimates.clear();
        estimates.resize(rows.len(), 0.0);
        SketchComputer::new(isa, query, codes).estimate(rows, estimates);
        let mut between = estimates.iter().zip(taken);
        between.any(|(between, taken)| rule.alpha * between < distance && taken & TWIN == 0)
    }
}
