//! Training: the centroids of the lists, and the codewords of the offsets from them.

use dvse_simd::Level;
use dvse_types::Metric;

use super::params::IvfParams;
use crate::quant::centroids::{Centroids, Column, Points, gather};
use crate::quant::kmeans::{Clusters, assign, draw, kmeans};
use crate::quant::pq::{self, Codebooks, PqShape, codeword_norms};
use crate::vectors::VectorView;

/// Rows a centroid is trained on. Twice as many gave no recall that could be seen.
const SAMPLE_A_LIST: usize = 64;

/// Rows codewords are trained on: 512 for each of a column's 16.
const SAMPLE_CODES: usize = 8192;

/// Rounds of k-means for the lists; most of the gain is in the first few.
const ROUNDS_LISTS: u32 = 10;

/// Rounds of k-means for the codewords.
const ROUNDS_CODES: u32 = 12;

/// What training gives.
#[derive(Debug)]
pub(super) struct Trained {
    pub(super) lists: Clusters,
    pub(super) list_count: u32,
    shape: PqShape,
    pub(super) codewords: Vec<Column>,
    codeword_norms: Vec<Column>,
}

/// What rows and queries are measured by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model<'a> {
    pub(super) metric: Metric,
    pub(super) list_count: u32,
    pub(super) lists: Centroids<'a>,
    pub(super) books: Codebooks<'a>,
}

impl Trained {
    pub(super) fn model(&self, metric: Metric) -> Model<'_> {
        Model {
            metric,
            list_count: self.list_count,
            lists: self.lists.view(),
            books: Codebooks { shape: self.shape, codewords: &self.codewords, norms: &self.codeword_norms },
        }
    }

    /// Bytes of memory taken.
    pub(super) fn bytes(&self) -> u64 {
        let arrays = [&self.lists.columns, &self.lists.norms, &self.codewords, &self.codeword_norms];
        arrays.into_iter().map(|array| size_of_val(&**array) as u64).sum()
    }
}

/// Trains on a sample of the first `upto` rows.
pub(super) fn train<V: VectorView>(
    rows: &V,
    upto: u32,
    list_count: u32,
    params: &IvfParams,
    pool: &rayon::ThreadPool,
    level: Level,
) -> Trained {
    let dim = rows.dim();
    let shape = PqShape { dim, sub_dim: usize::from(params.sub_dim) };
    let sample = (upto as usize).min(SAMPLE_A_LIST * list_count as usize);
    let sample: Vec<u32> =
        draw(upto as usize, sample, params.seed).into_iter().map(|row| row as u32).collect();
    let values = gather(rows, sample.iter().copied());
    let points = Points { values: &values, stride: dim, dim };
    pool.install(|| {
        let lists = kmeans(points, list_count as usize, ROUNDS_LISTS, params.seed, level);
        let coded = Points { values: &values[..sample.len().min(SAMPLE_CODES) * dim], ..points };
        let assigned = assign(coded, lists.view(), level);
        let mut offsets = vec![0.0; coded.len() * shape.padded_dim()];
        for (point, (offset, (_, list))) in
            offsets.chunks_exact_mut(shape.padded_dim()).zip(&assigned).enumerate()
        {
            offset_from(lists.view(), *list, coded.get(point), offset);
        }
        let codewords = pq::train(shape, &offsets, ROUNDS_CODES, params.seed, level);
        let codeword_norms = codeword_norms(shape, &codewords);
        Trained { lists, list_count, shape, codewords, codeword_norms }
    })
}

/// Writes the offset of a point from a centroid; what `offset` has beyond the point's values is left as it is.
#[inline(always)]
pub(super) fn offset_from(lists: Centroids<'_>, list: u32, point: &[f32], offset: &mut [f32]) {
    for (column, (offset, value)) in offset.iter_mut().zip(point).enumerate() {
        // Values near the largest there are could leave an infinite offset; codewords must be finite.
        *offset = (value - lists.value(list as usize, column)).clamp(-f32::MAX, f32::MAX);
    }
}
