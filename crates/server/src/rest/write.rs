//! Writing points: every operation becomes a [`WriteOp`], and every request one [`WriteBatch`].

use dvse_engine::{Durability, EmbeddedCollection, MarkOutcome};
use dvse_types::{
    CollectionSchema, Payload, PayloadPath, Point, PointId, PointSelector, PointVectors, SourceMark,
    WriteBatch, WriteOp, depth,
};
use serde_json::{Value, json};

use crate::app::App;
use crate::error::RestError;
use crate::rest::call::Call;
use crate::rest::fields::IdBody;
use crate::rest::filter::{FilterBody, read_filter};
use crate::rest::points::body::{
    BatchBody, DeletePayloadBody, DeleteVectorsBody, OperationBody, OperationsBody, PointBody,
    PointVectorsBody, SelectorBody, SetPayloadBody, UpdateVectorsBody, UpsertBody,
};
use crate::rest::points::read_upsert;
use crate::rest::reply::Reply;
use crate::rest::sources::{MarkedReply, outcome_name, read_mark};
use crate::rest::vectors::{BatchVectorsBody, Documents, Embedded, PendingVector, VectorBody, VectorsBody};

/// PUT `…/points`.
pub fn upsert(app: &App, call: &Call) -> Result<Reply, RestError> {
    one(app, call, OperationBody::Upsert(read_upsert(&call.body)?))
}

/// POST `…/points/delete`.
pub fn delete(app: &App, call: &Call) -> Result<Reply, RestError> {
    one(app, call, OperationBody::Delete(call.body()?))
}

/// POST `…/points/payload`.
pub fn set_payload(app: &App, call: &Call) -> Result<Reply, RestError> {
    one(app, call, OperationBody::SetPayload(call.body()?))
}

/// PUT `…/points/payload`.
pub fn overwrite_payload(app: &App, call: &Call) -> Result<Reply, RestError> {
    one(app, call, OperationBody::OverwritePayload(call.body()?))
}

/// POST `…/points/payload/delete`.
pub fn delete_payload(app: &App, call: &Call) -> Result<Reply, RestError> {
    one(app, call, OperationBody::DeletePayload(call.body()?))
}

/// POST `…/points/payload/clear`.
pub fn clear_payload(app: &App, call: &Call) -> Result<Reply, RestError> {
    one(app, call, OperationBody::ClearPayload(call.body()?))
}

/// PUT `…/points/vectors`.
pub fn update_vectors(app: &App, call: &Call) -> Result<Reply, RestError> {
    one(app, call, OperationBody::UpdateVectors(call.body()?))
}

/// POST `…/points/vectors/delete`.
pub fn delete_vectors(app: &App, call: &Call) -> Result<Reply, RestError> {
    one(app, call, OperationBody::DeleteVectors(call.body()?))
}

/// POST `…/points/batch`. The operations enter the log as one entry, so they take effect together or not at all.
pub fn batch(app: &App, call: &Call) -> Result<Reply, RestError> {
    let body: OperationsBody = call.body()?;
    app.check_batch_requests(body.operations.len())?;
    match body.source {
        Some(source) => {
            let mark = read_mark(&source)?;
            Reply::result(&write_marked(app, call, body.operations, mark)?)
        }
        None => Reply::result(&write(app, call, body.operations)?),
    }
}

fn one(app: &App, call: &Call, operation: OperationBody) -> Result<Reply, RestError> {
    let replies = write(app, call, vec![operation])?;
    Reply::result(&replies.first())
}

/// Carries out the operations and returns the reply to each.
fn write(app: &App, call: &Call, operations: Vec<OperationBody>) -> Result<Vec<Value>, RestError> {
    let collection = app.collection(call.collection()?)?;
    let schema = collection.schema();
    let count = operations.len();
    let ops = read_operations(app, call, &schema, operations)?;
    let expected: Vec<Option<Vec<PointId>>> = ops.iter().map(must_exist).collect();
    // An operation on no points at all changes nothing and needs no place in the log.
    let nothing = ops.iter().all(|op| selected(op).is_some_and(<[PointId]>::is_empty));
    let seq = if nothing {
        collection.status().applied
    } else {
        let receipt = collection
            .write(WriteBatch::new(ops), call.durability())
            .map_err(|error| RestError::engine(&error))?;
        if call.query.wait {
            report_missing(&collection, &expected, &receipt.touched)?;
        }
        receipt.seq
    };
    let status = if call.query.wait { "completed" } else { "acknowledged" };
    Ok(vec![json!({ "operation_id": seq.0, "status": status }); count])
}

