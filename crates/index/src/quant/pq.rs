//! Product quantisation (Jégou, Douze & Schmid 2011) with 4 bits a column: each group of `sub_dim` values of a
//! vector is replaced by the nearest of 16 codewords.

use dvse_simd::{Isa, Level, SCAN_COLUMNS, SCAN_ROWS};
use rayon::prelude::*;

use super::centroids::{Centroids, Column, LANES, Points, norms_of};
use super::kmeans::kmeans;

/// How vectors are cut into columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PqShape {
    pub(crate) dim: usize,
    /// Values a column codes; the last column codes what is left.
    pub(crate) sub_dim: usize,
}

impl PqShape {
    /// Columns that code something.
    pub(crate) fn columns(&self) -> usize {
        self.dim.div_ceil(self.sub_dim)
    }

    /// Columns with those added that make a scan's number; their tables are zeros and their codes 0.
    pub(crate) fn scan_columns(&self) -> usize {
        self.columns().next_multiple_of(SCAN_COLUMNS)
    }

    /// Bytes of the codes of 32 rows.
    pub(crate) fn block_bytes(&self) -> usize {
        self.scan_columns() * 16
    }

    /// Values of a vector that is padded with zeros to whole columns.
    pub(crate) fn padded_dim(&self) -> usize {
        self.columns() * self.sub_dim
    }
}

/// The codewords: for each column `sub_dim` values of 16 codewords.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codebooks<'a> {
    pub(crate) shape: PqShape,
    pub(crate) codewords: &'a [Column],
    /// ‖codeword‖² of each column's 16.
    pub(crate) norms: &'a [Column],
}

/// ‖codeword‖² of each column's 16.
pub(crate) fn codeword_norms(shape: PqShape, codewords: &[Column]) -> Vec<Column> {
    norms_of(codewords, shape.sub_dim, shape.columns() * LANES)
}

/// Trains codewords on vectors that are padded to whole columns. Called inside the thread pool to use.
pub(crate) fn train(shape: PqShape, vectors: &[f32], rounds: u32, seed: u64, level: Level) -> Vec<Column> {
    let width = shape.padded_dim();
    let trained: Vec<Vec<Column>> = (0..shape.columns())
        .into_par_iter()
        .map(|column| {
            let from = column * shape.sub_dim;
            let values: Vec<f32> = vectors
                .chunks_exact(width)
                .flat_map(|vector| vector[from..from + shape.sub_dim].iter().copied())
                .collect();
            let points = Points { values: &values, stride: shape.sub_dim, dim: shape.sub_dim };
            kmeans(points, LANES, rounds, seed ^ column as u64, level).columns
        })
        .collect();
    trained.concat()
}

impl Codebooks<'_> {
    /// Codes a vector that is padded to whole columns (`codes` gets one number below 16 a column) and replaces it
    /// with what the codes left out.
    #[inline(always)]
    pub(crate) fn encode<I: Isa>(&self, _isa: I, vector: &mut [f32], codes: &mut [u8]) {
        let width = self.shape.sub_dim;
        let books = self.codewords.chunks_exact(width).zip(self.norms);
        for ((part, code), (book, norms)) in vector.chunks_exact_mut(width).zip(codes).zip(books) {
            let centroids = Centroids { columns: book, norms: std::slice::from_ref(norms), dim: width };
            let [(_, nearest)] = centroids.nearest([&*part]);
            *code = nearest as u8;
            for (value, column) in part.iter_mut().zip(book) {
                *value -= column[nearest as usize];
            }
        }
    }
}

/// Puts the codes of one row into its block.
pub(crate) fn place(block: &mut [u8], row: usize, codes: &[u8]) {
    let (byte, shift) = (row % 16, row / 16 % (SCAN_ROWS / 16) * 4);
    for (column, code) in block.chunks_exact_mut(16).zip(codes) {
        column[byte] |= code << shift;
    }
}
