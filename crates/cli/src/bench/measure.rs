//! Runs queries and takes the time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dvse_engine::{CollectionView, FilterChoice};
use dvse_types::{Filter, PointId, SearchParams, SearchRequest, VectorName};

use super::clock;
use super::truth::Truth;
use crate::failure::{Failure, Result};
use crate::vectors::Matrix;

/// What one setting came to.
pub struct Measured {
    /// Mean recall.
    pub recall: f64,
    /// 95 % of the queries have at least this recall.
    pub recall_p5: f64,
    /// Queries a second, all threads together, by the clock on the wall.
    pub qps: f64,
    /// Queries a second by the processor time of the one thread that searches; other work on the machine disturbs it
    /// less. `None` with several threads.
    pub qps_cpu: Option<f64>,
    /// Half of the queries took at most this long, in microseconds.
    pub p50_us: f64,
    /// 99 % of the queries took at most this long, in microseconds.
    pub p99_us: f64,
    /// Distances computed for a query, on average.
    pub distances: f64,
    /// The share of the queries that some segment answered by comparing all rows that pass.
    pub exact: f64,
}

/// The warm-up ends with the last query or after this time.
const WARM_UP_MAX: Duration = Duration::from_secs(1);

/// A request for the nearest rows to each query, with the filter of its number.
pub fn requests(
    queries: &Matrix,
    k: usize,
    params: SearchParams,
    filter: impl Fn(usize) -> Option<Filter>,
) -> Vec<SearchRequest> {
    let request = |(number, query): (usize, &[f32])| SearchRequest {
        vector_name: VectorName::new(),
        query: query.to_vec(),
        limit: k,
        filter: filter(number),
        exclude: Vec::new(),
        distance_max: None,
        params,
    };
    queries.data.chunks_exact(queries.dim).enumerate().map(request).collect()
}

/// Measures one setting: a warm-up, then all requests `repeats` times. Each figure of speed is that of the fastest time.
///
/// # Errors
/// The view refuses a request.
pub fn measure(
    view: &CollectionView,
    requests: &[SearchRequest],
    truth: &Truth<'_>,
    threads: usize,
    repeats: usize,
) -> Result<Measured> {
    measure_by(view, requests, truth, threads, repeats, FilterChoice::Planned)
}

/// As [`measure`], the rows that pass a filter searched in a certain way.
///
/// # Errors
/// The view refuses a request.
pub fn measure_by(
    view: &CollectionView,
    requests: &[SearchRequest],
    truth: &Truth<'_>,
    threads: usize,
    repeats: usize,
    choice: FilterChoice,
) -> Result<Measured> {
    warm_up(view, requests, choice)?;
    let count = requests.len();
    let mut best: Option<(Duration, Vec<Answer>)> = None;
    let mut best_cpu: Option<Duration> = None;
    for _ in 0..repeats {
        let (started, cpu) = (Instant::now(), clock::thread_time());
        let answers = on_threads(threads, count, || (), |(), number| ask(view, &requests[number], choice))?;
        let took = started.elapsed();
        // With more threads this one only waits for them.
        if threads == 1 {
            let cpu = clock::thread_time().saturating_sub(cpu);
            best_cpu = Some(best_cpu.map_or(cpu, |best| best.min(cpu)));
        }
        if best.as_ref().is_none_or(|(fastest, _)| took < *fastest) {
            best = Some((took, answers));
        }
    }
    let (took, answers) = best.ok_or_else(|| Failure::new("nothing was measured"))?;
    let recalls = answers.iter().enumerate().map(|(number, answer)| truth.recall(number, &answer.found));
    let recalls: Vec<f64> = sorted(recalls);
    let times = sorted(answers.iter().map(|answer| answer.took.as_secs_f64() * 1e6));
    Ok(Measured {
        recall: recalls.iter().sum::<f64>() / count as f64,
        recall_p5: recalls[count / 20],
        qps: count as f64 / took.as_secs_f64().max(1e-9),
        qps_cpu: best_cpu.map(|cpu| count as f64 / cpu.as_secs_f64().max(1e-9)),
        p50_us: percentile(&times, 50),
        p99_us: percentile(&times, 99),
        distances: answers.iter().map(|answer| answer.distances as f64).sum::<f64>() / count as f64,
        exact: answers.iter().filter(|answer| answer.exact).count() as f64 / count as f64,
    })
}

struct Answer {
    found: Vec<u32>,
    took: Duration,
    distances: u64,
    exact: bool,
}

fn ask(view: &CollectionView, request: &SearchRequest, choice: FilterChoice) -> Result<Answer> {
    let started = Instant::now();
    let result = view.search_by(request, choice)?;
    let took = started.elapsed();
    let found = result.hits.iter().map(|hit| row_of(hit.id)).collect();
    let exact = result.stats.exact_segments > 0;
    Ok(Answer { found, took, distances: result.stats.distances, exact })
}

/// The row of a point that [`super::built::point`] made.
pub fn row_of(id: PointId) -> u32 {
    match id {
        PointId::Num(number) => u32::try_from(number).unwrap_or(u32::MAX),
        PointId::Uuid(_) => u32::MAX,
    }
}

fn warm_up(view: &CollectionView, requests: &[SearchRequest], choice: FilterChoice) -> Result<()> {
    let started = Instant::now();
    for request in requests {
        view.search_by(request, choice)?;
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
