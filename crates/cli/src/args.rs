//! The command line: which commands there are, and the rule that gives each flag its environment variable.

use clap::{Arg, ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::bench::BenchCommand;
use crate::collection::CollectionArguments;
use crate::completions::CompletionsArguments;
use crate::config::ConfigArguments;
use crate::demo::DemoArguments;
use crate::export::ExportArguments;
use crate::import::ImportArguments;
use crate::query::QueryArguments;
use crate::serve::ServeArguments;
use crate::stream::dead_letters::DeadLettersArguments;
use crate::stream::ingest::IngestArguments;
use crate::stream::produce::ProduceArguments;
use crate::stream::rebuild::RebuildArguments;
use crate::stream::topics::TopicsArguments;

/// A vector search engine: one binary to serve, fill, ask and measure.
#[derive(Debug, Parser)]
#[command(
    name = "dvse",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Every flag --some-flag can also be set as DVSE_SOME_FLAG in the environment; settings of the\n\
                  server are DVSE__SECTION__KEY there and [section] key in its file (dvse config show).\n\n\
                  Example:\n  dvse demo        # a dictionary, in under a minute; ask: dvse query \"a small boat with a paddle\""
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fill a collection with the meanings of WordNet, measure it, and serve it.
    Demo(DemoArguments),
    /// Serve the collections of a folder over HTTP.
    Serve(ServeArguments),
    /// Ask a collection a question in words.
    Query(QueryArguments),
    /// Write the vectors or documents of a file into a collection.
    Import(ImportArguments),
    /// Write all points of a collection into a file.
    Export(ExportArguments),
    /// Send records to a topic.
    Produce(ProduceArguments),
    /// Bring the records of a topic into a collection, each once.
    Ingest(IngestArguments),
    /// Make a collection anew from the events of its changes.
    Rebuild(RebuildArguments),
    /// List the records that nothing could be made of, or send them again.
    DeadLetters(DeadLettersArguments),
    /// Make and list the topics of a log.
    Topics(TopicsArguments),
    /// List, describe, create and delete collections.
    Collection(CollectionArguments),
    /// Measure an index on files, without a server.
    #[command(
        after_help = "Example:\n  dvse bench ann --base base.npy --queries queries.npy --metric cosine --ef 16,64,256"
    )]
    Bench {
        /// What to measure.
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Show the settings of the server and where each comes from.
    Config(ConfigArguments),
    /// Print the script that completes commands in a shell.
    Completions(CompletionsArguments),
}

/// Reads the command line and the environment; ends the process with a usage message where they are wrong.
pub fn parse() -> Arguments {
    match Arguments::from_arg_matches(&command().get_matches()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    }
}

/// The whole command with the environment variable of every flag.
pub fn command() -> clap::Command {
    with_short_help(with_variables(Arguments::command()))
}

/// Makes `--help` print what `-h` prints: one line for a flag, so that each command fits a screen.
fn with_short_help(command: clap::Command) -> clap::Command {
    let help = Arg::new("help").short('h').long("help").action(ArgAction::HelpShort).help("Print help");
    command.disable_help_flag(true).arg(help).mut_subcommands(with_short_help)
}

/// Gives every flag that has no variable the one of its name: `--url` is `DVSE_URL` in every command.
///
/// Flags that are settings of the server have none here: the server itself reads `DVSE__SECTION__KEY`, so that it
/// can say where a value came from.
fn with_variables(command: clap::Command) -> clap::Command {
    let server_settings = crate::serve::SERVER_SETTINGS;
    let command = command.mut_args(|argument| {
        let Some(long) = argument.get_long() else { return argument };
        if argument.get_env().is_some() || ["help", "version"].contains(&long) {
            return argument;
        }
        if server_settings.contains(&long) {
            return argument;
        }
        let variable = format!("DVSE_{}", long.replace('-', "_").to_uppercase());
        // The command lives as long as the process, and is built once.
        argument.env(&*variable.leak()).hide_env(true)
    });
    command.mut_subcommands(with_variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_sound() {
        command().debug_assert();
    }

    fn check_flags(command: &clap::Command) {
        for argument in command.get_arguments() {
            let Some(long) = argument.get_long() else { continue };
            if ["help", "version"].contains(&long) || crate::serve::SERVER_SETTINGS.contains(&long) {
                continue;
            }
            let variable = argument.get_env().and_then(|name| name.to_str());
            let expected = format!("DVSE_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(variable, Some(expected.as_str()), "{} --{long}", command.get_name());
        }
        command.get_subcommands().for_each(check_flags);
    }

    #[test]
    fn every_flag_has_the_variable_of_its_name() {
        check_flags(&command());
    }
}
