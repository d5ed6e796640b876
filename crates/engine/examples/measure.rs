//! Loads a set of vectors into a collection on disk and says what it costs: ingest, linking, memory, reopening,
//! recall and latency.
//!
//! ```text
//! cargo run --release -p dvse-engine --example measure -- load  DIR METRIC BASE [QUERIES TRUTH]
//! cargo run --release -p dvse-engine --example measure -- reopen DIR QUERIES [TRUTH]
//! cargo run --release -p dvse-engine --example measure -- beside DIR METRIC BASE QUERIES RATE
//! ```
//!
//! `beside` writes half of the rows, settles, and measures one searching thread alone and then while one thread writes the
//! other half at `RATE` rows a second and the background links them.
//!
//! `METRIC` is `l2`, `ip` or `cosine`. Vectors are NumPy files (float16 or float32, C order) or idx files of bytes;
//! the truth is a NumPy file of int32 row numbers.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for measuring, run by hand")]

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dvse_engine::{Database, Durability, EmbeddedCollection, EngineConfig};
use dvse_types::*;

const BATCH: usize = 256;
const WRITERS: usize = 4;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["load", dir, metric, base, rest @ ..] => load(dir, metric, base, rest),
        ["reopen", dir, queries, rest @ ..] => reopen(dir, queries, rest),
        ["beside", dir, metric, base, queries, rate] => beside(dir, metric, base, queries, rate),
        _ => println!(
            "usage: measure load DIR METRIC BASE [QUERIES TRUTH] | measure reopen DIR QUERIES [TRUTH] | \
             measure beside DIR METRIC BASE QUERIES RATE"
        ),
    }
}

fn metric_of(name: &str) -> Metric {
    match name {
        "ip" => Metric::InnerProduct,
        "cosine" => Metric::Cosine,
        _ => Metric::L2,
    }
}

/// A batch of rows of a matrix, numbered as they are there.
fn batch(vectors: &[f32], dim: usize, rows: Range<usize>) -> WriteBatch {
    let points = rows.map(|row| Point {
        id: PointId::Num(row as u64),
        vectors: NamedVectors::from([(String::new(), vectors[row * dim..(row + 1) * dim].into())]),
        payload: Payload::new(),
    });
    WriteBatch::new(vec![WriteOp::Upsert(points.collect())])
}

fn load(dir: &str, metric: &str, base: &str, rest: &[&str]) {
    let metric = metric_of(metric);
    let idle_mib = rss_mib();
    let (dim, vectors) = read_vectors(base);
    let rows = vectors.len() / dim;
    let raw_mib = (vectors.len() * 4) as f64 / f64::from(1 << 20);
    let input_mib = rss_mib() - idle_mib;
    println!("{rows} x {dim}, raw {raw_mib:.1} MiB");
    let database = Database::open(Path::new(dir), EngineConfig::default()).unwrap();
    let collection = database.create("measured", CollectionSchema::single(dim, metric)).unwrap();

    let started = Instant::now();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(BATCH, Ordering::Relaxed);
                    if first >= rows {
                        return;
                    }
                    let batch = batch(&vectors, dim, first..rows.min(first + BATCH));
                    collection.write(batch, Durability::Synced).unwrap();
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    println!("ingest {seconds:.2} s, {:.0} rows/s, {:.1} MiB/s", rows as f64 / seconds, raw_mib / seconds);
    println!("memory after ingest {}", memory());
    collection.settle(&mut |_, _| true).unwrap();
    println!("settled after {:.2} s, {:?}", started.elapsed().as_secs_f64(), collection.status());
    println!("memory with the input {}", memory());
    drop(vectors);
    println!("memory without the input {}", memory());
    println!(
        "memory {:.1} MiB above idle (input was {input_mib:.1}), {:.3} of raw",
        rss_mib() - idle_mib,
        (rss_mib() - idle_mib) / raw_mib
    );
    if let [queries, truth] = rest {
        ask(&collection, queries, Some(truth));
    }
    let started = Instant::now();
    drop(collection);
    database.close().unwrap();
    println!("close {:.3} s", started.elapsed().as_secs_f64());
}

fn reopen(dir: &str, queries: &str, rest: &[&str]) {
    let (dim, values) = read_vectors(queries);
    let idle_mib = rss_mib();
    let started = Instant::now();
    let database = Database::open(Path::new(dir), EngineConfig::default()).unwrap();
    let collection = database.get("measured").unwrap();
    let opened = started.elapsed();
    let hits = collection.view().search(&request(&values[..dim], 10, 64, false)).unwrap().hits.len();
    println!(
        "open {:.4} s, first answer ({hits} hits) {:.4} s",
        opened.as_secs_f64(),
        started.elapsed().as_secs_f64()
    );
    println!("{:?}", collection.status());
    ask(&collection, queries, rest.first().copied());
    println!("memory {:.1} MiB above idle", rss_mib() - idle_mib);
    database.close().unwrap();
}

