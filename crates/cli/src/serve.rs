//! `dvse serve`: a node in this process, until it is told to stop.

use crate::config::NodeSettings;
use crate::failure::Result;
use crate::node::RunningNode;
use crate::output::Output;

/// Flags that are settings of the server. Their variables are `DVSE__SECTION__KEY` and are read by the server.
pub const SERVER_SETTINGS: &[&str] = &["data", "http"];

/// What to serve where.
#[derive(Debug, clap::Args)]
#[command(after_help = "Stops at Ctrl-C or SIGTERM, after the requests under way are answered.\n\n\
                        Example:\n  dvse serve --data ./dvse-data --http 127.0.0.1:6333")]
pub struct ServeArguments {
    /// The settings.
    #[command(flatten)]
    pub settings: NodeSettings,
}

/// Serves until told to stop.
///
/// # Errors
/// A setting is wrong, the folder cannot be opened, or the address is taken.
pub fn run(arguments: &ServeArguments, output: &Output) -> Result<()> {
    let node = RunningNode::start(&arguments.settings.raw()?)?;
    let announced = output.line(format!("serving {} at {}", node.data().display(), node.url()));
    if announced.is_ok() {
        node.wait();
    }
    node.stop()?;
    announced
}
