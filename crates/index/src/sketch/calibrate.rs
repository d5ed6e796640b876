//! What a segment's own vectors say about its distances and its sketches' noise.

use super::codes::CodeView;
use super::computer::SketchComputer;
use super::query::{SketchQuery, Space, query_scale};
use super::transform::Transform;
use crate::computer::{Kernel, L2};
use crate::vectors::VectorView;
use dvse_simd::{Isa, Op};

/// How distances grow with rank, and how wrong estimates are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tuning {
    /// The k-th least squared distance grows as `k^slope` near a query: twice the inverse of the local intrinsic dimension.
    pub(crate) slope: f32,
    /// The standard deviation of an estimate, in parts of the query's distance from the mean.
    pub(crate) noise: f32,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning { slope: 0.1, noise: 0.02 }
    }
}

/// Rows that serve as queries.
const QUERIES: usize = 64;

/// Ranks between which the slope is taken.
const RANKS: [usize; 2] = [4, 40];

/// Compares some of the sampled rows with all of them, exactly and by sketch.
pub(crate) struct Calibrate<'a, V, C> {
    pub(crate) rows: &'a V,
    pub(crate) codes: &'a C,
    pub(crate) transform: &'a Transform,
    /// Rows; sketch `i` is that of row `sample[i]`.
    pub(crate) sample: &'a [u32],
    pub(crate) space: Space,
}

impl<V: VectorView, C: CodeView> Op for Calibrate<'_, V, C> {
    type Output = Tuning;

    fn run<I: Isa>(self, isa: I) -> Tuning {
        let mut query = SketchQuery::default();
        let mut estimates = vec![0.0_f32; self.sample.len()];
        let (mut slopes, mut slope_count) = (0.0_f64, 0);
        let (mut squares, mut square_count) = (0.0_f64, 0);
        let numbers: Vec<u32> = (0..self.sample.len() as u32).collect();
        let spread = self.sample.len().div_ceil(QUERIES).max(1);
        for row in self.sample.iter().step_by(spread) {
            let vector = self.rows.row(*row);
            isa.vectorize(|| query.prepare(isa, self.transform, self.space, vector));
            SketchComputer::new(isa, &query, self.codes).estimate(&numbers, &mut estimates);
            let exact = self.sample.iter().map(|other| self.exact(isa, vector, self.rows.row(*other)));
            let mut pairs: Vec<(f32, f32)> = exact.zip(estimates.iter().copied()).collect();
            pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            // Itself, and its twins, come first and say nothing.
            let first = pairs.partition_point(|(exact, _)| *exact <= 0.0);
            let others = &pairs[first..];
            if let [Some((near, _)), Some((far, _))] = RANKS.map(|rank| others.get(rank - 1)) {
                let ranks = (RANKS[1] as f64 / RANKS[0] as f64).ln();
                slopes += (f64::from(*far) / f64::from(*near)).ln() / ranks;
                slope_count += 1;
            }
            if query.radius > 0.0 {
                for (exact, estimate) in others.iter().take(RANKS[1]) {
                    let error = f64::from(estimate - exact) / f64::from(query.radius);
                    squares += error * error;
                    square_count += 1;
                }
            }
        }
        let default = Tuning::default();
        Tuning {
            slope: if slope_count > 0 {
                ((slopes / f64::from(slope_count)) as f32).clamp(0.01, 2.0)
            } else {
                default.slope
            },
            noise: if square_count > 0 {
                ((squares / f64::from(square_count)).sqrt() as f32).min(1e30)
            } else {
                default.noise
            },
        }
    }
}

impl<V: VectorView, C: CodeView> Calibrate<'_, V, C> {
    /// What the estimate is of.
    #[inline(always)]
    fn exact<I: Isa>(&self, isa: I, query: &[f32], row: &[f32]) -> f32 {
        match self.space {
            Space::Euclidean | Space::Sphere => L2::one(isa, query, row),
            Space::Product { norm_max } => {
                let scale = query_scale(isa, self.transform, self.space, query);
                2.0 * scale * (isa.dot(query, query).sqrt() * norm_max - isa.dot(query, row))
            }
        }
    }
}
