//! `dvse bench kernels`: the distance kernels, instruction set against instruction set.

use std::time::Instant;

use dvse_index::Level;
use dvse_index::measure_kernels::{Kernel, Timing, time};
use serde_json::json;

use super::machine;
use super::report::rounded;
use crate::failure::Result;
use crate::output::{Format, Output, Table};

/// Which kernels to measure.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Times are those of one distance, rows in the first-level cache; the levels take turns and the\n\
                  fastest burst of each counts.\n\n\
                  Example:\n  dvse bench kernels --dim 384,768 --kernel l2"
)]
pub struct KernelsArguments {
    /// Numbers in a vector.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "128,384,768,1536",
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub dim: Vec<u32>,
    /// Only kernels whose name has this in it, such as dot or i8.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub kernel: String,
    /// No better instruction set than this: scalar, avx2, avx512 or neon.
    #[arg(long, value_name = "NAME")]
    pub isa: Option<Level>,
    /// Bursts of each.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub repeat: u32,
    /// How to print the results.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// Measures and prints.
///
/// # Errors
/// The processor does not run the instruction set asked for.
pub fn run(arguments: &KernelsArguments, output: &Output) -> Result<()> {
    let best = machine::level_of(arguments.isa)?;
    let levels: Vec<Level> =
        dvse_index::available_levels().iter().copied().filter(|level| *level <= best).collect();
    let names = levels.iter().map(|level| format!("{level} ns"));
    let mut table = Table::new(["kernel".to_owned(), "dim".to_owned()].into_iter().chain(names));
    let kernels = Kernel::ALL.into_iter().filter(|kernel| kernel.name().contains(&arguments.kernel));
    let clock = Instant::now();
    for kernel in kernels {
        for dim in &arguments.dim {
            let timings = time(kernel, *dim as usize, &levels, arguments.repeat as usize, || clock.elapsed());
            match arguments.format {
                Format::Jsonl => timings.iter().try_for_each(|timing| {
                    output.json(&json!({
                        "kernel": timing.kernel.name(),
                        "dim": timing.dim,
                        "isa": timing.level.name(),
                        "ns": rounded(timing.nanoseconds, 2),
                        "processor": machine::processor(),
                    }))
                })?,
                Format::Table => table.row(cells(kernel, *dim, &timings)),
            }
        }
    }
    if arguments.format == Format::Table {
        output
            .line(format!("nanoseconds a distance (times faster than scalar) on {}", machine::processor()))?;
        table.print(output)?;
    }
    Ok(())
}

fn cells(kernel: Kernel, dim: u32, timings: &[Timing]) -> Vec<String> {
    let scalar = timings.first().map_or(f64::NAN, |timing| timing.nanoseconds);
    let mut cells = vec![kernel.name().to_owned(), dim.to_string()];
    cells.extend(timings.iter().map(|timing| {
        if timing.level == Level::Scalar {
            format!("{:.1}", timing.nanoseconds)
        } else {
            format!("{:.1} ({:.1}×)", timing.nanoseconds, scalar / timing.nanoseconds)
        }
    }));
    cells
}
