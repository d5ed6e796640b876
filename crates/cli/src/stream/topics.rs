//! `dvse topics`: makes and lists the topics of a log.

use std::sync::Arc;

use clap::Subcommand;
use dvse_ingest::{LogError, TopicLog, TopicName, TopicSpec};
use serde_json::json;

use super::{LogPlace, PARTITIONS, Waiting, block_on, log_failure, parse_place};
use crate::failure::{Failure, Result};
use crate::output::{Format, Output, Table, grouped};

/// What to do with topics.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  dvse topics ensure --log file:log --partitions 4\n  dvse topics list --log file:log"
)]
pub struct TopicsArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: TopicsCommand,
}

/// What can be done with topics.
#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Make the three topics of ingest, or change their settings; run twice it changes nothing.
    #[command(
        after_help = "In a folder `produce` and `ingest` make what is not there with these defaults.\n\n\
                            Example:\n  dvse topics ensure --log file:log --retention-hours 48 --dry-run\n  \
                            dvse topics ensure --pulsar pulsar://127.0.0.1:6650 --admin http://127.0.0.1:8080"
    )]
    Ensure {
        /// The log: file:DIR or pulsar://HOST:PORT.
        #[arg(long, value_name = "SOURCE", value_parser = parse_place, required_unless_present = "pulsar", conflicts_with = "pulsar")]
        log: Option<LogPlace>,
        /// A cluster of Apache Pulsar: pulsar://HOST:PORT.
        #[arg(long, value_name = "URL", value_parser = parse_place)]
        pulsar: Option<LogPlace>,
        /// The cluster's administration: http://HOST:PORT.
        #[arg(long, value_name = "URL")]
        admin: Option<String>,
        /// Into how many parts each is divided, by default 4; fixed once it is there.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
        partitions: Option<u32>,
        /// Hours that raw records stay after every subscription has passed them.
        #[arg(long, value_name = "N", default_value_t = 24)]
        retention_hours: u32,
        /// MiB of a partition that may wait before producers are held.
        #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
        backlog_mib: u32,
        /// Only show what would change.
        #[arg(long)]
        dry_run: bool,
    },
    /// Give a subscription up, so that the records only it had not passed can go.
    #[command(after_help = "For a collection that is not fed from this log any more.\n\n\
                            Example:\n  dvse topics unsubscribe --log file:log --subscription docs")]
    Unsubscribe {
        /// The log: file:DIR or pulsar://HOST:PORT.
        #[arg(long, value_name = "SOURCE", value_parser = parse_place)]
        log: LogPlace,
        /// The subscription: for `ingest` the name of the collection.
        #[arg(long, value_name = "NAME")]
        subscription: String,
        /// The topic.
        #[arg(long, value_name = "NAME", default_value_t = TopicName::raw_events())]
        topic: TopicName,
    },
    /// List the topics and what they hold.
    #[command(after_help = "Example:\n  dvse topics list --log file:log --format jsonl")]
    List {
        /// The log: file:DIR or pulsar://HOST:PORT.
        #[arg(long, value_name = "SOURCE", value_parser = parse_place)]
        log: LogPlace,
        /// A cluster's administration, for the settings: http://HOST:PORT.
        #[arg(long, value_name = "URL")]
        admin: Option<String>,
        /// How to print them.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

/// Makes or lists topics.
///
/// # Errors
/// The log cannot be read or written, or a topic is there with another number of partitions.
pub fn run(arguments: &TopicsArguments, output: &Output) -> Result<()> {
    match &arguments.command {
        TopicsCommand::Ensure { log, pulsar, admin, partitions, retention_hours, backlog_mib, dry_run } => {
            let raw = TopicSpec {
                retention_ms: Some(u64::from(*retention_hours) * 3_600_000),
                backlog_bytes_max: Some(u64::from(*backlog_mib) << 20),
                ..TopicSpec::raw_events(partitions.unwrap_or(PARTITIONS))
            };
            match log.as_ref().or(pulsar.as_ref()) {
                None => Ok(()),
                Some(place @ LogPlace::Folder(_)) => {
                    if pulsar.is_some() || admin.is_some() {
                        return Err(Failure::new(
                            "--pulsar and --admin are for a cluster, and this is a folder",
                        )
                        .with_help("leave them out, or give --pulsar pulsar://HOST:PORT"));
                    }
                    let log = place.open(Waiting::briefly())?;
                    block_on(ensure(&*log, raw, *partitions, *dry_run, output))
                }
                #[cfg(feature = "pulsar")]
                Some(place) => {
                    super::pulsar::ensure(place, admin.as_deref(), raw, *partitions, *dry_run, output)
                }
            }
        }
        TopicsCommand::Unsubscribe { log, subscription, topic } => {
            let log = log.open_existing()?;
            block_on(async { log.unsubscribe(topic, subscription).await.map_err(log_failure) })
        }
        TopicsCommand::List { log, admin, format } => {
            let log: Arc<dyn TopicLog> = match (log, admin) {
                #[cfg(feature = "pulsar")]
                (LogPlace::Pulsar(url), Some(admin)) => {
                    super::pulsar::open(url, Some(super::pulsar::admin(admin)?), Waiting::briefly())?
                }
                _ => log.open_existing()?,
            };
            block_on(list(&*log, *format, output))
        }
    }
}

async fn ensure(
    log: &dyn TopicLog,
    raw: TopicSpec,
    partitions: Option<u32>,
    dry_run: bool,
    output: &Output,
) -> Result<()> {
    // What is there keeps its number of partitions, and events and letters have that of the records.
    let there = log.spec(&TopicName::raw_events()).await.map_err(log_failure)?;
    let partitions = partitions.or(there.map(|spec| spec.partitions)).unwrap_or(raw.partitions);
    let wanted = [
        (TopicName::raw_events(), TopicSpec { partitions, ..raw }),
        (TopicName::vector_indexed(), TopicSpec::vector_indexed(partitions)),
        (TopicName::dead_letters(), TopicSpec::dead_letters(partitions)),
    ];
    let mut found = Vec::new();
    for (topic, spec) in wanted {
        let there = log.spec(&topic).await.map_err(log_failure)?;
        // Before anything is made or shown, as a dry run is to tell what would come of it.
        if let Some(there) = there.filter(|there| there.partitions != spec.partitions) {
            return Err(log_failure(LogError::Partitions {
                topic,
                there: there.partitions,
                asked: spec.partitions,
            }));
        }
        found.push((topic, spec, there));
    }
    for (topic, spec, there) in found {
        let what = match there {
            Some(there) if there == spec => "is as asked".to_owned(),
            Some(there) => format!("{} -> {}", describe(&there), describe(&spec)),
            None => format!("new: {}", describe(&spec)),
        };
        output.line(format!("{topic}  {what}"))?;
        if there != Some(spec) && !dry_run {
            log.ensure(&topic, spec).await.map_err(log_failure)?;
        }
    }
    Ok(())
}

fn describe(spec: &TopicSpec) -> String {
    let kept = match (spec.retention_ms, spec.retention_bytes) {
        (None, None) => "kept for ever".to_owned(),
        (ms, bytes) => {
            let hours = ms.map(|ms| format!("{} h", ms / 3_600_000));
            let size = bytes.map(|bytes| format!("{} MiB", bytes >> 20));
            format!("kept {}", [hours, size].into_iter().flatten().collect::<Vec<_>>().join(" or "))
        }
    };
    let held = match spec.backlog_bytes_max {
        Some(bytes) => format!("producers held at {} MiB", bytes >> 20),
        None => "producers never held".to_owned(),
    };
    format!("{} partitions, {kept}, {held}", spec.partitions)
}

async fn list(log: &dyn TopicLog, format: Format, output: &Output) -> Result<()> {
    let mut table = Table::new(["topic", "partitions", "records", "bytes", "settings"]);
    for topic in log.topics().await.map_err(log_failure)? {
        let Some(spec) = log.spec(&topic).await.map_err(log_failure)? else { continue };
        let (mut records, mut bytes) = (0, 0);
        for partition in 0..spec.partitions {
            let mut source = log.source(&topic, partition, None).await.map_err(log_failure)?;
            let lag = source.lag().await.map_err(log_failure)?;
            records += lag.records;
            bytes += lag.bytes;
        }
        match format {
            Format::Jsonl => output.json(&json!({
                "topic": topic.to_string(),
                "partitions": spec.partitions,
                "records": records,
                "bytes": bytes,
                "retention_ms": spec.retention_ms,
                "retention_bytes": spec.retention_bytes,
                "backlog_bytes_max": spec.backlog_bytes_max,
            }))?,
            Format::Table => table.row([
                topic.to_string(),
                spec.partitions.to_string(),
                grouped(records),
                grouped(bytes),
                describe(&spec),
            ]),
        }
    }
    match format {
        Format::Jsonl => Ok(()),
        Format::Table => table.print(output),
    }
}
