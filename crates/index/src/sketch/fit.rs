//! Learning a transform from a sample of the rows.
//!
//! The head of the spectrum is found by orthogonal iteration on the sample (Halko, Martinsson & Tropp 2011, algorithm
//! 4.4): no decomposition of a covariance matrix is needed, because what the sketch keeps is rotated at random anyway
//! and only the space spanned counts. A few rounds are enough; the rows of a few thousand vectors, even the first
//! that came, gave sketches as good as all of them.
//!
//! Everything is summed in an order that does not depend on threads, and random numbers come from the seed.

use dvse_simd::{Isa, Level, Op, dispatch};
use rayon::prelude::*;

use super::layout::{CodeBits, Layout};
use super::transform::{Lift, Transform, squared_norm};
use crate::vectors::VectorView;

/// Rows looked at where all are known.
pub(crate) const SAMPLE_ROWS: u32 = 2048;

/// Rows looked at while writers wait.
pub(crate) const SAMPLE_ROWS_GROWING: u32 = 1024;

/// Rounds of the iteration.
const ROUNDS: usize = 2;

/// Values beyond so many standard deviations are clipped to the last code.
fn clip(bits: CodeBits) -> f32 {
    match bits {
        CodeBits::Four => 2.8,
        CodeBits::Seven => 4.5,
    }
}

/// Row numbers of a sample of at most `count_max`: evenly spread over the first `rows`.
pub(crate) fn sample_rows(rows: u32, count_max: u32) -> Vec<u32> {
    let count = rows.min(count_max);
    (0..count).map(|number| (u64::from(rows) * u64::from(number) / u64::from(count)) as u32).collect()
}

/// Learns a transform from the sampled rows. A pool only makes it faster. With `lift` rows
/// are lifted to a sphere, to be linked by their distance there and searched by inner product.
pub(crate) fn fit<V: VectorView>(
    rows: &V,
    sample: &[u32],
    layout: Layout,
    seed: u64,
    level: Level,
    pool: Option<&rayon::ThreadPool>,
    lift: bool,
) -> Transform {
    let width = rows.dim();
    let radius = if lift { radius_of(rows, sample) } else { None };
    // The vectors as they are compared: lifted, one coordinate longer.
    let vectors: Vec<Vec<f32>> = sample.iter().map(|row| lifted(&rows.row(*row)[..width], radius)).collect();
    let dim = width + usize::from(radius.is_some());
    let mut mean = mean_of(&vectors, dim);
    let centered = Matrix::from_rows(dim, vectors.iter().map(Vec::as_slice), &mean);
    drop(vectors);
    let math = Math { level, pool };
    let mut random = Random(seed ^ 0x5ce7_c4ed_51ab_2f0d);
    let values = layout.values().min(dim);
    let directions = if dim <= layout.values() {
        random.orthogonal(&math, dim, dim)
    } else {
        // One vector in eight more than is kept lets the last of them settle as well.
        let basis = dominant_space(&math, &centered, values + values / 8, &mut random);
        let rotation = random.orthogonal(&math, values, values);
        // values × values times values × dim: the kept part of the basis, turned at random.
        math.multiply(&rotation, &basis.head(values).transposed())
    };
    let projected = math.multiply(&centered, &directions);
    let energy: f64 = projected.values.iter().map(|y| f64::from(*y) * f64::from(*y)).sum();
    let spread = (energy / (projected.values.len().max(1)) as f64).sqrt() as f32;
    let step = 2.0 * clip(layout.bits()) * spread / f32::from(layout.code_max());
    let Some(radius) = radius else {
        return Transform::new(layout, mean, &directions.values, step);
    };
    let mut column = vec![0.0; layout.lanes()];
    let mut flat = Vec::with_capacity(directions.rows * width);
    for (value, direction) in directions.values.chunks_exact(dim).enumerate() {
        column[layout.lane(value)] = direction[width];
        flat.extend_from_slice(&direction[..width]);
    }
    let mean_lift = mean.pop().unwrap_or(0.0);
    let flat = Transform::new(layout, mean, &flat, step);
    flat.clone().with_lift(Lift { radius, mean: mean_lift, column }).unwrap_or(flat)
}

/// Rows of the sample that are compared with all of it.
const ASKED_ROWS: usize = 64;

