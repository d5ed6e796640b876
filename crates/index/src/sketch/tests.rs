//! Data and operations the tests of sketches share, and what estimates are worth.

use dvse_simd::{Isa, Level, Op, available, detect, dispatch};

use super::calibrate::{Calibrate, Tuning};
use super::codes::SealedCodes;
use super::computer::SketchComputer;
use super::fit::{SAMPLE_ROWS, fit, sample_rows};
use super::layout::{CodeBits, Layout};
use super::query::{SketchQuery, Space};
use super::transform::{EncodeScratch, Transform};
use crate::vectors::{MappedRows, VectorView};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// About normal.
    pub(crate) fn normal(&mut self) -> f32 {
        (0..6).map(|_| (self.bits() >> 40) as f32 / (1 << 24) as f32 - 0.5).sum::<f32>() * 1.4
    }

    pub(crate) fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }
}

/// Rows of every sketch layout that a dimension can lead to, and some that none does.
pub(crate) fn shapes() -> [(usize, Layout); 6] {
    let layout = |bits, lines| Layout::new(bits, lines).unwrap();
    [
        (24, layout(CodeBits::Seven, 1)),
        (100, layout(CodeBits::Seven, 2)),
        (150, layout(CodeBits::Seven, 2)),
        (90, layout(CodeBits::Four, 1)),
        (200, layout(CodeBits::Four, 2)),
        (300, layout(CodeBits::Four, 2)),
    ]
}

/// Rows of data that is easy and of data that is not, by name.
pub(crate) fn kinds(rows: usize, dim: usize) -> Vec<(&'static str, Vec<f32>)> {
    let random = || Random(dim as u64).normals(rows * dim);
    let changed = |change: &dyn Fn(usize, usize, &mut f32)| {
        let mut values = random();
        for (row, vector) in values.chunks_exact_mut(dim).enumerate() {
            vector.iter_mut().enumerate().for_each(|(column, x)| change(row, column, x));
        }
        values
    };
    let first = random();
    vec![
        ("random", random()),
        ("one column constant", changed(&|_, column, x| *x = if column == 3 { 5.0 } else { *x })),
        ("zeros among others", changed(&|row, _, x| *x = if row % 3 == 0 { 0.0 } else { *x })),
        ("all zero", vec![0.0; rows * dim]),
        ("all equal", changed(&|_, column, x| *x = first[column])),
        ("long", changed(&|_, _, x| *x *= 1e15)),
        ("one row long", changed(&|row, _, x| *x *= if row == 17 { 1e4 } else { 1.0 })),
        ("one column large", changed(&|_, column, x| *x *= if column == 1 { 1000.0 } else { 1.0 })),
        ("50 rows again and again", changed(&|row, column, x| *x = first[row % 50 * dim + column])),
        ("far from the origin", changed(&|_, _, x| *x += 100.0)),
    ]
}

pub(crate) fn learned(rows: &MappedRows, layout: Layout) -> Transform {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    fit(&rows.view(), &sample_rows(rows.view().len(), SAMPLE_ROWS), layout, 1, detect(), Some(&pool), false)
}

/// The sketches of rows, one after the other.
pub(crate) struct EncodeAll<'a> {
    pub(crate) transform: &'a Transform,
    pub(crate) values: &'a [f32],
    pub(crate) euclidean: bool,
}

impl Op for EncodeAll<'_> {
    type Output = Vec<u8>;

    fn run<I: Isa>(self, isa: I) -> Vec<u8> {
        let bytes = self.transform.layout().bytes();
        let mut scratch = EncodeScratch::default();
        let mut sketches = vec![0xaa; self.values.len() / self.transform.dim() * bytes];
        let vectors = self.values.chunks_exact(self.transform.dim());
        for (sketch, vector) in sketches.chunks_exact_mut(bytes).zip(vectors) {
            self.transform.encode(isa, vector, self.euclidean, &mut scratch, sketch);
        }
        sketches
    }
}

/// Estimates from a vector to all sketches, and the vector's distance from the mean.
pub(crate) struct EstimateAll<'a> {
    pub(crate) transform: &'a Transform,
    pub(crate) space: Space,
    pub(crate) query: &'a [f32],
    pub(crate) sketches: &'a [u8],
}

impl Op for EstimateAll<'_> {
    type Output = (Vec<f32>, f32);

    fn run<I: Isa>(self, isa: I) -> (Vec<f32>, f32) {
        let layout = self.transform.layout();
        let mut query = SketchQuery::default();
        query.prepare(isa, self.transform, self.space, self.query);
        let rows: Vec<u32> = (0..(self.sketches.len() / layout.bytes()) as u32).collect();
        let mut estimates = vec![f32::NAN; rows.len()];
        let codes = SealedCodes::new(self.sketches, layout);
        SketchComputer::new(isa, &query, &codes).estimate(&rows, &mut estimates);
        (estimates, query.radius)
    }
}

