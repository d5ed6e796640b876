//! Centroids in blocks of 16, column by column, so that one query meets 16 of them in one register.

use crate::vectors::VectorView;

/// Centroids of one block.
pub(crate) const LANES: usize = 16;

/// Queries scored together, so that a block read once serves all of them.
pub(crate) const TOGETHER: usize = 4;

/// One value of each centroid of a block.
pub(crate) type Column = [f32; LANES];

/// Some centroids: `⌈count ÷ 16⌉` blocks of `dim` columns. Lanes past `count` are zeros and are never chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Centroids<'a> {
    pub(crate) columns: &'a [Column],
    /// ‖c‖², infinite in lanes past `count`: one column a block.
    pub(crate) norms: &'a [Column],
    pub(crate) dim: usize,
}

/// The number of blocks that `count` centroids take.
pub(crate) fn blocks_of(count: usize) -> usize {
    count.div_ceil(LANES)
}

/// ‖c‖² of each centroid, infinite past `count`.
pub(crate) fn norms_of(columns: &[Column], dim: usize, count: usize) -> Vec<Column> {
    let mut norms = vec![[f32::INFINITY; LANES]; blocks_of(count)];
    for (block, norms) in norms.iter_mut().enumerate() {
        let mut sums = [0.0; LANES];
        for column in &columns[block * dim..(block + 1) * dim] {
            for (sum, x) in sums.iter_mut().zip(column) {
                *sum += x * x;
            }
        }
        let filled = (count - block * LANES).min(LANES);
        norms[..filled].copy_from_slice(&sums[..filled]);
    }
    norms
}

impl<'a> Centroids<'a> {
    /// The columns of one block.
    #[inline(always)]
    pub(crate) fn block(&self, block: usize) -> &'a [Column] {
        &self.columns[block * self.dim..(block + 1) * self.dim]
    }

    /// The value of a centroid in a column.
    #[inline(always)]
    pub(crate) fn value(&self, centroid: usize, column: usize) -> f32 {
        self.columns[centroid / LANES * self.dim + column][centroid % LANES]
    }

    /// The nearest centroid of each point and ‖c‖² − 2·p·c of it; ties go to the smaller number. Points are at least
    /// `dim` long.
    #[inline(always)]
    pub(crate) fn nearest<const N: usize>(&self, points: [&[f32]; N]) -> [(f32, u32); N] {
        let mut best = [[f32::INFINITY; LANES]; N];
        let mut chosen = [[0_u32; LANES]; N];
        for (block, norms) in self.norms.iter().enumerate() {
            let dots = dots(points, self.block(block));
            for (dots, (best, chosen)) in dots.iter().zip(best.iter_mut().zip(&mut chosen)) {
                for lane in 0..LANES {
                    let score = norms[lane] - 2.0 * dots[lane];
                    // Selects, not branches: the compiler makes them vector operations.
                    let better = score < best[lane];
                    best[lane] = if better { score } else { best[lane] };
                    chosen[lane] = if better { block as u32 } else { chosen[lane] };
                }
            }
        }
        let mut out = [(0.0, 0); N];
        for (out, (best, chosen)) in out.iter_mut().zip(best.iter().zip(&chosen)) {
            *out = (best[0], chosen[0] * LANES as u32);
            for lane in 1..LANES {
                let number = chosen[lane] * LANES as u32 + lane as u32;
                if best[lane] < out.0 || (best[lane] == out.0 && number < out.1) {
                    *out = (best[lane], number);
                }
            }
        }
        out
    }
}

/// The inner products of some points with the 16 centroids of a block.
#[inline(always)]
pub(crate) fn dots<const N: usize>(points: [&[f32]; N], block: &[Column]) -> [Column; N] {
    let points = points.map(|point| &point[..block.len()]);
    let mut sums = [[0.0; LANES]; N];
    for (at, column) in block.iter().enumerate() {
        for (sums, point) in sums.iter_mut().zip(points) {
            let x = point[at];
            for (sum, c) in sums.iter_mut().zip(column) {
                *sum += x * c;
            }
        }
    }
    sums
}

/// Points that lie in one slice, each `stride` apart and at least `dim` long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Points<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) dim: usize,
}

impl<'a> Points<'a> {
    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.stride.max(1)
    }

    #[inline(always)]
    pub(crate) fn get(&self, point: usize) -> &'a [f32] {
        &self.values[point * self.stride..point * self.stride + self.dim]
    }
}

/// Copies some rows, `dim` values each, one after the other.
pub(crate) fn gather(rows: &impl VectorView, chosen: impl ExactSizeIterator<Item = u32>) -> Vec<f32> {
    let dim = rows.dim();
    let mut values = Vec::with_capacity(chosen.len() * dim);
    for row in chosen {
        values.extend_from_slice(&rows.row(row)[..dim]);
    }
    values
}

/// The inner products of one point with the centroids of four blocks: four chains of additions hide the latency of
/// each other.
#[inline(always)]
pub(crate) fn dots_of_blocks(point: &[f32], blocks: [&[Column]; 4]) -> [Column; 4] {
    let blocks = blocks.map(|block| &block[..point.len()]);
    let mut sums = [[0.0; LANES]; 4];
    for (at, x) in point.iter().enumerate() {
        for (sums, block) in sums.iter_mut().zip(blocks) {
            for (sum, c) in sums.iter_mut().zip(&block[at]) {
                *sum += x * c;
            }
        }
    }
    sums
}
