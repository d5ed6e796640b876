//! Nanoseconds per distance of every kernel, level and usual dimension, and how many times faster than the scalar
//! loop that is.
//!
//! `cargo bench -p dvse-simd` prints the table. With `--check` it also fails if AVX2 is less than 3.2 times as fast
//! as the scalar loop at 768 in the squared distance or the inner product, or AVX-512 slower than AVX2 by more than
//! 5 %.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod sketches;

use std::process::ExitCode;
use std::time::Instant;

use dvse_simd::measure::{Kernel, Timing, time};
use dvse_simd::{Level, available};

const DIMS: [usize; 4] = [128, 384, 768, 1536];
const ROUNDS: usize = 200;

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    let levels = available();
    let epoch = Instant::now();
    let mut slow = Vec::new();

    println!("ns per distance (times faster than scalar), best of {ROUNDS} bursts in turns, rows in L1");
    print!("{:<18}{:>6}", "kernel", "dim");
    for level in levels {
        print!("{level:>20}");
    }
    println!();
    for kernel in Kernel::ALL {
        for dim in DIMS {
            let timings = time(kernel, dim, levels, ROUNDS, || epoch.elapsed());
            print!("{kernel:<18}{dim:>6}");
            for timing in &timings {
                print!(
                    "{:>12.1} ({:>4.1}x)",
                    timing.nanoseconds,
                    ratio(&timings, Level::Scalar, timing.level)
                );
            }
            println!();
            if dim == 768 {
                slow.extend(complaints(kernel, &timings));
            }
        }
    }
    println!();
    sketches::print(levels, ROUNDS, epoch);
    for complaint in &slow {
        println!("too slow: {complaint}");
    }
    if check && !slow.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// How many times faster one level is than another; 1 if one of them did not run.
fn ratio(timings: &[Timing], base: Level, level: Level) -> f64 {
    let of = |wanted| timings.iter().find(|timing| timing.level == wanted).map(|timing| timing.nanoseconds);
    of(base).zip(of(level)).map_or(1.0, |(base, level)| base / level)
}

fn complaints(kernel: Kernel, timings: &[Timing]) -> Vec<String> {
    let ran = |level| timings.iter().any(|timing| timing.level == level);
    let mut found = Vec::new();
    let gain = ratio(timings, Level::Scalar, Level::Avx2);
    if matches!(kernel, Kernel::L2Squared | Kernel::Dot) && ran(Level::Avx2) && gain < 3.2 {
        found.push(format!("{kernel} at 768: avx2 is {gain:.2} times as fast as scalar, 3.2 is wanted"));
    }
    let gain = ratio(timings, Level::Avx2, Level::Avx512);
    if ran(Level::Avx512) && gain < 0.95 {
        found.push(format!(
            "{kernel} at 768: avx512 is {gain:.2} times as fast as avx2, at least 1 is wanted"
        ));
    }
    found
}
