//! `dvse completions`: the script that completes commands in a shell.

use clap_complete::Shell;

use crate::failure::Result;
use crate::output::Output;

/// Which shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  dvse completions bash > ~/.local/share/bash-completion/completions/dvse")]
pub struct CompletionsArguments {
    /// The shell.
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// The output cannot be written.
pub fn run(arguments: &CompletionsArguments, output: &Output) -> Result<()> {
    let mut script = Vec::new();
    // Into memory first: the generator panics when its writer fails.
    clap_complete::generate(arguments.shell, &mut crate::args::command(), "dvse", &mut script);
    output.bytes(&script)
}
