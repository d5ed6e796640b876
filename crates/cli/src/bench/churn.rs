//! `dvse bench churn`: all points replaced several times over, a little at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dvse_engine::{CollectionView, Durability, EmbeddedCollection, EngineConfig};
use dvse_types::{Payload, PointId, PointSelector, SearchParams, WriteBatch, WriteOp};
use serde_json::{Value, json};

use super::ann::RunArguments;
use super::built::{Built, Recipe, point};
use super::files::{FileArguments, Inputs};
use super::measure::{Measured, measure, requests, row};
use super::report::{mebibytes, rounded};
use super::truth::{Truth, compute_lists};
use super::{clock, grid, machine};
use crate::collection::IndexName;
use crate::failure::{Failure, Result};
use crate::output::{Format, Output, Table};
use crate::progress::Board;

/// What to replace how often.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Half of the vectors are there at a time. A step deletes the oldest and writes as many others, then\n\
                  does all maintenance that is due. 'of built': the speed in parts of that of a collection left as\n\
                  it was built, measured in turns. The last lines: after a rest, and built afresh.\n\n\
                  Example:\n  dvse bench churn --base base.npy --queries queries.npy --metric cosine --turnovers 2"
)]
pub struct ChurnArguments {
    /// Which vectors.
    #[command(flatten)]
    pub files: FileArguments,
    /// How often all points are replaced.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub turnovers: u32,
    /// Steps to a turnover; 100 replace 1 % each.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub steps: u32,
    /// Steps between two measurements [default: a turnover].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub every: Option<u32>,
    /// Candidates a search keeps.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub ef: u32,
    /// Neighbours to find.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub k: u32,
    /// A parameter of the graph: m, ef_construction or full_scan_rows.
    #[arg(long, value_name = "KEY=N")]
    pub set: Vec<String>,
    /// Rows of a growing segment [default: that of the server].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub growing_rows: Option<u32>,
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

/// The points that are in the collection: rows one after the other, the first behind the last.
struct Window {
    first: usize,
    len: usize,
    of: usize,
}

impl Window {
    fn rows(&self, from: usize, count: usize) -> Vec<usize> {
        (from..from + count).map(|number| (self.first + number) % self.of).collect()
    }

    /// Goes on by some rows; those that leave, and those that come.
    fn advance(&mut self, count: usize) -> (Vec<usize>, Vec<usize>) {
        let moved = (self.rows(0, count), self.rows(self.len, count));
        self.first = (self.first + count) % self.of;
        moved
    }
}

/// One measurement and how the collection was at that time.
struct Sample {
    label: String,
    turnovers: f64,
    measured: Measured,
    /// Speed in parts of that of a collection left as it was built, measured in turns with it; by processor time where
    /// one thread searches.
    of_built: f64,
    /// Memory of this process beyond what it had before there was a collection, in MiB.
    anon_mib: Option<f64>,
    disk_mib: f64,
    wal_mib: f64,
    segments: usize,
    dead: usize,
    /// Mean time of a step's write and of the maintenance behind it, since the measurement before.
    write_ms: f64,
    maintain_ms: f64,
}

/// Measures and prints.
///
/// # Errors
/// A file cannot be read or does not fit the others, or a parameter is out of its range.
pub fn run(arguments: &ChurnArguments, output: &Output) -> Result<()> {
    let board = Board::new(arguments.quiet);
    let level = machine::level_of(arguments.run.isa)?;
    let [spec] = grid::specs(IndexName::Hnsw, &arguments.set)?[..] else {
        return Err(
            Failure::new("--set asks for several graphs").with_help("give one value for each parameter")
        );
    };
    let inputs = arguments.files.read(None)?;
    let len = inputs.base.rows / 2;
    if (arguments.k as usize) > len {
        return Err(Failure::new(format!(
            "--k is {}, but only {len} points are there at a time",
            arguments.k
        ))
        .with_help("ask for fewer neighbours with --k, or give more vectors"));
    }
    let step = (len / arguments.steps as usize).max(1);
    let mut window = Window { first: 0, len, of: inputs.base.rows };
    let mut config = arguments.run.config(level);
    if let Some(rows) = arguments.growing_rows {
        config = EngineConfig { growing_rows_max: rows as usize, ..config };
    }
    let recipe = Recipe { spec, metric: inputs.metric, on_disk: false, fields: &[], config };
    let left = recipe.build(&inputs.base, &window.rows(0, len), &|_| Payload::default(), &board)?;
    let lists = lists_of(&left.collection.view(), arguments, &inputs, &board)?;
    let left = Reference { view: left.collection.view(), lists, _files: left };
    let anon_before = clock::memory_mib("RssAnon");
    let built = recipe.build(&inputs.base, &window.rows(0, len), &|_| Payload::default(), &board)?;
    let mut bench =
        Bench { arguments, inputs: &inputs, board: &board, left, anon_before, output, table: table() };
    bench.sample(&built.collection, "built", 0.0, Times::default())?;
    let steps = (arguments.turnovers as usize * len).div_ceil(step);
    let every = arguments.every.map_or(len.div_ceil(step), |every| every as usize);
    let mut task = board.task("churn", "steps", Some(steps as u64));
    let mut times = Times::default();
    for number in 1..=steps {
        times.add(replace(&built.collection, &inputs, &mut window, step)?);
        task.set(number as u64);
        if number % every == 0 || number == steps {
            let turnovers = (number * step) as f64 / len as f64;
            bench.sample(&built.collection, "churned", turnovers, std::mem::take(&mut times))?;
        }
    }
    task.finish();
    let turnovers = (steps * step) as f64 / len as f64;
    built.collection.rest()?;
    bench.sample(&built.collection, "rested", turnovers, times)?;
    drop(built);
    bench.anon_before = clock::memory_mib("RssAnon");
    let fresh = recipe.build(&inputs.base, &window.rows(0, len), &|_| Payload::default(), &board)?;
    bench.sample(&fresh.collection, "fresh", turnovers, Times::default())?;
    bench.finish(&spec, len, step)
}

/// What steps took.
#[derive(Default)]
struct Times {
    steps: u32,
    write: Duration,
    maintain: Duration,
}

impl Times {
    fn add(&mut self, (write, maintain): (Duration, Duration)) {
        self.steps += 1;
        self.write += write;
        self.maintain += maintain;
    }

