//! Runs queries and takes the time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dvse_index::{AnnIndex, Neighbor, RowSet, Scratch, SearchParams};

use super::truth::Truth;
use crate::failure::{Failure, Result};
use crate::vectors::Matrix;

/// What one setting came to.
pub struct Measured {
    /// Mean recall.
    pub recall: f64,
    /// 95 % of the queries have at least this recall.
    pub recall_p5: f64,
    /// Queries a second, all threads together.
    pub qps: f64,
    /// Half of the queries took at most this long, in microseconds.
    pub p50_us: f64,
    /// 99 % of the queries took at most this long, in microseconds.
    pub p99_us: f64,
    /// Distances computed for a query, on average.
    pub distances: f64,
}

/// The queries: as they were read for judging, and in the form an index takes for asking.
pub struct Queries<'a> {
    /// As they were read.
    pub read: &'a Matrix,
    /// For cosine, of length 1.
    pub asked: &'a Matrix,
}

/// The warm-up ends with the last query or after this time.
const WARM_UP_MAX: Duration = Duration::from_secs(1);

/// Measures one setting: a warm-up, then all queries `repeats` times; speed is that of the fastest time.
///
/// # Errors
/// The index refuses a query.
pub fn measure(
    index: &dyn AnnIndex,
    params: &SearchParams,
    queries: &Queries<'_>,
    (truth, base): (&Truth, &Matrix),
    threads: usize,
    repeats: usize,
) -> Result<Measured> {
    warm_up(index, params, queries.asked)?;
    let count = queries.asked.rows;
    let mut best: Option<(Duration, Vec<Answer>)> = None;
    for _ in 0..repeats {
        let started = Instant::now();
        let answers = on_threads(threads, count, Scratch::new, |scratch, number| {
            let mut found = Vec::with_capacity(params.k);
            let started = Instant::now();
            let stats = index.search(row(queries.asked, number), params, RowSet::All, scratch, &mut found)?;
            Ok(Answer { found, took: started.elapsed(), distances: stats.distances })
        })?;
        let took = started.elapsed();
        if best.as_ref().is_none_or(|(fastest, _)| took < *fastest) {
            best = Some((took, answers));
        }
    }
    let (took, answers) = best.ok_or_else(|| Failure::new("nothing was measured"))?;
    let recalls = answers
        .iter()
        .enumerate()
        .map(|(number, answer)| truth.recall(number, &answer.found, base, queries.read));
    let recalls: Vec<f64> = sorted(recalls);
    let times = sorted(answers.iter().map(|answer| answer.took.as_secs_f64() * 1e6));
    Ok(Measured {
        recall: recalls.iter().sum::<f64>() / count as f64,
        recall_p5: recalls[count / 20],
        qps: count as f64 / took.as_secs_f64().max(1e-9),
        p50_us: percentile(&times, 50),
        p99_us: percentile(&times, 99),
        distances: answers.iter().map(|answer| answer.distances as f64).sum::<f64>() / count as f64,
    })
}

struct Answer {
    found: Vec<Neighbor>,
    took: Duration,
    distances: u64,
}

fn warm_up(index: &dyn AnnIndex, params: &SearchParams, queries: &Matrix) -> Result<()> {
    let started = Instant::now();
    let (mut scratch, mut found) = (Scratch::new(), Vec::new());
    for number in 0..queries.rows {
        index.search(row(queries, number), params, RowSet::All, &mut scratch, &mut found)?;
        if started.elapsed() > WARM_UP_MAX {
            break;
        }
    }
    Ok(())
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// The least value that so many percent of the values do not exceed. `sorted` is not empty.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100).clamp(1, sorted.len()) - 1]
}

/// One vector of a matrix.
///
/// # Panics
/// If the matrix has no such row.
pub fn row(matrix: &Matrix, number: usize) -> &[f32] {
    &matrix.data[number * matrix.dim..][..matrix.dim]
}

/// Runs `work` for the numbers below `count`, each once, on some threads with a state each; results in order.
///
/// # Errors
/// The first error; the other threads stop.
pub fn on_threads<S, T: Send>(
    threads: usize,
    count: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    if threads == 1 {
        let mut state = state();
        return (0..count).map(|number| work(&mut state, number)).collect();
    }
    let next = AtomicUsize::new(0);
    let parts: Vec<Result<Vec<(usize, T)>>> = thread::scope(|scope| {
        let run = || {
            let (mut state, mut done) = (state(), Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(done);
                }
                match work(&mut state, number) {
                    Ok(value) => done.push((number, value)),
                    Err(failure) => {
                        next.store(count, Ordering::Relaxed);
                        return Err(failure);
                    }
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut results = Vec::with_capacity(count);
    for part in parts {
        results.extend(part?);
    }
    results.sort_unstable_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, value)| value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occur() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        for (percent, value) in [(0, 1.0), (50, 100.0), (99, 198.0), (100, 200.0)] {
            assert_eq!(percentile(&values, percent), value);
        }
        assert_eq!(percentile(&[7.0], 99), 7.0);
    }

    #[test]
    fn work_is_done_once_each_and_in_order_on_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let squares = on_threads(threads, 100, || (), |(), number| Ok(number * number)).unwrap();
            assert!(squares.iter().enumerate().all(|(number, square)| number * number == *square));
            assert!(
                on_threads(threads, 100, || (), |(), n| if n == 50 { Err(Failure::new("x")) } else { Ok(n) })
                    .is_err()
            );
        }
    }
}
