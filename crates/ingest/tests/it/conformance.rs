//! What every log of topics has to do. Each check gets a log in which the topic it uses is not there yet.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use dvse_ingest::{
    Clock, EmbeddedLog, Lag, LogError, Producer, ReadLimits, Record, Source, TopicLog, TopicName, TopicSpec,
};
use dvse_storage::MemDirectory;
use dvse_types::Position;

pub const NOW: ReadLimits = ReadLimits { records: 1000, bytes: 1 << 20, wait: Duration::ZERO };

/// Runs a future to its end.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Runs each check of the suite on a log and a topic that is not in it.
pub fn suite(log: &mut dyn FnMut() -> (Arc<dyn TopicLog>, TopicName)) {
    let mut check = |check: &dyn Fn(Arc<dyn TopicLog>, TopicName)| {
        let (log, topic) = log();
        check(log, topic);
    };
    check(&|log, topic| run(records_come_back_in_order(log, &topic)));
    check(&|log, topic| run(a_subscription_goes_on_where_it_committed(log, &topic)));
    check(&|log, topic| run(subscriptions_are_independent_and_readers_hold_nothing(log, &topic)));
    check(&|log, topic| run(topics_are_made_once_and_their_partitions_are_fixed(log, &topic)));
    check(&|log, topic| run(one_producer_at_a_time(log, &topic)));
    check(&|log, topic| run(a_producer_is_held_until_the_slowest_has_read(log, &topic)));
    check(&|log, topic| run(the_newest_records_are_visited_first(log, &topic)));
    check(&|log, topic| run(seeking_reads_again_and_lag_counts_what_is_left(log, &topic)));
}

/// Sends records and returns where they are.
pub async fn send(producer: &mut dyn Producer, payloads: impl IntoIterator<Item = String>) -> Vec<Position> {
    let mut count = 0;
    for payload in payloads {
        producer.append(b"key", payload.as_bytes(), Duration::ZERO).await.unwrap();
        count += 1;
    }
    producer.flush().await.unwrap();
    let mut positions = Vec::new();
    if count > 0 {
        let mut visit = |record: Record| {
            positions.push(record.position);
            if positions.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        producer.visit_newest_first(&mut visit).await.unwrap();
    }
    positions.reverse();
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
    assert!(log.topics().await.unwrap().contains(topic));
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

/// Sends a record and says whether it, or one before it, waits for room.
async fn is_held(producer: &mut dyn Producer) -> bool {
    let wait = Duration::from_millis(20);
    let sent = match producer.append(b"", &[b'x'; 200], wait).await {
        Ok(()) => producer.flush().await,
        refused => refused,
    };
    match sent {
        Ok(()) => false,
        Err(error) => {
            assert!(error.is_held(), "{error}");
            true
        }
    }
}

/// Reads everything and commits it, until nothing waits for room any more.
async fn let_go(producer: &mut dyn Producer, readers: &mut [&mut Box<dyn Source>]) {
    loop {
        for reader in readers.iter_mut() {
            let last = read_all(&mut ***reader, 100).await.last().map(|record| record.position);
            if let Some(last) = last {
                reader.commit(last).await.unwrap();
            }
        }
        match producer.flush().await {
            Ok(()) => return,
            Err(error) => assert!(error.is_held(), "{error}"),
        }
    }
}

async fn a_producer_is_held_until_the_slowest_has_read(log: Arc<dyn TopicLog>, topic: &TopicName) {
    let spec = TopicSpec { backlog_bytes_max: Some(1000), ..TopicSpec::raw_events(1) };
    log.ensure(topic, spec).await.unwrap();
    let mut fast = log.source(topic, 0, Some("fast")).await.unwrap();
    let mut slow = log.source(topic, 0, Some("slow")).await.unwrap();
    let mut producer = log.producer(topic, 0).await.unwrap();
    // A broker looks only now and then how much is unconsumed.
    let mut sent = 0;
    while !is_held(&mut *producer).await {
        sent += 1;
        assert!(sent < 100_000, "nothing holds the producer");
    }
    let records = read_all(&mut *fast, 100).await;
    assert!(records.len() >= sent.max(3), "what was sent before has to be readable");
    fast.commit(records.last().unwrap().position).await.unwrap();
    assert!(is_held(&mut *producer).await, "the slow one has not read");
    let_go(&mut *producer, &mut [&mut fast, &mut slow]).await;
    // Giving a subscription up lets its records go.
    while !is_held(&mut *producer).await {
        if let Some(last) = read_all(&mut *fast, 100).await.last() {
            fast.commit(last.position).await.unwrap();
        }
    }
    drop(slow);
    log.unsubscribe(topic, "slow").await.unwrap();
    let_go(&mut *producer, &mut [&mut fast]).await;
    // What is larger than the bound alone passes when nothing waits.
    let_go(&mut *producer, &mut [&mut fast]).await;
    producer.append(b"", &[b'y'; 5000], Duration::from_secs(20)).await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(read_all(&mut *fast, 100).await.last().unwrap().payload, [b'y'; 5000]);
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
    let all = Lag { bytes: source.lag().await.unwrap().bytes, ..all };
    assert_eq!(source.lag().await.unwrap(), all, "reading is not committing");
    source.commit(positions[5]).await.unwrap();
    let left = source.lag().await.unwrap();
    assert_eq!(left.records, 4);
    assert!((all.bytes * 3 / 10..all.bytes).contains(&left.bytes), "{left:?} of {all:?}");
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
    let topic = TopicName::raw_events;
    suite(&mut || (Arc::new(EmbeddedLog::over(Arc::new(MemDirectory::new()), Clock::system())), topic()));
    let mut folders = Vec::new();
    suite(&mut || {
        folders.push(tempfile::tempdir().unwrap());
        (Arc::new(EmbeddedLog::open(folders.last().unwrap().path()).unwrap()), topic())
    });
}
