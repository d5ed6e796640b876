//! The pipelines of `dvse serve --ingest`.

use std::collections::HashSet;
use std::sync::Arc;

use dvse_embed::Embedder;
use dvse_ingest::TopicName;
use dvse_ingest::pipeline::{PipelineConfig, Progress};
use dvse_server::ingest::PipelineSpec;

use super::{LogPlace, PARTITIONS, Waiting, parse_place};
use crate::failure::{Failure, Result};

/// Streams to take in.
#[derive(Debug, clap::Args)]
pub struct RoleArguments {
    /// Bring the records of this log into a collection: file:DIR or pulsar://HOST:PORT; may be repeated.
    #[arg(long, value_name = "SOURCE", value_parser = parse_place)]
    pub ingest: Vec<LogPlace>,
    /// The collection of each --ingest, in order; it is created when there is none.
    #[arg(long, short, value_name = "NAME")]
    pub collection: Vec<String>,
    /// The topic with their records, where it is another one than raw-events.
    #[arg(long, value_name = "NAME")]
    pub topic: Option<TopicName>,
}

/// Opens the logs; a broker that is away is waited for later.
///
/// # Errors
/// A log has no collection, or the other way round, or a folder cannot be opened.
pub fn pipelines(arguments: &RoleArguments, models: &[Arc<dyn Embedder>]) -> Result<Vec<PipelineSpec>> {
    let (sources, collections) = (arguments.ingest.len(), arguments.collection.len());
    // A collection alone may stand in the environment, for other commands.
    if sources > 0 && sources != collections {
        return Err(Failure::new(format!(
            "each --ingest needs a --collection: there are {sources} and {collections}"
        ))
        .with_help("name a collection for each log: dvse serve --ingest file:log --collection docs"));
    }
    let mut seen = HashSet::new();
    if let Some(name) = arguments.collection.iter().find(|name| !seen.insert(*name)) {
        return Err(Failure::new(format!("--collection {name} is there twice"))
            .with_help("name another collection for each --ingest"));
    }
    let mut specs = Vec::new();
    for (place, collection) in arguments.ingest.iter().zip(&arguments.collection) {
        let progress = Arc::new(Progress::default());
        let raw_events = arguments.topic.clone().unwrap_or_else(TopicName::raw_events);
        specs.push(PipelineSpec {
            config: PipelineConfig { raw_events, ..PipelineConfig::of(collection) },
            source: place.to_string(),
            log: place.open(Waiting::within(&progress))?,
            partitions: PARTITIONS,
            models: models.to_vec(),
            progress,
        });
    }
    Ok(specs)
}