/// Carries out operations that come from a stream. They always get a place in the log, because the position moves on
/// with it, and are answered when they are durable, because the sender will not send them again. Points that an
/// operation did not find are no error: the batch has taken effect, and an error would be taken for a refusal.
fn write_marked(
    app: &App,
    call: &Call,
    operations: Vec<OperationBody>,
    mark: SourceMark,
) -> Result<MarkedReply, RestError> {
    let collection = app.collection(call.collection()?)?;
    let count = operations.len();
    let ops = read_operations(app, call, &collection.schema(), operations)?;
    let position = mark.position;
    let batch = WriteBatch { ops, source: Some(mark) };
    let receipt = collection.write(batch, Durability::Synced).map_err(|error| RestError::engine(&error))?;
    let outcome = receipt.mark.unwrap_or(MarkOutcome::Applied { position });
    let seq = receipt.seq.0;
    Ok(MarkedReply {
        operations: vec![json!({ "operation_id": seq, "status": "completed" }); count],
        outcome: outcome_name(outcome),
        position: outcome.position().to_string(),
        seq,
    })
}

fn read_operations(
    app: &App,
    call: &Call,
    schema: &CollectionSchema,
    operations: Vec<OperationBody>,
) -> Result<Vec<WriteOp>, RestError> {
    let mut reader = Reader { app, schema, points: 0, documents: Documents::default() };
    let read = operations.into_iter().map(|operation| reader.operation(operation));
    let pending = read.collect::<Result<Vec<PendingOp>, RestError>>()?;
    let mut embedded = reader.documents.embed(&call.made)?;
    pending.into_iter().map(|op| op.finish(schema, &mut embedded)).collect()
}

/// An operation whose vectors may still be texts.
enum PendingOp {
    Ready(WriteOp),
    Upsert(Vec<PendingPoint>),
    UpdateVectors(Vec<(PointId, PendingVectors)>),
}

struct PendingPoint {
    id: PointId,
    vectors: PendingVectors,
    payload: Payload,
}

type PendingVectors = Vec<(String, PendingVector)>;

impl PendingOp {
    fn finish(self, schema: &CollectionSchema, embedded: &mut Embedded) -> Result<WriteOp, RestError> {
        let mut finish = |vectors| {
            let vectors = embedded.finish_named(vectors);
            schema.check_vectors(&vectors)?;
            Ok::<_, RestError>(vectors)
        };
        match self {
            PendingOp::Ready(op) => Ok(op),
            PendingOp::Upsert(pending) => {
                let mut points = Vec::with_capacity(pending.len());
                for PendingPoint { id, vectors, payload } in pending {
                    points.push(Point { id, vectors: finish(vectors)?, payload });
                }
                Ok(WriteOp::Upsert(points))
            }
            PendingOp::UpdateVectors(pending) => {
                let mut points = Vec::with_capacity(pending.len());
                for (id, vectors) in pending {
                    points.push(PointVectors { id, vectors: finish(vectors)? });
                }
                Ok(WriteOp::UpdateVectors(points))
            }
        }
    }
}

/// The ids of an operation that the dialect wants to find: changes to named points that are not there are errors.
fn must_exist(op: &WriteOp) -> Option<Vec<PointId>> {
    match op {
        WriteOp::UpdateVectors(points) => Some(points.iter().map(|point| point.id).collect()),
        WriteOp::SetPayload { points: PointSelector::Ids(ids), .. }
        | WriteOp::OverwritePayload { points: PointSelector::Ids(ids), .. } => Some(ids.clone()),
        _ => None,
    }
}

fn selected(op: &WriteOp) -> Option<&[PointId]> {
    match op {
        WriteOp::Delete(PointSelector::Ids(ids))
        | WriteOp::ClearPayload(PointSelector::Ids(ids))
        | WriteOp::DeleteVectors { points: PointSelector::Ids(ids), .. }
        | WriteOp::SetPayload { points: PointSelector::Ids(ids), .. }
        | WriteOp::OverwritePayload { points: PointSelector::Ids(ids), .. }
        | WriteOp::DeletePayload { points: PointSelector::Ids(ids), .. } => Some(ids),
        _ => None,
    }
}

