//! What a record of `raw-events` has to be.

use dvse_types::{NESTING_MAX, PointId, Value, depth, parse_datetime_micros};
use serde_json::Map;
use thiserror::Error;
use uuid::Uuid;

use crate::raw::{KeyBody, RawEventBody, Unread};

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
    #[error(
        "the record has {bytes} bytes, more than {RECORD_BYTES_MAX}: keep its content elsewhere and send a reference"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The record is not text.
    #[error(
        "the record is not UTF-8: byte {at} begins no character; send text as UTF-8, and bytes as Base64"
    )]
    NotUtf8 {
        /// Where it stops being text.
        at: usize,
    },
    /// The log cannot give the record as it was sent.
    #[error("the record cannot be read: {0}")]
    Unreadable(String),
    /// The record is no JSON object.
    #[error("the record is no event: {0}; send one JSON object a record")]
    NotAnEvent(String),
    /// A field is missing, or has a type or a value that cannot be.
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
            Poison::Unreadable(_) => "unreadable",
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
        let body = RawEventBody::read(text).map_err(|unread| poison_of(text, unread))?;
        let source_id =
            body.source_id.ok_or_else(|| Poison::field("source_id", "is missing: name the record"))?;
        if !(1..=SOURCE_ID_BYTES_MAX).contains(&source_id.len()) {
            let problem = format!("has {} bytes, not 1 to {SOURCE_ID_BYTES_MAX}", source_id.len());
            return Err(Poison::field("source_id", problem));
        }
        check_timestamp(body.timestamp.as_ref())?;
        let id = match &body.id {
            Some(id) => read_id(id)?,
            None => id_of_source(&source_id),
        };
        let change = match body.op.as_deref() {
            None | Some("upsert") => {
                let payload = body.payload.ok_or_else(|| {
                    Poison::field("payload", "is missing: send an object, {} if it has no fields")
                })?;
                let deepest = payload.values().map(depth).max().unwrap_or(0) + 1;
                if deepest > NESTING_MAX {
                    return Err(too_deep("payload", &format!("{deepest} levels, more than {NESTING_MAX}")));
                }
                RawChange::Upsert { content: read_content(body.vector, body.text, dim)?, payload }
            }
            Some("delete") => RawChange::Delete,
            Some(other) => {
                let got = shortened(format!("{other:?}"));
                return Err(Poison::field("op", format!("is {got}, not \"upsert\" or \"delete\"")));
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
    let wrong =
        |got: String| Poison::field("id", format!("is {got}, not an unsigned integer below 2^64 or a UUID"));
    match id {
        Value::Number(number) => number.as_u64().map(PointId::Num).ok_or_else(|| wrong(number.to_string())),
        // A number written as text would be another id than the number in most places: only UUIDs are text.
        Value::String(text) => match text.parse() {
            Ok(id @ PointId::Uuid(_)) => Ok(id),
            _ => Err(wrong(shortened(format!("{text:?}")))),
        },
        other => Err(wrong(shortened(other.to_string()))),
    }
}

/// Why a text is no record.
fn poison_of(text: &str, Unread { field, error }: Unread) -> Poison {
    let problem = shortened(error.to_string());
    let near = near(text, &error);
    match field {
        // What JSON can say and the field cannot hold.
        Some(field) if problem.starts_with("recursion limit exceeded") => {
            too_deep(field, &format!("more than {NESTING_MAX} levels"))
        }
        Some(field) if error.is_data() || problem.starts_with("number out of range") => {
            Poison::field(field, format!("is not what it has to be: {problem}, near {near}"))
        }
        Some(field) => {
            let problem =
                format!("in field `{field}`: {problem}, near {near}; JSON has neither NaN nor Infinity");
            Poison::NotAnEvent(problem)
        }
        None => Poison::NotAnEvent(format!("{problem}, near {near}")),
    }
}

fn too_deep(field: &'static str, deep: &str) -> Poison {
    Poison::field(field, format!("is nested too deeply: {deep}; send it as text, or flatter"))
}

/// What stands where reading ended.
fn near(text: &str, error: &serde_json::Error) -> String {
    const BEFORE: usize = 24;
    const AFTER: usize = 8;
    let line = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let at = (line + error.column()).min(text.len());
    let range = at.saturating_sub(BEFORE)..(at + AFTER).min(text.len());
    format!("{:?}", String::from_utf8_lossy(text.as_bytes().get(range).unwrap_or_default()))
}

/// A value as a reason tells it: as long as a person reads, whatever its size.
fn shortened(text: String) -> String {
    const CHARS_MAX: usize = 200;
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

fn check_timestamp(timestamp: Option<&Value>) -> Result<(), Poison> {
    const RULE: &str = "send whole milliseconds since 1970, or a text of RFC 3339, up to the year 9999";
    let Some(timestamp) = timestamp else {
        return Err(Poison::field("timestamp", format!("is missing: {RULE}")));
    };
    let wrong = || Poison::field("timestamp", format!("is {}: {RULE}", shortened(timestamp.to_string())));
    let ms = match timestamp {
        Value::Number(number) => number.as_i64().ok_or_else(wrong)?,
        Value::String(text) => match parse_datetime_micros(text) {
            Some(micros) => micros.div_euclid(1000),
            None => return Err(wrong()),
        },
        _ => return Err(wrong()),
    };
    if (0..=TIMESTAMP_MS_MAX).contains(&ms) { Ok(()) } else { Err(wrong()) }
}

fn read_content(vector: Option<Vec<f32>>, text: Option<String>, dim: usize) -> Result<Content, Poison> {
    match (vector, text) {
        (Some(vector), _) => {
            if vector.len() != dim {
                let problem = format!(
                    "has {} dimensions, the collection has {dim}: send a vector of the collection's model",
                    vector.len()
                );
                return Err(Poison::field("vector", problem));
            }
            if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
                return Err(Poison::field(
                    "vector",
                    format!("has at {at} a number beyond what an f32 holds"),
                ));
            }
            Ok(Content::Vector(vector))
        }
        (None, Some(text)) => Ok(Content::Text(text)),
        (None, None) => {
            Err(Poison::field("vector", "is missing, and there is no `text` to embed: send either"))
        }
    }
}

#[cfg(test)]
mod tests;
