//! The settings file of a topic as it is written.

use serde::{Deserialize, Serialize};

use crate::topic::TopicSpec;

/// The body of the file `topic`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TopicFile {
    pub version: u32,
    /// Made with the topic and never changed: 32 hexadecimal digits.
    pub incarnation: String,
    pub partitions: u32,
    pub retention_ms: Option<u64>,
    pub retention_bytes: Option<u64>,
    pub backlog_bytes_max: Option<u64>,
    pub segment_bytes: u64,
}

impl TopicFile {
    pub(super) fn new(incarnation: String, spec: TopicSpec) -> TopicFile {
        TopicFile {
            version: 1,
            incarnation,
            partitions: spec.partitions,
            retention_ms: spec.retention_ms,
            retention_bytes: spec.retention_bytes,
            backlog_bytes_max: spec.backlog_bytes_max,
            segment_bytes: spec.segment_bytes,
        }
    }

    pub(super) fn spec(&self) -> TopicSpec {
        TopicSpec {
            partitions: self.partitions,
            retention_ms: self.retention_ms,
            retention_bytes: self.retention_bytes,
            backlog_bytes_max: self.backlog_bytes_max,
            segment_bytes: self.segment_bytes,
        }
    }
}
