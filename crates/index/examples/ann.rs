//! Builds an index on files and measures it: recall against queries per second, one thread, over a list of `ef`.
//!
//! ```text
//! cargo run --release -p dvse-index --example ann -- \
//!     --base base.npy --queries queries.npy --truth gt.npy --metric cosine --ef 16,32,64,128
//! ```
//!
//! With `--index ivf` it builds inverted lists (`--lists`, `--sub-dim`; searched with `--rows-per-candidate`, `--nprobe`,
//! `--rerank`) instead of a graph (`--m`, `--efc`, `--alpha`, `--batch`, `--codes sq8` or RaBitQ of 1, 2, 4 or 8 bits, `--halves 1`).
//!
//! Reads npy (f4, f2, u1) and idx (u1) files. With `--serve` it reads lines of `ef [rows_ahead lines expansions]` (a
//! graph) or `ef [rows_per_candidate nprobe rerank]` (lists) from standard input and answers each with one JSON line,
//! so that another program can take turns with it. With `--pass S` a search is filtered to the share S of the rows.

#![expect(clippy::print_stdout, reason = "a measuring program prints what it measured")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measuring program may stop")]

mod npy;

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
    let (values, rows, dim) = npy::parse(bytes);
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

/// What is measured.
enum Built {
    Hnsw(Box<SealedHnsw>),
    Ivf(Box<SealedIvf>),
}

impl Built {
    fn index(&self) -> &dyn AnnIndex {
        match self {
            Built::Hnsw(index) => &**index,
            Built::Ivf(index) => &**index,
        }
    }

    /// Takes what a line of `--serve` says after `ef`.
    fn tuned(self, numbers: &[usize]) -> Built {
        let [a, b, c] = *numbers else { return self };
        match self {
            Built::Hnsw(index) => {
                let prefetch = Prefetch { rows_ahead: a, lines: b };
                Built::Hnsw(Box::new(index.with_traversal(Traversal { expansions: c, prefetch })))
            }
            Built::Ivf(index) => {
                let probing = Probing { rows_per_candidate: a as u32, lists: b as u32, rerank: c as u32 };
                Built::Ivf(Box::new(index.with_probing(probing)))
            }
        }
    }
}

