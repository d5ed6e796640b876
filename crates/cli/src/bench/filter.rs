//! `dvse bench filter`: searches under filters, from half of the points down to a few.

use std::time::Instant;

use dvse_engine::{CollectionView, FilterChoice};
use dvse_types::{SearchParams, SearchRequest};
use serde_json::json;

use super::ann::RunArguments;
use super::attributes::{Attributes, Kind};
use super::built::{Built, Recipe};
use super::files::{FileArguments, Inputs};
use super::measure::{Measured, measure_by, requests};
use super::report::rounded;
use super::truth::{Truth, nearest};
use super::{grid, machine};
use crate::collection::IndexName;
use crate::failure::{Failure, Result};
use crate::output::{Format, Output, Table};
use crate::progress::Board;

/// Which filters to measure on which files.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Points get ranks as indexed payload: at random, and by the distance to each of 8 pivots. A filter\n\
                  asks for a range of ranks; a correlated one for the points around the pivot nearest to the query,\n\
                  an anti-correlated one for those farthest from it. Truth is an exact search under the filter.\n\n\
                  Example:\n  dvse bench filter --base base.npy --queries queries.npy --percent 10,1,0.1"
)]
pub struct FilterArguments {
    /// Which vectors.
    #[command(flatten)]
    pub files: FileArguments,
    /// Shares of the points that pass, in percent.
    #[arg(long, value_name = "P,P,...", value_delimiter = ',', default_value = "50,20,10,5,2,1,0.1,0.01")]
    pub percent: Vec<f64>,
    /// Where the points that pass lie.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "random,correlated,anti-correlated",
        hide_possible_values = true
    )]
    pub kind: Vec<Kind>,
    /// Candidates a search keeps.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "64")]
    pub ef: Vec<u32>,
    /// Neighbours to find.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub k: u32,
    /// A parameter of the graph: m, ef_construction or full_scan_rows.
    #[arg(long, value_name = "KEY=N")]
    pub set: Vec<String>,
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

/// Filters of one kind and width.
struct Case {
    kind: Kind,
    percent: f64,
    passing: usize,
    /// Queries a second of one thread that compares with all rows that pass.
    scan_qps: f64,
}

/// The plan, and beside it the two ways it chooses from, each with the least `ef` that finds as much.
struct Compared {
    planned: Measured,
    scan: Option<Measured>,
    graph: Option<Measured>,
}

impl Compared {
    /// How many times as long the plan takes as the better of both ways; with several threads by the clock on the wall.
    fn ratio(&self) -> Option<f64> {
        let qps = |measured: &Measured| measured.qps_cpu.unwrap_or(measured.qps);
        let others = [&self.scan, &self.graph].into_iter().flatten().map(qps);
        others.reduce(f64::max).map(|better| better / qps(&self.planned))
    }
}

/// Measures and prints.
///
/// # Errors
/// A file cannot be read or does not fit the others, or a parameter is out of its range.
pub fn run(arguments: &FilterArguments, output: &Output) -> Result<()> {
    let board = Board::new(arguments.quiet);
    let level = machine::level_of(arguments.run.isa)?;
    let [spec] = grid::specs(IndexName::Hnsw, &arguments.set)?[..] else {
        return Err(Failure::new("--set asks for several graphs")
            .with_help("give one value for each parameter; bench ann compares graphs"));
    };
    if let Some(percent) = arguments.percent.iter().find(|percent| !(**percent > 0.0 && **percent <= 100.0)) {
        return Err(Failure::new(format!("--percent is {percent}"))
            .with_help("it must be more than 0 and at most 100"));
    }
    let inputs = arguments.files.read(None)?;
    let attributes = Attributes::new(&inputs);
    let fields = Attributes::fields()?;
    let config = arguments.run.config(level);
    let recipe = Recipe { spec, metric: inputs.metric, on_disk: false, fields: &fields, config };
    let all: Vec<usize> = (0..inputs.base.rows).collect();
    let built = recipe.build(&inputs.base, &all, &|number| attributes.payload(number), &board)?;
    let mut table = Table::new([
        "kind",
        "passing",
        "%",
        "ef",
        "recall",
        "p5",
        "queries/s",
        "cpu",
        "scan cpu",
        "graph cpu",
        "ratio",
        "rows/s",
        "p99 µs",
        "distances",
        "exact",
    ]);
    let report = |case: &Case, ef, compared: &Compared| match arguments.format {
        Format::Jsonl => output.json(&record(arguments, &inputs, &built, case, ef, compared)),
        Format::Table => {
            table.row(cells(case, ef, compared));
            Ok(())
        }
    };
    measure_all(arguments, &inputs, &attributes, &built, report)?;
    if arguments.format == Format::Table {
        output.line(format!(
            "hnsw {} over {} × {} ({}), recall@{} over {} queries, {} search threads, best of {}, {level} on {}",
            grid::shown(&spec),
            inputs.base.rows,
            inputs.base.dim,
            inputs.metric.name(),
            arguments.k,
            inputs.queries.rows,
            arguments.run.threads,
            arguments.run.repeat,
            machine::processor()
        ))?;
        table.print(output)?;
    }
    Ok(())
}

