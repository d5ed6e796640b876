//! What the right answers are, and how many of them a result has.

use dvse_engine::CollectionView;
use dvse_types::{Metric, SearchParams, SearchRequest};

use super::files::Inputs;
use super::measure::{on_threads, requests, row, row_of};
use crate::failure::{Failure, Result};
use crate::progress::Board;
use crate::vectors::Matrix;

/// For each query, how far the k-th nearest row is, and which rows the truth lists before and with it.
pub struct Truth<'a> {
    rows: Vec<Vec<u32>>,
    kth: Vec<f64>,
    inputs: &'a Inputs,
}

impl<'a> Truth<'a> {
    /// Takes the first `k` of the rows listed for each query, nearest first.
    ///
    /// # Errors
    /// A row that is not in the base, or fewer than `k` of them for a query.
    pub fn of_lists(lists: &[Vec<u32>], k: usize, inputs: &'a Inputs) -> Result<Truth<'a>> {
        let Inputs { base, queries, metric, .. } = inputs;
        let mut rows = Vec::with_capacity(lists.len());
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
                |near: &u32| exact_distance(*metric, row(queries, number), row(base, *near as usize));
            kth.push(nearest.iter().map(distance).fold(f64::NEG_INFINITY, f64::max));
            rows.push(nearest.to_vec());
        }
        Ok(Truth { rows, kth, inputs })
    }

    /// The share of the true `k` nearest that a result has. A row as far away as the true k-th is right, too.
    pub fn recall(&self, number: usize, found: &[u32]) -> f64 {
        let Inputs { base, queries, metric, .. } = self.inputs;
        let (truth, kth) = (&self.rows[number], self.kth[number]);
        let right = |near: &&u32| {
            truth.contains(near)
                || ((**near as usize) < base.rows
                    && exact_distance(*metric, row(queries, number), row(base, **near as usize)) <= kth)
        };
        found.iter().take(truth.len()).filter(right).count() as f64 / truth.len().max(1) as f64
    }
}

/// The nearest rows of each query, by comparing it with every row of a view.
///
/// # Errors
/// The view refuses a query.
pub fn compute_lists(
    view: &CollectionView,
    queries: &Matrix,
    k: usize,
    threads: usize,
    board: &Board,
) -> Result<Vec<Vec<u32>>> {
    let exact = SearchParams { exact: true, ..SearchParams::default() };
    let asked = requests(queries, k, exact, |_| None);
    let mut task = board.task("truth", "queries", Some(queries.rows as u64));
    let mut lists = Vec::with_capacity(queries.rows);
    for block in asked.chunks(64 * threads) {
        lists.extend(on_threads(threads, block.len(), || (), |(), number| nearest(view, &block[number]))?);
        task.set(lists.len() as u64);
    }
    task.finish();
    Ok(lists)
}

/// The rows that answer one request, nearest first.
///
/// # Errors
/// The view refuses the request.
pub fn nearest(view: &CollectionView, request: &SearchRequest) -> Result<Vec<u32>> {
    Ok(view.search(request)?.hits.iter().map(|hit| row_of(hit.id)).collect())
}

/// The distance in double precision from the values as they were read, so that ties are ties.
pub fn exact_distance(metric: Metric, query: &[f32], row: &[f32]) -> f64 {
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
    use crate::vectors::Element;

    fn inputs(base: &[f32], queries: &[f32]) -> Inputs {
        let column = |values: &[f32]| Matrix { rows: values.len(), dim: 1, data: values.to_vec() };
        let (base, queries) = (column(base), column(queries));
        Inputs { base, queries, element: Element::F32, lists: None, metric: Metric::L2 }
    }

    #[test]
    fn a_row_as_far_as_the_kth_is_right() {
        let inputs = inputs(&[1.0, -1.0, 2.0, 3.0], &[0.0]);
        let truth = Truth::of_lists(&[vec![0]], 1, &inputs).unwrap();
        for (found, recall) in [(0, 1.0), (1, 1.0), (2, 0.0), (9, 0.0)] {
            assert_eq!(truth.recall(0, &[found]), recall, "row {found}");
        }
        assert_eq!(truth.recall(0, &[]), 0.0);
    }

    #[test]
    fn truth_that_does_not_fit_the_base_is_refused() {
        let inputs = inputs(&[1.0], &[1.0]);
        for (list, k) in [(vec![0_u32, 1], 2), (vec![0], 2)] {
            assert!(Truth::of_lists(&[list], k, &inputs).is_err());
        }
    }
}
