//! `dvse bench ann`: indexes of the engine, on files.

use std::path::PathBuf;

use dvse_engine::EngineConfig;
use dvse_index::Level;
use dvse_types::{IndexSpec, Payload, Rerank, SearchParams};

use super::built::{Built, Recipe};
use super::files::{FileArguments, Inputs};
use super::measure::{measure, requests};
use super::report::Report;
use super::truth::{Truth, compute_lists};
use super::{grid, machine, serve};
use crate::collection::{IndexName, QuantizationName, parse_rerank};
use crate::failure::{Failure, Result};
use crate::output::{Format, Output};
use crate::progress::Board;

/// What to measure on which files.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "--set takes m, ef_construction, full_scan_rows; of ivf_pq lists, values_per_code, nprobe, rerank.\n\
                  Example: dvse bench ann --base base.npy --queries queries.npy --metric cosine --set m=16,32"
)]
pub struct AnnArguments {
    /// Which vectors.
    #[command(flatten)]
    pub files: FileArguments,
    /// The nearest rows of each query; computed when left out.
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// Which index.
    #[arg(long, value_enum, default_value_t = IndexName::Hnsw)]
    pub index: IndexName,
    /// Parameters of the index: one is built for each combination.
    #[arg(long, value_name = "KEY=N,N,...")]
    pub set: Vec<String>,
    /// What walks read: sketch, sq8, rabitq:BITS or none.
    #[arg(long, value_name = "NAME", default_value = "sketch")]
    pub quantize: QuantizationName,
    /// Compare found points by f32, or by f16 first.
    #[arg(long, value_name = "NAME", default_value = "f32", value_parser = parse_rerank)]
    pub rerank: Rerank,
    /// Leave the vectors on the disk.
    #[arg(long)]
    pub on_disk: bool,
    /// Leave links, codes and f16 rows of a graph on the disk.
    #[arg(long)]
    pub index_on_disk: bool,
    /// Search the segment as it grew, in memory, instead of sealed and mapped.
    #[arg(long)]
    pub growing: bool,
    /// Candidates a search keeps.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "16,32,64,128,256")]
    pub ef: Vec<u32>,
    /// Neighbours to find.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub k: u32,
    /// Build, then measure what each line of input asks: {"ef": 64, "k": 10}.
    #[arg(long, conflicts_with_all = ["ef", "format"])]
    pub serve: bool,
    /// How to measure.
    #[command(flatten)]
    pub run: RunArguments,
    /// How to print the results.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Report no progress.
    #[arg(long, short)]
    pub quiet: bool,
}

/// With what to measure.
#[derive(Debug, clap::Args)]
pub struct RunArguments {
    /// Threads that search.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_threads)]
    pub threads: usize,
    /// Threads that build [default: all cores].
    #[arg(long, value_name = "N", default_value_t = machine::cores(), hide_default_value = true, value_parser = parse_threads)]
    pub build_threads: usize,
    /// How often to measure a setting; the fastest counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub repeat: u32,
    /// The instruction set, such as avx2 [default: the best].
    #[arg(long, value_name = "NAME")]
    pub isa: Option<Level>,
}

impl RunArguments {
    /// The settings of the engine: the defaults, but for threads and instruction set.
    pub fn config(&self, level: Level) -> EngineConfig {
        EngineConfig { background_threads: self.build_threads, level, ..EngineConfig::default() }
    }
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
    let level = machine::level_of(arguments.run.isa)?;
    let mut specs = grid::specs(arguments.index, &arguments.set)?;
    for spec in &mut specs {
        if let IndexSpec::Hnsw(graph) | IndexSpec::Nsw(graph) = spec {
            graph.quantization = arguments.quantize.quantization();
            graph.rerank = arguments.rerank;
            graph.on_disk = arguments.index_on_disk;
        }
    }
    let mut inputs = arguments.files.read(arguments.truth.as_deref())?;
    let given = inputs.lists.is_some();
    let k = arguments.k as usize;
    inputs.check_k(k)?;
    if arguments.serve && specs.len() > 1 {
        return Err(Failure::new(format!("--serve builds one index, --set asks for {}", specs.len()))
            .with_help("give one value for each parameter"));
    }
    // A wrong truth is found before minutes go into building.
    if let Some(lists) = &inputs.lists {
        Truth::of_lists(lists, k, &inputs)?;
    }
    let all: Vec<usize> = (0..inputs.base.rows).collect();
    let mut table = Report::table();
    let mut headlines = Vec::new();
    for spec in specs {
        let config = arguments.run.config(level);
        let recipe = Recipe { spec, metric: inputs.metric, on_disk: arguments.on_disk, fields: &[], config };
        let built = if arguments.growing {
            recipe.grow(&inputs.base, &all, &board)?
        } else {
            recipe.build(&inputs.base, &all, &|_| Payload::default(), &board)?
        };
        let lists = match inputs.lists.take() {
            Some(lists) => lists,
            None => {
                board.say("no --truth: comparing each query with every vector to find it");
                let view = built.collection.view();
                compute_lists(&view, &inputs.queries, k, arguments.run.build_threads, &board)?
            }
        };
        let lists = inputs.lists.insert(lists).clone();
        let report = Report { arguments, inputs: &inputs, truth_given: given, level, built: &built };
        if arguments.serve {
            return serve::run(&report, &lists, output);
        }
        measure_all(&report, &lists, &mut table, output)?;
        headlines.push(report.headline());
    }
    if arguments.format == Format::Table {
        headlines.iter().try_for_each(|line| output.line(line))?;
        output.line(Report::footline(arguments, &inputs, level, given))?;
        table.print(output)?;
    }
    Ok(())
}

fn measure_all(
    report: &Report<'_>,
    lists: &[Vec<u32>],
    table: &mut crate::output::Table,
    output: &Output,
) -> Result<()> {
    let arguments = report.arguments;
    let k = arguments.k as usize;
    let truth = Truth::of_lists(lists, k, report.inputs)?;
    let efs: &[u32] = if arguments.index == IndexName::Flat { &[0] } else { &arguments.ef };
    for ef in efs {
        let measured = measure_one(report.built, report.inputs, &truth, k, *ef, &arguments.run)?;
        match arguments.format {
            Format::Jsonl => output.json(&report.record(k, *ef, &measured))?,
            Format::Table => table.row(report.cells(*ef, &measured)),
        }
    }
    Ok(())
}

/// Measures one setting of a collection.
///
/// # Errors
/// A search is refused.
pub fn measure_one(
    built: &Built,
    inputs: &Inputs,
    truth: &Truth<'_>,
    k: usize,
    ef: u32,
    run: &RunArguments,
) -> Result<super::measure::Measured> {
    let params = SearchParams { ef_search: Some(ef as usize), ..SearchParams::default() };
    let asked = requests(&inputs.queries, k, params, |_| None);
    measure(&built.collection.view(), &asked, truth, run.threads, run.repeat as usize)
}
