//! What every log of topics has to do. Each check gets a log in which the topic it uses is not there yet.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use dvse_ingest::{
    Clock, EmbeddedLog, LogError, Producer, ReadLimits, Record, Source, TopicLog, TopicName, TopicSpec,
};
use dvse_storage::MemDirectory;
use dvse_types::Position;

pub const NOW: ReadLimits = ReadLimits { records: 1000, bytes: 1 << 20, wait: Duration::ZERO };

/// Runs a future to its end.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Runs each check of the suite on a log of its own. For a log that keeps topics elsewhere, give each call another topic.
pub fn suite(log: &mut dyn FnMut() -> Arc<dyn TopicLog>) {
    run(records_come_back_in_order(log(), &TopicName::raw_events()));
    run(a_subscription_goes_on_where_it_committed(log(), &TopicName::raw_events()));
    run(subscriptions_are_independent_and_readers_hold_nothing(log(), &TopicName::raw_events()));
    run(topics_are_made_once_and_their_partitions_are_fixed(log(), &TopicName::raw_events()));
    run(one_producer_at_a_time(log(), &TopicName::raw_events()));
    run(a_producer_is_held_until_the_slowest_has_read(log(), &TopicName::raw_events()));
    run(the_newest_records_are_visited_first(log(), &TopicName::raw_events()));
    run(seeking_reads_again_and_lag_counts_what_is_left(log(), &TopicName::raw_events()));
}

pub async fn send(producer: &mut dyn Producer, payloads: impl IntoIterator<Item = String>) -> Vec<Position> {
    let mut positions = Vec::new();
    for payload in payloads {
        positions.push(producer.append(b"key", payload.as_bytes(), Duration::ZERO).await.unwrap());
    }
    producer.flush().await.unwrap();
    positions
}

/// Reads all that is there, in bites.
pub async fn read_all(source: &mut dyn Source, bite: usize) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let records = source.read(ReadLimits { records: bite, ..NOW }).await.unwrap();
        assert!(records.len() <= bite);
        if records.is_empty() {
            return all;
        }
        all.extend(records);
    }
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.payload.clone()).unwrap()).collect()
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("record {number}")).collect()
}

async fn records_come_back_in_order(log: Arc<dyn TopicLog>, topic: &TopicName) {
    log.ensure(topic, TopicSpec::raw_events(2)).await.unwrap();
    let mut source = log.source(topic, 1, Some("s")).await.unwrap();
    assert!(source.read(NOW).await.unwrap().is_empty());
    let mut producer = log.producer(topic, 1).await.unwrap();
    let mut positions = send(&mut *producer, numbered(0..50)).await;
    let records = read_all(&mut *source, 7).await;
    assert_eq!(texts(&records), numbered(0..50));
    assert!(records.iter().all(|record| record.key == b"key" && record.appended_ms > 0));
    positions.extend(send(&mut *producer, numbered(50..60)).await);
    // By bytes: the first whatever its size, and then what fits.
    let one = source.read(ReadLimits { bytes: 1, ..NOW }).await.unwrap();
    let rest = read_all(&mut *source, 100).await;
    assert_eq!((texts(&one), texts(&rest)), (numbered(50..51), numbered(51..60)));
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
    let read: Vec<Position> = records.iter().chain(&one).chain(&rest).map(|record| record.position).collect();
    assert_eq!(read, positions);
    let mut other = log.source(topic, 0, Some("s")).await.unwrap();
    assert!(other.read(NOW).await.unwrap().is_empty(), "partitions are apart");
    assert!(matches!(
        log.source(topic, 2, None).await.unwrap_err(),
        LogError::NoPartition { partition: 2, .. }
    ));
}

