//! Durable ingest through REST against the disk itself, and searches while it runs.
//!
//! `cargo run --release -p dvse-server --example ingest -- [POINTS [FOLDER [BASE.npy]]]`
//!
//! Writes POINTS vectors (default 20 480) of 384 dimensions with `wait=true`, 256 in a request, over 4 connections,
//! and compares with plain sequential `write` + `fdatasync` of the same vector bytes in the same batches on the same
//! disk, done before and after. Then one client searches: on the idle collection, and while it is written again.
//! Without a file (float32, 384 columns) the vectors are drawn from a seed around 64 centres.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dvse_server::Node;
use dvse_server::config::RawConfig;

const DIM: usize = 384;
const BATCH: usize = 256;
const CONNECTIONS: usize = 4;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count: usize = arguments.first().map_or(Ok(20_480), |count| count.parse())?;
    let folder = arguments.get(1).map_or_else(std::env::temp_dir, PathBuf::from).join("dvse-ingest-bench");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let rows = match arguments.get(2) {
        Some(path) => read_npy(Path::new(path), count)?,
        None => clustered_rows(count),
    };
    let bodies: Vec<Vec<u8>> =
        rows.chunks(BATCH).enumerate().map(|(batch, rows)| body(batch, rows)).collect();
    let json_mib = bodies.iter().map(Vec::len).sum::<usize>() as f64 / f64::from(1 << 20);
    let vector_mib = (rows.len() * DIM * 4) as f64 / f64::from(1 << 20);
    eprintln!("{} points, {vector_mib:.0} MiB of vectors, {json_mib:.0} MiB of JSON", rows.len());

    let raw_before = raw_seconds(&folder, &rows)?;
    let (node, address) = start(&folder)?;
    request(
        &mut connect(address)?,
        "PUT",
        "/collections/c",
        br#"{"vectors":{"size":384,"distance":"Cosine"}}"#,
    )?;
    let ingest = ingest_seconds(address, &bodies)?;
    let raw_after = raw_seconds(&folder, &rows)?;
    let raw = raw_before.min(raw_after);
    eprintln!(
        "write+fdatasync alone: {:.2} s and {:.2} s; {:.0} MiB/s",
        raw_before,
        raw_after,
        vector_mib / raw
    );
    eprintln!(
        "durable ingest over REST: {ingest:.2} s; {:.0} points/s; {:.0} MiB/s of vectors; {:.0} % of the disk alone",
        rows.len() as f64 / ingest,
        vector_mib / ingest,
        100.0 * raw / ingest
    );

    node.database().get("c")?.settle(&mut |_, _| true)?;
    let queries: Vec<Vec<u8>> = rows.iter().step_by(rows.len().div_ceil(500)).map(|row| query(row)).collect();
    let idle = latencies(address, &queries, &AtomicBool::new(false), 2_000)?;
    let stop = AtomicBool::new(false);
    let busy = std::thread::scope(|scope| {
        let searcher = scope.spawn(|| latencies(address, &queries, &stop, usize::MAX));
        let again = ingest_seconds(address, &bodies);
        stop.store(true, Ordering::Relaxed);
        again.and(searcher.join().map_err(|_| "the searching thread panicked")?)
    })?;
    show("search, idle", &idle);
    show("search during ingest", &busy);
    eprintln!("p99 during ingest is {:.1} times idle", at(&busy, 0.99) / at(&idle, 0.99));
    node.stop()?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn start(folder: &Path) -> Outcome<(Node, SocketAddr)> {
    let mut raw = RawConfig::default();
    raw.set("server.http", "127.0.0.1:0")?;
    raw.set("storage.data", folder.join("data").to_str().ok_or("the folder's name is not UTF-8")?)?;
    let node = Node::start(raw.check()?)?;
    let address = node.address();
    Ok((node, address))
}

/// How long plain appends take, each batch synced before the next.
fn raw_seconds(folder: &Path, rows: &[Vec<f32>]) -> Outcome<f64> {
    let path = folder.join("raw");
    let batches: Vec<Vec<u8>> = rows
        .chunks(BATCH)
        .map(|rows| rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let mut file = File::create(&path)?;
    let started = Instant::now();
    for batch in &batches {
        file.write_all(batch)?;
        file.sync_data()?;
    }
    let took = started.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(took)
}

fn ingest_seconds(address: SocketAddr, bodies: &[Vec<u8>]) -> Outcome<f64> {
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| -> Outcome<()> {
        let writers: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| -> Outcome<()> {
                    let mut connection = connect(address)?;
                    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                        request(&mut connection, "PUT", "/collections/c/points?wait=true", body)?;
                    }
                    Ok(())
                })
            })
            .collect();
        writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| "a writing thread panicked")?)
    })?;
    Ok(started.elapsed().as_secs_f64())
}

