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
#[path = "../it/halves.rs"]
mod halves;
#[path = "../it/levels.rs"]
mod levels;
#[path = "../it/probe.rs"]
mod probe;
#[path = "../it/special_values.rs"]
mod special_values;

fn main() -> ExitCode {
    let modules: [(&str, &[Test]); 5] = [
        ("agree_with_scalar", agree_with_scalar::TESTS),
        ("edge_lengths", edge_lengths::TESTS),
        ("halves", halves::TESTS),
        ("levels", levels::TESTS),
        ("special_values", special_values::TESTS),
    ];
    // Listing is what `cargo nextest` and the like ask of every test program.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (module, tests) in modules {
        for (name, test) in tests {
            let passed = std::panic::catch_unwind(test).is_ok();
            println!("test {module}::{name} ... {}", if passed { "ok" } else { "FAILED" });
            failed += usize::from(!passed);
        }
    }
    let levels: Vec<&str> = dvse_simd::available().iter().map(|level| level.name()).collect();
    println!("levels {}: {failed} failed", levels.join(" "));
    // Started in place of a system, the program must stay, or the kernel halts before the console is written.
    while std::process::id() == 1 {
        std::thread::park();
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