async fn a_subscription_goes_on_where_it_committed(log: Arc<dyn TopicLog>, topic: &TopicName) {
    log.ensure(topic, TopicSpec::raw_events(1)).await.unwrap();
    let mut producer = log.producer(topic, 0).await.unwrap();
    let positions = send(&mut *producer, numbered(0..20)).await;
    let mut source = log.source(topic, 0, Some("s")).await.unwrap();
    assert_eq!(source.committed(), None);
    read_all(&mut *source, 6).await;
    source.commit(positions[11]).await.unwrap();
    // Backwards is no way: another worker may have been there.
    source.commit(positions[3]).await.unwrap();
    let stream = source.stream().clone();
    drop((source, producer));
    let mut source = log.source(topic, 0, Some("s")).await.unwrap();
    assert_eq!((source.committed(), source.stream()), (Some(positions[11]), &stream));
    assert_eq!(texts(&read_all(&mut *source, 6).await), numbered(12..20));
}

async fn subscriptions_are_independent_and_readers_hold_nothing(log: Arc<dyn TopicLog>, topic: &TopicName) {
    log.ensure(topic, TopicSpec::raw_events(1)).await.unwrap();
    let mut producer = log.producer(topic, 0).await.unwrap();
    let positions = send(&mut *producer, numbered(0..9)).await;
    for name in ["a", "b / ö", "c"] {
        let mut source = log.source(topic, 0, Some(name)).await.unwrap();
        assert_eq!(texts(&read_all(&mut *source, 100).await), numbered(0..9), "{name}");
        source.commit(positions[8]).await.unwrap();
    }
    let mut reader = log.source(topic, 0, None).await.unwrap();
    assert_eq!(texts(&read_all(&mut *reader, 100).await), numbered(0..9));
    assert!(matches!(reader.commit(positions[0]).await.unwrap_err(), LogError::NoSubscription));
}

async fn topics_are_made_once_and_their_partitions_are_fixed(log: Arc<dyn TopicLog>, topic: &TopicName) {
    assert_eq!(log.spec(topic).await.unwrap(), None);
    assert!(matches!(log.source(topic, 0, None).await.unwrap_err(), LogError::NoTopic { .. }));
    assert!(matches!(log.producer(topic, 0).await.unwrap_err(), LogError::NoTopic { .. }));
    let spec = TopicSpec::raw_events(3);
    log.ensure(topic, spec).await.unwrap();
    let stream = log.source(topic, 0, None).await.unwrap().stream().clone();
    let changed = TopicSpec { retention_ms: None, ..spec };
    log.ensure(topic, changed).await.unwrap();
    assert_eq!(log.spec(topic).await.unwrap(), Some(changed));
    assert_eq!(log.source(topic, 0, None).await.unwrap().stream(), &stream);
    let error = log.ensure(topic, TopicSpec::raw_events(4)).await.unwrap_err();
    assert!(matches!(error, LogError::Partitions { there: 3, asked: 4, .. }), "{error}");
    assert_eq!(log.topics().await.unwrap(), std::slice::from_ref(topic));
}

async fn one_producer_at_a_time(log: Arc<dyn TopicLog>, topic: &TopicName) {
    log.ensure(topic, TopicSpec::raw_events(2)).await.unwrap();
    let producer = log.producer(topic, 0).await.unwrap();
    assert!(matches!(log.producer(topic, 0).await.unwrap_err(), LogError::Busy { partition: 0, .. }));
    drop(log.producer(topic, 1).await.unwrap());
    drop(producer);
    let mut producer = log.producer(topic, 0).await.unwrap();
    send(&mut *producer, numbered(0..1)).await;
}