    fn mean_ms(&self, of: Duration) -> f64 {
        of.as_secs_f64() * 1e3 / f64::from(self.steps.max(1))
    }
}

/// One step; the time of the write, and of the maintenance that it makes due.
fn replace(
    collection: &EmbeddedCollection,
    inputs: &Inputs,
    window: &mut Window,
    step: usize,
) -> Result<(Duration, Duration)> {
    let (gone, come) = window.advance(step);
    let gone = gone.into_iter().map(|number| PointId::Num(number as u64)).collect();
    let come = come.into_iter().map(|number| point(number, row(&inputs.base, number), Payload::default()));
    let ops = vec![WriteOp::Delete(PointSelector::Ids(gone)), WriteOp::Upsert(come.collect())];
    let started = Instant::now();
    collection.write(WriteBatch::new(ops), Durability::Synced)?;
    let write = started.elapsed();
    while collection.step()? {}
    Ok((write, started.elapsed() - write))
}

/// The collection that is left as it was built.
struct Reference {
    view: Arc<CollectionView>,
    lists: Vec<Vec<u32>>,
    _files: Built,
}

/// The nearest of all points to each query.
fn lists_of(
    view: &CollectionView,
    arguments: &ChurnArguments,
    inputs: &Inputs,
    board: &Board,
) -> Result<Vec<Vec<u32>>> {
    compute_lists(view, &inputs.queries, arguments.k as usize, arguments.run.build_threads, board)
}

/// What measurements have in common.
struct Bench<'a> {
    arguments: &'a ChurnArguments,
    inputs: &'a Inputs,
    board: &'a Board,
    left: Reference,
    anon_before: Option<f64>,
    output: &'a Output,
    table: Table,
}

