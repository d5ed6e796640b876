//! A collection out of `vector-indexed` alone: its events, each once, in the order in which they were committed.
//!
//! A worker publishes the events of one partition of a stream into one partition of this topic, in the order of the records, so
//! of a point the last event there is the last change. After a crash the end of a batch may have been published twice, which the
//! place of the record tells: it does not get smaller.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use dvse_types::{Payload, PointId, Position, StreamName};
use thiserror::Error;

use crate::event::{IndexedEvent, InvalidEvent, Operation};
use crate::log::{LogError, ReadLimits, Record, Source, TopicLog};
use crate::sink::Change;
use crate::topic::TopicName;

/// What is read at once.
const RECORDS: usize = 1_024;
const BYTES: usize = 8 << 20;
/// A log that has records hands some out, however long it takes; this is for one that has none.
const WAIT: Duration = Duration::from_millis(100);

/// Changes of a partition of a stream, of any points, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// The stream whose records asked for them.
    pub stream: StreamName,
    /// Its partition.
    pub partition: u32,
    /// The place of the last of the records.
    pub position: Position,
    /// The changes, at least one.
    pub changes: Vec<Change>,
}

/// The topic does not hold the history of a collection.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(Box<LogError>),
    /// A record is no event.
    #[error("record {position} of partition {partition}")]
    Event {
        /// The partition of the topic.
        partition: u32,
        /// The record.
        position: Position,
        /// What is wrong with it.
        source: InvalidEvent,
    },
    /// An event says something that cannot be.
    #[error("record {position} of partition {partition}: field {field} is {got}, but must be {rule}")]
    Field {
        /// The partition of the topic.
        partition: u32,
        /// The record.
        position: Position,
        /// Which field.
        field: &'static str,
        /// Its value, or the beginning of it.
        got: String,
        /// What it may be.
        rule: &'static str,
    },
    /// A collection of the name was deleted and made again.
    #[error(
        "partition {partition} holds events of two collections of this name: behind entry {before} of its log the same \
         records come again in entry {after}, committed at {since_ms} ms since 1970"
    )]
    TwoHistories {
        /// The partition of the topic.
        partition: u32,
        /// The last entry of the earlier one.
        before: u64,
        /// The entry in which its records come again.
        after: u64,
        /// When the later history began.
        since_ms: u64,
    },
}

impl From<LogError> for RebuildError {
    fn from(error: LogError) -> RebuildError {
        RebuildError::Log(Box::new(error))
    }
}

/// The events of one collection in one partition of the topic.
#[derive(Debug)]
pub struct Replay {
    source: Box<dyn Source>,
    partition: u32,
    collection: String,
    since_ms: u64,
    left: u64,
    /// The entry of the last event, and what its events say.
    entry: u64,
    contents: HashMap<Position, u64>,
    /// How far each partition of each stream is.
    places: BTreeMap<(String, u32), Position>,
}

impl Replay {
    /// Opens a partition at its beginning. Events that were committed before `since_ms` are left out.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn open(
        log: &dyn TopicLog,
        topic: &TopicName,
        partition: u32,
        collection: &str,
        since_ms: u64,
    ) -> Result<Replay, RebuildError> {
        let mut source = log.source(topic, partition, None).await?;
        let left = source.lag().await?.records;
        let collection = collection.to_owned();
        let (contents, places) = (HashMap::new(), BTreeMap::new());
        Ok(Replay { source, partition, collection, since_ms, left, entry: 0, contents, places })
    }

    /// About how many records are still to be looked at, those of other collections among them.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Returns what comes next; `None` at the end. Empty where all that was read is of other collections.
    ///
    /// # Errors
    /// See [`RebuildError`].
    pub async fn next(&mut self) -> Result<Option<Vec<Replayed>>, RebuildError> {
        let records = self.source.read(ReadLimits { records: RECORDS, bytes: BYTES, wait: WAIT }).await?;
        if records.is_empty() {
            return Ok(None);
        }
        self.left = self.left.saturating_sub(records.len() as u64);
        let mut replayed: Vec<Replayed> = Vec::new();
        for record in records {
            let event = match &record.flaw {
                Some(flaw) => Err(InvalidEvent::unreadable(flaw)),
                None => IndexedEvent::decode(&record.payload),
            };
            let event = event.map_err(|source| RebuildError::Event {
                partition: self.partition,
                position: record.position,
                source,
            })?;
            if event.collection != self.collection || event.commit_ts < self.since_ms {
                continue;
            }
            let Some((stream, position)) = self.place(&event, &record)? else { continue };
            let partition = event.source_partition;
            let change = self.change(event, &record)?;
            match replayed.last_mut() {
                Some(last) if last.stream == stream && last.partition == partition => {
                    last.position = position;
                    last.changes.push(change);
                }
                _ => {
                    replayed.push(Replayed { stream, partition, position, changes: vec![change] });
                }
            }
        }
        Ok(Some(replayed))
    }

    /// Where an event's record is; `None` if the event was there already.
    fn place(
        &mut self,
        event: &IndexedEvent,
        record: &Record,
    ) -> Result<Option<(StreamName, Position)>, RebuildError> {
        let wrong = |field, got: &str, rule| self.wrong(record, field, got, rule);
        let position = event.position();
        let position =
            position.ok_or_else(|| wrong("source_position", &event.source_position, "a number"))?;
        let stream: StreamName = event
            .source_stream
            .parse()
            .map_err(|_| wrong("source_stream", &event.source_stream, "the name of a stream"))?;
        let content = content_of(event);
        let key = (event.source_stream.clone(), event.source_partition);
        if self.places.get(&key).is_some_and(|there| position <= *there) {
            // Only the last batch is ever published again, and as it was.
            if event.log_position == self.entry && self.contents.get(&position) == Some(&content) {
                return Ok(None);
            }
            return Err(RebuildError::TwoHistories {
                partition: self.partition,
                before: self.entry,
                after: event.log_position,
                since_ms: event.commit_ts,
            });
        }
        // A collection that was rebuilt goes on where its records end, in a log whose numbers begin anew.
        if event.log_position != self.entry {
            self.entry = event.log_position;
            self.contents.clear();
        }
        self.contents.insert(position, content);
        self.places.insert(key, position);
        Ok(Some((stream, position)))
    }

    fn change(&self, event: IndexedEvent, record: &Record) -> Result<Change, RebuildError> {
        let wrong = |field, got: &str, rule| self.wrong(record, field, got, rule);
        let id: PointId = event
            .vector_id
            .parse()
            .map_err(|_| wrong("vector_id", &event.vector_id, "a whole number or a UUID"))?;
        if event.operation == Operation::Delete {
            return Ok(Change::Delete { id });
        }
        let payload: Payload = serde_json::from_slice(&event.payload)
            .map_err(|_| wrong("payload", &String::from_utf8_lossy(&event.payload), "a JSON object"))?;
        if event.embedding.is_empty() {
            return Err(wrong("embedding", "empty", "the vector of a point that is written"));
        }
        Ok(Change::Upsert { id, vector: event.embedding, payload })
    }

    fn wrong(&self, record: &Record, field: &'static str, got: &str, rule: &'static str) -> RebuildError {
        const SHOWN: usize = 60;
        let got = got.chars().take(SHOWN).collect();
        RebuildError::Field { partition: self.partition, position: record.position, field, got, rule }
    }
}

/// What an event says of its point. Within one process.
fn content_of(event: &IndexedEvent) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&event.vector_id, event.operation, &event.payload, event.ordinal).hash(&mut hasher);
    event.embedding.iter().for_each(|value| value.to_bits().hash(&mut hasher));
    hasher.finish()
}
