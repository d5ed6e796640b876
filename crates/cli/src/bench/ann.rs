//! `dvse bench ann`: the index crate alone, on files.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use dvse_index::{Level, MappedRows, SearchParams};
use dvse_types::Metric;

use super::built::{build, rows_of};
use super::machine;
use super::measure::{Queries, measure};
use super::report::Report;
use super::truth::Truth;
use crate::collection::MetricName;
use crate::failure::{Failure, Remedy as _, Result};
use crate::output::{Format, Output};
use crate::progress::Board;
use crate::vectors::{Element, Matrix, VectorFile};

/// What to measure on which files.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "hnsw takes --set m, ef_construction, alpha, batch_max, seed and expansions. Each setting is\n\
                        searched once to warm up and then --repeat times; the fastest time counts.\n\n\
                        Example:\n  dvse bench ann --base base.npy --queries queries.npy --truth gt.npy --metric cosine"
)]
pub struct AnnArguments {
    /// The vectors to index: .npy, .fvecs, .bvecs or idx, plain or .gz.
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
    let (base, element) = read(&arguments.base)?;
    let (mut queries, _) = read(&arguments.queries)?;
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
    let report = Report { arguments, base: &base, element, queries: queries.rows, level, built: &built };
    let efs: &[u32] = if arguments.index == IndexName::Flat { &[0] } else { &arguments.ef };
    let mut table = Report::table();
    for ef in efs {
        let params = SearchParams::new(k, *ef as usize);
        let asked = Queries { read: &queries, asked: &asked };
        let repeats = arguments.repeat as usize;
        let judge = (&truth, &base);
        let measured = measure(built.index.as_ref(), &params, &asked, judge, arguments.threads, repeats)?;
        match arguments.format {
            Format::Jsonl => output.json(&report.record(*ef, &measured))?,
            Format::Table => table.row(report.cells(*ef, &measured)),
        }
    }
    if arguments.format == Format::Table {
        output.line(report.headline())?;
        table.print(output)?;
    }
    Ok(())
}

/// The vectors of a file and the type it stores.
fn read(path: &Path) -> Result<(Matrix, Element)> {
    VectorFile::open(path)
        .and_then(|file| Ok((file.to_f32()?, file.element())))
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
            let message = format!("{} holds no vectors", path.display());
            return Err(Failure::new(message).with_help("give a file with at least one"));
        }
    }
    if arguments.k as usize > base.rows {
        let message = format!("--k is {}, but the base has {} vectors", arguments.k, base.rows);
        return Err(Failure::new(message).with_help("ask for fewer neighbours with --k"));
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
