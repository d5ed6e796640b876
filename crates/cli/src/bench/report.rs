//! How measurements of an index are printed.

use dvse_index::Level;
use serde_json::{Value, json};

use super::ann::AnnArguments;
use super::built::Built;
use super::files::Inputs;
use super::measure::Measured;
use super::{clock, grid, machine};
use crate::collection::IndexName;
use crate::output::Table;

/// What all measurements of one index have in common.
pub struct Report<'a> {
    /// What was asked for.
    pub arguments: &'a AnnArguments,
    /// The vectors.
    pub inputs: &'a Inputs,
    /// Whether the truth was read from a file.
    pub truth_given: bool,
    /// The instruction set.
    pub level: Level,
    /// The index.
    pub built: &'a Built,
}

impl Report<'_> {
    /// One measurement as a JSON object.
    pub fn record(&self, k: usize, ef: u32, measured: &Measured) -> Value {
        let mut record = self.built_record();
        let more = json!({
            "metric": self.inputs.metric.name(),
            "n": self.inputs.base.rows,
            "dim": self.inputs.base.dim,
            "element": self.inputs.element.to_string(),
            "queries": self.inputs.queries.rows,
            "half": self.arguments.files.half.name(),
            "k": k,
            "search": if self.is_exact() { json!({}) } else { json!({"ef": ef}) },
            "threads": self.arguments.run.threads,
            "best_of": self.arguments.run.repeat,
            "truth": if self.truth_given { "file" } else { "computed" },
            "isa": self.level.name(),
            "processor": machine::processor(),
        });
        for part in [more, measured.record()] {
            if let (Value::Object(record), Value::Object(part)) = (&mut record, part) {
                record.extend(part);
            }
        }
        record
    }

    /// What was built, as a JSON object.
    pub fn built_record(&self) -> Value {
        json!({
            "index": self.kind(),
            "params": grid::shown(&self.built.spec),
            "build_s": rounded(self.built.build_s, 3),
            "build_cpu_s": rounded(self.built.build_cpu_s, 3),
            "build_threads": self.arguments.run.build_threads,
            "mem_mib": rounded(mebibytes(self.built.bytes), 2),
            "index_mib": rounded(mebibytes(self.built.index_bytes), 2),
            "peak_mib": clock::memory_mib("VmHWM").map(|mib| rounded(mib, 2)),
            "version": env!("CARGO_PKG_VERSION"),
        })
    }

    /// The line above the table that tells what was built.
    pub fn headline(&self) -> String {
        format!(
            "{} {}: built in {:.1} s on {} threads, {:.1} MiB, {:.0} MiB with the vectors",
            self.kind(),
            grid::shown(&self.built.spec),
            self.built.build_s,
            self.arguments.run.build_threads,
            mebibytes(self.built.index_bytes),
            mebibytes(self.built.bytes)
        )
    }

    /// The line above the table that tells what all indexes were asked.
    pub fn footline(arguments: &AnnArguments, inputs: &Inputs, level: Level, truth_given: bool) -> String {
        format!(
            "{} × {} {} ({}), recall@{} over {} queries against {} truth, {} search threads, best of {}, {} on {}",
            inputs.base.rows,
            inputs.base.dim,
            inputs.element,
            inputs.metric.name(),
            arguments.k,
            inputs.queries.rows,
            if truth_given { "the given" } else { "a computed" },
            arguments.run.threads,
            arguments.run.repeat,
            level.name(),
            machine::processor()
        )
    }

    /// An empty table with the columns of [`Report::cells`].
    pub fn table() -> Table {
        Table::new(["index", "search", "recall", "p5", "queries/s", "cpu", "p50 µs", "p99 µs", "distances"])
    }

    /// One measurement as a row.
    pub fn cells(&self, ef: u32, measured: &Measured) -> [String; 9] {
        let shown = grid::shown(&self.built.spec);
        let values: Vec<String> =
            shown.as_object().into_iter().flatten().map(|(_, v)| v.to_string()).collect();
        [
            if values.is_empty() {
                self.kind().to_owned()
            } else {
                format!("{} {}", self.kind(), values.join("/"))
            },
            if self.is_exact() { "exact".to_owned() } else { format!("ef {ef}") },
            format!("{:.4}", measured.recall),
            format!("{:.2}", measured.recall_p5),
            format!("{:.0}", measured.qps),
            measured.qps_cpu.map_or_else(String::new, |qps| format!("{qps:.0}")),
            format!("{:.1}", measured.p50_us),
            format!("{:.1}", measured.p99_us),
            format!("{:.0}", measured.distances),
        ]
    }

    fn kind(&self) -> &'static str {
        self.built.spec.name()
    }

    fn is_exact(&self) -> bool {
        self.arguments.index == IndexName::Flat
    }
}

impl Measured {
    /// The figures as a JSON object.
    pub fn record(&self) -> Value {
        json!({
            "recall": rounded(self.recall, 5),
            "recall_p5": rounded(self.recall_p5, 5),
            "qps": rounded(self.qps, 1),
            "qps_cpu": self.qps_cpu.map(|qps| rounded(qps, 1)),
            "p50_us": rounded(self.p50_us, 1),
            "p99_us": rounded(self.p99_us, 1),
            "distances": rounded(self.distances, 1),
        })
    }
}

/// A number with a number of digits behind the point.
pub fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}

/// Bytes as mebibytes.
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
