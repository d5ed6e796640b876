//! A collection of a node over HTTP.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dvse_ingest::{Change, Pending, Sink, SinkError, Written};
use dvse_types::{CollectionSchema, Metric, PointId, Position, SeqNo, SourceMark, SourceState, StreamName};
use serde_json::{Value, json};

use crate::client::{Client, Refusal, segment};
use crate::failure::Failure;

/// A collection over HTTP. Its calls block the worker's thread, which has nothing else to do.
pub struct RestSink {
    client: Client,
    path: String,
    schema: CollectionSchema,
    dim: usize,
}

impl RestSink {
    /// A collection of `dim` dimensions, compared by `metric`.
    pub fn new(client: Client, collection: &str, dim: usize, metric: Metric) -> RestSink {
        let path = format!("/collections/{}", segment(collection));
        RestSink { client, path, schema: CollectionSchema::single(dim, metric), dim }
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, SinkError> {
        self.client.post(&format!("{}{path}", self.path), body).map_err(|failure| sink_error(&failure))
    }

    fn take_over_now(&self, stream: &StreamName, partition: u32) -> Result<SourceState, SinkError> {
        let answer =
            self.post("/sources/take-over", &json!({"stream": stream.as_str(), "partition": partition}))?;
        let position = match answer.get("position") {
            None | Some(Value::Null) => None,
            Some(_) => Some(position_of(&answer)?),
        };
        Ok(SourceState {
            epoch: number_of(&answer, "epoch")?,
            position,
            seq: SeqNo(number_of(&answer, "seq")?),
        })
    }

    fn write_now(&self, changes: &[Change], mark: &SourceMark) -> Result<Written, SinkError> {
        let body = json!({
            "operations": operations(changes),
            "source": {
                "stream": mark.stream.as_str(),
                "partition": mark.partition,
                "epoch": mark.epoch,
                "position": mark.position.to_string(),
            },
        });
        let answer = self.post("/points/batch?wait=true", &body)?;
        let seq = number_of(&answer, "seq")?;
        match answer.get("outcome").and_then(Value::as_str) {
            Some("applied") => Ok(Written::Applied { seq }),
            Some("duplicate") => Ok(Written::Duplicate { position: position_of(&answer)?, seq }),
            _ => Err(strange("outcome", &answer)),
        }
    }

    fn vectors_now(&self, ids: &[PointId]) -> Result<Vec<Option<Vec<f32>>>, SinkError> {
        let wanted: Vec<Value> = ids.iter().map(|id| id_value(*id)).collect();
        let answer =
            self.post("/points", &json!({"ids": wanted, "with_vector": true, "with_payload": false}))?;
        let mut found: HashMap<String, Vec<f32>> = HashMap::new();
        for point in answer.as_array().map(Vec::as_slice).unwrap_or_default() {
            let id = point.get("id").map(id_text).ok_or_else(|| strange("id", point))?;
            let vector =
                point.get("vector").and_then(Value::as_array).ok_or_else(|| strange("vector", point))?;
            let numbers = vector.iter().map(|value| value.as_f64().map(|value| value as f32));
            found.insert(id, numbers.collect::<Option<_>>().ok_or_else(|| strange("vector", point))?);
        }
        Ok(ids.iter().map(|id| found.remove(&id.to_string())).collect())
    }
}

impl Sink for RestSink {
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
        Box::pin(async move { self.take_over_now(stream, partition) })
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

/// Sorts a failure by whether the same call can work later.
pub fn sink_error(failure: &Failure) -> SinkError {
    let Some(refusal) = failure.cause::<Refusal>() else {
        // The node was not reached, or went away while it answered.
        return SinkError::Unavailable(one_line(failure));
    };
    let message = refusal.to_string();
    match refusal.status {
        408 | 429 | 500.. => SinkError::Unavailable(message),
        409 => SinkError::Fenced(message),
        401 | 403 | 404 | 405 => SinkError::Hopeless(message),
        _ => SinkError::Refused(message),
    }
}

fn one_line(failure: &Failure) -> String {
    let text = failure.to_string();
    let text = text.split("\n help:").next().unwrap_or_default();
    text.trim_start_matches("error: ").replace('\n', " ")
}

/// All upserts, then all deletes: the changes of a batch are of one point each, so that their order is nothing.
fn operations(changes: &[Change]) -> Vec<Value> {
    let (mut points, mut deleted) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::Upsert { id, vector, payload } => {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                points
                    .push(json!({"id": id_value(*id), "vector": STANDARD.encode(bytes), "payload": payload}));
            }
            Change::Delete { id } => deleted.push(id_value(*id)),
        }
    }
    let mut operations = Vec::new();
    if !points.is_empty() {
        operations.push(json!({"upsert": {"points": points}}));
    }
    if !deleted.is_empty() {
        operations.push(json!({"delete": {"points": deleted}}));
    }
    operations
}

fn id_value(id: PointId) -> Value {
    match id {
        PointId::Num(number) => json!(number),
        uuid @ PointId::Uuid(_) => json!(uuid.to_string()),
    }
}

fn id_text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

fn number_of(answer: &Value, field: &'static str) -> Result<u64, SinkError> {
    answer.get(field).and_then(Value::as_u64).ok_or_else(|| strange(field, answer))
}

fn position_of(answer: &Value) -> Result<Position, SinkError> {
    let text = answer.get("position").and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).ok_or_else(|| strange("position", answer))
}

fn strange(field: &'static str, answer: &Value) -> SinkError {
    let answer: String = answer.to_string().chars().take(200).collect();
    SinkError::Hopeless(format!(
        "the server answered without a sound `{field}`: {answer}; it may be of another version"
    ))
}
