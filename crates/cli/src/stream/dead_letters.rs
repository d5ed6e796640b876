//! `dvse dead-letters`: what nothing could be made of.

use std::collections::HashSet;
use std::time::Duration;

use clap::Subcommand;
use dvse_ingest::{
    DeadLetter, Producer, ReadLimits, Record, Source, TopicLog, TopicName, key_of, partition_of,
};

use super::{LogPlace, block_on, log_failure, parse_place};
use crate::failure::{Failure, Result};
use crate::output::{Format, Output, Table, grouped};

/// What to do with dead letters.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  dvse dead-letters list --from file:log\n  dvse dead-letters retry --from file:log"
)]
pub struct DeadLettersArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: DeadLettersCommand,
}

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List those that were not sent again: reason, place and record.
    #[command(
        after_help = "Example:\n  dvse dead-letters list --from file:log --format jsonl | jq -r .reason | sort | uniq -c"
    )]
    List {
        /// The log: file:DIR or pulsar://HOST:PORT.
        #[arg(long, value_name = "SOURCE", value_parser = parse_place)]
        from: LogPlace,
        /// Those that were sent again, too.
        #[arg(long)]
        all: bool,
        /// How to print them.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Send their records again to the topic they came from, each once.
    #[command(
        after_help = "Mend first what the reasons tell; a record that is still wrong gets a new letter.\n\n\
                            Example:\n  dvse dead-letters retry --from file:log"
    )]
    Retry {
        /// The log: file:DIR or pulsar://HOST:PORT.
        #[arg(long, value_name = "SOURCE", value_parser = parse_place)]
        from: LogPlace,
    },
}

/// The subscription that remembers which letters were sent again.
const RETRY: &str = "retry";
const LIMITS: ReadLimits = ReadLimits { records: 256, bytes: 8 << 20, wait: Duration::ZERO };

/// Lists or sends again.
///
/// # Errors
/// The log cannot be read or written.
pub fn run(arguments: &DeadLettersArguments, output: &Output) -> Result<()> {
    match &arguments.command {
        DeadLettersCommand::List { from, all, format } => {
            block_on(list(&*from.open_existing()?, *all, *format, output))
        }
        DeadLettersCommand::Retry { from } => {
            let sent = block_on(retry(&*from.open_existing()?))?;
            output.line(format!("{} records sent again", grouped(sent)))
        }
    }
}

/// Each partition of the dead letters, behind those that were sent again or from the front.
async fn sources(log: &dyn TopicLog, all: bool) -> Result<Vec<Box<dyn Source>>> {
    let topic = TopicName::dead_letters();
    let partitions = log.spec(&topic).await.map_err(log_failure)?.map_or(0, |spec| spec.partitions);
    let mut sources = Vec::new();
    for partition in 0..partitions {
        let subscription = (!all).then_some(RETRY);
        sources.push(log.source(&topic, partition, subscription).await.map_err(log_failure)?);
    }
    Ok(sources)
}

/// Reads letters, each identity once.
#[derive(Default)]
struct Reading {
    seen: HashSet<(String, u32, u128, String)>,
}

impl Reading {
    fn read(&mut self, record: &Record) -> Result<Option<DeadLetter>> {
        let letter = DeadLetter::from_json(&record.payload).map_err(|error| {
            Failure::from(error)
                .with_help("another program wrote to the topic of dead letters; remove its record")
        })?;
        let identity =
            (letter.stream.clone(), letter.partition, letter.position.0, letter.collection.clone());
        Ok(self.seen.insert(identity).then_some(letter))
    }
}

async fn list(log: &dyn TopicLog, all: bool, format: Format, output: &Output) -> Result<()> {
    let mut table = Table::new(["topic", "partition", "position", "collection", "reason", "record"]);
    let mut reading = Reading::default();
    for mut source in sources(log, all).await? {
        loop {
            let records = source.read(LIMITS).await.map_err(log_failure)?;
            if records.is_empty() {
                break;
            }
            for record in &records {
                let Some(letter) = reading.read(record)? else { continue };
                match format {
                    Format::Jsonl => output.line(letter.to_json())?,
                    Format::Table => table.row([
                        letter.topic.rsplit('/').next().unwrap_or_default().to_owned(),
                        letter.partition.to_string(),
                        letter.position.to_string(),
                        letter.collection,
                        letter.reason,
                        String::from_utf8_lossy(letter.record.get(..256).unwrap_or(&letter.record))
                            .into_owned(),
                    ]),
                }
            }
        }
    }
    match format {
        Format::Jsonl => Ok(()),
        Format::Table => table.print(output),
    }
}

async fn retry(log: &dyn TopicLog) -> Result<u64> {
    let mut reading = Reading::default();
    let mut sent = 0;
    let mut producers: Vec<(TopicName, Vec<Box<dyn Producer>>)> = Vec::new();
    for mut source in sources(log, false).await? {
        loop {
            let records = source.read(LIMITS).await.map_err(log_failure)?;
            let Some(last) = records.last().map(|record| record.position) else { break };
            for record in &records {
                let Some(letter) = reading.read(record)? else { continue };
                // Too large for a letter: only the log it came from has it.
                if letter.record.is_empty() {
                    continue;
                }
                send(log, &mut producers, &letter).await?;
                sent += 1;
            }
            for producer in producers.iter_mut().flat_map(|(_, producers)| producers) {
                producer.flush().await.map_err(log_failure)?;
            }
            source.commit(last).await.map_err(log_failure)?;
        }
    }
    Ok(sent)
}

async fn send(
    log: &dyn TopicLog,
    producers: &mut Vec<(TopicName, Vec<Box<dyn Producer>>)>,
    letter: &DeadLetter,
) -> Result<()> {
    let topic: TopicName = letter.topic.parse()?;
    if !producers.iter().any(|(there, _)| *there == topic) {
        let spec = log.spec(&topic).await.map_err(log_failure)?;
        let spec =
            spec.ok_or_else(|| log_failure(dvse_ingest::LogError::NoTopic { topic: topic.clone() }))?;
        let mut opened = Vec::new();
        for partition in 0..spec.partitions {
            opened.push(log.shared_producer(&topic, partition).await.map_err(log_failure)?);
        }
        producers.push((topic.clone(), opened));
    }
    let Some((_, opened)) = producers.iter_mut().find(|(there, _)| *there == topic) else { return Ok(()) };
    let key = key_of(&letter.record);
    let count = u32::try_from(opened.len()).unwrap_or(u32::MAX);
    if let Some(producer) = opened.get_mut(partition_of(&key, count) as usize) {
        producer.append(&key, &letter.record, Duration::ZERO).await.map_err(log_failure)?;
    }
    Ok(())
}
