//! `dvse bench`: measures parts of DVSE on their own.

mod ann;
mod attributes;
mod built;
mod churn;
mod clock;
mod files;
mod filter;
mod grid;
mod kernels;
mod machine;
mod measure;
mod report;
mod serve;
mod truth;

use clap::Subcommand;

pub use measure::percentile;

use crate::failure::Result;
use crate::output::Output;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Build indexes over the vectors of a file and measure their recall and speed.
    Ann(ann::AnnArguments),
    /// Replace all points several times over and measure recall, speed and memory on the way.
    Churn(churn::ChurnArguments),
    /// Measure searches under filters that few or many points pass.
    Filter(filter::FilterArguments),
    /// Measure the distance kernels of each instruction set.
    Kernels(kernels::KernelsArguments),
    /// Tell processor and instruction set, and measure what a cache line costs.
    Machine(machine::MachineArguments),
}

/// Measures.
///
/// # Errors
/// A file cannot be read or does not fit the others, or a parameter is out of its range.
pub fn run(command: &BenchCommand, output: &Output) -> Result<()> {
    match command {
        BenchCommand::Ann(arguments) => ann::run(arguments, output),
        BenchCommand::Churn(arguments) => churn::run(arguments, output),
        BenchCommand::Filter(arguments) => filter::run(arguments, output),
        BenchCommand::Kernels(arguments) => kernels::run(arguments, output),
        BenchCommand::Machine(arguments) => machine::run(arguments, output),
    }
}
