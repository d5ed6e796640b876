//! Streams of records into collections, exactly once.
//!
//! This crate knows topics, records and their positions, and the protocol that brings each record into a collection once,
//! whatever crashes in between. It refuses to know the engine, HTTP and which model embeds: a collection is a [`Sink`] and a
//! model an [`Embedder`]. It refuses to know which log it reads, too: that is a [`TopicLog`].
//!
//! In reading order:
//!
//! - [`TopicName`], [`TopicSpec`] and [`partition_of`]: what a topic is.
//! - [`TopicLog`], [`Source`] and [`Producer`]: what a log offers. [`EmbeddedLog`] is the one that needs only a folder; with cargo
//!   feature `pulsar`, `pulsar::PulsarLog` is a cluster of Apache Pulsar.
//! - [`RawEvent`]: what a record has to be, or the [`Poison`] it is.
//! - [`DeadLetter`] and [`IndexedEvent`]: what is written about a record that is poison, and about one that is committed.
//! - [`Replay`]: a collection out of its events.
//! - [`pipeline`]: the protocol. `docs/adr/0015-stream-ingest.md` tells why it is so.

mod dead_letter;
mod embedded;
mod event;
mod log;
pub mod pipeline;
#[cfg(feature = "pulsar")]
pub mod pulsar;
mod raw;
mod raw_event;
mod rebuild;
mod sink;
mod topic;

pub use dead_letter::{DeadLetter, InvalidDeadLetter};
pub use embedded::{Clock, EmbeddedLog};
pub use event::{IndexedEvent, InvalidEvent, Operation};
pub use log::{Lag, LogError, Pending, Producer, ReadLimits, Record, Source, TopicLog};
pub use raw_event::{
    Content, ID_NAMESPACE, Poison, RECORD_BYTES_MAX, RawChange, RawEvent, id_of_source, key_of,
};
pub use rebuild::{RebuildError, Replay, Replayed};
pub use sink::{Change, EmbedFailure, Embedder, Sink, SinkError, Written, payload_bytes, push_payload};
pub use topic::{InvalidTopicName, PARTITIONS_MAX, TopicName, TopicSpec, partition_of};
