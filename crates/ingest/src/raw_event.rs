//! What a record of `raw-events` has to be.

use dvse_types::{NESTING_MAX, PointId, Value, depth, parse_datetime_micros};
use serde_json::Map;
use thiserror::Error;
use uuid::Uuid;

use crate::raw::{KeyBody, RawEventBody};

/// The namespace of the UUIDs (version 5) of records without an id: `5315a75c-5c5b-5270-97c9-6450872ae7b0`, itself the UUIDv5
/// of the name `persistent://dvse/ingest/raw-events` in the namespace of URLs. It never changes: a record that is sent again
/// has to overwrite the one before.
pub const ID_NAMESPACE: Uuid = Uuid::from_u128(0x5315a75c_5c5b_5270_97c9_6450872ae7b0);

/// Largest record that is taken, in bytes: 16 MiB, as the largest line of `dvse import`.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
const SOURCE_ID_BYTES_MAX: usize = 1024;
/// The end of the year 9999 in milliseconds since 1970: what RFC 3339 can write.
const TIMESTAMP_MS_MAX: i64 = 253_402_300_799_999;

/// A sound record.
#[derive(Debug, Clone, PartialEq)]
pub struct RawEvent {
    /// The point it is about.
    pub id: PointId,
    /// What is to be done.
    pub change: RawChange,
}

/// What a record asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum RawChange {
    /// Write the point.
    Upsert {
        /// Its vector, or the text to make it of.
        content: Content,
        /// Its payload.
        payload: Map<String, Value>,
    },
    /// Delete the point.
    Delete,
}

/// Where a vector comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// The record has it.
    Vector(Vec<f32>),
    /// It is made of this text.
    Text(String),
}

/// Why nothing can be made of a record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Poison {
    /// The record is larger than is taken.
    #[error("the record has {bytes} bytes, more than {RECORD_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The record is not text.
    #[error("the record is not UTF-8: byte {at} begins no character")]
    NotUtf8 {
        /// Where it stops being text.
        at: usize,
    },
    /// The record is not JSON, or a field is missing or of another type.
    #[error("the record is no event: {0}")]
    NotAnEvent(String),
    /// A field has a value that cannot be.
    #[error("field `{field}` {problem}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The model makes no vector of the text.
    #[error("the text cannot be embedded: {0}")]
    Text(String),
    /// The collection refuses the record.
    #[error("the collection refuses the record: {0}")]
    Refused(String),
}

impl Poison {
    /// Returns the stable name of the kind.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Poison::TooLarge { .. } => "too_large",
            Poison::NotUtf8 { .. } => "not_utf8",
            Poison::NotAnEvent(_) => "not_an_event",
            Poison::Field { .. } => "invalid_field",
            Poison::Text(_) => "text_not_embeddable",
            Poison::Refused(_) => "refused",
        }
    }

    fn field(field: &'static str, problem: impl Into<String>) -> Poison {
        Poison::Field { field, problem: problem.into() }
    }
}

impl RawEvent {
    /// Reads a record for a collection of `dim` dimensions.
    ///
    /// # Errors
    /// Why nothing can be made of it, naming the field.
    pub fn decode(record: &[u8], dim: usize) -> Result<RawEvent, Poison> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(Poison::TooLarge { bytes: record.len() });
        }
        let text =
            std::str::from_utf8(record).map_err(|error| Poison::NotUtf8 { at: error.valid_up_to() })?;
        let body: RawEventBody =
            serde_json::from_str(text).map_err(|error| Poison::NotAnEvent(error.to_string()))?;
        if !(1..=SOURCE_ID_BYTES_MAX).contains(&body.source_id.len()) {
            let problem = format!("has {} bytes, not 1 to {SOURCE_ID_BYTES_MAX}", body.source_id.len());
            return Err(Poison::field("source_id", problem));
        }
        check_timestamp(&body.timestamp)?;
        let id = match &body.id {
            Some(id) => read_id(id)?,
            None => id_of_source(&body.source_id),
        };
        let change = match body.op.as_deref() {
            None | Some("upsert") => {
                let payload = body.payload.ok_or_else(|| Poison::field("payload", "is missing"))?;
                let deepest = payload.values().map(depth).max().unwrap_or(0) + 1;
                if deepest > NESTING_MAX {
                    let problem = format!("has {deepest} levels, more than {NESTING_MAX}");
                    return Err(Poison::field("payload", problem));
                }
                RawChange::Upsert { content: read_content(body.vector, body.text, dim)?, payload }
            }
            Some("delete") => RawChange::Delete,
            Some(other) => {
                return Err(Poison::field("op", format!("is {other:?}, not \"upsert\" or \"delete\"")));
            }
        };
        Ok(RawEvent { id, change })
    }
}

