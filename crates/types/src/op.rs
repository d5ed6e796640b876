//! Writes: what the log carries.

use crate::{
    FieldKind, Filter, IndexSpec, Payload, PayloadPath, Point, PointId, PointVectors, SourceMark, StreamName,
    VectorName,
};

/// Some operations that enter the log as one entry and take effect together, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WriteBatch {
    /// The operations.
    pub ops: Vec<WriteOp>,
    /// How far into a stream of records the batch reaches, where its operations come from one. With it a batch may
    /// have no operations: the position moves on all the same.
    pub source: Option<SourceMark>,
}

impl WriteBatch {
    /// A batch of operations that come from no stream.
    #[must_use]
    pub fn new(ops: Vec<WriteOp>) -> WriteBatch {
        WriteBatch { ops, source: None }
    }
}

/// One change to a collection. Applying the same operations in the same order gives the same collection.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteOp {
    /// Writes whole points; a point that exists is replaced.
    Upsert(Vec<Point>),
    /// Deletes points; ids that do not exist are passed over.
    Delete(PointSelector),
    /// Replaces the named vectors of points that exist.
    UpdateVectors(Vec<PointVectors>),
    /// Takes vectors away from points.
    DeleteVectors {
        /// Which points.
        points: PointSelector,
        /// Which vectors.
        names: Vec<VectorName>,
    },
    /// Merges keys into payloads.
    SetPayload {
        /// Which points.
        points: PointSelector,
        /// The keys and their values.
        payload: Payload,
        /// The object to merge into; `None` is the payload itself.
        key: Option<PayloadPath>,
    },
    /// Replaces payloads.
    OverwritePayload {
        /// Which points.
        points: PointSelector,
        /// The new payload.
        payload: Payload,
    },
    /// Removes paths from payloads.
    DeletePayload {
        /// Which points.
        points: PointSelector,
        /// What to remove.
        keys: Vec<PayloadPath>,
    },
    /// Empties payloads.
    ClearPayload(PointSelector),
    /// Starts to index a payload field; replaces an index of another kind.
    CreateFieldIndex {
        /// The field.
        field: PayloadPath,
        /// What its values are.
        kind: FieldKind,
    },
    /// Stops to index a payload field.
    DeleteFieldIndex(PayloadPath),
    /// Changes the index over a vector field: new rows are indexed so at once, and segments that are there are indexed
    /// anew, one after the other, while searches go on with the indexes they have.
    SetIndex {
        /// The vector field.
        vector: VectorName,
        /// The kind of index and its parameters.
        index: IndexSpec,
    },
    /// Leaves the vectors of sealed segments on the disk, or no longer.
    SetOnDisk {
        /// The vector field.
        vector: VectorName,
        /// As [`VectorParams::on_disk`](crate::VectorParams::on_disk).
        on_disk: bool,
    },
    /// Grants the next epoch of a partition of a stream: whoever holds an earlier one writes no more marks.
    TakeOver {
        /// The stream.
        stream: StreamName,
        /// Its partition.
        partition: u32,
    },
}

/// Which points an operation is about.
#[derive(Debug, Clone, PartialEq)]
pub enum PointSelector {
    /// Those with these ids.
    Ids(Vec<PointId>),
    /// Those that pass the filter when the operation is applied.
    Filter(Filter),
}
