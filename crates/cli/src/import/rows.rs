//! Files of bare vectors: the position in the file is the id.

use std::fmt::Write as _;

use super::{BODY_BYTES_MAX, Batch, ImportArguments, Source};
use crate::failure::{Failure, Remedy as _, Result};
use crate::vectors::{Matrix, VectorFile};

/// The rows of a matrix as points.
pub struct VectorRows {
    matrix: Matrix,
    dimensions: Vec<(String, usize)>,
    next: usize,
    first_id: u64,
}

impl VectorRows {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read or is no file of vectors.
    pub fn open(arguments: &ImportArguments) -> Result<VectorRows> {
        let matrix = VectorFile::open(&arguments.file)
            .and_then(|file| file.to_f32())
            .help(|| "vectors are read from .npy, .fvecs and idx files, documents from .jsonl".to_owned())?;
        if arguments.first_id.checked_add(matrix.rows as u64).is_none() {
            return Err(Failure::new(format!("--first-id {} leaves no ids", arguments.first_id)));
        }
        let next = usize::try_from(arguments.skip).unwrap_or(usize::MAX).min(matrix.rows);
        let dimensions = vec![(String::new(), matrix.dim)];
        Ok(VectorRows { matrix, dimensions, next, first_id: arguments.first_id })
    }
}

impl Source for VectorRows {
    fn dimensions(&self) -> &[(String, usize)] {
        &self.dimensions
    }

    fn total(&self) -> Option<u64> {
        Some(self.matrix.rows as u64)
    }

    fn next_batch(&mut self, points_max: u64) -> Result<Option<Batch>> {
        let first = self.next;
        let mut body = String::from("{\"points\":[");
        while self.next < self.matrix.rows
            && ((self.next - first) as u64) < points_max
            && body.len() < BODY_BYTES_MAX
        {
            if self.next > first {
                body.push(',');
            }
            let row = &self.matrix.data[self.next * self.matrix.dim..][..self.matrix.dim];
            write!(body, "{{\"id\":{},\"vector\":{}}}", self.first_id + self.next as u64, serde_json::to_string(row)?)?;
            self.next += 1;
        }
        body.push_str("]}");
        let points = (self.next - first) as u64;
        Ok((points > 0).then_some(Batch { first: first as u64, points, body }))
    }
}
