//! A collection of a node over HTTP.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dvse_ingest::{Change, Pending, Sink, SinkError, Written, payload_bytes, push_payload};
use dvse_types::{CollectionSchema, Metric, PointId, Position, SeqNo, SourceMark, SourceState, StreamName};
use serde_json::{Value, json};
use ureq::http::Method;

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
        let source = json!({
            "stream": mark.stream.as_str(),
            "partition": mark.partition,
            "epoch": mark.epoch,
            "position": mark.position.to_string(),
        });
        let body = batch_body(changes, &source);
        let path = format!("{}/points/batch?wait=true", self.path);
        let answer =
            self.client.send(Method::POST, &path, Some(body)).map_err(|failure| sink_error(&failure))?;
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

/// A batch: all upserts, then all deletes, as the changes are of one point each and their order is nothing.
///
/// As text at once: a batch is megabytes, and a tree of values would be as much again.
fn batch_body(changes: &[Change], source: &Value) -> String {
    let (mut points, mut deleted) = (Vec::new(), Vec::new());
    let mut bytes = 1024;
    for change in changes {
        match change {
            Change::Upsert { id, vector, payload } => {
                bytes += 6 * vector.len() + payload_bytes(payload) + 128;
                points.push((id, vector, payload));
            }
            Change::Delete { id } => deleted.push(id_value(*id)),
        }
    }
    let mut out = Vec::with_capacity(bytes + 48 * deleted.len());
    out.extend_from_slice(b"{\"operations\":[");
    for (number, (id, vector, payload)) in points.iter().enumerate() {
        out.extend_from_slice(if number == 0 { b"{\"upsert\":{\"points\":[" } else { b"," });
        let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (id, vector) = (id_value(**id), STANDARD.encode(bytes));
        out.extend_from_slice(format!("{{\"id\":{id},\"vector\":\"{vector}\",\"payload\":").as_bytes());
        push_payload(&mut out, payload);
        out.push(b'}');
    }
    out.extend_from_slice(match (points.is_empty(), deleted.is_empty()) {
        (true, _) => b"",
        (false, true) => b"]}}",
        (false, false) => b"]}},",
    });
    if !deleted.is_empty() {
        out.extend_from_slice(json!({"delete": {"points": deleted}}).to_string().as_bytes());
    }
    out.extend_from_slice(format!("],\"source\":{source}}}").as_bytes());
    // Text of JSON throughout.
    String::from_utf8(out).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_json_whatever_is_in_it() {
        let payload = json!({"text": "\"\n ö", "n": [1, {"k": null}]});
        let upsert = |id| Change::Upsert {
            id,
            vector: vec![1.0, -2.5].into(),
            payload: payload.as_object().cloned().unwrap_or_default(),
        };
        let uuid: PointId = "7e1f4ff4-04af-51a5-93d9-ab0bc2fa8f91".parse().unwrap();
        let delete = |id| Change::Delete { id };
        let source = json!({"position": "7"});
        for changes in [
            vec![],
            vec![upsert(PointId::Num(1))],
            vec![delete(PointId::Num(2))],
            vec![delete(uuid), upsert(PointId::Num(u64::MAX)), upsert(uuid), delete(PointId::Num(0))],
        ] {
            let body: Value = serde_json::from_str(&batch_body(&changes, &source)).unwrap();
            let (mut points, mut deleted) = (Vec::new(), Vec::new());
            for change in &changes {
                match change {
                    Change::Upsert { id, .. } => points
                        .push(json!({"id": id_value(*id), "vector": "AACAPwAAIMA=", "payload": payload})),
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
            assert_eq!(body, json!({"operations": operations, "source": source}));
        }
    }
}
