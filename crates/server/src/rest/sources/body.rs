//! JSON forms of sources.
//!
//! Fields are read as any JSON value and checked by hand, so that an error names the field: such requests are made by
//! programs, and are looked into when they fail.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where the operations of a batch come from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkBody {
    pub stream: Value,
    pub partition: Value,
    pub epoch: Value,
    pub position: Value,
}

/// Names a partition of a stream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeOverBody {
    pub stream: Value,
    pub partition: Value,
}

/// How far a collection is into a partition of a stream.
#[derive(Debug, Serialize)]
pub struct SourceReply {
    pub stream: String,
    pub partition: u32,
    pub epoch: u64,
    pub position: Option<String>,
    pub seq: u64,
}

/// What became of a batch with a source.
#[derive(Debug, Serialize)]
pub struct MarkedReply {
    /// As of a batch without.
    pub operations: Vec<Value>,
    pub outcome: &'static str,
    pub position: String,
    pub seq: u64,
}