/// Says which point an operation did not find. What it did find has been changed, as in the dialect.
fn report_missing(
    collection: &EmbeddedCollection,
    expected: &[Option<Vec<PointId>>],
    touched: &[usize],
) -> Result<(), RestError> {
    for (ids, touched) in expected.iter().zip(touched) {
        let Some(ids) = ids else { continue };
        if *touched >= ids.len() {
            continue;
        }
        let view = collection.view();
        if let Some(&missing) = ids.iter().find(|&&id| !view.contains(id)) {
            return Err(RestError::NoPoint(missing));
        }
    }
    Ok(())
}

struct Reader<'a> {
    app: &'a App,
    schema: &'a CollectionSchema,
    /// Points written so far by this request.
    points: usize,
    /// Texts in them.
    documents: Documents,
}

impl Reader<'_> {
    fn operation(&mut self, body: OperationBody) -> Result<PendingOp, RestError> {
        match body {
            OperationBody::Upsert(body) => self.upsert(body),
            OperationBody::UpdateVectors(body) => self.update_vectors(body),
            other => Ok(PendingOp::Ready(self.ready(other)?)),
        }
    }

    /// Reads an operation that writes no vectors.
    fn ready(&self, body: OperationBody) -> Result<WriteOp, RestError> {
        match body {
            OperationBody::Upsert(_) | OperationBody::UpdateVectors(_) => Err(RestError::Panicked),
            OperationBody::Delete(body) => Ok(WriteOp::Delete(self.selector_of(body)?)),
            OperationBody::ClearPayload(body) => Ok(WriteOp::ClearPayload(self.selector_of(body)?)),
            OperationBody::SetPayload(SetPayloadBody { payload, points, filter, key, shard_key }) => {
                shard_key.refuse("shard_key")?;
                check_payload(&payload)?;
                let key = key.map(|key| key.parse::<PayloadPath>()).transpose()?;
                Ok(WriteOp::SetPayload { points: self.selector(points, filter)?, payload, key })
            }
            OperationBody::OverwritePayload(SetPayloadBody { payload, points, filter, key, shard_key }) => {
                shard_key.refuse("shard_key")?;
                check_payload(&payload)?;
                if key.is_some() {
                    return Err(RestError::unsupported("`key` when a payload is overwritten"));
                }
                Ok(WriteOp::OverwritePayload { points: self.selector(points, filter)?, payload })
            }
            OperationBody::DeletePayload(DeletePayloadBody { keys, points, filter, shard_key }) => {
                shard_key.refuse("shard_key")?;
                let keys = keys.iter().map(|key| key.parse()).collect::<Result<Vec<PayloadPath>, _>>()?;
                Ok(WriteOp::DeletePayload { points: self.selector(points, filter)?, keys })
            }
            OperationBody::DeleteVectors(DeleteVectorsBody { vector, points, filter, shard_key }) => {
                shard_key.refuse("shard_key")?;
                Ok(WriteOp::DeleteVectors { points: self.selector(points, filter)?, names: vector })
            }
        }
    }

    fn selector_of(&self, body: SelectorBody) -> Result<PointSelector, RestError> {
        body.shard_key.refuse("shard_key")?;
        self.selector(body.points, body.filter)
    }

    fn selector(
        &self,
        points: Option<Vec<IdBody>>,
        filter: Option<FilterBody>,
    ) -> Result<PointSelector, RestError> {
        match (points, filter) {
            (Some(ids), None) => Ok(PointSelector::Ids(ids.into_iter().map(|id| id.0).collect())),
            (None, Some(filter)) => Ok(PointSelector::Filter(read_filter(filter, self.app.filter_limits())?)),
            (None, None) => Err(RestError::misfit("points", "give either `points` or `filter`")),
            (Some(_), Some(_)) => Err(RestError::misfit("points", "give `points` or `filter`, not both")),
        }
    }

    fn upsert(&mut self, body: UpsertBody) -> Result<PendingOp, RestError> {
        body.shard_key.refuse("shard_key")?;
        body.update_filter.refuse("update_filter")?;
        match body.update_mode.as_deref() {
            None | Some("upsert") => {}
            Some("insert_only" | "update_only") => {
                return Err(RestError::unsupported("`update_mode` but upsert"));
            }
            Some(other) => return Err(RestError::misfit("update_mode", format!("{other:?} is no mode"))),
        }
        match (body.points, body.batch) {
            (Some(points), None) => self.upsert_points(points),
            (None, Some(batch)) => {
                let points = columns_to_points(batch)?;
                self.upsert_points(points)
            }
            _ => Err(RestError::misfit("points", "give either `points` or `batch`")),
        }
    }

    fn upsert_points(&mut self, bodies: Vec<PointBody>) -> Result<PendingOp, RestError> {
        self.count_points(bodies.len())?;
        let mut pending = Vec::with_capacity(bodies.len());
        for PointBody { id, vector, payload } in bodies {
            let payload = payload.unwrap_or_default();
            check_payload(&payload)?;
            pending.push(PendingPoint { id: id.0, vectors: self.take_vectors(vector)?, payload });
        }
        Ok(PendingOp::Upsert(pending))
    }

    fn update_vectors(&mut self, body: UpdateVectorsBody) -> Result<PendingOp, RestError> {
        body.shard_key.refuse("shard_key")?;
        body.update_filter.refuse("update_filter")?;
        self.count_points(body.points.len())?;
        let mut pending = Vec::with_capacity(body.points.len());
        for PointVectorsBody { id, vector } in body.points {
            pending.push((id.0, self.take_vectors(vector)?));
        }
        Ok(PendingOp::UpdateVectors(pending))
    }

    fn take_vectors(&mut self, body: VectorsBody) -> Result<PendingVectors, RestError> {
        let mut take = |name: String, vector: VectorBody| {
            // Here `text` may as well be the name of a vector, whose numbers in base64 would be taken for a text.
            if matches!(&vector, VectorBody::Document(document) if document.model.is_none()) {
                return Err(RestError::misfit("vector", "missing field `model` beside `text`"));
            }
            let pending = self.documents.take(vector, &name, self.schema, &self.app.embedding)?;
            Ok((name, pending))
        };
        match body {
            VectorsBody::Single(vector) => Ok(vec![take(String::new(), vector)?]),
            VectorsBody::Named(vectors) => {
                vectors.into_iter().map(|(name, vector)| take(name, vector)).collect()
            }
        }
    }

    fn count_points(&mut self, points: usize) -> Result<(), RestError> {
        if points == 0 {
            let rule = "at least one point".to_owned();
            return Err(RestError::OutOfRange { field: "points", got: "[]".to_owned(), rule });
        }
        self.points = self.points.saturating_add(points);
        let max = self.app.config.limits.batch_points_max;
        if self.points > max {
            return Err(RestError::AboveLimit {
                what: "points in one request",
                got: self.points,
                max,
                setting: Some("limits.batch_points_max"),
            });
        }
        Ok(())
    }
}

