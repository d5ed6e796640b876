//! The protocol that brings each record of a stream into a collection once.
//!
//! One worker a partition, on a thread with a single-threaded runtime of its own, so that the order of a partition is the order of
//! its records and no worker waits for another. A batch goes through these steps, and no step of the next begins before all are
//! done:
//!
//! 1. read, decode, embed;
//! 2. write the dead letters of the records that are poison, durably;
//! 3. commit the changes, and in the same log entry the place of the last record (the *mark*);
//! 4. publish an event for each change, durably;
//! 5. acknowledge: commit the subscription.
//!
//! Wherever a worker dies, the mark says what is in the collection, and at most the batch that brought it there is not published.
//! The next worker takes the partition over, which fences the old one, finishes steps 4 and 5 of that batch, and goes on behind
//! the mark ([`recover`]).
//!
//! A worker can be held between two batches ([`Progress::pause`], [`Progress::drain`]). It keeps its epoch meanwhile, which keeps
//! nobody from taking the partition over; and the log holds senders, as nothing is acknowledged.

mod batch;
mod gate;
mod partition;
mod progress;
mod recover;
mod worker;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use thiserror::Error;

pub use self::partition::{FailureKind, PartitionStatus, WorkerState};
pub use self::progress::{Counts, Mode, PipelineStatus, Progress};

use self::partition::PartitionProgress;
use self::worker::{Halt, Worker};
use crate::embedded::Clock;
use crate::log::{LogError, TopicLog};
use crate::sink::{Embedder, Sink, SinkError};
use crate::topic::{TopicName, TopicSpec};

/// How a pipeline runs.
#[derive(Debug, Clone)]
pub struct PipelineConfig {
    /// The collection, as events and letters name it.
    pub collection: String,
    /// The subscription of the raw records.
    pub subscription: String,
    /// Where records come from.
    pub raw_events: TopicName,
    /// Where events go.
    pub vector_indexed: TopicName,
    /// Where poison goes.
    pub dead_letters: TopicName,
    /// Records of a batch, at most. Default 512: a batch is one entry and one sync of the collection's log.
    pub batch_records: NonZeroUsize,
    /// Bytes of a batch, at most, unless one record alone is larger. Default 4 MiB: what is in memory is a few times this.
    pub batch_bytes: usize,
    /// Texts embedded at once. Default 256.
    pub embed_texts: NonZeroUsize,
    /// How long an idle worker waits for a record before it looks whether it is to stop. Default 100 ms.
    pub idle_wait: Duration,
    /// First pause before a call that failed is tried again; each next one is twice as long. Default 100 ms.
    pub retry_first: Duration,
    /// Longest pause. Default 5 s.
    pub retry_longest: Duration,
    /// Whether to end once nothing is left, in place of waiting for more. Default no.
    pub until_empty: bool,
}

impl PipelineConfig {
    /// From and to the default topics, for a collection.
    #[must_use]
    pub fn of(collection: &str) -> PipelineConfig {
        PipelineConfig {
            collection: collection.to_owned(),
            subscription: collection.to_owned(),
            raw_events: TopicName::raw_events(),
            vector_indexed: TopicName::vector_indexed(),
            dead_letters: TopicName::dead_letters(),
            batch_records: NonZeroUsize::new(512).unwrap_or(NonZeroUsize::MIN),
            batch_bytes: 4 << 20,
            embed_texts: NonZeroUsize::new(256).unwrap_or(NonZeroUsize::MIN),
            idle_wait: Duration::from_millis(100),
            retry_first: Duration::from_millis(100),
            retry_longest: Duration::from_secs(5),
            until_empty: false,
        }
    }
}

/// Makes what a worker needs, on the worker's thread.
pub trait Parts: Sync {
    /// Called on the worker's thread before anything else, to set how it runs.
    fn started(&self) {}

    /// A connection to the collection.
    fn sink(&self) -> Box<dyn Sink>;

    /// A model.
    fn embedder(&self) -> Box<dyn Embedder>;
}

