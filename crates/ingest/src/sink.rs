//! What the pipeline needs of a collection and of a model.

use dvse_types::{PointId, Position, SourceMark, SourceState, StreamName, Vector};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::log::Pending;

/// A collection that keeps, in the same log entry as the data, how far it has come in a stream.
pub trait Sink: Send {
    /// Returns the number of dimensions of its vectors.
    fn dim(&self) -> usize;

    /// Says what the collection would have against a vector, such as that it has no direction; `None` if nothing. Asked
    /// for each record, because of several of one point in a batch only the last reaches the collection.
    fn objection(&self, vector: &[f32]) -> Option<String>;

    /// Takes a partition of a stream over: whoever had it can write nothing from now on. Durable.
    ///
    /// # Errors
    /// See [`SinkError`].
    fn take_over<'a>(
        &'a mut self,
        stream: &'a StreamName,
        partition: u32,
    ) -> Pending<'a, Result<SourceState, SinkError>>;

    /// Commits changes, of one point each, together with the place they bring the stream to. May be empty. Durable.
    ///
    /// # Errors
    /// See [`SinkError`]. After [`SinkError::Unavailable`] it is unknown whether it happened; the same call again is safe.
    fn write<'a>(
        &'a mut self,
        changes: &'a [Change],
        mark: &'a SourceMark,
    ) -> Pending<'a, Result<Written, SinkError>>;

    /// Returns the vectors that the collection holds; `None` for a point that is not there.
    ///
    /// # Errors
    /// See [`SinkError`].
    fn vectors<'a>(&'a mut self, ids: &'a [PointId])
    -> Pending<'a, Result<Vec<Option<Vec<f32>>>, SinkError>>;
}

/// A change to one point.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Write it.
    Upsert {
        /// Its id.
        id: PointId,
        /// Its vector.
        vector: Vector,
        /// Its payload.
        payload: Map<String, Value>,
    },
    /// Delete it; it need not be there.
    Delete {
        /// Its id.
        id: PointId,
    },
}

impl Change {
    /// Returns the point it is about.
    #[must_use]
    pub fn id(&self) -> PointId {
        match self {
            Change::Upsert { id, .. } | Change::Delete { id } => *id,
        }
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is committed, as this entry of the log.
    Applied {
        /// Number of the entry.
        seq: u64,
    },
    /// The collection had come this far already.
    Duplicate {
        /// How far.
        position: Position,
        /// Number of the entry that brought it there.
        seq: u64,
    },
}

/// Why a collection did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SinkError {
    /// It cannot be reached, is busy or full: the same call works later.
    #[error("the collection is not available: {0}")]
    Unavailable(String),
    /// Something in the batch is wrong and will be wrong again.
    #[error("the collection refuses the batch: {0}")]
    Refused(String),
    /// Another worker took the partition over.
    #[error("another worker has taken the partition over: {0}")]
    Fenced(String),
    /// Nothing can be written whatever it is, such as without a valid key or to a collection that was deleted.
    #[error("the collection cannot be written: {0}")]
    Hopeless(String),
}

/// Makes vectors of texts.
pub trait Embedder: Send {
    /// Returns one vector a text, in order.
    ///
    /// # Errors
    /// See [`EmbedFailure`].
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Vector>, EmbedFailure>;
}

/// Why there are no vectors.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EmbedFailure {
    /// One text has none, and never will.
    #[error("text {index}: {reason}")]
    Text {
        /// Which one of the call.
        index: usize,
        /// Why.
        reason: String,
    },
    /// The model failed; the same call may work later.
    #[error("the model failed: {0}")]
    Model(String),
}
