//! `dvse bench ann`: the index crate alone, on files.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use dvse_index::{Level, MappedRows, SearchParams};
use dvse_types::Metric;
use serde_json::{Value, json};

use super::built::{Built, build, rows_of};
use super::machine;
use super::measure::{Measured, Queries, measure};
use super::truth::Truth;
use crate::collection::MetricName;
use crate::failure::{Failure, Remedy as _, Result};
use crate::output::{Format, Output, Table};
use crate::progress::Board;
use crate::vectors::{Matrix, VectorFile};

/// What to measure on which files.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "hnsw takes --set m, ef_construction, alpha, batch_max, seed and expansions. Each setting is\n\
                        searched once to warm up and then --repeat times; the fastest time counts.\n\n\
                        Example:\n  dvse bench ann --base base.npy --queries queries.npy --truth gt.npy --metric cosine"
)]
pub struct AnnArguments {
    /// The vectors to index: .npy, .fvecs or idx, plain or .gz.
    #[arg(long, value_name = "FILE")]
    pub base: PathBuf,
    /// The vectors to search for.
    #[arg(long, value_name = "FILE")]
    pub queries: PathBuf,
    /// The rows nearest to each query, best first; computed when left out.
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// How two vectors are compared; for cosine they are scaled to length 1 first.
    #[arg(long, value_enum, default_value_t = MetricName::L2)]
    pub metric: MetricName,
    /// The kind of index.
    #[arg(long, value_enum, default_value_t = IndexName::Hnsw)]
    pub index: IndexName,
    /// A parameter of the index.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Candidates a search keeps: one measurement for each. A flat index has none.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "16,32,64,128,256")]
    pub ef: Vec<u32>,
    /// Neighbours to find.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub k: u32,
    /// Threads that search.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_threads)]
    pub threads: usize,
    /// Threads that build [default: all cores].
    #[arg(long, value_name = "N", default_value_t = machine::cores(), hide_default_value = true, value_parser = parse_threads)]
    pub build_threads: usize,
    /// How often to measure each setting.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub repeat: u32,
    /// The instruction set: scalar, avx2, avx512 or neon [default: the best there is].
    #[arg(long, value_name = "NAME")]
    pub isa: Option<Level>,
    /// How to print the results.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Report no progress.
    #[arg(long, short)]
    pub quiet: bool,
}

/// A kind of index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IndexName {
    /// Compares with every vector.
    Flat,
    /// Hierarchical navigable small world graph.
    Hnsw,
}

fn parse_threads(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=256) => Ok(threads),
        _ => Err("it must be a whole number from 1 to 256".to_owned()),
    }
}