fn beside(dir: &str, metric: &str, base: &str, queries: &str, rate: &str) {
    const IDLE: Duration = Duration::from_secs(4);
    let (dim, vectors) = read_vectors(base);
    let (_, queries) = read_vectors(queries);
    let rate: f64 = rate.parse().unwrap();
    let rows = vectors.len() / dim;
    let database = Database::open(Path::new(dir), EngineConfig::default()).unwrap();
    let collection = database.create("measured", CollectionSchema::single(dim, metric_of(metric))).unwrap();
    for first in (0..rows / 2).step_by(BATCH) {
        let batch = batch(&vectors, dim, first..(rows / 2).min(first + BATCH));
        collection.write(batch, Durability::Synced).unwrap();
    }
    collection.settle(&mut |_, _| true).unwrap();
    let search = |until: &dyn Fn() -> bool| {
        let (started, mut count) = (Instant::now(), 0_u32);
        for query in queries.chunks_exact(dim).cycle() {
            if until() {
                break;
            }
            collection.view().search(&request(query, 10, 64, false)).unwrap();
            count += 1;
        }
        f64::from(count) / started.elapsed().as_secs_f64()
    };
    let started = Instant::now();
    let idle = search(&|| started.elapsed() > IDLE);
    let done = AtomicBool::new(false);
    let (busy, written) = std::thread::scope(|scope| {
        let searcher = scope.spawn(|| search(&|| done.load(Ordering::Relaxed)));
        let started = Instant::now();
        for first in (rows / 2..rows).step_by(BATCH) {
            let due = Duration::from_secs_f64((first - rows / 2) as f64 / rate);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
            collection
                .write(batch(&vectors, dim, first..rows.min(first + BATCH)), Durability::Synced)
                .unwrap();
        }
        let written = (rows - rows / 2) as f64 / started.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
        (searcher.join().unwrap(), written)
    });
    println!(
        "idle {idle:.0} queries/s; beside {written:.0} rows/s {busy:.0} queries/s, {:.2} of idle",
        busy / idle
    );
    println!("{:?}", collection.status());
    drop(collection);
    database.close().unwrap();
}

fn ask(collection: &Arc<EmbeddedCollection>, queries: &str, truth: Option<&str>) {
    let (dim, values) = read_vectors(queries);
    let truth: Option<(usize, Vec<i32>)> = truth.map(read_ints);
    let count = truth.as_ref().map_or(1000, |(k, ids)| ids.len() / k).min(values.len() / dim);
    let view = collection.view();
    for (ef, exact) in [(32, false), (64, false), (128, false), (256, false), (0, true)] {
        let mut micros = Vec::new();
        let mut distances = 0;
        let mut right = 0;
        for query in 0..count.min(if exact { 100 } else { count }) {
            let request = request(&values[query * dim..(query + 1) * dim], 10, ef, exact);
            let started = Instant::now();
            let found = view.search(&request).unwrap();
            micros.push(started.elapsed().as_secs_f64() * 1e6);
            distances += found.stats.distances;
            if let Some((k, ids)) = &truth {
                let nearest = &ids[query * k..query * k + 10];
                right += found
                    .hits
                    .iter()
                    .filter(|hit| nearest.iter().any(|id| hit.id == PointId::Num(*id as u64)))
                    .count();
            }
        }
        let asked = micros.len();
        let total: f64 = micros.iter().sum();
        micros.sort_by(f64::total_cmp);
        println!(
            "ef {ef:4} exact {exact:5}: recall@10 {:.4}, {:.0}/s, p50 {:.0} us, p99 {:.0} us, {} distances",
            right as f64 / (asked * 10) as f64,
            asked as f64 / total * 1e6,
            micros[asked / 2],
            micros[asked * 99 / 100],
            distances / asked as u64,
        );
    }
}

fn request(query: &[f32], limit: usize, ef: usize, exact: bool) -> SearchRequest {
    SearchRequest {
        vector_name: String::new(),
        query: query.to_vec(),
        limit,
        filter: None,
        exclude: vec![],
        distance_max: None,
        params: SearchParams { ef_search: Some(ef), exact, ..SearchParams::default() },
    }
}

fn read_vectors(path: &str) -> (usize, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    if bytes.starts_with(&[0, 0, 8, 3]) {
        let field = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        return (field(8) * field(12), bytes[16..].iter().map(|byte| f32::from(*byte)).collect());
    }
    let (header, body) = npy(&bytes);
    let values = if header.contains("f2") {
        body.chunks_exact(2).map(|raw| half(u16::from_le_bytes([raw[0], raw[1]]))).collect()
    } else {
        body.chunks_exact(4).map(|raw| f32::from_le_bytes(raw.try_into().unwrap())).collect()
    };
    (columns(header), values)
}

fn read_ints(path: &str) -> (usize, Vec<i32>) {
    let bytes = std::fs::read(path).unwrap();
    let (header, body) = npy(&bytes);
    (columns(header), body.chunks_exact(4).map(|raw| i32::from_le_bytes(raw.try_into().unwrap())).collect())
}

fn npy(bytes: &[u8]) -> (&str, &[u8]) {
    let len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    (std::str::from_utf8(&bytes[10..10 + len]).unwrap(), &bytes[10 + len..])
}

fn columns(header: &str) -> usize {
    let shape = header.split("'shape': (").nth(1).unwrap().split(')').next().unwrap();
    shape.split(',').nth(1).unwrap().trim().parse().unwrap()
}

fn half(bits: u16) -> f32 {
    let sign = f32::from_bits(u32::from(bits & 0x8000) << 16);
    let magnitude = match bits & 0x7fff {
        small if small < 0x400 => f32::from(small) * (2.0_f32).powi(-24),
        normal => f32::from_bits((u32::from(normal) << 13) + (112 << 23)),
    };
    if sign.is_sign_negative() { -magnitude } else { magnitude }
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let lines: Vec<_> =
        status.lines().filter(|line| line.starts_with("Rss") || line.starts_with("VmRSS")).collect();
    lines.join(" ").replace('\t', " ")
}

fn rss_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
