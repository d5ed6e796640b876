//! The tests of `tests/it` that make no threads, without a harness: for user-mode emulators that cannot run the
//! threads of the usual one, and for whole-machine emulators that start it in place of a system. Runs on any
//! architecture; `.ci/neon` runs it for AArch64, `emulate-avx512` beside this file for AVX-512.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, though not by attribute")]

use std::process::ExitCode;

/// The name of a test, and the test.
type Test = (&'static str, fn());

/// Declares tests, here as a list that `main` goes through.
macro_rules! tests {
    ($($(#[$doc:meta])* fn $name:ident() $body:block)*) => {
        $($(#[$doc])* fn $name() $body)*
        pub const TESTS: &[crate::Test] = &[$((stringify!($name), $name)),*];
    };
}

#[path = "../it/agree_with_scalar.rs"]
mod agree_with_scalar;
#[path = "../it/edge_lengths.rs"]
mod edge_lengths;
#[path = "../it/fast_scan.rs"]
mod fast_scan;
#[path = "../it/halves.rs"]
mod halves;
#[path = "../it/levels.rs"]
mod levels;
#[path = "../it/planes.rs"]
mod planes;
#[path = "../it/probe.rs"]
mod probe;
#[path = "../it/sketches.rs"]
mod sketches;
#[path = "../it/special_values.rs"]
mod special_values;
#[path = "../it/words.rs"]
mod words;

/// Which tests to run, said in the way of the usual harness: words of which a name must contain one, and `--skip`
/// with a word that it must not contain.
#[derive(Default)]
struct Chosen {
    /// What `--list` asks for: no test at all.
    none: bool,
    any_of: Vec<String>,
    none_of: Vec<String>,
}

impl Chosen {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Chosen {
        let mut chosen = Chosen::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => chosen.none = true,
                "--skip" => chosen.none_of.extend(arguments.next()),
                option if option.starts_with('-') => {}
                _ => chosen.any_of.push(argument),
            }
        }
        chosen
    }

    fn runs(&self, name: &str) -> bool {
        let has = |word: &String| name.contains(word.as_str());
        !self.none && !self.none_of.iter().any(has) && (self.any_of.is_empty() || self.any_of.iter().any(has))
    }
}

fn main() -> ExitCode {
    let modules: [(&str, &[Test]); 9] = [
        ("agree_with_scalar", agree_with_scalar::TESTS),
        ("edge_lengths", edge_lengths::TESTS),
        ("fast_scan", fast_scan::TESTS),
        ("halves", halves::TESTS),
        ("levels", levels::TESTS),
        ("planes", planes::TESTS),
        ("sketches", sketches::TESTS),
        ("special_values", special_values::TESTS),
        ("words", words::TESTS),
    ];
    let chosen = Chosen::from_arguments(std::env::args().skip(1));
    let (mut ran, mut failed) = (0, 0);
    for (module, tests) in modules {
        for (name, test) in tests {
            let name = format!("{module}::{name}");
            let outcome = if chosen.runs(&name) {
                let passed = std::panic::catch_unwind(test).is_ok();
                ran += 1;
                failed += usize::from(!passed);
                if passed { "ok" } else { "FAILED" }
            } else {
                "skipped"
            };
            println!("test {name} ... {outcome}");
        }
    }
    let levels: Vec<&str> = dvse_simd::available().iter().map(|level| level.name()).collect();
    println!("levels {}: {ran} ran, {failed} failed", levels.join(" "));
    // Started in place of a system, the program must stay, or the kernel halts before the console is written.
    while std::process::id() == 1 {
        std::thread::park();
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
