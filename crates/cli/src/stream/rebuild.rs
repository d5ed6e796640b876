//! `dvse rebuild`: a collection out of the events of `vector-indexed` alone.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use dvse_engine::{Database, DatabaseError, Durability, EmbeddedCollection, EngineConfig};
use dvse_ingest::{Change, RebuildError, Replay, Replayed, TopicName};
use dvse_types::{
    CollectionSchema, Point, PointSelector, SourceMark, StreamName, VectorName, WriteBatch, WriteOp,
};

use super::{LogPlace, block_on, log_failure, parse_place};
use crate::collection::MetricName;
use crate::failure::{Failure, Remedy as _, Result};
use crate::output::{Output, grouped};
use crate::progress::Board;
use crate::stop::Stop;

/// What to make of what.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads the events of each change, so neither records nor a model are needed. Points that were\n\
                  written in another way than by `ingest` are not in the topic. No server may have the folder.\n\n\
                  Example:\n  dvse rebuild --from file:log --collection docs --data restored\n  \
                  dvse serve --data restored"
)]
pub struct RebuildArguments {
    /// The log: file:DIR or pulsar://HOST:PORT.
    #[arg(long, value_name = "SOURCE", value_parser = parse_place)]
    pub from: LogPlace,
    /// The collection, by the name it had.
    #[arg(long, short, value_name = "NAME")]
    pub collection: String,
    /// The folder it is made in, of a server that does not run.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// How it compares vectors; the topic does not tell.
    #[arg(long, value_enum, default_value_t = MetricName::Cosine)]
    pub metric: MetricName,
    /// The model of the vectors, to be kept with the collection; the topic does not tell.
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Delete a collection of this name that is there.
    #[arg(long)]
    pub replace: bool,
    /// Leave out what was committed before, in milliseconds since 1970.
    #[arg(long, value_name = "MS", default_value_t = 0, hide_default_value = true)]
    pub since_ms: u64,
    /// The topic with the events.
    #[arg(long, value_name = "NAME", default_value_t = TopicName::vector_indexed())]
    pub topic: TopicName,
    /// Report no progress.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Makes the collection.
///
/// # Errors
/// The log or the folder cannot be read, the topic has no such collection, or what it has makes no collection. Nothing of it
/// stays then.
pub fn run(arguments: &RebuildArguments, output: &Output) -> Result<()> {
    let log = arguments.from.open_existing()?;
    let stop = Stop::watch()?;
    let config = EngineConfig {
        background_threads: thread::available_parallelism().map_or(1, NonZeroUsize::get),
        ..EngineConfig::default()
    };
    let opened = Database::open(&arguments.data, config)
        .doing(|| format!("cannot open the folder {}", arguments.data.display()));
    let database =
        opened.help(|| "stop the server that has it, or choose another folder with --data DIR".to_owned())?;
    if database.names().contains(&arguments.collection) {
        if !arguments.replace {
            return Err(Failure::from(DatabaseError::AlreadyExists { name: arguments.collection.clone() })
                .with_help(
                    "choose another folder, or --replace to delete it, such as after a run that was cut off",
                ));
        }
        database.drop_collection(&arguments.collection)?;
    }
    let board = Board::new(arguments.quiet);
    let mut made = Made {
        arguments,
        database: &database,
        stop: &stop,
        collection: None,
        changes: 0,
        epochs: BTreeMap::new(),
    };
    let outcome = block_on(async {
        let spec = log.spec(&arguments.topic).await.map_err(log_failure)?;
        let Some(spec) = spec else {
            return Err(log_failure(dvse_ingest::LogError::NoTopic { topic: arguments.topic.clone() }));
        };
        for partition in 0..spec.partitions {
            let opened =
                Replay::open(&*log, &arguments.topic, partition, &arguments.collection, arguments.since_ms);
            let mut replay = opened.await.map_err(rebuild_failure)?;
            let mut task = board.task("rebuild", "events", Some(replay.left()));
            loop {
                let left = replay.left();
                let Some(parts) = replay.next().await.map_err(rebuild_failure)? else { break };
                made.apply(parts)?;
                task.add(left - replay.left());
            }
            task.finish();
        }
        Ok(())
    });
    let ended = outcome.and_then(|()| made.finish());
    match ended {
        Ok(points) => output.line(format!(
            "{} changes made collection {} with {} points in {}",
            grouped(made.changes),
            arguments.collection,
            grouped(points),
            arguments.data.display()
        )),
        Err(failure) => {
            if made.collection.take().is_some() {
                database.drop_collection(&arguments.collection)?;
            }
            Err(failure)
        }
    }
}

/// What is made so far.
struct Made<'a> {
    arguments: &'a RebuildArguments,
    database: &'a Database,
    stop: &'a Stop,
    /// Made when the first vector tells its dimension.
    collection: Option<Arc<EmbeddedCollection>>,
    changes: u64,
    epochs: BTreeMap<(StreamName, u32), u64>,
}

