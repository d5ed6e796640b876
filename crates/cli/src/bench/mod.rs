//! `dvse bench`: measures parts of DVSE on their own.

mod ann;
mod built;
mod machine;
mod measure;
mod report;
mod truth;

use clap::Subcommand;

pub use measure::percentile;

use crate::failure::Result;
use crate::output::Output;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Build an index over the vectors of a file and measure its recall and speed.
    Ann(ann::AnnArguments),
}

/// Measures.
///
/// # Errors
/// A file cannot be read or does not fit the others, or a parameter is out of its range.
pub fn run(command: &BenchCommand, output: &Output) -> Result<()> {
    match command {
        BenchCommand::Ann(arguments) => ann::run(arguments, output),
    }
}
