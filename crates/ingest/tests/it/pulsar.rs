//! Apache Pulsar against the same suite, and what it does beyond. Needs a broker that looks at backlogs each second, as
//! `.ci/pulsar` starts one: DVSE_PULSAR is its address, DVSE_PULSAR_ADMIN that of its administration.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dvse_ingest::pipeline::PipelineConfig;
use dvse_ingest::pulsar::{Admin, PulsarLog, PulsarOptions, TopicsPlan, Watch};
use dvse_ingest::{LogError, TopicLog, TopicName, TopicSpec};

use crate::conformance::{NOW, read_all, run, send, suite};
use crate::crash::config;
use crate::pipeline::check_partitions;

#[derive(Debug, Default)]
struct Told {
    is_stopping: AtomicBool,
    waiting: std::sync::Mutex<Vec<String>>,
}

impl Watch for Told {
    fn waiting(&self, what: &str) {
        self.waiting.lock().unwrap().push(what.to_owned());
        // Long enough.
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: .ci/pulsar starts a broker and sets it"))
}

fn admin() -> Admin {
    Admin::new(&variable("DVSE_PULSAR_ADMIN"), None).unwrap()
}

fn options(url: &str, watch: &Arc<Told>) -> PulsarOptions {
    PulsarOptions {
        url: url.to_owned(),
        admin: Some(admin()),
        token: None,
        patience: None,
        busy_wait: Duration::from_secs(2),
        watch: Arc::clone(watch) as Arc<dyn Watch>,
    }
}

fn log() -> Arc<dyn TopicLog> {
    Arc::new(PulsarLog::new(options(&variable("DVSE_PULSAR"), &Arc::default())).unwrap())
}

/// A topic that no test before had, in the namespace of ours.
fn new_topic(what: &str) -> TopicName {
    let number = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("{what}-{number}").parse().unwrap()
}

#[test]
fn pulsar_conforms() {
    suite(&mut || (log(), new_topic("suite")));
}

#[test]
fn a_pipeline_works_on_partitions_side_by_side() {
    let config = PipelineConfig {
        raw_events: new_topic("raw"),
        vector_indexed: new_topic("indexed"),
        dead_letters: new_topic("dead"),
        // A broker may take a moment to send what it has.
        idle_wait: Duration::from_millis(50),
        ..config()
    };
    check_partitions(&log(), config);
}

#[test]
fn a_plan_that_is_carried_out_leaves_nothing_to_change() {
    let admin = admin();
    let plan = TopicsPlan::ingest(TopicSpec::raw_events(3), None);
    plan.carry_out(&admin).unwrap();
    let changes = plan.changes(&admin).unwrap();
    assert!(changes.is_empty(), "{changes:?}");
    let there = run(log().spec(&TopicName::raw_events())).unwrap().unwrap();
    assert_eq!(there, TopicSpec::raw_events(there.partitions));
    let shrunk = TopicsPlan::ingest(TopicSpec::raw_events(1), Some(there.partitions - 1));
    assert!(matches!(shrunk.changes(&admin).unwrap_err(), LogError::Partitions { .. }));
}

#[test]
fn several_producers_may_share_a_partition_but_not_with_one_that_wants_it_alone() {
    let (log, topic) = (log(), new_topic("shared"));
    run(async {
        log.ensure(&topic, TopicSpec::raw_events(1)).await.unwrap();
        let mut one = log.shared_producer(&topic, 0).await.unwrap();
        let mut other = log.shared_producer(&topic, 0).await.unwrap();
        send(&mut *one, ["a".to_owned()]).await;
        send(&mut *other, ["b".to_owned()]).await;
        assert!(matches!(log.producer(&topic, 0).await.unwrap_err(), LogError::Busy { .. }));
        let mut source = log.source(&topic, 0, None).await.unwrap();
        assert_eq!(read_all(&mut *source, 10).await.len(), 2);
    });
}

#[test]
fn records_of_every_size_go_through_and_larger_ones_are_refused() {
    let (log, topic) = (log(), new_topic("sizes"));
    run(async {
        log.ensure(&topic, TopicSpec::vector_indexed(1)).await.unwrap();
        let mut producer = log.producer(&topic, 0).await.unwrap();
        let mut seed = 1_u64;
        let mut noise = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        let mut sent: Vec<Vec<u8>> = vec![vec![], vec![0], (0..4 << 20).map(|_| noise()).collect()];
        // Beyond the broker's 5 MiB, but it can be packed.
        sent.push((0..12 << 20).map(|at| b'a' + (at % 23) as u8).collect());
        for payload in &sent {
            producer.append(b"\xff\x00", payload, Duration::from_secs(1)).await.unwrap();
        }
        let noise: Vec<u8> = (0..6 << 20).map(|_| noise()).collect();
        let error = producer.append(b"k", &noise, Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(error, LogError::TooLarge { .. }), "{error}");
        producer.flush().await.unwrap();
        let mut source = log.source(&topic, 0, None).await.unwrap();
        let read = read_all(&mut *source, 10).await;
        assert!(read.iter().map(|record| &record.payload).eq(&sent));
        assert!(read.iter().all(|record| record.key == b"\xff\x00"));
    });
}

#[test]
fn two_readers_of_a_subscription_are_refused_and_the_second_has_it_afterwards() {
    let (log, topic) = (log(), new_topic("rivals"));
    run(async {
        log.ensure(&topic, TopicSpec::raw_events(1)).await.unwrap();
        let first = log.source(&topic, 0, Some("s")).await.unwrap();
        assert!(matches!(log.source(&topic, 0, Some("s")).await.unwrap_err(), LogError::Busy { .. }));
        drop(first);
        let mut second = log.source(&topic, 0, Some("s")).await.unwrap();
        assert!(second.read(NOW).await.unwrap().is_empty());
    });
}

#[test]
fn a_broker_that_is_not_there_is_waited_for_until_told_to_stop() {
    let watch = Arc::<Told>::default();
    // Nothing listens on the port of discard.
    let log = PulsarLog::new(options("pulsar://127.0.0.1:9", &watch)).unwrap();
    let error = run(log.spec(&TopicName::raw_events())).unwrap_err();
    assert!(matches!(error, LogError::Unreachable { .. }), "{error}");
    let told = watch.waiting.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("pulsar://127.0.0.1:9"), "{told:?}");
}

#[test]
fn addresses_of_something_else_are_refused() {
    for url in ["pulsar+ssl://h:6651", "http://127.0.0.1:8080", "pulsar://h:port"] {
        let error = PulsarLog::new(options(url, &Arc::default())).unwrap_err();
        assert!(matches!(error, LogError::Refused { .. }), "{error}");
    }
}
