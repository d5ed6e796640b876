//! `dvse bench machine`: what measurements run on.

use std::hint::black_box;
use std::time::Duration;

use dvse_index::Level;
use serde_json::{Value, json};

use super::clock;
use super::report::rounded;
use crate::failure::{Failure, Result};
use crate::output::{Format, Output};

/// How to measure the machine.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Figures of a search mean little without these: an index that does not fit the cache spends its\n\
                  time waiting for lines.\n\n\
                  Example:\n  dvse bench machine --mib 256"
)]
pub struct MachineArguments {
    /// Memory to read, in MiB; more than the last-level cache holds.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub mib: u32,
    /// The instruction set: scalar, avx2, avx512, avx512vnni, neon.
    #[arg(long, value_name = "NAME")]
    pub isa: Option<Level>,
    /// How to print the results.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// What a cache line costs, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct LineCosts {
    /// A line at a random place whose address is known only when the line before it has come.
    pub random: f64,
    /// A line at a random place, where the addresses of the next ones are known: the processor fetches several at a time.
    pub overlapped: f64,
    /// The line behind the last one.
    pub sequential: f64,
}

/// Measures and prints.
///
/// # Errors
/// The processor does not run the instruction set asked for, or there is no memory.
pub fn run(arguments: &MachineArguments, output: &Output) -> Result<()> {
    let level = level_of(arguments.isa)?;
    let costs = line_costs(arguments.mib)?;
    if arguments.format == Format::Jsonl {
        return output.json(&record(level, &costs, arguments.mib));
    }
    let available: Vec<&str> = dvse_index::available_levels().iter().map(|level| level.name()).collect();
    output.line(format!("processor            {}, {} cores", processor(), cores()))?;
    output.line(format!("instruction set      {} (it runs {})", level.name(), available.join(", ")))?;
    output.line(format!("random cache line    {:.1} ns", costs.random))?;
    output.line(format!("  several at a time  {:.1} ns", costs.overlapped))?;
    output.line(format!("sequential line      {:.2} ns, of {} MiB", costs.sequential, arguments.mib))
}

fn record(level: Level, costs: &LineCosts, mib: u32) -> Value {
    json!({
        "processor": processor(),
        "cores": cores(),
        "isa": level.name(),
        "random_line_ns": rounded(costs.random, 2),
        "overlapped_line_ns": rounded(costs.overlapped, 2),
        "sequential_line_ns": rounded(costs.sequential, 3),
        "mib": mib,
    })
}

/// The instruction set asked for, or the best one.
///
/// # Errors
/// The processor does not run it.
pub fn level_of(asked: Option<Level>) -> Result<Level> {
    let level = asked.unwrap_or_else(dvse_index::detect_level);
    let available = dvse_index::available_levels();
    if available.contains(&level) {
        return Ok(level);
    }
    let names: Vec<&str> = available.iter().map(|level| level.name()).collect();
    Err(Failure::new(format!("this processor does not run {level}"))
        .with_help(format!("it runs {}; leave out --isa for the best of them", names.join(", "))))
}

/// The processor's name, as far as the system tells.
pub fn processor() -> String {
    let read = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = read.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    named.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// How many threads this process may run at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// Words in a cache line of 64 bytes.
const LINE_WORDS: usize = 8;
/// Lines read by one round of a measurement.
const STEPS: usize = 1 << 18;
/// Rounds; the fastest counts, because other work on the machine only ever adds time.
const ROUNDS: usize = 15;

/// Measures the cost of lines of a buffer of so many MiB, in pages as the system gives them.
///
/// # Errors
/// There is no memory.
pub fn line_costs(mib: u32) -> Result<LineCosts> {
    let lines = mib as usize * ((1 << 20) / (LINE_WORDS * size_of::<u64>()));
    let mut words: Vec<u64> = Vec::new();
    words.try_reserve_exact(lines * LINE_WORDS).map_err(|_| {
        Failure::new(format!("there is no memory of {mib} MiB")).with_help("give a smaller --mib")
    })?;
    words.resize(lines * LINE_WORDS, 0);
    link_in_one_circle(&mut words, lines);
    let steps = STEPS.min(lines * 4);
    let mut at = 0;
    let random = best(steps, || {
        for _ in 0..steps {
            at = words[at * LINE_WORDS] as usize;
        }
        black_box(at);
    });
    let mut draw = Draw(7);
    let overlapped = best(steps, || {
        let mut sum = 0_u64;
        for _ in 0..steps {
            sum = sum.wrapping_add(words[draw.below(lines) * LINE_WORDS]);
        }
        black_box(sum);
    });
    let sequential = best(lines, || {
        let sums = words.chunks_exact(LINE_WORDS).map(|line| line[0]);
        black_box(sums.fold(0_u64, u64::wrapping_add));
    });
    Ok(LineCosts { random, overlapped, sequential })
}

/// Writes into each line the number of the next, so that following them visits all in random order (Sattolo 1986).
fn link_in_one_circle(words: &mut [u64], lines: usize) {
    for line in 0..lines {
        words[line * LINE_WORDS] = line as u64;
    }
    let mut draw = Draw(1);
    for line in (1..lines).rev() {
        words.swap(line * LINE_WORDS, draw.below(line) * LINE_WORDS);
    }
}

/// Nanoseconds of one of `count` things that `work` does, by the processor time of the fastest of some rounds.
fn best(count: usize, mut work: impl FnMut()) -> f64 {
    let mut fastest = Duration::MAX;
    for _ in 0..ROUNDS {
        let started = clock::thread_time();
        work();
        fastest = fastest.min(clock::thread_time().saturating_sub(started));
    }
    fastest.as_secs_f64() * 1e9 / count as f64
}

/// Numbers that look random and are the same in every run (Steele, Lea and Flood 2014).
pub struct Draw(pub u64);

impl Draw {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// A number below a bound, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_circle_visits_every_line_once() {
        let lines = 100;
        let mut words = vec![0; lines * LINE_WORDS];
        link_in_one_circle(&mut words, lines);
        let mut seen = vec![false; lines];
        let mut at = 0;
        for _ in 0..lines {
            assert!(!std::mem::replace(&mut seen[at], true), "line {at} came twice");
            at = words[at * LINE_WORDS] as usize;
        }
        assert_eq!(at, 0);
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        let mut draw = Draw(3);
        let mut seen = [false; 7];
        (0..1_000).for_each(|_| seen[draw.below(7)] = true);
        assert_eq!(seen, [true; 7]);
    }
}
