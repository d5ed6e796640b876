//! The files that a bench reads.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use dvse_types::Metric;

use crate::collection::MetricName;
use crate::failure::{Failure, Remedy as _, Result};
use crate::vectors::{Element, Matrix, VectorFile};

/// Which vectors, and how they are compared.
#[derive(Debug, clap::Args)]
pub struct FileArguments {
    /// The vectors to index: .npy, .fvecs, .bvecs or idx, plain or .gz.
    #[arg(long, value_name = "FILE")]
    pub base: PathBuf,
    /// The vectors to search for.
    #[arg(long, value_name = "FILE")]
    pub queries: PathBuf,
    /// How vectors are compared.
    #[arg(long, value_enum, default_value_t = MetricName::L2)]
    pub metric: MetricName,
    /// Which queries: tune (at even places), report (odd) or all.
    #[arg(long, value_enum, default_value_t = Half::All, hide_possible_values = true)]
    pub half: Half,
}

/// A part of the queries, so that what is chosen on one is reported on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Half {
    /// All queries.
    All,
    /// Those at even places, the first included.
    Tune,
    /// Those at odd places.
    Report,
}

impl Half {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Half::All => "all",
            Half::Tune => "tune",
            Half::Report => "report",
        }
    }

    /// The items of this half.
    pub fn of<T>(self, items: impl Iterator<Item = T>) -> Vec<T> {
        let wanted = |place: usize| match self {
            Half::All => true,
            Half::Tune => place.is_multiple_of(2),
            Half::Report => !place.is_multiple_of(2),
        };
        items.enumerate().filter(|(place, _)| wanted(*place)).map(|(_, item)| item).collect()
    }
}

/// What the files hold.
pub struct Inputs {
    /// The vectors to index.
    pub base: Matrix,
    /// The type their file stores.
    pub element: Element,
    /// The queries of the half asked for, as they were read.
    pub queries: Matrix,
    /// The truth of each of these queries, where it was given.
    pub lists: Option<Vec<Vec<u32>>>,
    /// How vectors are compared.
    pub metric: Metric,
}

impl FileArguments {
    /// Reads the files. Truth with fewer rows than there are queries cuts the queries.
    ///
    /// # Errors
    /// A file cannot be read, or they do not fit each other.
    pub fn read(&self, truth: Option<&Path>) -> Result<Inputs> {
        let metric = self.metric.metric();
        let (base, element) = read(&self.base)?;
        let (mut queries, _) = read(&self.queries)?;
        self.check(&base, &queries)?;
        let mut lists = truth.map(read_truth).transpose()?;
        if let Some(lists) = &lists {
            queries.rows = queries.rows.min(lists.len());
            queries.data.truncate(queries.rows * queries.dim);
        }
        let count = queries.rows;
        let half = self.half.of(queries.data.chunks_exact(queries.dim));
        if half.is_empty() {
            return Err(Failure::new(format!("half {} of one query is none", self.half.name()))
                .with_help("give more queries, or --half all"));
        }
        let queries = Matrix { rows: half.len(), dim: queries.dim, data: half.concat() };
        lists = lists.map(|lists| self.half.of(lists.into_iter().take(count)));
        if metric == Metric::Cosine {
            check_lengths("vector", "of the base ", &base)?;
            check_lengths("query", "", &queries)?;
        }
        Ok(Inputs { base, element, queries, lists, metric })
    }

    fn check(&self, base: &Matrix, queries: &Matrix) -> Result<()> {
        if base.dim != queries.dim {
            return Err(Failure::new(format!(
                "{} has vectors of {} dimensions, {} of {}",
                self.base.display(),
                base.dim,
                self.queries.display(),
                queries.dim
            ))
            .with_help("give queries of the same dimension"));
        }
        for (path, matrix) in [(&self.base, base), (&self.queries, queries)] {
            if matrix.rows == 0 || matrix.dim == 0 {
                let message = format!("{} holds no vectors", path.display());
                return Err(Failure::new(message).with_help("give a file with at least one"));
            }
        }
        Ok(())
    }
}

impl Inputs {
    /// Refuses to look for more neighbours than there are vectors.
    ///
    /// # Errors
    /// There are fewer than `k`.
    pub fn check_k(&self, k: usize) -> Result<()> {
        if k <= self.base.rows {
            return Ok(());
        }
        let message = format!("--k is {k}, but the base has {} vectors", self.base.rows);
        Err(Failure::new(message).with_help("ask for fewer neighbours with --k"))
    }
}

/// The vectors of a file and the type it stores.
fn read(path: &Path) -> Result<(Matrix, Element)> {
    VectorFile::open(path)
        .and_then(|file| Ok((file.to_f32()?, file.element())))
        .help(|| "vectors are read from .npy, .fvecs, .bvecs and idx files, plain or .gz".to_owned())
}

fn read_truth(path: &Path) -> Result<Vec<Vec<u32>>> {
    VectorFile::open(path)
        .and_then(|file| file.to_ids())
        .help(|| "truth is a file of row numbers: .npy (int32, int64) or .ivecs".to_owned())
}

fn check_lengths(what: &str, of: &str, matrix: &Matrix) -> Result<()> {
    let zero = matrix.data.chunks_exact(matrix.dim).position(|row| row.iter().all(|value| *value == 0.0));
    zero.map_or(Ok(()), |number| {
        Err(Failure::new(format!("{what} {number} {of}has length zero"))
            .with_help("cosine compares directions; use --metric l2 or leave it out"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_share_nothing_and_leave_nothing_out() {
        let halves = [Half::Tune, Half::Report].map(|half| half.of(0..7));
        assert_eq!(halves, [vec![0, 2, 4, 6], vec![1, 3, 5]]);
        assert_eq!(Half::All.of(0..3), [0, 1, 2]);
    }
}
