//! How measurements are printed.

use dvse_index::Level;
use serde_json::{Value, json};

use super::ann::{AnnArguments, IndexName};
use super::built::Built;
use super::machine;
use super::measure::Measured;
use crate::output::Table;
use crate::vectors::{Element, Matrix};

/// What all measurements of one run have in common.
pub struct Report<'a> {
    /// What was asked for.
    pub arguments: &'a AnnArguments,
    /// The vectors indexed.
    pub base: &'a Matrix,
    /// The type their file stores; the index holds single precision.
    pub element: Element,
    /// How many queries are asked.
    pub queries: usize,
    /// The instruction set.
    pub level: Level,
    /// The index.
    pub built: &'a Built,
}

impl Report<'_> {
    /// One measurement as a JSON object.
    pub fn record(&self, ef: u32, measured: &Measured) -> Value {
        json!({
            "index": self.built.index.kind(),
            "params": self.built.params,
            "metric": self.arguments.metric.metric().name(),
            "n": self.base.rows,
            "dim": self.base.dim,
            "element": self.element.to_string(),
            "queries": self.queries,
            "k": self.arguments.k,
            "build_s": rounded(self.built.build_s, 3),
            "build_threads": self.arguments.build_threads,
            "mem_mib": rounded(mebibytes(self.built.bytes), 2),
            "search": if self.is_exact() { json!({}) } else { json!({"ef": ef}) },
            "threads": self.arguments.threads,
            "recall": rounded(measured.recall, 5),
            "recall_p5": rounded(measured.recall_p5, 5),
            "qps": rounded(measured.qps, 1),
            "p50_us": rounded(measured.p50_us, 1),
            "p99_us": rounded(measured.p99_us, 1),
            "distances": rounded(measured.distances, 1),
            "best_of": self.arguments.repeat,
            "truth": if self.arguments.truth.is_some() { "file" } else { "computed" },
            "isa": self.level.name(),
            "processor": machine::processor(),
            "version": env!("CARGO_PKG_VERSION"),
        })
    }

    /// The lines above the table.
    pub fn headline(&self) -> String {
        let (arguments, built) = (self.arguments, self.built);
        format!(
            "{} {} over {} × {} {} ({}): built in {:.1} s on {} threads, {:.0} MiB with the vectors\n\
             recall@{} over {} queries against {} truth, {} search threads, best of {}, {} on {}",
            built.index.kind(),
            built.params,
            self.base.rows,
            self.base.dim,
            self.element,
            arguments.metric.metric().name(),
            built.build_s,
            arguments.build_threads,
            mebibytes(built.bytes),
            arguments.k,
            self.queries,
            if arguments.truth.is_some() { "the given" } else { "a computed" },
            arguments.threads,
            arguments.repeat,
            self.level.name(),
            machine::processor()
        )
    }

    /// An empty table with the columns of [`Report::cells`].
    pub fn table() -> Table {
        Table::new(["search", "recall", "p5", "queries/s", "p50 µs", "p99 µs", "distances"])
    }

    /// One measurement as a row.
    pub fn cells(&self, ef: u32, measured: &Measured) -> [String; 7] {
        [
            if self.is_exact() { "exact".to_owned() } else { format!("ef {ef}") },
            format!("{:.4}", measured.recall),
            format!("{:.2}", measured.recall_p5),
            format!("{:.0}", measured.qps),
            format!("{:.1}", measured.p50_us),
            format!("{:.1}", measured.p99_us),
            format!("{:.0}", measured.distances),
        ]
    }

    fn is_exact(&self) -> bool {
        self.arguments.index == IndexName::Flat
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
