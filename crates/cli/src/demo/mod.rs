//! `dvse demo`: a reverse dictionary out of WordNet, filled, measured and served.
//!
//! Everything goes the way a user's data would: the texts are embedded by the bundled table, written in batches
//! through the collection's log, or sent through a log of topics and a pipeline, indexed in the background, and asked like any collection.

mod ask;
mod dictionary;
mod fill;
mod folder;
mod index;
mod measure;
mod paste;
mod stream;

use std::time::{Duration, Instant};

use dvse_embed::StaticEmbedder;

use self::stream::Stream;
use crate::config::NodeSettings;
use crate::failure::Result;
use crate::node::RunningNode;
use crate::output::Output;
use crate::progress::Board;

/// The collection of the demo.
pub const COLLECTION: &str = "wordnet";

/// The index is waited for in silence this long; after that the demo says what can be done meanwhile.
const PATIENCE: Duration = Duration::from_secs(40);

/// What to show where.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The first run embeds, writes and indexes 117,659 meanings; the next one finds them in DIR, by\n\
                        default a folder in your cache. The address is 127.0.0.1:6333 unless you say otherwise.\n\n\
                        Example:\n  dvse demo\n  dvse query \"a small boat moved with a paddle\""
)]
pub struct DemoArguments {
    /// The settings.
    #[command(flatten)]
    pub settings: NodeSettings,
    /// Send the meanings through a log and a pipeline, as records of a stream, instead of writing them.
    #[arg(long)]
    pub pipeline: bool,
    /// Stop after the measurements instead of serving on.
    #[arg(long)]
    pub exit: bool,
    /// Report no progress.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Shows the demo.
///
/// # Errors
/// A setting is wrong, the folder cannot be used, the address is taken, or writing fails.
pub fn run(arguments: &DemoArguments, output: &Output) -> Result<()> {
    let started = Instant::now();
    let mut raw = arguments.settings.raw()?;
    folder::adapt(&mut raw)?;
    let node = RunningNode::start(&raw, Vec::new())?;
    let shown = show(arguments, &node, started, output);
    if shown.is_ok() && !arguments.exit {
        node.wait();
    }
    let stopped = node.stop();
    match shown {
        // What was done is kept; the next run goes on from there.
        Err(failure) if failure.cause::<Interrupted>().is_some() => stopped,
        shown => shown.and(stopped),
    }
}

/// The user asked to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

fn show(arguments: &DemoArguments, node: &RunningNode, started: Instant, output: &Output) -> Result<()> {
    let board = Board::new(arguments.quiet);
    output.line(format!("serving {} at {}", node.data().display(), node.url()))?;
    let embedder = StaticEmbedder::bundled()?;
    let collection = dictionary::open(node.database(), &embedder)?;
    let stream = if arguments.pipeline { Some(Stream::begin(node, &embedder)?) } else { None };
    match &stream {
        Some(stream) => stream.fill(&collection, node, &board)?,
        None => fill::fill(&collection, &embedder, &board, &|| node.stop_asked())?,
    }
    ask::answer_samples(&collection, &embedder, output)?;
    output.line(format!("first answers {:.1} s after the start", started.elapsed().as_secs_f64()))?;
    index::wait(&collection, node, &board, started + PATIENCE)?;
    measure::measure(&collection, &embedder, output, &|| node.stop_asked())?;
    if let Some(stream) = stream.filter(|_| !arguments.exit) {
        stream.serve(&board);
    }
    paste::print(node, &embedder, arguments.exit, output)
}
