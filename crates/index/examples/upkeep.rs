//! Measures what deletes and merges do to a graph: the rows of a file are replaced a share at a time, and the graph is
//! taken over each time; beside it one that is linked afresh over the same rows.
//!
//! ```text
//! cargo run --release -p dvse-index --example upkeep -- --base base.npy --queries queries.npy --metric cosine \
//!     --share 20 --turnovers 10
//! ```
//!
//! Half of the rows are there at a time; each step removes the oldest (with `--anywhere` any) `share` percent and adds as
//! many. Reads npy (f4, f2, u1).

#![expect(clippy::print_stdout, reason = "a measuring program prints what it measured")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a measuring program may stop")]

mod npy;

use std::collections::HashMap;

use dvse_index::*;
use dvse_types::Metric;

fn read_npy(path: &str) -> (Vec<f32>, usize) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    let (values, _, dim) = npy::parse(&bytes);
    (values, dim)
}

/// Processor time of this process in seconds (in hundredths), where the system tells it.
fn process_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Processor time of this thread in seconds, where the system tells it.
fn thread_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|field| field.parse::<f64>().ok());
    nanoseconds.map_or(f64::NAN, |time| time / 1e9)
}

struct Bench {
    base: Vec<f32>,
    queries: Vec<f32>,
    dim: usize,
    metric: Metric,
    pool: rayon::ThreadPool,
}

impl Bench {
    fn rows(&self, numbers: &[usize]) -> (Vec<f32>, MappedRows) {
        let values: Vec<f32> =
            numbers.iter().flat_map(|n| &self.base[n * self.dim..(n + 1) * self.dim]).copied().collect();
        let rows = MappedRows::from_values(&values, self.dim).unwrap();
        (values, rows)
    }

    /// A graph over some rows: taken over from another where there is one, with the old numbers of its rows that stay.
    fn build(&self, numbers: &[usize], from: Option<(&SealedHnsw, &[u32])>) -> (SealedHnsw, f64) {
        let (_, rows) = self.rows(numbers);
        let n = numbers.len() as u32;
        let cpu = process_seconds();
        let index =
            GrowingHnsw::new(Rows::Sealed(rows.clone()), n, self.metric, HnswParams::default()).unwrap();
        if let Some((from, kept)) = from {
            index.adopt(from, kept, u32::MAX, &self.pool).unwrap();
        }
        index.link(n, true, &self.pool, &|| false).unwrap();
        let cpu = process_seconds() - cpu;
        let mut sections = MemorySections::new();
        index.persist(&mut sections).unwrap();
        (SealedHnsw::open(&sections, rows, self.metric).unwrap(), cpu)
    }

    /// Recall at 10, processor time and distances of a query for some `ef`.
    fn measure(&self, index: &SealedHnsw) -> String {
        let flat = FlatIndex::new(Rows::Sealed(index.rows().clone()), self.metric);
        let (mut scratch, mut found, mut truth) = (Scratch::new(), Vec::new(), Vec::new());
        let all = SearchParams::new(10, 10);
        let queries = || self.queries.chunks_exact(self.dim);
        let truths: Vec<Vec<f32>> = queries()
            .map(|query| {
                flat.search(query, &all, RowSet::All, &mut scratch, &mut truth).unwrap();
                truth.iter().map(|near| near.distance).collect()
            })
            .collect();
        let mut line = format!("  degree {:.2}", index.mean_degree());
        for ef in [16, 64, 256] {
            let params = SearchParams::new(10, ef);
            let (mut recall, mut distances, mut best) = (0.0, 0, f64::INFINITY);
            for pass in 0..3 {
                let cpu = thread_seconds();
                for (query, truth) in queries().zip(&truths) {
                    let stats = index.search(query, &params, RowSet::All, &mut scratch, &mut found).unwrap();
                    if pass == 0 {
                        let near: Vec<f32> = found.iter().map(|near| near.distance).collect();
                        recall += recall_at(10, &near, truth, 1e-6);
                        distances += stats.distances;
                    }
                }
                best = best.min(thread_seconds() - cpu);
            }
            let count = truths.len() as f64;
            line += &format!(
                "  ef {ef}: {:.4} {:.0} dist {:.1} µs",
                f64::from(recall) / count,
                distances as f64 / count,
                best / count * 1e6
            );
        }
        line
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut options: HashMap<&str, &str> = HashMap::new();
    let mut words = arguments.iter().peekable();
    while let Some(word) = words.next() {
        let value = words.next_if(|next| !next.starts_with("--")).map_or("", String::as_str);
        options.insert(word.trim_start_matches("--"), value);
    }
    let number = |name, default: usize| options.get(name).map_or(default, |text| text.parse().unwrap());
    let metric = match options.get("metric").copied() {
        Some("cosine") => Metric::Cosine,
        Some("ip") => Metric::InnerProduct,
        _ => Metric::L2,
    };
    let (mut base, dim) = read_npy(options["base"]);
    let (mut queries, _) = read_npy(options["queries"]);
    base.truncate(number("rows", usize::MAX / dim) * dim);
    queries.truncate(1000 * dim);
    if metric == Metric::Cosine {
        for row in base.chunks_exact_mut(dim).chain(queries.chunks_exact_mut(dim)) {
            normalize(row);
        }
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(number("threads", 1)).build().unwrap();
    let bench = Bench { base, queries, dim, metric, pool };
    let (of, share) = (bench.base.len() / dim, number("share", 20));
    let len = of / 2;
    let step = len * share / 100;
    let mut present: Vec<usize> = (0..len).collect();
    let (mut index, cpu) = bench.build(&present, None);
    println!("built {len} × {dim}, {cpu:.2} s{}", bench.measure(&index));
    let steps = number("turnovers", 10) * 100 / share;
    let (mut next, mut random) = (len, 7_u64);
    for number in 1..=steps {
        // The rows that go: the oldest, or any.
        let mut goes = vec![false; len];
        if options.contains_key("anywhere") {
            while goes.iter().filter(|gone| **gone).count() < step {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                goes[(random >> 33) as usize % len] = true;
            }
        } else {
            goes[..step].fill(true);
        }
        let kept: Vec<u32> = (0..len as u32).filter(|row| !goes[*row as usize]).collect();
        let mut after: Vec<usize> = kept.iter().map(|row| present[*row as usize]).collect();
        while after.len() < len {
            if !present.contains(&(next % of)) {
                after.push(next % of);
            }
            next += 1;
        }
        let (adopted, cpu) = bench.build(&after, Some((&index, &kept)));
        (index, present) = (adopted, after);
        if number == 1 || number == steps || (number * share) % 200 == 0 {
            let reached = index.reachable();
            println!(
                "step {number} of {steps}: {cpu:.2} s, {reached} of {len} reached{}",
                bench.measure(&index)
            );
        }
    }
    let (fresh, cpu) = bench.build(&present, None);
    println!("afresh: {cpu:.2} s{}", bench.measure(&fresh));
}
