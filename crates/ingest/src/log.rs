//! What a log of topics offers, whichever it is: the embedded one, or a broker.
//!
//! One conformance suite (`tests/it/conformance.rs`) says what an implementation has to do.

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::time::Duration;

use dvse_storage::{CheckedFileError, DirectoryError, GatherBuf, WalError};
use thiserror::Error;

use crate::topic::{TopicName, TopicSpec};
use dvse_types::{Position, StreamName};

/// A future of a trait that is used as an object.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A record of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place; those of later records are larger.
    pub position: Position,
    /// What decided its partition; may be empty.
    pub key: Vec<u8>,
    /// What was sent.
    pub payload: Vec<u8>,
    /// When it was appended, in milliseconds since 1970.
    pub appended_ms: u64,
}

/// How much to read at once, and how long to wait for the first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// At most so many records.
    pub records: usize,
    /// Not beyond so many bytes, unless the first record alone is larger.
    pub bytes: usize,
    /// How long to wait where there is none.
    pub wait: Duration,
}

/// What lies before a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Records that are not committed.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A log of topics. Handles are cheap, and may be used from many threads.
pub trait TopicLog: fmt::Debug + Send + Sync {
    /// Makes a topic, or changes the settings of one that is there.
    ///
    /// # Errors
    /// [`LogError::Partitions`] if it is there with another number of partitions, which is fixed.
    fn ensure<'a>(&'a self, topic: &'a TopicName, spec: TopicSpec) -> Pending<'a, Result<(), LogError>>;

    /// Returns the settings of a topic; `None` if there is none of this name.
    ///
    /// # Errors
    /// The log cannot be read.
    fn spec<'a>(&'a self, topic: &'a TopicName) -> Pending<'a, Result<Option<TopicSpec>, LogError>>;

    /// Returns all topics in order.
    ///
    /// # Errors
    /// The log cannot be read.
    fn topics(&self) -> Pending<'_, Result<Vec<TopicName>, LogError>>;

    /// Opens a partition for reading. With the name of a subscription it begins behind what that committed, and from
    /// now on no record is dropped before the subscription passed it; without one it begins at the oldest record and
    /// holds nothing back.
    ///
    /// # Errors
    /// [`LogError::NoTopic`] or [`LogError::NoPartition`] if there is none.
    fn source<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: u32,
        subscription: Option<&'a str>,
    ) -> Pending<'a, Result<Box<dyn Source>, LogError>>;

    /// Opens a partition for writing; one producer at a time may.
    ///
    /// # Errors
    /// [`LogError::Busy`] if another producer has it, in this process or another.
    fn producer<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: u32,
    ) -> Pending<'a, Result<Box<dyn Producer>, LogError>>;

    /// Opens a partition for writing beside others that do the same, where the log can: each one's records keep their order. Else it
    /// is [`producer`](TopicLog::producer).
    ///
    /// # Errors
    /// Those of [`producer`](TopicLog::producer).
    fn shared_producer<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: u32,
    ) -> Pending<'a, Result<Box<dyn Producer>, LogError>> {
        self.producer(topic, partition)
    }

    /// Gives a subscription up, on all partitions: what only it had not passed may be dropped. None of this name is fine.
    ///
    /// # Errors
    /// The log cannot be written.
    fn unsubscribe<'a>(
        &'a self,
        topic: &'a TopicName,
        subscription: &'a str,
    ) -> Pending<'a, Result<(), LogError>>;
}

/// A partition, being read in order.
pub trait Source: fmt::Debug + Send {
    /// Names the stream the positions belong to. It is another one if the topic is removed and made again, because
    /// positions begin anew then.
    fn stream(&self) -> &StreamName;

    /// Returns the place up to which the subscription has committed; `None` is before the first record.
    fn committed(&self) -> Option<Position>;

    /// Goes behind a record; `None` goes to the oldest there is.
    fn seek(&mut self, after: Option<Position>);

    /// Reads the next records; none only if there is none after the time to wait. All that is returned is durable.
    ///
    /// # Errors
    /// [`LogError::Gone`] if the next record was dropped, or never was.
    fn read(&mut self, limits: ReadLimits) -> Pending<'_, Result<Vec<Record>, LogError>>;

    /// Notes durably that everything up to a record is done with. A place that is passed already changes nothing.
    ///
    /// A broker that crashes may forget the newest of these notes, and one that notes whole batches of a sender notes less; what it
    /// has is never ahead of what was committed.
    ///
    /// # Errors
    /// [`LogError::NoSubscription`] where the source was opened without one.
    fn commit(&mut self, position: Position) -> Pending<'_, Result<(), LogError>>;

    /// Returns what is behind the committed place; a broker counts what its senders sent as one for one, and guesses the bytes.
    ///
    /// # Errors
    /// The log cannot be read.
    fn lag(&mut self) -> Pending<'_, Result<Lag, LogError>>;
}

