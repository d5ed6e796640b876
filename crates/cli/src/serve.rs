//! `dvse serve`: a node in this process, until it is told to stop.

use crate::config::NodeSettings;
use crate::failure::{Failure, Result};
use crate::node::RunningNode;
use crate::output::Output;
use crate::stream::{EmbedderName, ModelCalls, parse_embedder};

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
    /// A model for texts beside the bundled one: python:MODULE:CALLABLE, torchscript:FILE or onnx:FILE; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = parse_embedder)]
    pub embedder: Vec<EmbedderName>,
    /// How such models are called.
    #[command(flatten)]
    pub calls: ModelCalls,
}

/// Serves until told to stop.
///
/// # Errors
/// A setting is wrong, a model cannot be loaded, the folder cannot be opened, or the address is taken.
pub fn run(arguments: &ServeArguments, output: &Output) -> Result<()> {
    let raw = arguments.settings.raw()?;
    // The bundled one, which the node has anyway, is passed over.
    if arguments.embedder.contains(&EmbedderName::None) {
        return Err(Failure::new("--embedder none is no model that could embed texts")
            .with_help("leave it out: the bundled model is always there"));
    }
    let named = arguments.embedder.iter().filter(|name| **name != EmbedderName::Static);
    let loaded = named.map(|name| name.load(&arguments.calls)).collect::<Result<Vec<_>>>()?;
    let node = RunningNode::start(&raw, loaded.into_iter().flatten().collect())?;
    let announced = output.line(format!("serving {} at {}", node.data().display(), node.url()));
    if announced.is_ok() {
        node.wait();
    }
    node.stop()?;
    announced
}