async fn a_producer_is_held_until_the_slowest_has_read(log: Arc<dyn TopicLog>, topic: &TopicName) {
    let spec = TopicSpec { backlog_bytes_max: Some(1000), ..TopicSpec::raw_events(1) };
    log.ensure(topic, spec).await.unwrap();
    let mut producer = log.producer(topic, 0).await.unwrap();
    let payload = [b'x'; 200];
    let mut last = None;
    let error = loop {
        match producer.append(b"", &payload, Duration::ZERO).await {
            Ok(position) => last = Some(position),
            Err(error) => break error,
        }
    };
    // A topic that nobody reads yet waits for its first reader.
    let LogError::Held { backlog_bytes, bytes_max: 1000, .. } = error else { panic!("{error}") };
    assert!((600..=1000).contains(&backlog_bytes), "{backlog_bytes}");
    let mut fast = log.source(topic, 0, Some("fast")).await.unwrap();
    let mut slow = log.source(topic, 0, Some("slow")).await.unwrap();
    assert!(read_all(&mut *fast, 10).await.len() >= 3, "what is held has to be readable");
    fast.commit(last.unwrap()).await.unwrap();
    assert!(matches!(
        producer.append(b"", &payload, Duration::ZERO).await.unwrap_err(),
        LogError::Held { .. }
    ));
    read_all(&mut *slow, 10).await;
    slow.commit(last.unwrap()).await.unwrap();
    producer.append(b"", &payload, Duration::ZERO).await.unwrap();
    // Giving a subscription up lets its records go.
    while producer.append(b"", &payload, Duration::ZERO).await.is_ok() {}
    let newest = read_all(&mut *fast, 10).await.last().unwrap().position;
    fast.commit(newest).await.unwrap();
    log.unsubscribe(topic, "slow").await.unwrap();
    producer.append(b"", &payload, Duration::ZERO).await.unwrap();
    // What is larger than the bound alone passes when nothing waits.
    producer.flush().await.unwrap();
    let newest = read_all(&mut *fast, 10).await.last().unwrap().position;
    fast.commit(newest).await.unwrap();
    producer.append(b"", &[b'y'; 5000], Duration::ZERO).await.unwrap();
}

async fn the_newest_records_are_visited_first(log: Arc<dyn TopicLog>, topic: &TopicName) {
    log.ensure(topic, TopicSpec::raw_events(1)).await.unwrap();
    let mut producer = log.producer(topic, 0).await.unwrap();
    for (count, stop) in [(0, 5), (1, 5), (200, 5), (200, 1000)] {
        let there = count_all(&mut *producer).await;
        send(&mut *producer, numbered(there..count.max(there))).await;
        let mut visited = Vec::new();
        producer
            .visit_newest_first(&mut |record| {
                visited.push(String::from_utf8(record.payload).unwrap());
                if visited.len() == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .await
            .unwrap();
        let expect: Vec<String> = numbered(0..count).into_iter().rev().take(stop).collect();
        assert_eq!(visited, expect);
    }
}

async fn count_all(producer: &mut dyn Producer) -> usize {
    let mut count = 0;
    producer
        .visit_newest_first(&mut |_| {
            count += 1;
            ControlFlow::Continue(())
        })
        .await
        .unwrap();
    count
}

async fn seeking_reads_again_and_lag_counts_what_is_left(log: Arc<dyn TopicLog>, topic: &TopicName) {
    log.ensure(topic, TopicSpec::raw_events(1)).await.unwrap();
    let mut producer = log.producer(topic, 0).await.unwrap();
    let positions = send(&mut *producer, numbered(0..10)).await;
    let mut source = log.source(topic, 0, Some("s")).await.unwrap();
    let all = source.lag().await.unwrap();
    assert_eq!(all.records, 10);
    read_all(&mut *source, 4).await;
    assert_eq!(source.lag().await.unwrap(), all, "reading is not committing");
    source.commit(positions[5]).await.unwrap();
    let left = source.lag().await.unwrap();
    assert_eq!((left.records, left.bytes), (4, all.bytes * 4 / 10));
    source.seek(Some(positions[2]));
    assert_eq!(texts(&read_all(&mut *source, 4).await), numbered(3..10));
    source.seek(None);
    assert_eq!(texts(&read_all(&mut *source, 4).await), numbered(0..10));
    source.commit(positions[9]).await.unwrap();
    send(&mut *producer, numbered(10..11)).await;
    assert_eq!(source.lag().await.unwrap().records, 1);
    source.seek(Some(Position(1_000_000)));
    assert!(matches!(source.read(NOW).await.unwrap_err(), LogError::Gone { .. }));
}

#[test]
fn the_embedded_log_conforms_in_memory_and_on_disk() {
    suite(&mut || Arc::new(EmbeddedLog::over(Arc::new(MemDirectory::new()), Clock::system())));
    let mut folders = Vec::new();
    suite(&mut || {
        folders.push(tempfile::tempdir().unwrap());
        Arc::new(EmbeddedLog::open(folders.last().unwrap().path()).unwrap())
    });
}