/// A partition, being appended to.
pub trait Producer: fmt::Debug + Send {
    /// Takes a record into the buffer; it is durable after [`flush`](Producer::flush). Waits where too much is unconsumed.
    ///
    /// # Errors
    /// One that [is held](LogError::is_held) if there was no room after that time: nothing was taken, and the same call works
    /// later.
    fn append<'a>(
        &'a mut self,
        key: &'a [u8],
        payload: &'a [u8],
        wait: Duration,
    ) -> Pending<'a, Result<(), LogError>>;

    /// As [`append`](Producer::append), without copying what the payload does not, where the log can: it refers to those parts until
    /// they are durable.
    ///
    /// # Errors
    /// Those of [`append`](Producer::append).
    fn append_gathered<'a>(
        &'a mut self,
        key: &'a [u8],
        payload: GatherBuf,
        wait: Duration,
    ) -> Pending<'a, Result<(), LogError>> {
        Box::pin(async move { self.append(key, &payload.into_vec(), wait).await })
    }

    /// Returns once all that was appended is durable.
    ///
    /// # Errors
    /// One that [is held](LogError::is_held) if there was no room for as long as the last `append` would have waited: the
    /// same call works later. Else:
    /// Writing failed: whether the records are durable is unknown until the partition is opened again.
    fn flush(&mut self) -> Pending<'_, Result<(), LogError>>;

    /// Visits the durable records of the partition from the newest to the oldest, until told to stop.
    ///
    /// # Errors
    /// The log cannot be read.
    fn visit_newest_first<'a>(
        &'a mut self,
        visit: &'a mut (dyn FnMut(Record) -> ControlFlow<()> + Send),
    ) -> Pending<'a, Result<(), LogError>>;
}

impl LogError {
    /// Whether a producer is held because too much is unconsumed: the same call works later.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self, LogError::Held { .. } | LogError::HeldByBroker { .. })
    }
}

/// A log did not do what it was asked.
#[derive(Debug, Error)]
pub enum LogError {
    /// The topic is not there.
    #[error("topic {topic} is not in this log")]
    NoTopic {
        /// The topic.
        topic: TopicName,
    },
    /// The topic has no such partition.
    #[error("topic {topic} has partitions 0 to {}, not {partition}", partitions.saturating_sub(1))]
    NoPartition {
        /// The topic.
        topic: TopicName,
        /// The partition asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// The number of partitions is fixed.
    #[error(
        "topic {topic} has {there} partitions, which cannot become {asked}: the order of keys would be lost"
    )]
    Partitions {
        /// The topic.
        topic: TopicName,
        /// How many it has.
        there: u32,
        /// How many were asked for.
        asked: u32,
    },
    /// The settings of a topic cannot be.
    #[error("{field} of topic {topic} is {got}, but must be {rule}")]
    Setting {
        /// The topic.
        topic: TopicName,
        /// Which setting.
        field: &'static str,
        /// Its value.
        got: u64,
        /// What it may be.
        rule: &'static str,
    },
    /// Somebody else appends to the partition.
    #[error("partition {partition} of {topic} is being written by {holder}")]
    Busy {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: u32,
        /// Who.
        holder: String,
    },
    /// Too much is unconsumed.
    #[error(
        "partition {partition} of {topic} holds {backlog_bytes} bytes that the slowest subscription has not passed, of at most {bytes_max}"
    )]
    Held {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: u32,
        /// Bytes that wait.
        backlog_bytes: u64,
        /// Bytes that may.
        bytes_max: u64,
    },
    /// Too much is unconsumed, says the broker.
    #[error("producers of partition {partition} of {topic} are held: {reason}")]
    HeldByBroker {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: u32,
        /// What the broker said.
        reason: String,
    },
    /// The broker cannot be reached, and it was not to be waited for any longer.
    #[error("the broker at {url} cannot be reached: {reason}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What was seen of it.
        reason: String,
    },
    /// The broker does not let us in, or not to this topic.
    #[error("the broker at {url} lets us not in: {reason}")]
    Denied {
        /// Where it is.
        url: String,
        /// What it said.
        reason: String,
    },
    /// The broker will not do it, now or later.
    #[error("the broker at {url} refuses {what}: {reason}")]
    Refused {
        /// Where it is.
        url: String,
        /// What was asked for.
        what: String,
        /// What it said.
        reason: String,
    },
    /// Only the administration interface of the broker can do it, and its address is not known.
    #[error("{what} needs the address of the broker's administration")]
    NeedsAdministration {
        /// What was asked for.
        what: String,
    },
    /// A record is not there.
    #[error(
        "partition {partition} of {topic} does not hold record {position}: it holds {oldest} to {newest}"
    )]
    Gone {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: u32,
        /// The record.
        position: Position,
        /// The oldest there is.
        oldest: Position,
        /// The newest known.
        newest: Position,
    },
    /// A record is too large.
    #[error("a record of {bytes} bytes is larger than the limit of {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The source was opened without a subscription.
    #[error("a source without a subscription cannot commit")]
    NoSubscription,
    /// The name of a subscription cannot be one.
    #[error("{0:?} cannot name a subscription: it must have 1 to 80 bytes")]
    SubscriptionName(String),
    /// A file does not hold what was written.
    #[error("{what} of partition {partition} of {topic} is damaged: {problem}")]
    Damaged {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: u32,
        /// Which part.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The settings file of a topic does not hold settings.
    #[error("the settings of {topic} cannot be read: {problem}")]
    Settings {
        /// The topic.
        topic: TopicName,
        /// What is wrong with them.
        problem: String,
    },
    /// The records of a partition cannot be read or written.
    #[error("partition {partition} of {topic}")]
    Records {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: u32,
        /// What the files said.
        source: Box<WalError>,
    },
    /// A small file cannot be read or written.
    #[error("the log's files")]
    File(#[from] CheckedFileError),
    /// A folder cannot be read or written.
    #[error("the log's folder")]
    Directory(#[from] DirectoryError),
}
