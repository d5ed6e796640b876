//! JSON bodies as they are written: raw events and dead letters.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A record of `raw-events`. Fields it does not name are passed over, so that producers may send more.
#[derive(Debug, Default)]
pub(crate) struct RawEventBody {
    pub source_id: Option<String>,
    pub timestamp: Option<Value>,
    pub payload: Option<Map<String, Value>>,
    pub id: Option<Value>,
    pub vector: Option<Vec<f32>>,
    pub text: Option<String>,
    pub op: Option<String>,
}

/// Why a text is no record, and in which field it was seen.
#[derive(Debug)]
pub(crate) struct Unread {
    pub field: Option<&'static str>,
    pub error: serde_json::Error,
}

impl RawEventBody {
    /// Reads a record.
    ///
    /// By hand, not by derive: a derived reader does not tell in which field a value was found that cannot be.
    pub(crate) fn read(text: &str) -> Result<RawEventBody, Unread> {
        let mut field = None;
        let mut reader = serde_json::Deserializer::from_str(text);
        let body = FieldByField(&mut field).deserialize(&mut reader);
        let body = body.and_then(|body| reader.end().map(|()| body));
        body.map_err(|error| Unread { field, error })
    }
}

/// The fields of a record.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum FieldName {
    SourceId,
    Timestamp,
    Payload,
    Id,
    Vector,
    Text,
    Op,
    #[serde(other)]
    Other,
}

/// Reads a record; its content is the field that is being read.
struct FieldByField<'a>(&'a mut Option<&'static str>);

impl FieldByField<'_> {
    /// Reads a field that was not there before.
    fn take<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
        &mut self,
        name: &'static str,
        seen: &mut Vec<&'static str>,
        map: &mut A,
    ) -> Result<Option<T>, A::Error> {
        *self.0 = Some(name);
        if seen.contains(&name) {
            return Err(A::Error::custom("it is there twice"));
        }
        seen.push(name);
        let value = map.next_value()?;
        *self.0 = None;
        Ok(value)
    }
}

impl<'de> DeserializeSeed<'de> for FieldByField<'_> {
    type Value = RawEventBody;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawEventBody, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldByField<'_> {
    type Value = RawEventBody;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the fields of a record")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<RawEventBody, A::Error> {
        let mut body = RawEventBody::default();
        let mut seen = Vec::new();
        while let Some(name) = map.next_key()? {
            match name {
                FieldName::SourceId => body.source_id = self.take("source_id", &mut seen, &mut map)?,
                FieldName::Timestamp => body.timestamp = self.take("timestamp", &mut seen, &mut map)?,
                FieldName::Payload => body.payload = self.take("payload", &mut seen, &mut map)?,
                FieldName::Id => body.id = self.take("id", &mut seen, &mut map)?,
                FieldName::Vector => body.vector = self.take("vector", &mut seen, &mut map)?,
                FieldName::Text => body.text = self.take("text", &mut seen, &mut map)?,
                FieldName::Op => body.op = self.take("op", &mut seen, &mut map)?,
                FieldName::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(body)
    }
}

/// Only what decides the partition of a record.
#[derive(Debug, Deserialize)]
pub(crate) struct KeyBody {
    pub source_id: Option<String>,
    pub id: Option<Value>,
}

/// A record of `dead-letters`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeadLetterBody {
    pub topic: String,
    pub stream: String,
    pub partition: u32,
    pub position: String,
    pub collection: String,
    pub code: String,
    pub reason: String,
    pub time_ms: u64,
    /// The record, if it is text; else `record_base64`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record_base64: Option<String>,
}
