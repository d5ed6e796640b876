//! Durable ingest through REST against the disk itself, and searches while it runs.
//!
//! `cargo run --release -p dvse-server --example ingest -- [POINTS [FOLDER [BASE.npy]]] [--form short|base64] [--tail-bytes N]`
//!
//! Writes POINTS vectors (default 20 480) of 384 dimensions with `wait=true`, 256 in a request, over 4 connections,
//! and compares with plain sequential `write` + `fdatasync` of the same vector bytes in the same batches on the same
//! disk, done before and after. Then one client searches: on the idle collection, while as many new points come, and while
//! the first ones are written again.
//! Without a file (float32, 384 columns) the vectors are drawn from a seed around 64 centres. Numbers have the 17 digits
//! that the Python client sends, with `--form short` the 9 that make an f32, and with `--form base64` a written vector is one
//! text in base64. `--tail-bytes` is the setting
//! `storage.tail_bytes_max`.
//!
//! How far one could get at all is measured too: a bare server that receives the same bodies and answers, and one that
//! also parses them. Client and server share the cores; how much processor time each took is told apart by thread.

mod ingest {
    pub mod load;
    pub mod machine;
}

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use dvse_server::Node;
use dvse_server::config::RawConfig;

use ingest::load::{self, Form, Outcome};
use ingest::machine::{self, Cpu};

fn main() -> Outcome<()> {
    let options = Options::read(std::env::args().skip(1))?;
    let folder = options.folder.join("dvse-ingest-bench");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let rows = match &options.file {
        Some(path) => load::read_npy(path, options.count)?,
        None => load::clustered_rows(options.count),
    };
    let bodies = load::bodies(&rows, 0, options.form);
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let json_mib = mib(bodies.iter().map(Vec::len).sum());
    let vector_mib = mib(rows.len() * load::DIM * 4);
    eprintln!("{} points, {vector_mib:.0} MiB of vectors, {json_mib:.0} MiB of JSON", rows.len());

    for (what, parse) in [("receiving", false), ("receiving and parsing", true)] {
        let address = load::serve_bare(parse)?;
        let (seconds, _) = load::ingest(address, &bodies)?;
        eprintln!(
            "{what} alone: {seconds:.2} s; {:.0} MiB/s of JSON, {:.0} MiB/s of vectors",
            json_mib / seconds,
            vector_mib / seconds
        );
    }

    let raw_before = machine::raw_seconds(&folder, &rows)?;
    let (node, address) = start(&folder, options.tail_bytes.as_deref())?;
    load::create(address)?;
    let cpu = Cpu::now();
    let (ingest, clients) = load::ingest(address, &bodies)?;
    Cpu::now().since(&cpu).show(clients);
    let raw_after = machine::raw_seconds(&folder, &rows)?;
    let raw = raw_before.min(raw_after);
    eprintln!("write+fdatasync alone: {raw_before:.2} s and {raw_after:.2} s; {:.0} MiB/s", vector_mib / raw);
    eprintln!(
        "durable ingest over REST: {ingest:.2} s; {:.0} points/s; {:.0} MiB/s of vectors; {:.0} % of the disk alone",
        rows.len() as f64 / ingest,
        vector_mib / ingest,
        100.0 * raw / ingest
    );

    node.database().get("c")?.settle(&mut |_, _| true)?;
    let queries = load::queries(&rows, options.form);
    let idle = load::latencies(address, &queries, &AtomicBool::new(false), 2_000)?;
    machine::show("search, idle", &idle);
    // First points that are new, then those written before once more: then the rows of the old ones die under the searches.
    let new = load::bodies(&rows, rows.len(), options.form);
    for (what, bodies) in [("new points", &new), ("the same points again", &bodies)] {
        let stop = AtomicBool::new(false);
        let cpu = Cpu::now();
        let (busy, wrote) = std::thread::scope(|scope| -> Outcome<_> {
            let searcher = scope.spawn(|| load::latencies(address, &queries, &stop, usize::MAX));
            let wrote = load::ingest(address, bodies);
            stop.store(true, Ordering::Relaxed);
            let busy = searcher.join().map_err(|_| "the searching thread panicked")??;
            Ok((busy, wrote?))
        })?;
        Cpu::now().since(&cpu).show(wrote.1);
        machine::show(&format!("search while {what} come"), &busy);
        let times = |share| machine::at(&busy, share) / machine::at(&idle, share);
        eprintln!(
            "{what} beside searches: {:.2} s; searches take {:.1} times idle at p50, {:.1} times at p99",
            wrote.0,
            times(0.5),
            times(0.99)
        );
        node.database().get("c")?.settle(&mut |_, _| true)?;
    }
    node.stop()?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

struct Options {
    count: usize,
    folder: PathBuf,
    file: Option<PathBuf>,
    form: Form,
    tail_bytes: Option<String>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Outcome<Options> {
        let mut options = Options {
            count: 20_480,
            folder: std::env::temp_dir(),
            file: None,
            form: Form::Long,
            tail_bytes: None,
        };
        let mut place = 0;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--form" => match arguments.next().as_deref() {
                    Some("short") => options.form = Form::Short,
                    Some("long") => options.form = Form::Long,
                    Some("base64") => options.form = Form::Base64,
                    _ => return Err("--form is long, short or base64".into()),
                },
                "--tail-bytes" => options.tail_bytes = arguments.next(),
                _ => {
                    match place {
                        0 => options.count = argument.parse()?,
                        1 => options.folder = PathBuf::from(argument),
                        2 => options.file = Some(PathBuf::from(argument)),
                        _ => return Err(format!("unexpected argument {argument}").into()),
                    }
                    place += 1;
                }
            }
        }
        Ok(options)
    }
}

fn start(folder: &Path, tail_bytes: Option<&str>) -> Outcome<(Node, SocketAddr)> {
    let mut raw = RawConfig::default();
    raw.set("server.http", "127.0.0.1:0")?;
    raw.set("storage.data", folder.join("data").to_str().ok_or("the folder's name is not UTF-8")?)?;
    if let Some(bytes) = tail_bytes {
        raw.set("storage.tail_bytes_max", bytes)?;
    }
    let node = Node::start(raw.check()?)?;
    let address = node.address();
    Ok((node, address))
}