pub(crate) fn calibrated(
    rows: &MappedRows,
    transform: &Transform,
    sketches: &[u8],
    space: Space,
    level: Level,
) -> Tuning {
    let view = rows.view();
    let sample: Vec<u32> = (0..rows.view().len()).collect();
    let codes = SealedCodes::new(sketches, transform.layout());
    dispatch(level, Calibrate { rows: &view, codes: &codes, transform, sample: &sample, space })
}

/// What an estimate is of, in double precision.
fn exact(space: Space, query: &[f32], row: &[f32]) -> f64 {
    let pairs = query.iter().zip(row).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    match space {
        Space::Euclidean | Space::Sphere => pairs.map(|(a, b)| (a - b) * (a - b)).sum(),
        Space::Product { norm_max } => {
            let length = query.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
            2.0 * (length * f64::from(norm_max) - pairs.map(|(a, b)| a * b).sum::<f64>())
        }
    }
}

/// Errors of estimates against the deviation that was measured on the sample, which the exact comparison's window
/// relies on: over all kinds of data, of 8 000 pairs of a vector that is in no sample with the 40 rows nearest
/// to it, at most one in a hundred is off by more than six.
#[test]
fn estimates_are_within_a_few_of_the_deviations_measured() {
    let count = 600;
    for (dim, layout) in shapes() {
        for (name, mut values) in kinds(count + 20, dim) {
            let queries = values.split_off(count * dim);
            let rows = MappedRows::from_values(&values, dim).unwrap();
            let transform = learned(&rows, layout);
            let norms = values.chunks_exact(dim).map(|row| row.iter().map(|x| x * x).sum::<f32>().sqrt());
            let norm_max = norms.fold(0.0, f32::max);
            for space in [Space::Euclidean, Space::Product { norm_max }] {
                let euclidean = space == Space::Euclidean;
                let sketches =
                    dispatch(detect(), EncodeAll { transform: &transform, values: &values, euclidean });
                let noise = f64::from(calibrated(&rows, &transform, &sketches, space, detect()).noise);
                let (mut outside, mut pairs, mut worst) = (0, 0, 0.0_f64);
                for query in queries.chunks_exact(dim) {
                    let estimate = EstimateAll { transform: &transform, space, query, sketches: &sketches };
                    let (estimates, radius) = dispatch(detect(), estimate);
                    assert!(estimates.iter().all(|estimate| *estimate >= 0.0), "{name}: {estimates:?}");
                    let exact = values.chunks_exact(dim).map(|row| exact(space, query, row));
                    let mut both: Vec<(f64, f32)> = exact.zip(estimates).collect();
                    both.sort_by(|a, b| a.0.total_cmp(&b.0));
                    let radius = f64::from(radius);
                    let length = query.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
                    for (exact, estimate) in both.iter().take(40) {
                        let error = (f64::from(*estimate) - exact).abs();
                        // Single precision, where what is subtracted is far above the difference.
                        let rounding = 1e-6 * (radius * radius + exact + length * f64::from(norm_max));
                        outside += usize::from(error > 6.0 * noise * radius + rounding);
                        worst = worst.max(error / (noise * radius + rounding));
                        pairs += 1;
                    }
                }
                println!(
                    "{dim} {layout:?} {name} {space:?}: noise {noise:.5}, {outside} outside, worst {worst:.1}"
                );
                assert!(outside * 100 <= pairs, "{name}, {layout:?}, {space:?}: {outside} of {pairs}");
            }
        }
    }
}

#[test]
fn sketches_are_the_same_at_every_level() {
    for (dim, layout) in shapes() {
        let mut all = kinds(200, dim);
        all.push((
            "below the normal floats",
            Random(9).normals(200 * dim).iter().map(|x| x * 1e-42).collect(),
        ));
        for (name, values) in all {
            let transform = learned(&MappedRows::from_values(&values, dim).unwrap(), layout);
            let encode = |level| {
                dispatch(level, EncodeAll { transform: &transform, values: &values, euclidean: true })
            };
            let reference = encode(Level::Scalar);
            for level in available() {
                let sketches = encode(*level);
                let pairs = sketches.chunks_exact(layout.bytes()).zip(reference.chunks_exact(layout.bytes()));
                for (row, (sketch, expected)) in pairs.enumerate() {
                    let codes = layout.bytes() - super::layout::FACTOR_BYTES;
                    assert_eq!(sketch[..codes], expected[..codes], "{name}, {layout:?}, {level}, row {row}");
                    let factors = super::layout::factors(sketch).into_iter();
                    for (factor, expected) in factors.zip(super::layout::factors(expected)) {
                        let slack = 1e-5 * expected.abs();
                        assert!((factor - expected).abs() <= slack, "{name}, {level}: {factor} {expected}");
                    }
                }
            }
        }
    }
}

