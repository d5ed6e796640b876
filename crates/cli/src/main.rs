//! The `dvse` binary: a client of the server's REST interface, the server itself, a demo, and a bench.
//!
//! It knows nothing of the inside of a running node: `serve` and `demo` start one through `dvse_server`, every
//! other command speaks HTTP, and `bench` runs the index crate on files. Results go to standard output, progress and
//! errors to standard error; an error names its remedy and the exit status is 1 (2 for a wrong command line).

mod args;
mod bench;
mod client;
mod collection;
mod completions;
mod config;
mod demo;
mod export;
mod failure;
mod import;
mod node;
mod output;
mod progress;
mod query;
mod serve;
mod stop;
mod stream;
mod vectors;

use std::process::ExitCode;

use args::Command;
use failure::Result;
use output::Output;

fn main() -> ExitCode {
    match run(args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_output() => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let output = Output;
    match command {
        Command::Demo(arguments) => demo::run(&arguments, &output),
        Command::Serve(arguments) => serve::run(&arguments, &output),
        Command::Query(arguments) => query::run(&arguments, &output),
        Command::Import(arguments) => import::run(&arguments),
        Command::Export(arguments) => export::run(&arguments, &output),
        Command::Produce(arguments) => stream::produce::run(&arguments),
        Command::Ingest(arguments) => stream::ingest::run(&arguments, &output),
        Command::Rebuild(arguments) => stream::rebuild::run(&arguments, &output),
        Command::DeadLetters(arguments) => stream::dead_letters::run(&arguments, &output),
        Command::Topics(arguments) => stream::topics::run(&arguments, &output),
        Command::Collection(arguments) => collection::run(&arguments, &output),
        Command::Bench { command } => bench::run(&command, &output),
        Command::Config(arguments) => config::run(&arguments, &output),
        Command::Completions(arguments) => completions::run(&arguments, &output),
    }
}