fn latencies(
    address: SocketAddr,
    queries: &[Vec<u8>],
    stop: &AtomicBool,
    max: usize,
) -> Outcome<Vec<Duration>> {
    let mut connection = connect(address)?;
    let mut taken = Vec::new();
    for query in queries.iter().cycle().take(max) {
        let started = Instant::now();
        request(&mut connection, "POST", "/collections/c/points/query", query)?;
        taken.push(started.elapsed());
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    taken.sort_unstable();
    Ok(taken)
}

/// The latency at a share of the sorted ones, in milliseconds.
fn at(sorted: &[Duration], share: f64) -> f64 {
    let position = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(position).map_or(0.0, |taken| taken.as_secs_f64() * 1e3)
}

fn show(name: &str, sorted: &[Duration]) {
    let (p50, p99) = (at(sorted, 0.5), at(sorted, 0.99));
    eprintln!("{name}: {} searches, p50 {p50:.2} ms, p99 {p99:.2} ms", sorted.len());
}

fn connect(address: SocketAddr) -> Outcome<BufReader<TcpStream>> {
    let connection = TcpStream::connect(address)?;
    connection.set_nodelay(true)?;
    Ok(BufReader::new(connection))
}

/// Sends one request over a connection that stays open; anything but 200 is an error.
fn request(connection: &mut BufReader<TcpStream>, method: &str, path: &str, body: &[u8]) -> Outcome<()> {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.get_mut().write_all(head.as_bytes())?;
    connection.get_mut().write_all(body)?;
    let (mut status, mut length, mut line) = (String::new(), 0, String::new());
    loop {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err("the connection was closed".into());
        }
        if status.is_empty() {
            status.clone_from(&line);
        } else if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse()?;
        } else if line == "\r\n" {
            break;
        }
    }
    let mut reply = vec![0; length];
    connection.read_exact(&mut reply)?;
    if !status.starts_with("HTTP/1.1 200") {
        return Err(format!("{method} {path}: {} {}", status.trim(), String::from_utf8_lossy(&reply)).into());
    }
    Ok(())
}

/// The body that the Python client would send: numbers as the shortest decimals of their f64 values.
fn body(batch: usize, rows: &[Vec<f32>]) -> Vec<u8> {
    let points: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(row, vector)| {
            format!(
                r#"{{"id":{},"vector":{},"payload":{{"batch":{batch}}}}}"#,
                batch * BATCH + row,
                numbers(vector)
            )
        })
        .collect();
    format!(r#"{{"points":[{}]}}"#, points.join(",")).into_bytes()
}

fn query(vector: &[f32]) -> Vec<u8> {
    format!(r#"{{"query":{},"limit":10}}"#, numbers(vector)).into_bytes()
}

fn numbers(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(|&value| f64::from(value).to_string()).collect();
    format!("[{}]", numbers.join(","))
}

fn clustered_rows(count: usize) -> Vec<Vec<f32>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let centres: Vec<Vec<f32>> = (0..64).map(|_| (0..DIM).map(|_| next()).collect()).collect();
    (0..count)
        .map(|row| centres[row % centres.len()].iter().map(|centre| centre + 0.5 * next()).collect())
        .collect()
}

/// Reads the first rows of a float32 matrix with [`DIM`] columns.
fn read_npy(path: &Path, count: usize) -> Outcome<Vec<Vec<f32>>> {
    let mut file = File::open(path)?;
    let mut start = [0; 10];
    file.read_exact(&mut start)?;
    let mut header = vec![0; usize::from(u16::from_le_bytes([start[8], start[9]]))];
    file.read_exact(&mut header)?;
    let header = String::from_utf8_lossy(&header).into_owned();
    if !header.contains("'<f4'") || !header.contains(&format!(", {DIM})")) {
        return Err(format!("{} is not a float32 matrix with {DIM} columns: {header}", path.display()).into());
    }
    let mut bytes = Vec::new();
    file.take((count * DIM * 4) as u64).read_to_end(&mut bytes)?;
    let values: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
    Ok(values.chunks_exact(DIM).map(<[f32]>::to_vec).collect())
}