/// Why a pipeline ended by itself.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// The log cannot be read or written.
    #[error("ingest of partition {partition} stopped")]
    Log {
        /// The partition.
        partition: u32,
        /// What the log said.
        source: Box<LogError>,
    },
    /// The collection cannot be written.
    #[error("ingest of partition {partition} stopped")]
    Sink {
        /// The partition.
        partition: u32,
        /// What the collection said.
        source: SinkError,
    },
    /// The collection has come farther than this worker brought it, although the worker has the newest epoch.
    #[error(
        "partition {partition}: the collection is at record {there}, this worker only at {here}: two streams share a name"
    )]
    MarkAhead {
        /// The partition.
        partition: u32,
        /// The mark of the collection.
        there: dvse_types::Position,
        /// The worker's.
        here: dvse_types::Position,
    },
    /// The model gave another number of vectors than texts, or of another dimension.
    #[error("partition {partition}: the model gave {got}, expected {expected}")]
    Model {
        /// The partition.
        partition: u32,
        /// What it gave.
        got: String,
        /// What it should have.
        expected: String,
    },
    /// The machine gives no thread or runtime.
    #[error("cannot start a worker")]
    Start(#[from] std::io::Error),
}

impl PipelineError {
    /// Returns what failed.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            PipelineError::Log { .. } => FailureKind::Log,
            PipelineError::Sink { source: SinkError::Fenced(_), .. } => FailureKind::Fenced,
            PipelineError::Sink { .. } => FailureKind::Collection,
            PipelineError::Model { .. } => FailureKind::Model,
            PipelineError::MarkAhead { .. } | PipelineError::Start(_) => FailureKind::Other,
        }
    }
}

/// Makes the three topics that are not there, with as many partitions as asked; settings of those that are there stay.
///
/// # Errors
/// The log cannot be written; or events and letters have another number of partitions than the raw records.
pub async fn ensure_topics(
    log: &dyn TopicLog,
    config: &PipelineConfig,
    partitions: u32,
) -> Result<u32, LogError> {
    if log.spec(&config.raw_events).await?.is_none() {
        log.ensure(&config.raw_events, TopicSpec::raw_events(partitions)).await?;
    }
    let there = log.spec(&config.raw_events).await?.map_or(partitions, |spec| spec.partitions);
    // A worker writes the partition of its own number, so that nobody else does.
    for (topic, spec) in [
        (&config.vector_indexed, TopicSpec::vector_indexed(there)),
        (&config.dead_letters, TopicSpec::dead_letters(there)),
    ] {
        match log.spec(topic).await? {
            None => log.ensure(topic, spec).await?,
            Some(found) if found.partitions != there => {
                return Err(LogError::Partitions {
                    topic: topic.clone(),
                    there: found.partitions,
                    asked: there,
                });
            }
            Some(_) => {}
        }
    }
    Ok(there)
}

/// Runs one worker for each partition of the raw records, until [`Progress::stop`] is called, one fails, or, if so configured,
/// nothing is left. The batch under way is brought to its end first. After a failure it may run again with the same
/// progress, once [`Progress::resume`] has been called.
///
/// # Errors
/// The first failure; the other workers are stopped then.
pub fn run(
    log: &Arc<dyn TopicLog>,
    config: &PipelineConfig,
    partitions: u32,
    parts: &dyn Parts,
    progress: &Progress,
) -> Result<(), PipelineError> {
    let places = progress.prepare(partitions, (Clock::system().0)());
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for (partition, place) in (0..).zip(&places) {
            let name = format!("ingest-{partition}");
            let work = move || {
                let _ending = Ending { place, progress };
                let ended = run_worker(log, config, partition, parts, place);
                if let Err(error) = &ended {
                    place.failed(error.kind());
                    progress.halt();
                }
                ended
            };
            let spawned = thread::Builder::new().name(name).spawn_scoped(scope, work);
            // The scope joins those that run already.
            workers.push(spawned.inspect_err(|_| progress.halt())?);
        }
        let mut outcome = Ok(());
        for worker in workers {
            match worker.join() {
                Ok(ended) => outcome = outcome.and(ended),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        outcome
    })
}

/// Tells that a worker has ended, also where it panics: the others are to end then, too.
struct Ending<'a> {
    place: &'a PartitionProgress,
    progress: &'a Progress,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.progress.halt();
        }
        self.place.ended();
    }
}

fn run_worker(
    log: &Arc<dyn TopicLog>,
    config: &PipelineConfig,
    partition: u32,
    parts: &dyn Parts,
    progress: &PartitionProgress,
) -> Result<(), PipelineError> {
    parts.started();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let opened = Worker::open(&**log, config, partition, parts, progress).await;
        let ended = match opened {
            Ok(mut worker) => worker.run().await,
            Err(halt) => Err(halt),
        };
        match ended {
            Ok(()) | Err(Halt::Stopped) => Ok(()),
            Err(Halt::Log(source)) => Err(PipelineError::Log { partition, source }),
            Err(Halt::Sink(source)) => Err(PipelineError::Sink { partition, source }),
            Err(Halt::Other(error)) => Err(*error),
        }
    })
}