struct Run {
    index: Built,
    /// The rows to search among, or none for all.
    bits: Option<Vec<u64>>,
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
        let set = self.bits.as_ref().map_or(RowSet::All, |bits| RowSet::Bitmap(bits));
        let mut out = Vec::new();
        let mut found_all = Vec::with_capacity(self.truth.len());
        let (mut distances, mut hops, mut seconds) = (0, 0, 0.0);
        let mut times = Vec::new();
        let cpu = thread_seconds();
        let queries = || self.queries.values.chunks_exact(self.queries.dim).take(self.truth.len());
        for (pass, query) in (0..self.passes).flat_map(|pass| queries().map(move |query| (pass, query))) {
            let start = Instant::now();
            let stats = self.index.index().search(query, &params, set, &mut scratch, &mut out).unwrap();
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
    let (mut writer, reader) = GrowingRows::with_capacity(base.dim, base.rows).unwrap();
    for row in base.values.chunks_exact(base.dim).take(base.rows) {
        writer.append(row).unwrap();
    }
    let threads = number("build-threads", 2);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let rows = Rows::Growing(reader);
    let sections = match text("index", "hnsw").as_str() {
        "hnsw" => build_hnsw(&options, rows, metric, &pool),
        "ivf" => build_ivf(&options, rows, metric, &pool),
        other => panic!("unknown index {other}: use hnsw or ivf"),
    };

    let rows = MappedRows::from_values(&base.values[..base.rows * base.dim], base.dim).unwrap();
    let k = number("k", 10);
    let bits = options.get("pass").map(|share| random_bits(base.rows, share.parse().expect("pass")));
    let truth = truth_distances(&rows, metric, &queries, &text("truth", ""), k, bits.as_deref());
    queries.rows = queries.rows.min(truth.len());
    let index = match text("index", "hnsw").as_str() {
        "hnsw" => {
            let index = SealedHnsw::open(&sections, rows, metric).unwrap();
            Built::Hnsw(Box::new(index.with_traversal(traversal(&options))))
        }
        _ => {
            let index = SealedIvf::open(&sections, rows, metric).unwrap();
            Built::Ivf(Box::new(index.with_probing(probing(&options))))
        }
    };
    let mut run = Run { index, bits, queries, truth, k, passes: number("passes", 1) };
    if options.contains_key("serve") {
        for line in std::io::stdin().lock().lines() {
            let line = line.unwrap();
            let mut numbers =
                line.split_whitespace().map(|number| number.parse::<usize>().expect("a number"));
            let Some(ef) = numbers.next() else { return };
            let rest: Vec<usize> = numbers.collect();
            run.index = run.index.tuned(&rest);
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

type Options = HashMap<String, String>;

fn number_of(options: &Options, name: &str, default: usize) -> usize {
    options.get(name).map_or(default, |text| text.parse().expect(name))
}

fn traversal(options: &Options) -> Traversal {
    let defaults = Traversal::default();
    Traversal {
        expansions: number_of(options, "expansions", defaults.expansions),
        prefetch: Prefetch {
            rows_ahead: number_of(options, "ahead", defaults.prefetch.rows_ahead),
            lines: number_of(options, "lines", defaults.prefetch.lines),
        },
    }
}

fn probing(options: &Options) -> Probing {
    let defaults = Probing::default();
    Probing {
        rows_per_candidate: number_of(options, "rows-per-candidate", defaults.rows_per_candidate as usize)
            as u32,
        lists: number_of(options, "nprobe", 0) as u32,
        rerank: number_of(options, "rerank", 0) as u32,
    }
}

fn build_hnsw(options: &Options, rows: Rows, metric: Metric, pool: &rayon::ThreadPool) -> MemorySections {
    let defaults = HnswParams::default();
    let params = HnswParams {
        m: number_of(options, "m", defaults.m.into()) as u16,
        ef_construction: number_of(options, "efc", defaults.ef_construction.into()) as u16,
        alpha: options.get("alpha").map_or(defaults.alpha, |text| text.parse().expect("alpha")),
        batch_max: number_of(options, "batch", defaults.batch_max.into()) as u16,
        seed: number_of(options, "seed", 0) as u64,
        layers: number_of(options, "layers", 1) != 0,
        sketches: number_of(options, "sketches", 1) != 0,
        halves: number_of(options, "halves", 0) != 0,
        traversal: traversal(options),
        codes: options.get("codes").map(|codes| match codes.as_str() {
            "sq8" => RowCodes::Scalar8,
            bits => RowCodes::RaBitQ { bits: bits.parse().expect("codes") },
        }),
    };
    let (n, dim) = (rows.len(), rows.dim());
    let growing = GrowingHnsw::new(rows, n, metric, params).unwrap();
    let (start, cpu) = (Instant::now(), process_seconds());
    growing.link(n, false, pool, &|| false).unwrap();
    let linked_s = start.elapsed().as_secs_f64();
    let unreached = growing.linked() - growing.reachable();
    growing.link(n, true, pool, &|| false).unwrap();
    let build_s = start.elapsed().as_secs_f64();
    let build_cpu_s = process_seconds() - cpu;
    let mut sections = MemorySections::new();
    let start = Instant::now();
    growing.persist_on(Some(pool), &mut sections).unwrap();
    let persist_s = start.elapsed().as_secs_f64();
    let layer0 = sections.iter().find(|(name, _)| *name == "hnsw.layer0").unwrap().1;
    let edges = layer0.chunks_exact(4).filter(|id| *id != [255; 4]).count();
    println!(
        "{{\"build_s\":{build_s:.2},\"build_cpu_s\":{build_cpu_s:.2},\"linked_s\":{linked_s:.2},\"persist_s\":{persist_s:.2},\"build_threads\":{},\"n\":{n},\"dim\":{dim},\
         \"degree\":{:.1},\"index_mib\":{:.1},\"unreached_before_flush\":{unreached},\"reachable\":{}}}",
        pool.current_num_threads(),
        edges as f64 / f64::from(n),
        growing.index_bytes() as f64 / 1048576.0,
        growing.reachable(),
    );
    sections
}

fn build_ivf(options: &Options, rows: Rows, metric: Metric, pool: &rayon::ThreadPool) -> MemorySections {
    let defaults = IvfParams::default();
    let params = IvfParams {
        lists: number_of(options, "lists", 0) as u32,
        sub_dim: number_of(options, "sub-dim", defaults.sub_dim.into()) as u16,
        train_rows: number_of(options, "train-rows", 0) as u32,
        seed: number_of(options, "seed", 0) as u64,
        probing: probing(options),
    };
    let (n, dim) = (rows.len(), rows.dim());
    let growing = GrowingIvf::new(rows, n, metric, params).unwrap();
    let (start, cpu) = (Instant::now(), process_seconds());
    // With `--first-rows` the lists are trained on the first rows, as in a segment that grows, not on a sample of all.
    let flush = !options.contains_key("first-rows");
    growing.link(n, flush, pool, &|| false).unwrap();
    let build_s = start.elapsed().as_secs_f64();
    let build_cpu_s = process_seconds() - cpu;
    let mut sections = MemorySections::new();
    growing.persist(&mut sections).unwrap();
    println!(
        "{{\"build_s\":{build_s:.2},\"build_cpu_s\":{build_cpu_s:.2},\"build_threads\":{},\"n\":{n},\"dim\":{dim},\"lists\":{},\
         \"index_mib\":{:.1}}}",
        pool.current_num_threads(),
        growing.lists(),
        growing.index_bytes() as f64 / 1048576.0,
    );
    sections
}

/// A bitmap with about the share `share` of `n` bits set, always the same.
fn random_bits(n: usize, share: f64) -> Vec<u64> {
    let mut state = 1_u64;
    let mut bits = vec![0_u64; n.div_ceil(64)];
    for row in 0..n {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if ((state >> 33) as f64 / (1_u64 << 31) as f64) < share {
            bits[row / 64] |= 1 << (row % 64);
        }
    }
    bits
}

/// The true distances, from a file of ids or by exact search.
fn truth_distances(
    rows: &MappedRows,
    metric: Metric,
    queries: &Matrix,
    path: &str,
    k: usize,
    bits: Option<&[u64]>,
) -> Vec<Vec<f32>> {
    let flat = FlatIndex::new(Rows::Sealed(rows.clone()), metric);
    // A file of ids is right for all rows only.
    let ids = (!path.is_empty() && bits.is_none()).then(|| read_matrix(path));
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
                let set = bits.map_or(RowSet::All, RowSet::Bitmap);
                flat.scan(query, k, 0..u32::MAX, set, &mut scratch, &mut out).unwrap();
            }
        }
        truth.push(out.iter().map(|neighbor| neighbor.distance).collect());
    }
    truth
}
