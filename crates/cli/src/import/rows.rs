//! Files of bare vectors: the position in the file is the id.

use std::fmt::Write as _;

use super::{BODY_BYTES_MAX, Batch, ImportArguments, Source};
use crate::failure::{Failure, Remedy as _, Result};
use crate::vectors::VectorFile;

/// The most bytes a number takes in JSON, with its comma, as in `-1.1754944e-38,`.
const NUMBER_BYTES_MAX: usize = 16;

/// The rows of a vector file as points.
pub struct VectorRows {
    file: VectorFile,
    dimensions: Vec<(String, usize)>,
    next: usize,
    first_id: u64,
    values: Vec<f32>,
}

impl VectorRows {
    /// Opens the file.
    ///
    /// # Errors
    /// It cannot be read or is no file of vectors.
    pub fn open(arguments: &ImportArguments) -> Result<VectorRows> {
        let file = VectorFile::open(&arguments.file).help(|| {
            "give a .npy, .fvecs, .bvecs or idx file of vectors, or a .jsonl file of documents".to_owned()
        })?;
        if arguments.first_id.checked_add(file.rows() as u64).is_none() {
            let message =
                format!("--first-id {} leaves no ids for {} vectors", arguments.first_id, file.rows());
            return Err(Failure::new(message).with_help("ids end at 18446744073709551615"));
        }
        let next = usize::try_from(arguments.skip).unwrap_or(usize::MAX).min(file.rows());
        let dimensions = vec![(String::new(), file.dim())];
        Ok(VectorRows { file, dimensions, next, first_id: arguments.first_id, values: Vec::new() })
    }
}

impl Source for VectorRows {
    fn dimensions(&self) -> &[(String, usize)] {
        &self.dimensions
    }

    fn total(&self) -> Option<u64> {
        Some(self.file.rows() as u64)
    }

    fn next_batch(&mut self, points_max: u64) -> Result<Option<Batch>> {
        let dim = self.file.dim();
        let fitting = (BODY_BYTES_MAX / (dim * NUMBER_BYTES_MAX)).max(1);
        let points = usize::try_from(points_max).unwrap_or(usize::MAX).min(fitting);
        let first = self.next;
        let end = first.saturating_add(points).min(self.file.rows());
        if first == end {
            return Ok(None);
        }
        self.file.read_rows_f32(first..end, &mut self.values)?;
        let mut body = String::from("{\"points\":[");
        for (row, values) in (first..).zip(self.values.chunks_exact(dim)) {
            let comma = if row > first { "," } else { "" };
            let id = self.first_id + row as u64;
            write!(body, "{comma}{{\"id\":{id},\"vector\":{}}}", serde_json::to_string(values)?)?;
        }
        body.push_str("]}");
        self.next = end;
        Ok(Some(Batch { first: first as u64, points: (end - first) as u64, body }))
    }
}