/// Returns the key that a record is sent under: its point id as text, so that all records of one point keep their order. A
/// record without a readable id has itself as key: nothing is made of it, wherever it goes.
#[must_use]
pub fn key_of(record: &[u8]) -> Vec<u8> {
    let body = serde_json::from_slice::<KeyBody>(record).ok();
    let id = body.and_then(|body| match (body.id, body.source_id) {
        (Some(id), _) => read_id(&id).ok(),
        (None, source_id) => source_id.map(|source_id| id_of_source(&source_id)),
    });
    match id {
        Some(id) => id.to_string().into_bytes(),
        None => record.get(..64).unwrap_or(record).to_vec(),
    }
}

/// Returns the id of a record that has none.
#[must_use]
pub fn id_of_source(source_id: &str) -> PointId {
    PointId::Uuid(Uuid::new_v5(&ID_NAMESPACE, source_id.as_bytes()).as_u128())
}

fn read_id(id: &Value) -> Result<PointId, Poison> {
    let wrong = |got: String| Poison::field("id", format!("is {got}, not an unsigned integer or a UUID"));
    match id {
        Value::Number(number) => number.as_u64().map(PointId::Num).ok_or_else(|| wrong(number.to_string())),
        // A number written as text would be another id than the number in most places: only UUIDs are text.
        Value::String(text) => match text.parse() {
            Ok(id @ PointId::Uuid(_)) => Ok(id),
            _ => Err(wrong(format!("{text:?}"))),
        },
        other => Err(wrong(other.to_string().chars().take(100).collect())),
    }
}

fn check_timestamp(timestamp: &Value) -> Result<(), Poison> {
    let out_of_range = || {
        let got: String = timestamp.to_string().chars().take(100).collect();
        Poison::field("timestamp", format!("is {got}, not between 1970 and the end of 9999"))
    };
    let ms = match timestamp {
        Value::Number(number) if number.is_f64() => return Err(out_of_range()),
        Value::Number(number) => number.as_i64().ok_or_else(out_of_range)?,
        Value::String(text) => match parse_datetime_micros(text) {
            Some(micros) => micros.div_euclid(1000),
            None => {
                return Err(Poison::field("timestamp", format!("{text:?} is no date and time of RFC 3339")));
            }
        },
        _ => {
            return Err(Poison::field(
                "timestamp",
                "is neither milliseconds since 1970 nor a text of RFC 3339",
            ));
        }
    };
    if (0..=TIMESTAMP_MS_MAX).contains(&ms) { Ok(()) } else { Err(out_of_range()) }
}

fn read_content(vector: Option<Vec<f32>>, text: Option<String>, dim: usize) -> Result<Content, Poison> {
    match (vector, text) {
        (Some(vector), _) => {
            if vector.len() != dim {
                let problem = format!("has {} dimensions, the collection has {dim}", vector.len());
                return Err(Poison::field("vector", problem));
            }
            if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
                return Err(Poison::field("vector", format!("has no finite number at {at}")));
            }
            Ok(Content::Vector(vector))
        }
        (None, Some(text)) => Ok(Content::Text(text)),
        (None, None) => Err(Poison::field("vector", "is missing, and there is no `text` to embed")),
    }
}

#[cfg(test)]
mod tests;
