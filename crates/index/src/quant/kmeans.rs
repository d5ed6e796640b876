//! k-means (Lloyd 1982) that gives the same centroids for any number of threads and at any SIMD level.
//!
//! Points are assigned in parallel, each by itself; then each centroid is the mean of its points, summed in the
//! order of the points by one task. So no sum depends on how tasks are spread.

use dvse_simd::{Isa, Level, Op, dispatch};
use rayon::prelude::*;

use super::centroids::{Centroids, Column, LANES, Points, TOGETHER, blocks_of, norms_of};

/// Points one task assigns.
const POINTS_A_TASK: usize = 256;

/// What k-means found: blocks of centroids and their norms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Clusters {
    pub(crate) columns: Vec<Column>,
    pub(crate) norms: Vec<Column>,
    pub(crate) dim: usize,
}

impl Clusters {
    pub(crate) fn view(&self) -> Centroids<'_> {
        Centroids { columns: &self.columns, norms: &self.norms, dim: self.dim }
    }
}

/// Finds `count` centroids in `rounds` rounds, starting from points drawn by `seed`. Called inside the thread pool to
/// use. With fewer points than centroids, or many equal points, some centroids are equal; the first of them is chosen.
pub(crate) fn kmeans(points: Points<'_>, count: usize, rounds: u32, seed: u64, level: Level) -> Clusters {
    let dim = points.dim;
    let mut clusters =
        Clusters { columns: vec![[0.0; LANES]; blocks_of(count) * dim], norms: Vec::new(), dim };
    if points.len() == 0 {
        clusters.norms = norms_of(&clusters.columns, dim, count);
        return clusters;
    }
    for (centroid, point) in draw(points.len(), count, seed).into_iter().enumerate() {
        set(&mut clusters.columns, dim, centroid, points.get(point));
    }
    clusters.norms = norms_of(&clusters.columns, dim, count);
    for _ in 0..rounds {
        let assigned = assign(points, clusters.view(), level);
        update(points, &assigned, count, &mut clusters.columns);
        clusters.norms = norms_of(&clusters.columns, dim, count);
    }
    clusters
}

/// `count` different numbers below `len`, in an order drawn by `seed`; repeated from the front when there are fewer.
pub(crate) fn draw(len: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut numbers: Vec<u32> = (0..len as u32).collect();
    let mut state = seed;
    for at in 0..count.min(len) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        numbers.swap(at, at + (mix(state) % (len - at) as u64) as usize);
    }
    numbers.truncate(count.min(len));
    (0..count).map(|at| numbers[at % numbers.len()] as usize).collect()
}

/// The finishing step of SplitMix64 (Steele, Lea & Flood 2014).
fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn set(columns: &mut [Column], dim: usize, centroid: usize, values: &[f32]) {
    let block = &mut columns[centroid / LANES * dim..][..dim];
    for (column, value) in block.iter_mut().zip(values) {
        column[centroid % LANES] = *value;
    }
}

/// The nearest centroid of each point, with ‖c‖² − 2·p·c.
pub(crate) fn assign(points: Points<'_>, centroids: Centroids<'_>, level: Level) -> Vec<(f32, u32)> {
    let mut out = vec![(0.0, 0); points.len()];
    out.par_chunks_mut(POINTS_A_TASK).enumerate().for_each(|(task, out)| {
        dispatch(level, AssignOp { points, first: task * POINTS_A_TASK, centroids, out });
    });
    out
}

struct AssignOp<'a> {
    points: Points<'a>,
    first: usize,
    centroids: Centroids<'a>,
    out: &'a mut [(f32, u32)],
}

impl Op for AssignOp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, _isa: I) {
        let (fours, rest) = self.out.as_chunks_mut::<TOGETHER>();
        let mut at = self.first;
        for four in fours {
            *four = self.centroids.nearest([0, 1, 2, 3].map(|next| self.points.get(at + next)));
            at += TOGETHER;
        }
        for one in rest {
            [*one] = self.centroids.nearest([self.points.get(at)]);
            at += 1;
        }
    }
}

/// Moves each centroid to the mean of its points; one without points takes a point that is far from its own.
fn update(points: Points<'_>, assigned: &[(f32, u32)], count: usize, columns: &mut [Column]) {
    let dim = points.dim;
    // Points in the order of their centroids, by counting.
    let mut ends = vec![0_usize; count + 1];
    for (_, centroid) in assigned {
        ends[*centroid as usize + 1] += 1;
    }
    for at in 0..count {
        ends[at + 1] += ends[at];
    }
    let starts = ends.clone();
    let mut order = vec![0_u32; assigned.len()];
    for (point, (_, centroid)) in assigned.iter().enumerate() {
        order[ends[*centroid as usize]] = point as u32;
        ends[*centroid as usize] += 1;
    }
    let means: Vec<Vec<f32>> = (0..count)
        .into_par_iter()
        .map(|centroid| mean(points, &order[starts[centroid]..starts[centroid + 1]]))
        .collect();
    let mut far = far_points(points, assigned, means.iter().filter(|mean| mean.is_empty()).count());
    for (centroid, mean) in means.iter().enumerate() {
        if !mean.is_empty() {
            set(columns, dim, centroid, mean);
        } else if let Some(point) = far.pop() {
            set(columns, dim, centroid, points.get(point));
        }
    }
}

/// The mean of some points; empty when there is none.
fn mean(points: Points<'_>, chosen: &[u32]) -> Vec<f32> {
    if chosen.is_empty() {
        return Vec::new();
    }
    // In double precision no sum of finite values overflows, so a mean is finite.
    let mut sums = vec![0.0_f64; points.dim];
    for point in chosen {
        for (sum, x) in sums.iter_mut().zip(points.get(*point as usize)) {
            *sum += f64::from(*x);
        }
    }
    let share = 1.0 / chosen.len() as f64;
    sums.iter().map(|sum| (sum * share) as f32).collect()
}

/// The `count` points farthest from their centroids, the farthest last; only such as are not at their centroid.
fn far_points(points: Points<'_>, assigned: &[(f32, u32)], count: usize) -> Vec<usize> {
    if count == 0 {
        return Vec::new();
    }
    let distance = |point: usize| {
        let square: f32 = points.get(point).iter().map(|x| x * x).sum();
        square + assigned[point].0
    };
    let mut all: Vec<(f32, usize)> = (0..points.len()).map(|point| (distance(point), point)).collect();
    all.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.truncate(count);
    all.retain(|(distance, _)| *distance > 0.0);
    all.into_iter().rev().map(|(_, point)| point).collect()
}
