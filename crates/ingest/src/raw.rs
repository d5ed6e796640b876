//! JSON bodies as they are written: raw events and dead letters.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A record of `raw-events`. Fields it does not name are passed over, so that producers may send more.
#[derive(Debug, Deserialize)]
pub(crate) struct RawEventBody {
    pub source_id: String,
    pub timestamp: Value,
    pub payload: Option<Map<String, Value>>,
    pub id: Option<Value>,
    pub vector: Option<Vec<f32>>,
    pub text: Option<String>,
    pub op: Option<String>,
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
