//! The clients: bodies, queries, connections, and a bare server to compare with.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::machine::own_cpu;

pub const DIM: usize = 384;
pub const BATCH: usize = 256;
const CONNECTIONS: usize = 4;

pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How vectors are written.
#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    /// As the shortest decimal of the `f64`, like Python.
    Long,
    /// As the shortest decimal of the `f32`.
    Short,
    /// As the bytes of the `f32` in base64; queries as [`Form::Short`].
    Base64,
}

/// Makes the collection `c`.
pub fn create(address: SocketAddr) -> Outcome<()> {
    let body = br#"{"vectors":{"size":384,"distance":"Cosine"}}"#;
    request(&mut connect(address)?, "PUT", "/collections/c", body)
}

/// Sends all bodies; returns the seconds it took and the processor time of the clients.
pub fn ingest(address: SocketAddr, bodies: &[Vec<u8>]) -> Outcome<(f64, Duration)> {
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    let mut cpu = Duration::ZERO;
    std::thread::scope(|scope| -> Outcome<()> {
        let writers: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| -> Outcome<Duration> {
                    let mut connection = connect(address)?;
                    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                        request(&mut connection, "PUT", "/collections/c/points?wait=true", body)?;
                    }
                    Ok(own_cpu())
                })
            })
            .collect();
        for writer in writers {
            cpu += writer.join().map_err(|_| "a writing thread panicked")??;
        }
        Ok(())
    })?;
    Ok((started.elapsed().as_secs_f64(), cpu))
}

/// A server that only receives bodies, and parses them or not, on a thread a connection. It ends with the process.
pub fn serve_bare(parse: bool) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || answer_bare(connection, parse));
        }
    });
    Ok(address)
}

fn answer_bare(connection: TcpStream, parse: bool) -> Outcome<()> {
    connection.set_nodelay(true)?;
    let mut connection = BufReader::new(connection);
    let mut body = Vec::new();
    loop {
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            if connection.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse()?;
            }
        }
        body.resize(length, 0);
        connection.read_exact(&mut body)?;
        if parse {
            dvse_server::rest::measure_upsert(&body)?;
        }
        connection.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

/// Searches one after the other until told to stop; returns how long each took, sorted.
pub fn latencies(
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

/// The bodies that the Python client would send, for points with ids from `first_id` on.
pub fn bodies(rows: &[Vec<f32>], first_id: usize, form: Form) -> Vec<Vec<u8>> {
    rows.chunks(BATCH).enumerate().map(|(batch, rows)| body(batch, first_id, rows, form)).collect()
}

/// About 500 queries, spread over the rows.
pub fn queries(rows: &[Vec<f32>], form: Form) -> Vec<Vec<u8>> {
    rows.iter().step_by(rows.len().div_ceil(500)).map(|row| query(row, form)).collect()
}

fn body(batch: usize, first_id: usize, rows: &[Vec<f32>], form: Form) -> Vec<u8> {
    let points: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(row, vector)| {
            format!(
                r#"{{"id":{},"vector":{},"payload":{{"batch":{batch}}}}}"#,
                first_id + batch * BATCH + row,
                vector_text(vector, form)
            )
        })
        .collect();
    format!(r#"{{"points":[{}]}}"#, points.join(",")).into_bytes()
}

fn query(vector: &[f32], form: Form) -> Vec<u8> {
    format!(r#"{{"query":{},"limit":10}}"#, numbers(vector, form)).into_bytes()
}

fn vector_text(vector: &[f32], form: Form) -> String {
    if form != Form::Base64 {
        return numbers(vector, form);
    }
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    format!("\"{}\"", STANDARD.encode(bytes))
}

fn numbers(vector: &[f32], form: Form) -> String {
    let numbers: Vec<String> = match form {
        Form::Long => vector.iter().map(|&value| f64::from(value).to_string()).collect(),
        Form::Short | Form::Base64 => vector.iter().map(f32::to_string).collect(),
    };
    format!("[{}]", numbers.join(","))
}

pub fn clustered_rows(count: usize) -> Vec<Vec<f32>> {
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
pub fn read_npy(path: &Path, count: usize) -> Outcome<Vec<Vec<f32>>> {
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
