//! JSON forms of pipelines.

use dvse_ingest::pipeline::{Counts, PartitionStatus};
use serde::Serialize;

use crate::ingest::Pipeline;

/// A pipeline at a moment.
#[derive(Debug, Serialize)]
pub struct PipelineBody {
    pub collection: String,
    pub source: String,
    pub topic: String,
    pub model: Option<String>,
    pub asked: &'static str,
    pub state: &'static str,
    pub reason: Option<String>,
    pub age_seconds: f64,
    #[serde(flatten)]
    pub counts: CountsBody,
    pub partitions: Vec<PartitionBody>,
}

/// One of its workers.
#[derive(Debug, Serialize)]
pub struct PartitionBody {
    pub partition: u32,
    pub state: &'static str,
    pub reason: Option<String>,
    pub epoch: u64,
    pub age_seconds: f64,
    #[serde(flatten)]
    pub counts: CountsBody,
}

/// What was done and what is left.
#[derive(Debug, Serialize)]
pub struct CountsBody {
    pub lag_records: u64,
    pub lag_bytes: u64,
    pub records: u64,
    pub changes: u64,
    pub batches: u64,
    pub dead_letters: u64,
    pub events: u64,
    pub retries: u64,
}

impl PipelineBody {
    pub fn of(pipeline: &Pipeline) -> PipelineBody {
        let status = pipeline.status();
        PipelineBody {
            collection: pipeline.collection().to_owned(),
            source: pipeline.source().to_owned(),
            topic: pipeline.topic().to_owned(),
            model: pipeline.model(),
            asked: status.mode.name(),
            state: status.state.name(),
            reason: status.reason,
            age_seconds: seconds(status.age_ms),
            counts: CountsBody::of(status.counts),
            partitions: status.partitions.into_iter().map(PartitionBody::of).collect(),
        }
    }
}

impl PartitionBody {
    fn of(status: PartitionStatus) -> PartitionBody {
        PartitionBody {
            partition: status.partition,
            state: status.state.name(),
            reason: status.reason,
            epoch: status.epoch,
            age_seconds: seconds(status.age_ms),
            counts: CountsBody::of(status.counts),
        }
    }
}

impl CountsBody {
    fn of(counts: Counts) -> CountsBody {
        CountsBody {
            lag_records: counts.lag.records,
            lag_bytes: counts.lag.bytes,
            records: counts.records,
            changes: counts.changes,
            batches: counts.batches,
            dead_letters: counts.dead,
            events: counts.events,
            retries: counts.retries,
        }
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}