impl Made<'_> {
    /// Applies changes, with the places they bring their streams to, so that ingest goes on behind them.
    fn apply(&mut self, parts: Vec<Replayed>) -> Result<()> {
        for part in parts {
            if self.stop.is_asked() {
                return Err(Failure::new("stopped; nothing is left of what was made"));
            }
            let Replayed { stream, partition, position, changes } = part;
            let Some(collection) = self.collection(&changes)? else { continue };
            let key = (stream.clone(), partition);
            let epoch = match self.epochs.get(&key) {
                Some(epoch) => *epoch,
                None => {
                    let epoch = collection.take_over(&stream, partition)?.epoch;
                    self.epochs.insert(key, epoch);
                    epoch
                }
            };
            self.changes += changes.len() as u64;
            let mark = SourceMark { stream, partition, epoch, position };
            let batch = WriteBatch { ops: ops_of(changes), source: Some(mark) };
            collection.write(batch, Durability::Synced).help(|| {
                "the topic holds vectors of several lengths, or values that a collection does not take: rebuild what \
                 came after the change with --since-ms"
                    .to_owned()
            })?;
        }
        Ok(())
    }

    /// The collection; `None` while only deletions came, which change nothing in an empty one.
    fn collection(&mut self, changes: &[Change]) -> Result<Option<Arc<EmbeddedCollection>>> {
        if self.collection.is_none() {
            let dim = changes.iter().find_map(|change| match change {
                Change::Upsert { vector, .. } => Some(vector.len()),
                Change::Delete { .. } => None,
            });
            let Some(dim) = dim else { return Ok(None) };
            let mut schema = CollectionSchema::single(dim, self.arguments.metric.metric());
            for params in schema.vectors.values_mut() {
                params.model.clone_from(&self.arguments.model);
            }
            self.collection = Some(self.database.create(&self.arguments.collection, schema)?);
        }
        Ok(self.collection.clone())
    }

    /// Brings all to disk and counts the points.
    fn finish(&self) -> Result<u64> {
        let Some(collection) = &self.collection else {
            let what = format!(
                "topic {} of this log has no vector of a collection {}",
                self.arguments.topic, self.arguments.collection
            );
            return Err(Failure::new(what).with_help(
                "see what the log holds: dvse topics list --log SOURCE; names are as `ingest` had them",
            ));
        };
        let points = collection.view().len() as u64;
        self.database.close()?;
        Ok(points)
    }
}

/// The same changes as operations: neighbours of one kind together.
fn ops_of(changes: Vec<Change>) -> Vec<WriteOp> {
    let mut ops: Vec<WriteOp> = Vec::new();
    for change in changes {
        match (change, ops.last_mut()) {
            (Change::Upsert { id, vector, payload }, last) => {
                let vectors = [(VectorName::new(), vector)].into();
                let point = Point { id, vectors, payload };
                match last {
                    Some(WriteOp::Upsert(points)) => points.push(point),
                    _ => ops.push(WriteOp::Upsert(vec![point])),
                }
            }
            (Change::Delete { id }, Some(WriteOp::Delete(PointSelector::Ids(ids)))) => ids.push(id),
            (Change::Delete { id }, _) => ops.push(WriteOp::Delete(PointSelector::Ids(vec![id]))),
        }
    }
    ops
}

fn rebuild_failure(error: RebuildError) -> Failure {
    match error {
        RebuildError::Log(error) => log_failure(*error),
        RebuildError::TwoHistories { .. } => Failure::from(error).with_help(
            "the collection was deleted and made again; rebuild the later one with --since-ms and the time at which it \
             was made, which is not after the one told here",
        ),
        RebuildError::Event { .. } | RebuildError::Field { .. } => {
            Failure::from(error).with_help("give the topic that `dvse ingest` writes: --topic NAME")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dvse_types::PointId;

    #[test]
    fn changes_keep_their_order() {
        let upsert =
            |id| Change::Upsert { id: PointId::Num(id), vector: [1.0].into(), payload: Default::default() };
        let delete = |id| Change::Delete { id: PointId::Num(id) };
        let ops = ops_of(vec![upsert(1), upsert(2), delete(1), delete(2), upsert(1)]);
        let shape: Vec<_> = ops
            .iter()
            .map(|op| match op {
                WriteOp::Upsert(points) => points.len() as i64,
                WriteOp::Delete(PointSelector::Ids(ids)) => -(ids.len() as i64),
                _ => 0,
            })
            .collect();
        assert_eq!(shape, [2, -2, 1]);
        assert!(ops_of(Vec::new()).is_empty());
    }
}
