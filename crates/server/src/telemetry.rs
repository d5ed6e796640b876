//! The metrics of a node, all declared here.
//!
//! | name | kind | labels |
//! |---|---|---|
//! | `dvse_server_requests_total` | counter | `method`, `route`, `status` |
//! | `dvse_server_request_duration_seconds` | histogram | `route` |
//! | `dvse_server_requests_in_flight_count` | gauge | |
//! | `dvse_server_rejections_total` | counter | `reason` |
//! | `dvse_engine_points_count`, `dvse_engine_vectors_count`, `dvse_engine_indexed_vectors_count`, `dvse_engine_segments_count`, `dvse_engine_wal_bytes`, `dvse_engine_disk_bytes` | gauge | `collection` |

use std::fmt::{self, Write};
use std::time::Duration;

use axum::http::StatusCode;
use dvse_engine::{CollectionStatus, Database};
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::rest::Route;

/// Bounds of the request histogram in seconds: from below a cached look-up to beyond any sensible query.
const BUCKETS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The recorder of one node. It is a value, not the process's global recorder, so that two nodes can live in one
/// process and count apart.
pub struct Telemetry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    /// Requests being worked on.
    pub in_flight: Gauge,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        let builder = PrometheusBuilder::new();
        // The bounds are not empty, the only thing that could be refused; without them a summary is recorded.
        let recorder =
            builder.set_buckets(&BUCKETS).unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        let in_flight =
            recorder.register_gauge(&Key::from_name("dvse_server_requests_in_flight_count"), &METADATA);
        Telemetry { handle: recorder.handle(), recorder, in_flight }
    }
}

static METADATA: Metadata<'static> = Metadata::new("dvse_server", Level::INFO, None);

impl Telemetry {
    /// Counts an answered request.
    pub fn answered(&self, route: &Route, status: StatusCode, took: Duration) {
        let labels = vec![
            Label::from_static_parts("method", route.method),
            Label::from_static_parts("route", route.path),
            Label::new("status", status.as_u16().to_string()),
        ];
        let counter: Counter =
            self.recorder.register_counter(&Key::from_parts("dvse_server_requests_total", labels), &METADATA);
        counter.increment(1);
        let labels = vec![Label::from_static_parts("route", route.path)];
        let key = Key::from_parts("dvse_server_request_duration_seconds", labels);
        let histogram: Histogram = self.recorder.register_histogram(&key, &METADATA);
        histogram.record(took.as_secs_f64());
    }

    /// Counts a request that was turned away before a handler saw it.
    pub fn rejected(&self, reason: &'static str) {
        let labels = vec![Label::from_static_parts("reason", reason)];
        self.recorder
            .register_counter(&Key::from_parts("dvse_server_rejections_total", labels), &METADATA)
            .increment(1);
    }

    /// Folds recorded durations into their histograms, so that they do not pile up while nobody reads the metrics.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// All metrics in the text format of Prometheus.
    #[must_use]
    pub fn render(&self, database: &Database) -> String {
        let mut text = self.handle.render();
        let statuses: Vec<(String, CollectionStatus)> = database
            .names()
            .into_iter()
            // A collection dropped since its name was listed is no error.
            .filter_map(|name| database.get(&name).ok().map(|collection| (name, collection.status())))
            .collect();
        type Read = fn(&CollectionStatus) -> u64;
        let gauges: [(&str, Read); 6] = [
            ("dvse_engine_points_count", |status| status.points as u64),
            ("dvse_engine_vectors_count", |status| status.vectors as u64),
            ("dvse_engine_indexed_vectors_count", |status| status.indexed_vectors as u64),
            ("dvse_engine_segments_count", |status| status.segments as u64),
            ("dvse_engine_wal_bytes", |status| status.wal_bytes),
            ("dvse_engine_disk_bytes", |status| status.disk_bytes),
        ];
        for (name, read) in gauges {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# TYPE {name} gauge");
            for (collection, status) in &statuses {
                let _ = writeln!(text, "{name}{{collection=\"{}\"}} {}", escape(collection), read(status));
            }
        }
        text
    }
}

/// Escapes a label's value as the text format asks.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
