//! What the right answers are, and how many of them a result has.

use dvse_index::{AnnIndex as _, FlatIndex, MappedRows, Neighbor, RowSet, Rows, Scratch, SearchParams};
use dvse_types::Metric;

use super::measure::{on_threads, row};
use crate::failure::{Failure, Result};
use crate::progress::Board;
use crate::vectors::Matrix;

/// For each query, how far the k-th nearest row is, and which rows the truth lists before and with it.
pub struct Truth {
    rows: Vec<Vec<u32>>,
    kth: Vec<f64>,
    metric: Metric,
}

impl Truth {
    /// Takes over the rows listed for each query, nearest first. `base` and `queries` are as they were read.
    ///
    /// # Errors
    /// A row that is not in the base, or fewer than `k` of them for a query.
    pub fn of_lists(
        lists: Vec<Vec<u32>>,
        k: usize,
        base: &Matrix,
        queries: &Matrix,
        metric: Metric,
    ) -> Result<Truth> {
        let mut kth = Vec::with_capacity(lists.len());
        for (number, list) in lists.iter().enumerate() {
            let Some(nearest) = list.get(..k) else {
                return Err(Failure::new(format!(
                    "the truth lists {} rows for query {number}, not {k}",
                    list.len()
                ))
                .with_help("use a smaller --k, or leave out --truth to have it computed"));
            };
            if let Some(near) = nearest.iter().find(|near| **near as usize >= base.rows) {
                return Err(Failure::new(format!(
                    "the truth of query {number} lists row {near}, but the base has {} rows",
                    base.rows
                ))
                .with_help("check that --truth belongs to --base"));
            }
            let distance =
                |near: &u32| exact_distance(metric, row(queries, number), row(base, *near as usize));
            kth.push(nearest.iter().map(distance).fold(f64::NEG_INFINITY, f64::max));
        }
        let rows = lists.into_iter().map(|list| list.into_iter().take(k).collect()).collect();
        Ok(Truth { rows, kth, metric })
    }

    /// Finds the truth by comparing each query with every row. `rows` are in the form an index reads.
    ///
    /// # Errors
    /// See [`Truth::of_lists`].
    pub fn compute(
        rows: &MappedRows,
        unit_queries: &Matrix,
        k: usize,
        (base, queries): (&Matrix, &Matrix),
        metric: Metric,
        threads: usize,
        board: &Board,
    ) -> Result<Truth> {
        let flat = FlatIndex::new(Rows::Sealed(rows.clone()), metric);
        let mut task = board.task("truth", "queries", Some(queries.rows as u64));
        let mut lists = Vec::with_capacity(queries.rows);
        let block = 64 * threads;
        for first in (0..queries.rows).step_by(block) {
            let count = block.min(queries.rows - first);
            lists.extend(on_threads(threads, count, Scratch::new, |scratch, number| {
                let mut out = Vec::new();
                let params = SearchParams::new(k, k);
                flat.search(row(unit_queries, first + number), &params, RowSet::All, scratch, &mut out)?;
                Ok(out.into_iter().map(|neighbor| neighbor.row).collect::<Vec<u32>>())
            })?);
            task.set(lists.len() as u64);
        }
        task.finish();
        Truth::of_lists(lists, k, base, queries, metric)
    }

    /// The share of the true `k` nearest that a result has. A row as far away as the true k-th is right, too.
    pub fn recall(&self, number: usize, found: &[Neighbor], base: &Matrix, queries: &Matrix) -> f64 {
        let (truth, kth) = (&self.rows[number], self.kth[number]);
        let right = |neighbor: &&Neighbor| {
            truth.contains(&neighbor.row)
                || exact_distance(self.metric, row(queries, number), row(base, neighbor.row as usize)) <= kth
        };
        found.iter().take(truth.len()).filter(right).count() as f64 / truth.len().max(1) as f64
    }
}

/// The distance in double precision from the values as they were read, so that ties are ties.
fn exact_distance(metric: Metric, query: &[f32], row: &[f32]) -> f64 {
    let pairs = || query.iter().zip(row).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let dot = || pairs().map(|(a, b)| a * b).sum::<f64>();
    match metric {
        Metric::L2 => pairs().map(|(a, b)| (a - b) * (a - b)).sum(),
        Metric::InnerProduct => -dot(),
        Metric::Cosine => {
            let squares = pairs().fold((0.0, 0.0), |(of_a, of_b), (a, b)| (of_a + a * a, of_b + b * b));
            1.0 - dot() / (squares.0 * squares.1).sqrt()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbors(rows: &[u32]) -> Vec<Neighbor> {
        rows.iter().map(|row| Neighbor { row: *row, distance: 0.0 }).collect()
    }

    #[test]
    fn a_row_as_far_as_the_kth_is_right() {
        let base = Matrix { rows: 4, dim: 1, data: vec![1.0, -1.0, 2.0, 3.0] };
        let queries = Matrix { rows: 1, dim: 1, data: vec![0.0] };
        let truth = Truth::of_lists(vec![vec![0]], 1, &base, &queries, Metric::L2).unwrap();
        for (found, recall) in [(0, 1.0), (1, 1.0), (2, 0.0)] {
            assert_eq!(truth.recall(0, &neighbors(&[found]), &base, &queries), recall, "row {found}");
        }
        assert_eq!(truth.recall(0, &[], &base, &queries), 0.0);
    }

    #[test]
    fn truth_that_does_not_fit_the_base_is_refused() {
        let base = Matrix { rows: 1, dim: 1, data: vec![1.0] };
        for (list, k) in [(vec![0_u32, 1], 2), (vec![0], 2)] {
            assert!(Truth::of_lists(vec![list], k, &base, &base, Metric::L2).is_err());
        }
    }
}
