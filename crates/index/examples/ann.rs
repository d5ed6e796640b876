//! Builds an index on files and measures it: recall against queries per second, one thread, over a list of `ef`.
//!
//! ```text
//! cargo run --release -p dvse-index --example ann -- \
//!     --base base.npy --queries queries.npy --truth gt.npy --metric cosine --ef 16,32,64,128
//! ```
//!
//! Reads npy (f4, f2, u1) and idx (u1) files. With `--serve` it reads lines of `ef [rows_ahead lines expansions]`
//! from standard input and answers each with one JSON line, so that another program can take turns with it.

#![expect(clippy::print_stdout, reason = "a measuring program prints what it measured")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measuring program may stop")]

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Instant;

use dvse_index::*;
use dvse_types::Metric;

struct Matrix {
    values: Vec<f32>,
    rows: usize,
    dim: usize,
}

fn read_matrix(path: &str) -> Matrix {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    if bytes.starts_with(b"\x93NUMPY") { read_npy(&bytes) } else { read_idx(&bytes) }
}

/// An idx file of bytes: big-endian magic, count, rows, columns.
fn read_idx(bytes: &[u8]) -> Matrix {
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!(number(0), 2051, "neither npy nor idx of bytes");
    let (rows, dim) = (number(4), number(8) * number(12));
    Matrix { values: bytes[16..16 + rows * dim].iter().map(|byte| f32::from(*byte)).collect(), rows, dim }
}

fn read_npy(bytes: &[u8]) -> Matrix {
    let len = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = std::str::from_utf8(&bytes[10..10 + len]).unwrap();
    let shape = header.split("'shape': (").nth(1).and_then(|rest| rest.split(')').next()).unwrap();
    let mut shape = shape.split(',').filter_map(|n| n.trim().parse::<usize>().ok());
    let (rows, dim) = (shape.next().unwrap(), shape.next().unwrap_or(1));
    let body = &bytes[10 + len..];
    let values = if header.contains("'<f2'") {
        let half: Vec<u16> = body.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        let mut values = vec![0.0; half.len()];
        dvse_simd::f16_to_f32(&half, &mut values);
        values
    } else if header.contains("'<f4'") {
        body.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    } else if header.contains("'<i4'") {
        body.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap()) as f32).collect()
    } else {
        body.iter().map(|byte| f32::from(*byte)).collect()
    };
    assert_eq!(values.len(), rows * dim, "the body does not have the shape of the header");
    Matrix { values, rows, dim }
}

/// Processor time of this thread in seconds, where the system tells it.
fn thread_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|field| field.parse::<f64>().ok());
    nanoseconds.map_or(f64::NAN, |time| time / 1e9)
}

/// Processor time of this process in seconds (in hundredths), where the system tells it.
fn process_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

struct Run {
    index: SealedHnsw,
    queries: Matrix,
    /// Distances of the true neighbours, best first.
    truth: Vec<Vec<f32>>,
    k: usize,
    /// Passes over the queries in one measurement: the clock of processor time is coarse.
    passes: usize,
}

