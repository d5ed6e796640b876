//! What is checked before a batch enters the log, so that applying it cannot fail for a reason of its own.

use dvse_types::{
    CollectionSchema, IndexSpec, InvalidSchema, InvalidVector, NESTING_MAX, NamedVectors,
    PAYLOAD_INDEXES_MAX, Payload, PayloadPath, PointId, PointSelector, VectorName, WriteBatch, WriteOp,
    depth,
};

use crate::filter::{InvalidFilter, check_filter};

/// A batch that does not fit its collection.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidBatch {
    /// A vector does not fit.
    #[error("point {id}: {source}")]
    Vector {
        /// The point.
        id: PointId,
        /// What is wrong with its vector.
        source: InvalidVector,
    },
    /// The collection has no vector field of this name.
    #[error(transparent)]
    VectorName(InvalidVector),
    /// A payload nests too deep.
    #[error("a payload nests {got} levels deep, at most {NESTING_MAX} are allowed")]
    PayloadDepth {
        /// Levels it has.
        got: usize,
    },
    /// A filter cannot be evaluated.
    #[error(transparent)]
    Filter(#[from] InvalidFilter),
    /// Parameters are out of their ranges.
    #[error(transparent)]
    Schema(#[from] InvalidSchema),
}

/// Checks every operation.
pub(crate) fn validate(batch: &WriteBatch, schema: &CollectionSchema) -> Result<(), InvalidBatch> {
    batch.ops.iter().try_for_each(|op| validate_op(op, schema))
}

fn validate_op(op: &WriteOp, schema: &CollectionSchema) -> Result<(), InvalidBatch> {
    match op {
        WriteOp::Upsert(points) => points.iter().try_for_each(|point| {
            check_vectors(point.id, &point.vectors, schema)?;
            check_payload(&point.payload, 0)
        }),
        WriteOp::UpdateVectors(points) => {
            points.iter().try_for_each(|point| check_vectors(point.id, &point.vectors, schema))
        }
        WriteOp::DeleteVectors { points, names } => {
            check_selector(points, schema)?;
            names.iter().try_for_each(|name| check_name(name, schema))
        }
        WriteOp::SetPayload { points, payload, key } => {
            check_selector(points, schema)?;
            check_payload(payload, key.as_ref().map_or(0, |key| key.steps().len()))
        }
        WriteOp::OverwritePayload { points, payload } => {
            check_selector(points, schema)?;
            check_payload(payload, 0)
        }
        WriteOp::Delete(points) | WriteOp::DeletePayload { points, .. } | WriteOp::ClearPayload(points) => {
            check_selector(points, schema)
        }
        WriteOp::CreateFieldIndex { field, .. } => check_field_index(field, schema),
        // Whether a mark or a take-over is taken is a question of order: see `sources.rs`.
        WriteOp::DeleteFieldIndex(_) | WriteOp::TakeOver { .. } => Ok(()),
        WriteOp::SetOnDisk { vector, .. } => check_name(vector, schema),
        WriteOp::SetIndex { vector, index } => check_index(vector, *index, schema),
    }
}

fn check_vectors(id: PointId, vectors: &NamedVectors, schema: &CollectionSchema) -> Result<(), InvalidBatch> {
    schema.check_vectors(vectors).map_err(|source| InvalidBatch::Vector { id, source })
}

fn check_name(name: &VectorName, schema: &CollectionSchema) -> Result<(), InvalidBatch> {
    if schema.vectors.contains_key(name) {
        return Ok(());
    }
    let known = schema.vectors.keys().cloned().collect();
    Err(InvalidBatch::VectorName(InvalidVector::UnknownName { name: name.clone(), known }))
}

/// A payload that is merged `below` levels down nests that much deeper. Nesting is bounded when a payload enters,
/// because reading one back recurses.
fn check_payload(payload: &Payload, below: usize) -> Result<(), InvalidBatch> {
    let deepest = payload.values().map(depth).max().unwrap_or(0);
    let got = deepest + 1 + below;
    if got <= NESTING_MAX { Ok(()) } else { Err(InvalidBatch::PayloadDepth { got }) }
}

fn check_selector(selector: &PointSelector, schema: &CollectionSchema) -> Result<(), InvalidBatch> {
    match selector {
        PointSelector::Ids(_) => Ok(()),
        PointSelector::Filter(filter) => Ok(check_filter(filter, schema)?),
    }
}

fn check_field_index(field: &PayloadPath, schema: &CollectionSchema) -> Result<(), InvalidBatch> {
    let got = schema.payload_indexes.len() + 1;
    if schema.payload_indexes.contains_key(field) || got <= PAYLOAD_INDEXES_MAX {
        return Ok(());
    }
    Err(InvalidSchema::TooMany { what: "payload indexes", got, max: PAYLOAD_INDEXES_MAX }.into())
}

fn check_index(name: &VectorName, index: IndexSpec, schema: &CollectionSchema) -> Result<(), InvalidBatch> {
    check_name(name, schema)?;
    let mut changed = schema.clone();
    if let Some(params) = changed.vectors.get_mut(name) {
        params.index = index;
    }
    Ok(changed.validate()?)
}