/// Estimates are sums of integers and a few products: equal at every level but for the query's norm.
#[test]
fn estimates_are_the_same_at_every_level() {
    for (dim, layout) in shapes() {
        for (name, values) in kinds(203, dim) {
            let transform = learned(&MappedRows::from_values(&values, dim).unwrap(), layout);
            let sketches = dispatch(
                Level::Scalar,
                EncodeAll { transform: &transform, values: &values, euclidean: true },
            );
            let query = &values[7 * dim..8 * dim];
            let estimate = |level| {
                let space = Space::Euclidean;
                dispatch(level, EstimateAll { transform: &transform, space, query, sketches: &sketches }).0
            };
            let reference = estimate(Level::Scalar);
            let largest = reference.iter().copied().fold(0.0, f32::max);
            for level in available() {
                for (got, expected) in estimate(*level).iter().zip(&reference) {
                    assert!(
                        (got - expected).abs() <= 1e-5 * largest,
                        "{name}, {layout:?}, {level}: {got} {expected}"
                    );
                }
            }
        }
    }
}

/// Lifted rows are on a sphere with the query, and estimates are of the product made as long as that says: whatever the
/// length of the query, and for rows beyond the sphere too. Two rows compare by their distance there.
#[test]
fn estimates_of_lifted_rows_are_of_products_and_of_distances_on_the_sphere() {
    let (count, pool) = (400, rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap());
    for (dim, layout) in shapes() {
        let mut values = Random(dim as u64).normals((count + 5) * dim);
        for (row, vector) in values.chunks_exact_mut(dim).enumerate() {
            let length = if row % 100 == 7 { 6.0 } else { 0.2 + (row % 17) as f32 / 10.0 };
            vector.iter_mut().for_each(|x| *x *= length);
        }
        let mut queries = values.split_off(count * dim);
        queries[..dim].iter_mut().for_each(|x| *x *= 1e3);
        queries[dim..2 * dim].iter_mut().for_each(|x| *x *= 1e-3);
        let rows = MappedRows::from_values(&values, dim).unwrap();
        let sample = sample_rows(count as u32, SAMPLE_ROWS);
        let transform = fit(&rows.view(), &sample, layout, 1, detect(), Some(&pool), true);
        let sphere = transform.lift().unwrap().radius;
        let norm = |vector: &[f32]| vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        let norm_max = values.chunks_exact(dim).map(norm).fold(0.0, f32::max);
        assert!(norm_max > sphere, "no row is beyond the sphere");
        let encode = EncodeAll { transform: &transform, values: &values, euclidean: false };
        let sketches = dispatch(detect(), encode);
        // Rows longer than most are clipped by their codes, and so coarse.
        let slack = |vector: &[f32]| f64::from(sphere * (0.05 * sphere + 0.35 * norm(vector)));
        for level in available() {
            for query in queries.chunks_exact(dim) {
                let space = Space::Product { norm_max };
                let estimate = EstimateAll { transform: &transform, space, query, sketches: &sketches };
                let (estimates, _) = dispatch(*level, estimate);
                let scale = f64::from(sphere / norm(query));
                for (row, (vector, got)) in values.chunks_exact(dim).zip(estimates).enumerate() {
                    let expected = (scale * exact(space, query, vector)).max(0.0);
                    let off = (f64::from(got) - expected).abs();
                    assert!(off <= slack(vector), "{layout:?} {level} row {row}: {got}, expected {expected}");
                }
            }
            let from = &values[3 * dim..4 * dim];
            let estimate =
                EstimateAll { transform: &transform, space: Space::Sphere, query: from, sketches: &sketches };
            let (estimates, _) = dispatch(*level, estimate);
            let lift = |vector: &[f32]| (sphere * sphere - norm(vector).powi(2)).max(0.0).sqrt();
            for (row, (vector, got)) in values.chunks_exact(dim).zip(estimates).enumerate() {
                let beyond = (norm(vector).powi(2) - sphere * sphere).max(0.0);
                let apart = exact(Space::Euclidean, from, vector);
                let more = f64::from(lift(from) - lift(vector)).powi(2);
                let expected = (apart + more - f64::from(beyond)).max(0.0);
                let off = (f64::from(got) - expected).abs();
                assert!(off <= slack(vector), "{layout:?} {level} row {row}: {got}, expected {expected}");
            }
        }
    }
}