/// A row that has so many larger products with others than with itself is not its own neighbour.
const LARGER_MAX: usize = 10;

/// Whether a few long rows have the largest products with most others. A graph of the largest products then has few lists
/// that lead on: of images (60 000 × 784) one row in ten is among its own ten largest, and rows are linked on a sphere. Of
/// word vectors (340 479 × 100), where 99 in 100 are, links by product find more.
pub(crate) fn long_rows_lead<V: VectorView>(rows: &V, sample: &[u32], level: Level) -> bool {
    dispatch(level, LongRowsLead { rows, sample })
}

struct LongRowsLead<'a, V> {
    rows: &'a V,
    sample: &'a [u32],
}

impl<V: VectorView> Op for LongRowsLead<'_, V> {
    type Output = bool;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> bool {
        let LongRowsLead { rows, sample } = self;
        let step = sample.len().div_ceil(ASKED_ROWS).max(1);
        let (mut asked, mut own) = (0, 0);
        for row in sample.iter().step_by(step) {
            let vector = rows.row(*row);
            let square = isa.dot(vector, vector);
            let mut larger = 0;
            for other in sample {
                larger += usize::from(isa.dot(vector, rows.row(*other)) > square);
            }
            asked += 1;
            own += usize::from(larger < LARGER_MAX);
        }
        2 * own < asked
    }
}

/// The radius of the sphere is that of nearly all rows, and some more. On a larger one rows lie near the pole, where their
/// distances say little about products; on a smaller one rows beyond it are near to everything, and take the places of
/// others. Measured on images (60 000 × 784) and word vectors (340 479 × 100): from 1.0 to 1.5 times the largest norm of images
/// recall is the same, at 0.8 half is lost; of words, a few of which are three times as long as most, 0.55 times the
/// largest finds .93 where 1.0 finds .84 and 0.4 finds .81.
const RADIUS_PERCENTILE: usize = 99;
const RADIUS_FACTOR: f32 = 1.1;

/// The radius of the sphere that rows are lifted to, if they have any length.
fn radius_of<V: VectorView>(rows: &V, sample: &[u32]) -> Option<f32> {
    let mut norms: Vec<f32> = sample.iter().map(|row| squared_norm(rows.row(*row)).sqrt()).collect();
    let at = norms.len().checked_sub(1)? * RADIUS_PERCENTILE / 100;
    norms.sort_unstable_by(f32::total_cmp);
    // Where nearly all have no length, that of the longest.
    let long = if norms[at] > 0.0 { norms[at] } else { *norms.last()? };
    let radius = RADIUS_FACTOR * long;
    // Its square has to be a number as well.
    (radius * radius).is_normal().then_some(radius)
}

fn lifted(row: &[f32], radius: Option<f32>) -> Vec<f32> {
    let coordinate = radius.map(|radius| (radius * radius - squared_norm(row)).max(0.0).sqrt());
    row.iter().copied().chain(coordinate).collect()
}

fn mean_of(vectors: &[Vec<f32>], dim: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; dim];
    for vector in vectors {
        for (sum, x) in sums.iter_mut().zip(vector) {
            *sum += f64::from(*x);
        }
    }
    let count = vectors.len().max(1) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// Rows that span the directions in which `data` varies most, about in order; `count × dim`, orthonormal.
fn dominant_space(math: &Math<'_>, data: &Matrix, count: usize, random: &mut Random) -> Matrix {
    let count = count.min(data.columns);
    let mut basis = random.normal(count, data.columns);
    math.orthonormalize(&mut basis);
    let transposed = data.transposed();
    for _ in 0..ROUNDS {
        // n × count, and from it the image of each direction under the covariance.
        let projected = math.multiply(data, &basis);
        basis = math.multiply(&projected.transposed(), &transposed);
        math.orthonormalize(&mut basis);
    }
    basis
}

