//! A collection of this process at the end of a pipeline.

use std::collections::HashMap;
use std::sync::Arc;

use dvse_engine::{Durability, EmbeddedCollection, MarkOutcome, Refusal, WriteError};
use dvse_ingest::{Change, Pending, Sink, SinkError, Written};
use dvse_types::{
    Classify, CollectionSchema, ErrorKind, NamedVectors, PayloadSelector, Point, PointId, PointSelector,
    Projection, SourceMark, SourceState, StreamName, VectorName, VectorSelector, WriteBatch, WriteOp,
};

/// A collection of this process. Its calls block the worker's thread, which has nothing else to do.
pub struct EngineSink {
    collection: Arc<EmbeddedCollection>,
    schema: Arc<CollectionSchema>,
    dim: usize,
}

impl EngineSink {
    /// A collection whose vectors have no name and `dim` dimensions.
    #[must_use]
    pub fn new(collection: Arc<EmbeddedCollection>, dim: usize) -> EngineSink {
        EngineSink { schema: collection.schema(), collection, dim }
    }

    fn write_now(&self, changes: &[Change], mark: &SourceMark) -> Result<Written, SinkError> {
        let batch = WriteBatch { ops: operations(changes), source: Some(mark.clone()) };
        let receipt = self.collection.write(batch, Durability::Synced).map_err(|error| sink_error(&error))?;
        let seq = receipt.seq.0;
        Ok(match receipt.mark {
            Some(MarkOutcome::Duplicate { position }) => Written::Duplicate { position, seq },
            _ => Written::Applied { seq },
        })
    }

    fn vectors_now(&self, ids: &[PointId]) -> Result<Vec<Option<Vec<f32>>>, SinkError> {
        let wanted = Projection { payload: PayloadSelector::None, vectors: VectorSelector::All };
        let records = self.collection.view().retrieve(ids, &wanted);
        let records = records.map_err(|error| SinkError::Unavailable(error.to_string()))?;
        let found = records.into_iter().filter_map(|record| {
            let vector = record.vectors?.remove("")?;
            Some((record.id, vector.to_vec()))
        });
        let mut found: HashMap<PointId, Vec<f32>> = found.collect();
        Ok(ids.iter().map(|id| found.remove(id)).collect())
    }
}

impl Sink for EngineSink {
    fn dim(&self) -> usize {
        self.dim
    }

    fn objection(&self, vector: &[f32]) -> Option<String> {
        self.schema.check_vector("", vector).err().map(|error| error.to_string())
    }

    fn take_over<'a>(
        &'a mut self,
        stream: &'a StreamName,
        partition: u32,
    ) -> Pending<'a, Result<SourceState, SinkError>> {
        Box::pin(
            async move { self.collection.take_over(stream, partition).map_err(|error| sink_error(&error)) },
        )
    }

    fn write<'a>(
        &'a mut self,
        changes: &'a [Change],
        mark: &'a SourceMark,
    ) -> Pending<'a, Result<Written, SinkError>> {
        Box::pin(async move { self.write_now(changes, mark) })
    }

    fn vectors<'a>(
        &'a mut self,
        ids: &'a [PointId],
    ) -> Pending<'a, Result<Vec<Option<Vec<f32>>>, SinkError>> {
        Box::pin(async move { self.vectors_now(ids) })
    }
}

/// All upserts, then all deletes: the changes of a batch are of one point each, so that their order is nothing.
fn operations(changes: &[Change]) -> Vec<WriteOp> {
    let (mut points, mut deleted) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::Upsert { id, vector, payload } => {
                let vectors = NamedVectors::from([(VectorName::new(), vector.clone())]);
                points.push(Point { id: *id, vectors, payload: payload.clone() });
            }
            Change::Delete { id } => deleted.push(*id),
        }
    }
    let mut operations = Vec::new();
    if !points.is_empty() {
        operations.push(WriteOp::Upsert(points));
    }
    if !deleted.is_empty() {
        operations.push(WriteOp::Delete(PointSelector::Ids(deleted)));
    }
    operations
}

/// Sorts an error by whether the same call can work later.
fn sink_error(error: &WriteError) -> SinkError {
    let message = error.to_string();
    match error {
        // It was dropped: the node ends its pipelines before it closes its collections.
        WriteError::Closed { .. } | WriteError::Refused(Refusal::TooMany { .. }) => {
            SinkError::Hopeless(message)
        }
        _ => match error.kind() {
            ErrorKind::Fenced => SinkError::Fenced(message),
            ErrorKind::InvalidInput | ErrorKind::TooLarge => SinkError::Refused(message),
            _ => SinkError::Unavailable(message),
        },
    }
}
