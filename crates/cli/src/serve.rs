//! `dvse serve`: a node in this process, until it is told to stop.

use std::sync::Arc;

use dvse_embed::{Embedder, StaticEmbedder};

use crate::config::NodeSettings;
use crate::failure::{Failure, Result};
use crate::node::RunningNode;
use crate::output::Output;
use crate::stream::role::{RoleArguments, pipelines};
use crate::stream::{EmbedderName, ModelCalls, parse_embedder};

/// Flags that are settings of the server. Their variables are `DVSE__SECTION__KEY` and are read by the server.
pub const SERVER_SETTINGS: &[&str] = &["data", "http"];

/// What to serve where.
#[derive(Debug, clap::Args)]
#[command(after_help = "Stops at Ctrl-C or SIGTERM, after the requests under way are answered.\n\
                        Example: dvse serve --data ./dvse-data --ingest file:log --collection docs")]
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
    /// The streams.
    #[command(flatten)]
    pub role: RoleArguments,
}

/// Serves until told to stop.
///
/// # Errors
/// A setting is wrong, a model cannot be loaded, the folder cannot be opened, or the address is taken.
pub fn run(arguments: &ServeArguments, output: &Output) -> Result<()> {
    let raw = arguments.settings.raw()?;
    let loaded = load(arguments)?;
    let specs = pipelines(&arguments.role, &models_of_streams(arguments, &loaded)?)?;
    let node = RunningNode::start(&raw, loaded)?;
    let announced = output.line(format!("serving {} at {}", node.data().display(), node.url()));
    let started = announced.and_then(|()| specs.into_iter().try_for_each(|spec| node.ingest(spec)));
    if started.is_ok() {
        node.wait();
    }
    node.stop()?;
    started
}

/// Loads the models beside the bundled one, which the node has anyway.
fn load(arguments: &ServeArguments) -> Result<Vec<Arc<dyn Embedder>>> {
    let named = |name: &&EmbedderName| !matches!(name, EmbedderName::Static | EmbedderName::None);
    let loaded = arguments.embedder.iter().filter(named).map(|name| name.load(&arguments.calls));
    Ok(loaded.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// The models that pipelines choose from: those that were named, in order, then the bundled one; none where that was said.
fn models_of_streams(
    arguments: &ServeArguments,
    loaded: &[Arc<dyn Embedder>],
) -> Result<Vec<Arc<dyn Embedder>>> {
    if arguments.embedder.contains(&EmbedderName::None) {
        if arguments.role.ingest.is_empty() || arguments.embedder.len() > 1 {
            return Err(Failure::new("--embedder none is no model that could embed texts").with_help(
                "leave it out: the bundled model is always there.\n\
                 Alone with --ingest it says that records bring their vectors",
            ));
        }
        return Ok(Vec::new());
    }
    if arguments.role.ingest.is_empty() {
        return Ok(Vec::new());
    }
    let bundled: Arc<dyn Embedder> = StaticEmbedder::bundled()?;
    let mut models = loaded.to_vec();
    match arguments.embedder.first() {
        Some(EmbedderName::Static) => models.insert(0, bundled),
        _ => models.push(bundled),
    }
    Ok(models)
}