fn measure_all(
    arguments: &FilterArguments,
    inputs: &Inputs,
    attributes: &Attributes,
    built: &Built,
    mut report: impl FnMut(&Case, u32, &Compared) -> Result<()>,
) -> Result<()> {
    let view = built.collection.view();
    for kind in &arguments.kind {
        for percent in &arguments.percent {
            let passing = (inputs.base.rows as f64 * percent / 100.0).round().max(1.0) as usize;
            let k = passing.min(arguments.k as usize);
            let filters = (0..inputs.queries.rows).map(|query| attributes.filter(*kind, passing, query));
            let filters = filters.collect::<Result<Vec<_>>>()?;
            let ask = |params| requests(&inputs.queries, k, params, |query| Some(filters[query].clone()));
            let exact = ask(SearchParams { exact: true, ..SearchParams::default() });
            let started = Instant::now();
            let lists = exact.iter().map(|request: &SearchRequest| nearest(&view, request));
            let lists = lists.collect::<Result<Vec<_>>>()?;
            let scan_qps = lists.len() as f64 / started.elapsed().as_secs_f64().max(1e-9);
            let case = Case { kind: *kind, percent: *percent, passing, scan_qps };
            let truth = Truth::of_lists(&lists, k, inputs)?;
            for ef in &arguments.ef {
                let width =
                    |ef: u32| ask(SearchParams { ef_search: Some(ef as usize), ..SearchParams::default() });
                let compared = compare(arguments, &view, &truth, *ef, &width)?;
                report(&case, *ef, &compared)?;
            }
        }
    }
    Ok(())
}

/// Recall that counts as equal: one neighbour of ten, missed by one query in fifty.
const RECALL_SLACK: f64 = 0.002;

/// The two ways are tried with `ef` and up to so many doublings of it.
const DOUBLINGS_MAX: u32 = 3;

/// Measures the plan and what it chooses from. They take turns, so that other work on the machine meets all of them.
fn compare(
    arguments: &FilterArguments,
    view: &CollectionView,
    truth: &Truth<'_>,
    ef: u32,
    width: &dyn Fn(u32) -> Vec<SearchRequest>,
) -> Result<Compared> {
    let once = |ef, choice| measure_by(view, &width(ef), truth, arguments.run.threads, 1, choice);
    let mut planned = once(ef, FilterChoice::Planned)?;
    let find = |choice| -> Result<Option<(u32, Measured)>> {
        for doubling in 0..=DOUBLINGS_MAX {
            let ef = ef << doubling;
            let measured = once(ef, choice)?;
            if measured.recall + RECALL_SLACK >= planned.recall {
                return Ok(Some((ef, measured)));
            }
        }
        Ok(None)
    };
    let (mut scan, mut graph) = (find(FilterChoice::Scan)?, find(FilterChoice::Graph)?);
    let faster = |best: &mut Measured, next: Measured| {
        if next.qps_cpu.unwrap_or(next.qps) > best.qps_cpu.unwrap_or(best.qps) {
            *best = next;
        }
    };
    for _ in 1..arguments.run.repeat {
        faster(&mut planned, once(ef, FilterChoice::Planned)?);
        for (found, choice) in [(&mut scan, FilterChoice::Scan), (&mut graph, FilterChoice::Graph)] {
            if let Some((ef, best)) = found {
                faster(best, once(*ef, choice)?);
            }
        }
    }
    Ok(Compared { planned, scan: scan.map(|(_, best)| best), graph: graph.map(|(_, best)| best) })
}

fn record(
    arguments: &FilterArguments,
    inputs: &Inputs,
    built: &Built,
    case: &Case,
    ef: u32,
    compared: &Compared,
) -> serde_json::Value {
    let measured = &compared.planned;
    let qps = |measured: &Option<Measured>| {
        measured.as_ref().and_then(|measured| measured.qps_cpu).map(|qps| rounded(qps, 1))
    };
    let mut record = json!({
        "params": grid::shown(&built.spec),
        "metric": inputs.metric.name(),
        "n": inputs.base.rows,
        "dim": inputs.base.dim,
        "queries": inputs.queries.rows,
        "half": arguments.files.half.name(),
        "kind": case.kind.name(),
        "percent": case.percent,
        "passing": case.passing,
        "k": arguments.k.min(u32::try_from(case.passing).unwrap_or(u32::MAX)),
        "ef": ef,
        "threads": arguments.run.threads,
        "scan_qps": rounded(case.scan_qps, 1),
        "forced_scan_qps_cpu": qps(&compared.scan),
        "forced_graph_qps_cpu": qps(&compared.graph),
        "ratio": compared.ratio().map(|ratio| rounded(ratio, 3)),
        "exact": rounded(measured.exact, 4),
        "best_of": arguments.run.repeat,
        "isa": arguments.run.isa.unwrap_or_else(dvse_index::detect_level).name(),
        "processor": machine::processor(),
    });
    if let (Some(record), serde_json::Value::Object(figures)) = (record.as_object_mut(), measured.record()) {
        record.extend(figures);
    }
    record
}

fn cells(case: &Case, ef: u32, compared: &Compared) -> [String; 15] {
    let measured = &compared.planned;
    let qps = |measured: &Option<Measured>| {
        let qps = measured.as_ref().and_then(|measured| measured.qps_cpu);
        qps.map_or_else(String::new, |qps| format!("{qps:.0}"))
    };
    [
        case.kind.name().to_owned(),
        case.passing.to_string(),
        case.percent.to_string(),
        ef.to_string(),
        format!("{:.4}", measured.recall),
        format!("{:.2}", measured.recall_p5),
        format!("{:.0}", measured.qps),
        measured.qps_cpu.map_or_else(String::new, |qps| format!("{qps:.0}")),
        qps(&compared.scan),
        qps(&compared.graph),
        compared.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        format!("{:.0}", case.scan_qps),
        format!("{:.0}", measured.p99_us),
        format!("{:.0}", measured.distances),
        format!("{:.2}", measured.exact),
    ]
}