impl Bench<'_> {
    fn sample(
        &mut self,
        collection: &EmbeddedCollection,
        label: &str,
        turnovers: f64,
        times: Times,
    ) -> Result<()> {
        let (arguments, inputs) = (self.arguments, self.inputs);
        // Before the search for the truth takes memory of its own.
        let anon = clock::memory_mib("RssAnon").zip(self.anon_before).map(|(now, before)| now - before);
        let (view, k) = (collection.view(), arguments.k as usize);
        let lists = lists_of(&view, arguments, inputs, self.board)?;
        let truth = Truth::of_lists(&lists, k, inputs)?;
        let truth_left = Truth::of_lists(&self.left.lists, k, inputs)?;
        let params = SearchParams { ef_search: Some(arguments.ef as usize), ..SearchParams::default() };
        let asked = requests(&inputs.queries, k, params, |_| None);
        let threads = arguments.run.threads;
        let mut measured = measure(&view, &asked, &truth, threads, 1)?;
        let mut left = measure(&self.left.view, &asked, &truth_left, threads, 1)?;
        for _ in 1..arguments.run.repeat {
            measured = faster(measured, measure(&view, &asked, &truth, threads, 1)?);
            left = faster(left, measure(&self.left.view, &asked, &truth_left, threads, 1)?);
        }
        let of_built = speed(&measured) / speed(&left);
        let status = collection.status();
        let sample = Sample {
            label: label.to_owned(),
            turnovers,
            measured,
            of_built,
            anon_mib: anon,
            disk_mib: mebibytes(status.disk_bytes),
            wal_mib: mebibytes(status.wal_bytes),
            segments: status.segments,
            dead: status.deleted_rows,
            write_ms: times.mean_ms(times.write),
            maintain_ms: times.mean_ms(times.maintain),
        };
        match arguments.format {
            Format::Jsonl => self.output.json(&self.record(&sample)),
            Format::Table => {
                self.table.row(cells(&sample));
                Ok(())
            }
        }
    }

    fn record(&self, sample: &Sample) -> Value {
        let mut record = json!({
            "state": sample.label,
            "turnovers": rounded(sample.turnovers, 3),
            "metric": self.inputs.metric.name(),
            "n": self.inputs.base.rows / 2,
            "dim": self.inputs.base.dim,
            "queries": self.inputs.queries.rows,
            "half": self.arguments.files.half.name(),
            "k": self.arguments.k,
            "ef": self.arguments.ef,
            "of_built": rounded(sample.of_built, 3),
            "anon_mib": sample.anon_mib.map(|mib| rounded(mib, 1)),
            "disk_mib": rounded(sample.disk_mib, 1),
            "wal_mib": rounded(sample.wal_mib, 1),
            "segments": sample.segments,
            "dead_rows": sample.dead,
            "write_ms": rounded(sample.write_ms, 3),
            "maintain_ms": rounded(sample.maintain_ms, 3),
            "threads": self.arguments.run.threads,
            "build_threads": self.arguments.run.build_threads,
            "best_of": self.arguments.run.repeat,
            "isa": self.arguments.run.isa.unwrap_or_else(dvse_index::detect_level).name(),
            "processor": machine::processor(),
        });
        if let (Some(record), Value::Object(figures)) = (record.as_object_mut(), sample.measured.record()) {
            record.extend(figures);
        }
        record
    }

    fn finish(&self, spec: &dvse_types::IndexSpec, len: usize, step: usize) -> Result<()> {
        if self.arguments.format == Format::Jsonl {
            return Ok(());
        }
        self.output.line(format!(
            "hnsw {} over {len} × {} ({}), {step} points a step, recall@{} at ef {} over {} queries, {} on {}",
            grid::shown(spec),
            self.inputs.base.dim,
            self.inputs.metric.name(),
            self.arguments.k,
            self.arguments.ef,
            self.inputs.queries.rows,
            self.arguments.run.isa.unwrap_or_else(dvse_index::detect_level),
            machine::processor()
        ))?;
        self.table.print(self.output)
    }
}

fn speed(measured: &Measured) -> f64 {
    measured.qps_cpu.unwrap_or(measured.qps)
}

/// That of two measurements of the same that was disturbed less.
fn faster(one: Measured, other: Measured) -> Measured {
    if speed(&other) > speed(&one) { other } else { one }
}

fn table() -> Table {
    Table::new([
        "state",
        "turnovers",
        "recall",
        "p5",
        "queries/s",
        "cpu",
        "of built",
        "comparisons",
        "p99 µs",
        "anon MiB",
        "disk MiB",
        "log MiB",
        "segments",
        "dead",
        "write ms",
        "maintain ms",
    ])
}

fn cells(sample: &Sample) -> [String; 16] {
    let measured = &sample.measured;
    [
        sample.label.clone(),
        format!("{:.2}", sample.turnovers),
        format!("{:.4}", measured.recall),
        format!("{:.2}", measured.recall_p5),
        format!("{:.0}", measured.qps),
        measured.qps_cpu.map_or_else(String::new, |qps| format!("{qps:.0}")),
        format!("{:.2}", sample.of_built),
        format!("{:.0}", measured.distances),
        format!("{:.0}", measured.p99_us),
        sample.anon_mib.map_or_else(String::new, |mib| format!("{mib:.0}")),
        format!("{:.0}", sample.disk_mib),
        format!("{:.0}", sample.wal_mib),
        sample.segments.to_string(),
        sample.dead.to_string(),
        format!("{:.1}", sample.write_ms),
        format!("{:.1}", sample.maintain_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_goes_round_and_keeps_its_length() {
        let mut window = Window { first: 0, len: 3, of: 6 };
        assert_eq!(window.rows(0, 3), [0, 1, 2]);
        assert_eq!(window.advance(2), (vec![0, 1], vec![3, 4]));
        assert_eq!(window.advance(2), (vec![2, 3], vec![5, 0]));
        assert_eq!(window.rows(0, 3), [4, 5, 0]);
    }
}