/// Measures and prints.
///
/// # Errors
/// A file cannot be read or does not fit the others, or a parameter is out of its range.
pub fn run(arguments: &AnnArguments, output: &Output) -> Result<()> {
    let board = Board::new(arguments.quiet);
    let level = level_of(arguments.isa)?;
    let metric = arguments.metric.metric();
    let k = arguments.k as usize;
    let (base, mut queries) = (read(&arguments.base)?, read(&arguments.queries)?);
    check_shapes(arguments, &base, &queries)?;
    let lists = arguments.truth.as_deref().map(read_truth).transpose()?;
    if let Some(lists) = &lists {
        keep_rows(&mut queries, lists.len());
    }
    let asked = unit_queries(&queries, metric)?;
    let truth = match lists {
        Some(lists) => Truth::of_lists(lists, k, &base, &queries, metric)?,
        None => {
            board.say("no --truth: comparing each query with every vector to find it");
            let rows: MappedRows = rows_of(&base, metric)?;
            Truth::compute(&rows, &asked, k, (&base, &queries), metric, arguments.build_threads, &board)?
        }
    };
    let built = build(arguments, &base, level, &board)?;
    let efs: &[u32] = if arguments.index == IndexName::Flat { &[0] } else { &arguments.ef };
    let mut table = Table::new(["search", "recall", "p5", "queries/s", "p50 µs", "p99 µs", "distances"]);
    for ef in efs {
        let params = SearchParams::new(k, *ef as usize);
        let asked = Queries { read: &queries, asked: &asked };
        let repeats = arguments.repeat as usize;
        let result =
            measure(built.index.as_ref(), &params, &asked, (&truth, &base), arguments.threads, repeats)?;
        match arguments.format {
            Format::Jsonl => output.json(&record(arguments, &base, &queries, level, &built, *ef, &result))?,
            Format::Table => table.row(cells(arguments, *ef, &result)),
        }
    }
    if arguments.format == Format::Table {
        output.line(headline(arguments, &base, &queries, level, &built))?;
        table.print(output)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Matrix> {
    VectorFile::open(path)
        .and_then(|file| file.to_f32())
        .help(|| "vectors are read from .npy, .fvecs, .bvecs and idx files, plain or .gz".to_owned())
}

fn read_truth(path: &Path) -> Result<Vec<Vec<u32>>> {
    VectorFile::open(path)
        .and_then(|file| file.to_ids())
        .help(|| "truth is a file of row numbers: .npy (int32, int64) or .ivecs".to_owned())
}

fn level_of(asked: Option<Level>) -> Result<Level> {
    let level = asked.unwrap_or_else(dvse_index::detect_level);
    let available = dvse_index::available_levels();
    if available.contains(&level) {
        return Ok(level);
    }
    let names: Vec<&str> = available.iter().map(|level| level.name()).collect();
    Err(Failure::new(format!("this processor does not run {level}"))
        .with_help(format!("it runs {}; leave out --isa for the best of them", names.join(", "))))
}

fn check_shapes(arguments: &AnnArguments, base: &Matrix, queries: &Matrix) -> Result<()> {
    if base.dim != queries.dim {
        return Err(Failure::new(format!(
            "{} has vectors of {} dimensions, {} of {}",
            arguments.base.display(),
            base.dim,
            arguments.queries.display(),
            queries.dim
        ))
        .with_help("give queries of the same dimension"));
    }
    for (path, matrix) in [(&arguments.base, base), (&arguments.queries, queries)] {
        if matrix.rows == 0 || matrix.dim == 0 {
            return Err(Failure::new(format!("{} holds no vectors", path.display())));
        }
    }
    if arguments.k as usize > base.rows {
        return Err(Failure::new(format!("--k is {}, but the base has {} vectors", arguments.k, base.rows)));
    }
    Ok(())
}

/// Keeps the first queries, as many as there is truth for.
fn keep_rows(queries: &mut Matrix, rows: usize) {
    queries.rows = queries.rows.min(rows);
    queries.data.truncate(queries.rows * queries.dim);
}

fn unit_queries(queries: &Matrix, metric: Metric) -> Result<Matrix> {
    let mut asked = Matrix { rows: queries.rows, dim: queries.dim, data: queries.data.clone() };
    if metric == Metric::Cosine {
        for (number, row) in asked.data.chunks_exact_mut(queries.dim).enumerate() {
            if dvse_index::normalize(row) == 0.0 {
                return Err(Failure::new(format!("query {number} has length zero"))
                    .with_help("cosine compares directions; use --metric l2 or leave that query out"));
            }
        }
    }
    Ok(asked)
}

fn search_of(arguments: &AnnArguments, ef: u32) -> Value {
    match arguments.index {
        IndexName::Flat => json!({}),
        IndexName::Hnsw => json!({"ef": ef}),
    }
}

fn record(
    arguments: &AnnArguments,
    base: &Matrix,
    queries: &Matrix,
    level: Level,
    built: &Built,
    ef: u32,
    result: &Measured,
) -> Value {
    let rounded = |value: f64, digits: i32| {
        let factor = 10_f64.powi(digits);
        (value * factor).round() / factor
    };
    json!({
        "index": built.index.kind(),
        "params": built.params,
        "metric": arguments.metric.metric().name(),
        "n": base.rows,
        "dim": base.dim,
        "queries": queries.rows,
        "k": arguments.k,
        "build_s": rounded(built.build_s, 3),
        "build_threads": arguments.build_threads,
        "mem_mib": rounded(mebibytes(built.bytes), 2),
        "search": search_of(arguments, ef),
        "threads": arguments.threads,
        "recall": rounded(result.recall, 5),
        "recall_p5": rounded(result.recall_p5, 5),
        "qps": rounded(result.qps, 1),
        "p50_us": rounded(result.p50_us, 1),
        "p99_us": rounded(result.p99_us, 1),
        "distances": rounded(result.distances, 1),
        "best_of": arguments.repeat,
        "truth": if arguments.truth.is_some() { "file" } else { "computed" },
        "isa": level.name(),
        "processor": machine::processor(),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn headline(
    arguments: &AnnArguments,
    base: &Matrix,
    queries: &Matrix,
    level: Level,
    built: &Built,
) -> String {
    format!(
        "{} {} over {} × {} ({}): built in {:.1} s on {} threads, {:.0} MiB with the vectors\n\
         recall@{} over {} queries against {} truth, {} search threads, best of {}, {} on {}",
        built.index.kind(),
        built.params,
        base.rows,
        base.dim,
        arguments.metric.metric().name(),
        built.build_s,
        arguments.build_threads,
        mebibytes(built.bytes),
        arguments.k,
        queries.rows,
        if arguments.truth.is_some() { "the given" } else { "a computed" },
        arguments.threads,
        arguments.repeat,
        level.name(),
        machine::processor()
    )
}

fn cells(arguments: &AnnArguments, ef: u32, result: &Measured) -> [String; 7] {
    [
        if arguments.index == IndexName::Flat { "exact".to_owned() } else { format!("ef {ef}") },
        format!("{:.4}", result.recall),
        format!("{:.2}", result.recall_p5),
        format!("{:.0}", result.qps),
        format!("{:.1}", result.p50_us),
        format!("{:.1}", result.p99_us),
        format!("{:.0}", result.distances),
    ]
}