impl Run {
    /// One pass over the queries.
    fn measure(&self, ef: usize) -> String {
        let mut scratch = Scratch::new();
        let params = SearchParams::new(self.k, ef);
        let mut out = Vec::new();
        let mut found_all = Vec::with_capacity(self.truth.len());
        let (mut distances, mut hops, mut seconds) = (0, 0, 0.0);
        let mut times = Vec::new();
        let cpu = thread_seconds();
        let queries = || self.queries.values.chunks_exact(self.queries.dim).take(self.truth.len());
        for (pass, query) in (0..self.passes).flat_map(|pass| queries().map(move |query| (pass, query))) {
            let start = Instant::now();
            let stats = self.index.search(query, &params, RowSet::All, &mut scratch, &mut out).unwrap();
            let took = start.elapsed().as_secs_f64();
            seconds += took;
            times.push(took);
            if pass > 0 {
                continue;
            }
            distances += stats.distances;
            hops += stats.hops;
            let found: Vec<f32> = out.iter().map(|neighbor| neighbor.distance).collect();
            found_all.push(found);
        }
        let cpu = thread_seconds() - cpu;
        times.sort_unstable_by(f64::total_cmp);
        let n = self.truth.len() as f64;
        let pairs = found_all.iter().zip(&self.truth);
        let recalls: Vec<f32> = pairs.map(|(found, truth)| recall_at(self.k, found, truth, 1e-5)).collect();
        let recall = RecallSummary::of(&recalls).unwrap();
        format!(
            "{{\"ef\":{ef},\"recall\":{:.4},\"recall_p5\":{:.2},\"qps\":{:.0},\"qps_cpu\":{:.0},\"p50_us\":{:.0},\"p99_us\":{:.0},\
             \"distances\":{:.0},\"hops\":{:.1}}}",
            recall.mean,
            recall.p5,
            n * self.passes as f64 / seconds,
            n * self.passes as f64 / cpu,
            times[times.len() / 2] * 1e6,
            times[times.len() * 99 / 100] * 1e6,
            distances as f64 / n,
            hops as f64 / n,
        )
    }
}

fn main() {
    let mut options: HashMap<String, String> = HashMap::new();
    let mut arguments = std::env::args().skip(1).peekable();
    while let Some(name) = arguments.next() {
        let value = arguments.next_if(|value| !value.starts_with("--")).unwrap_or_default();
        options.insert(name.trim_start_matches('-').to_owned(), value);
    }
    let text = |name: &str, default: &str| options.get(name).cloned().unwrap_or(default.to_owned());
    let number = |name: &str, default: usize| text(name, &default.to_string()).parse::<usize>().expect(name);

    let metric = match text("metric", "l2").as_str() {
        "l2" => Metric::L2,
        "ip" => Metric::InnerProduct,
        "cosine" => Metric::Cosine,
        other => panic!("unknown metric {other}: use l2, ip or cosine"),
    };
    let mut base = read_matrix(&text("base", ""));
    let mut queries = read_matrix(&text("queries", ""));
    let limit = number("limit", base.rows).min(base.rows);
    base.rows = limit;
    if metric == Metric::Cosine {
        for matrix in [&mut base, &mut queries] {
            matrix.values.chunks_exact_mut(matrix.dim).for_each(|row| {
                normalize(row);
            });
        }
    }
    let traversal = Traversal {
        expansions: number("expansions", Traversal::default().expansions),
        prefetch: Prefetch {
            rows_ahead: number("ahead", Prefetch::default().rows_ahead),
            lines: number("lines", Prefetch::default().lines),
        },
    };
    let defaults = HnswParams::default();
    let params = HnswParams {
        m: number("m", defaults.m.into()) as u16,
        ef_construction: number("efc", defaults.ef_construction.into()) as u16,
        alpha: text("alpha", &defaults.alpha.to_string()).parse().expect("alpha"),
        batch_max: number("batch", defaults.batch_max.into()) as u16,
        seed: number("seed", 0) as u64,
        sketches: number("sketches", 1) != 0,
        traversal,
    };

    let (mut writer, reader) = GrowingRows::with_capacity(base.dim, base.rows).unwrap();
    for row in base.values.chunks_exact(base.dim).take(base.rows) {
        writer.append(row).unwrap();
    }
    let threads = number("build-threads", 2);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let rows = Rows::Growing(reader);
    let growing = GrowingHnsw::new(rows, base.rows as u32, metric, params).unwrap();
    let (start, cpu) = (Instant::now(), process_seconds());
    growing.link(base.rows as u32, false, &pool, &|| false).unwrap();
    let linked_s = start.elapsed().as_secs_f64();
    let unreached = growing.linked() - growing.reachable();
    growing.link(base.rows as u32, true, &pool, &|| false).unwrap();
    let build_s = start.elapsed().as_secs_f64();
    let build_cpu_s = process_seconds() - cpu;
    let mut sections = MemorySections::new();
    growing.persist(&mut sections).unwrap();
    let layer0 = sections.iter().find(|(name, _)| *name == "hnsw.layer0").unwrap().1;
    let edges = layer0.chunks_exact(4).filter(|id| *id != [255; 4]).count();
    println!(
        "{{\"build_s\":{build_s:.2},\"build_cpu_s\":{build_cpu_s:.2},\"linked_s\":{linked_s:.2},\"build_threads\":{threads},\"n\":{},\"dim\":{},\
         \"degree\":{:.1},\"index_mib\":{:.1},\"unreached_before_flush\":{unreached},\"reachable\":{}}}",
        base.rows,
        base.dim,
        edges as f64 / base.rows as f64,
        growing.index_bytes() as f64 / 1048576.0,
        growing.reachable(),
    );
    drop(growing);

    let rows = MappedRows::from_values(&base.values[..base.rows * base.dim], base.dim).unwrap();
    let k = number("k", 10);
    let truth = truth_distances(&rows, metric, &queries, &text("truth", ""), k);
    queries.rows = queries.rows.min(truth.len());
    let index = SealedHnsw::open(&sections, rows, metric).unwrap().with_traversal(traversal);
    let mut run = Run { index, queries, truth, k, passes: number("passes", 1) };
    if options.contains_key("serve") {
        for line in std::io::stdin().lock().lines() {
            let line = line.unwrap();
            let mut numbers =
                line.split_whitespace().map(|number| number.parse::<usize>().expect("a number"));
            let Some(ef) = numbers.next() else { return };
            let rest: Vec<usize> = numbers.collect();
            if let [rows_ahead, lines, expansions] = rest[..] {
                let prefetch = Prefetch { rows_ahead, lines };
                run.index = run.index.with_traversal(Traversal { expansions, prefetch });
            }
            println!("{}", run.measure(ef));
            std::io::stdout().flush().unwrap();
        }
        return;
    }
    for ef in text("ef", "10,16,24,32,48,64,96,128,192,256").split(',') {
        let ef = ef.parse().expect("ef");
        let best = (0..number("repeat", 3)).map(|_| run.measure(ef)).max_by_key(|line| {
            let qps = line.split("\"qps\":").nth(1).and_then(|rest| rest.split(',').next());
            qps.and_then(|qps| qps.parse::<u64>().ok())
        });
        println!("{}", best.unwrap());
    }
}