/// A dense row-major matrix.
#[derive(Debug, Clone)]
struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl Matrix {
    fn from_rows<'a>(columns: usize, rows: impl Iterator<Item = &'a [f32]>, mean: &[f32]) -> Matrix {
        let mut values = Vec::new();
        for row in rows {
            values.extend(row.iter().zip(mean).map(|(x, mean)| x - mean));
        }
        Matrix { rows: values.len() / columns.max(1), columns, values }
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    fn head(&self, rows: usize) -> Matrix {
        let rows = rows.min(self.rows);
        Matrix { rows, columns: self.columns, values: self.values[..rows * self.columns].to_vec() }
    }

    fn transposed(&self) -> Matrix {
        let mut values = vec![0.0; self.values.len()];
        for row in 0..self.rows {
            for (column, x) in self.row(row).iter().enumerate() {
                values[column * self.rows + row] = *x;
            }
        }
        Matrix { rows: self.columns, columns: self.rows, values }
    }
}

/// Products of matrices on some threads with some instruction set.
struct Math<'a> {
    level: Level,
    pool: Option<&'a rayon::ThreadPool>,
}

impl Math<'_> {
    /// `a · bᵀ`: all inner products of rows of `a` with rows of `b`.
    fn multiply(&self, a: &Matrix, b: &Matrix) -> Matrix {
        let mut values = vec![0.0; a.rows * b.rows];
        if b.rows > 0 {
            let level = self.level;
            let task = |(task, out): (usize, &mut [f32])| {
                dispatch(level, Products { a, b, first: task * ROWS_A_TASK, out });
            };
            let part = b.rows * ROWS_A_TASK;
            match self.pool {
                Some(pool) => pool.install(|| values.par_chunks_mut(part).enumerate().for_each(task)),
                None => values.chunks_mut(part).enumerate().for_each(task),
            }
        }
        Matrix { rows: a.rows, columns: b.rows, values }
    }

    /// Makes rows orthonormal, one after the other (modified Gram–Schmidt, twice for rounding). A row that depends on
    /// those before it becomes 0.
    fn orthonormalize(&self, matrix: &mut Matrix) {
        dispatch(self.level, Orthonormalize(matrix));
    }
}

/// Rows of a product made by one task.
const ROWS_A_TASK: usize = 16;

struct Products<'a> {
    a: &'a Matrix,
    b: &'a Matrix,
    first: usize,
    out: &'a mut [f32],
}

impl Op for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Products { a, b, first, out } = self;
        let width = b.rows;
        let rows = out.len() / width;
        // Rows of `b` outside: each is read once for all rows of the task, which stay near.
        for column in 0..width {
            let right = b.row(column);
            let mut row = 0;
            while row + 4 <= rows {
                let four = [0, 1, 2, 3].map(|next| a.row(first + row + next));
                for (next, product) in isa.dot_x4(right, four).into_iter().enumerate() {
                    out[(row + next) * width + column] = product;
                }
                row += 4;
            }
            while row < rows {
                out[row * width + column] = isa.dot(right, a.row(first + row));
                row += 1;
            }
        }
    }
}

struct Orthonormalize<'a>(&'a mut Matrix);

impl Op for Orthonormalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Matrix { rows, columns, values } = self.0;
        for row in 0..*rows {
            let (before, rest) = values.split_at_mut(row * *columns);
            let Some(current) = rest.get_mut(..*columns) else { return };
            let length = isa.dot(current, current).sqrt();
            for _ in 0..2 {
                for other in before.chunks_exact(*columns) {
                    let along = isa.dot(other, current);
                    for (x, y) in current.iter_mut().zip(other) {
                        *x -= along * y;
                    }
                }
            }
            let left = isa.dot(current, current).sqrt();
            // What is left of a dependent row is rounding.
            let scale = if left > length * 1e-4 && left > 0.0 { 1.0 / left } else { 0.0 };
            current.iter_mut().for_each(|x| *x *= scale);
        }
    }
}

/// SplitMix64 (Steele, Lea & Flood 2014).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A matrix of about normal values: sums of twelve uniforms, so that no machine's logarithm is asked.
    fn normal(&mut self, rows: usize, columns: usize) -> Matrix {
        let mut uniform = || (self.bits() >> 40) as f32 / (1_u32 << 24) as f32;
        let values = (0..rows * columns).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect();
        Matrix { rows, columns, values }
    }

    /// A random orthogonal matrix.
    fn orthogonal(&mut self, math: &Math<'_>, rows: usize, columns: usize) -> Matrix {
        let mut matrix = self.normal(rows, columns);
        math.orthonormalize(&mut matrix);
        matrix
    }
}