/// Turns columns into points; every column must have one entry a point.
pub(super) fn columns_to_points(batch: BatchBody) -> Result<Vec<PointBody>, RestError> {
    let count = batch.ids.len();
    let same = |field: &'static str, got: usize| {
        if got == count {
            return Ok(());
        }
        Err(RestError::misfit(field, format!("{got} entries stand beside {count} ids")))
    };
    let mut rows: Vec<VectorsBody> = match batch.vectors {
        BatchVectorsBody::Single(vectors) => {
            same("batch.vectors", vectors.len())?;
            vectors.into_iter().map(VectorsBody::Single).collect()
        }
        BatchVectorsBody::Named(columns) => {
            let mut rows: Vec<Vec<(String, VectorBody)>> = (0..count).map(|_| Vec::new()).collect();
            for (name, column) in columns {
                same("batch.vectors", column.len())?;
                for (row, vector) in rows.iter_mut().zip(column) {
                    row.push((name.clone(), vector));
                }
            }
            rows.into_iter().map(VectorsBody::Named).collect()
        }
    };
    let payloads = match batch.payloads {
        Some(payloads) => {
            same("batch.payloads", payloads.len())?;
            payloads
        }
        None => vec![None; count],
    };
    let points = batch.ids.into_iter().zip(rows.drain(..)).zip(payloads);
    Ok(points.map(|((id, vector), payload)| PointBody { id, vector, payload }).collect())
}

fn check_payload(payload: &Payload) -> Result<(), RestError> {
    let deepest = payload.values().map(depth).max().unwrap_or(0) + 1;
    if deepest <= dvse_types::NESTING_MAX {
        return Ok(());
    }
    Err(RestError::AboveLimit {
        what: "levels of a payload",
        got: deepest,
        max: dvse_types::NESTING_MAX,
        setting: None,
    })
}