/// The true distances, from a file of ids or by exact search.
fn truth_distances(
    rows: &MappedRows,
    metric: Metric,
    queries: &Matrix,
    path: &str,
    k: usize,
) -> Vec<Vec<f32>> {
    let flat = FlatIndex::new(Rows::Sealed(rows.clone()), metric);
    let ids = (!path.is_empty()).then(|| read_matrix(path));
    let mut scratch = Scratch::new();
    let mut out = Vec::new();
    let mut truth = Vec::new();
    for (number, query) in queries.values.chunks_exact(queries.dim).enumerate() {
        match &ids {
            Some(ids) if number < ids.rows => {
                let mut bits = vec![0_u64; flat.covered() as usize / 64 + 1];
                for id in ids.values.iter().skip(number * ids.dim).take(k) {
                    bits[*id as usize / 64] |= 1 << (*id as usize % 64);
                }
                flat.scan(query, k, 0..u32::MAX, RowSet::Bitmap(&bits), &mut scratch, &mut out).unwrap();
            }
            Some(_) => break,
            None => {
                flat.scan(query, k, 0..u32::MAX, RowSet::All, &mut scratch, &mut out).unwrap();
            }
        }
        truth.push(out.iter().map(|neighbor| neighbor.distance).collect());
    }
    truth
}
