//! The metrics of pipelines.
//!
//! | name | kind | labels |
//! |---|---|---|
//! | `dvse_ingest_records_total`, `…_changes_total`, `…_batches_total`, `…_dead_letters_total`, `…_events_total`, `…_retries_total` | counter | `collection`, `partition` |
//! | `dvse_ingest_failures_total` | counter | `collection`, `partition`, `kind` |
//! | `dvse_ingest_start_failures_total` | counter | `collection`, `kind` |
//! | `dvse_ingest_lag_records`, `dvse_ingest_lag_bytes`, `dvse_ingest_age_seconds`, `dvse_ingest_epoch` | gauge | `collection`, `partition` |
//! | `dvse_ingest_worker_state` | gauge, 1 for the state it is in | `collection`, `partition`, `state` |
//! | `dvse_ingest_pipeline_state` | gauge, 1 for the state it is in | `collection`, `state` |
//!
//! There are as many series as pipelines times partitions (256 at most), times 20.

use dvse_ingest::pipeline::{Counts, FailureKind, PartitionStatus, WorkerState};
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::pipelines::Pipelines;

static METADATA: Metadata<'static> = Metadata::new("dvse_ingest", Level::INFO, None);

type Count = (&'static str, &'static str, fn(&Counts) -> u64);
const COUNTERS: [Count; 6] = [
    ("dvse_ingest_records_total", "Records acknowledged.", |counts| counts.records),
    ("dvse_ingest_changes_total", "Changes of points committed.", |counts| counts.changes),
    ("dvse_ingest_batches_total", "Batches committed.", |counts| counts.batches),
    ("dvse_ingest_dead_letters_total", "Dead letters written.", |counts| counts.dead),
    ("dvse_ingest_events_total", "Events published.", |counts| counts.events),
    ("dvse_ingest_retries_total", "Calls tried again.", |counts| counts.retries),
];

type Measure = (&'static str, &'static str, fn(&PartitionStatus) -> f64);
const GAUGES: [Measure; 4] = [
    ("dvse_ingest_lag_records", "Records that are not acknowledged, when last looked.", |status| {
        status.counts.lag.records as f64
    }),
    ("dvse_ingest_lag_bytes", "Bytes of records that are not acknowledged, when last looked.", |status| {
        status.counts.lag.bytes as f64
    }),
    (
        "dvse_ingest_age_seconds",
        "All records appended longer ago than this are acknowledged; grows while the worker stands still.",
        |status| status.age_ms as f64 / 1e3,
    ),
    ("dvse_ingest_epoch", "The epoch the worker writes with, 0 before it has one.", |status| {
        status.epoch as f64
    }),
];
const FAILURES: &str = "dvse_ingest_failures_total";
const START_FAILURES: &str = "dvse_ingest_start_failures_total";
const WORKER_STATE: &str = "dvse_ingest_worker_state";
const PIPELINE_STATE: &str = "dvse_ingest_pipeline_state";

/// All metrics of the pipelines in the text format of Prometheus; nothing if there are none.
#[must_use]
pub fn exposition(pipelines: &Pipelines) -> String {
    let all = pipelines.all();
    if all.is_empty() {
        return String::new();
    }
    // Made anew each time: the counters are the workers' own, and what is gone is not told.
    let page = Page(PrometheusBuilder::new().build_recorder());
    page.describe();
    for pipeline in all {
        let status = pipeline.status();
        let labels = [Label::new("collection", pipeline.collection().to_owned())];
        page.failures(START_FAILURES, &labels, &status.failures);
        page.state(PIPELINE_STATE, &labels, status.state);
        for partition in &status.partitions {
            page.partition(&labels, partition);
        }
    }
    page.0.handle().render()
}

struct Page(PrometheusRecorder);

impl Page {
    fn describe(&self) {
        for (name, text, _) in COUNTERS {
            self.0.describe_counter(name.into(), None, text.into());
        }
        for (name, text, _) in GAUGES {
            self.0.describe_gauge(name.into(), None, text.into());
        }
        for (name, text) in [
            (FAILURES, "Failures of workers, by what failed."),
            (START_FAILURES, "Failures before there were workers, by what failed."),
        ] {
            self.0.describe_counter(name.into(), None, text.into());
        }
        for (name, text) in [
            (WORKER_STATE, "1 for the state the worker is in, else 0."),
            (PIPELINE_STATE, "1 for the state the pipeline is in, else 0."),
        ] {
            self.0.describe_gauge(name.into(), None, text.into());
        }
    }

    fn partition(&self, labels: &[Label], status: &PartitionStatus) {
        let labels = with(labels, "partition", status.partition.to_string());
        for (name, _, read) in COUNTERS {
            self.count(name, labels.clone(), read(&status.counts));
        }
        for (name, _, read) in GAUGES {
            self.0.register_gauge(&Key::from_parts(name, labels.clone()), &METADATA).set(read(status));
        }
        self.failures(FAILURES, &labels, &status.failures);
        self.state(WORKER_STATE, &labels, status.state);
    }

    fn failures(&self, name: &'static str, labels: &[Label], counts: &[u64]) {
        for (kind, count) in FailureKind::ALL.into_iter().zip(counts) {
            self.count(name, with(labels, "kind", kind.name().to_owned()), *count);
        }
    }

    fn state(&self, name: &'static str, labels: &[Label], state: WorkerState) {
        for one in WorkerState::ALL {
            let labels = with(labels, "state", one.name().to_owned());
            let gauge = self.0.register_gauge(&Key::from_parts(name, labels), &METADATA);
            gauge.set(f64::from(u8::from(one == state)));
        }
    }

    fn count(&self, name: &'static str, labels: Vec<Label>, count: u64) {
        self.0.register_counter(&Key::from_parts(name, labels), &METADATA).absolute(count);
    }
}

fn with(labels: &[Label], name: &'static str, value: String) -> Vec<Label> {
    let mut labels = labels.to_vec();
    labels.push(Label::new(name, value));
    labels
}
