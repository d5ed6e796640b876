//! What the embedded log does beyond the suite: retention, and power losses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dvse_ingest::{Clock, EmbeddedLog, LogError, TopicLog, TopicName, TopicSpec};
use dvse_storage::{Directory, FaultyDirectory, MemDirectory};
use dvse_types::Position;

use crate::conformance::{read_all, run, send};

const HOUR_MS: u64 = 3_600_000;

#[test]
fn retention_drops_what_is_old_or_too_much_and_never_what_somebody_needs() {
    let time = Arc::new(AtomicU64::new(HOUR_MS));
    let clock = Clock(Arc::new({
        let time = Arc::clone(&time);
        move || time.load(Ordering::Relaxed)
    }));
    let dir: Arc<dyn Directory> = Arc::new(MemDirectory::new());
    let log = EmbeddedLog::over(dir, clock);
    let topic = TopicName::raw_events();
    let spec = TopicSpec { segment_bytes: 4096, retention_ms: Some(HOUR_MS), ..TopicSpec::raw_events(1) };
    run(async {
        log.ensure(&topic, spec).await.unwrap();
        let mut producer = log.producer(&topic, 0).await.unwrap();
        let fill = |name: &'static str| (0..40).map(move |number| format!("{name} {number:>400}"));
        let old = send(&mut *producer, fill("old")).await;
        let oldest =
            || async { read_all(&mut *log.source(&topic, 0, None).await.unwrap(), 9).await[0].position };
        let mut source = log.source(&topic, 0, Some("s")).await.unwrap();
        time.store(3 * HOUR_MS, Ordering::Relaxed);
        let new = send(&mut *producer, fill("new")).await;
        assert_eq!(oldest().await, old[0], "nobody has read it");
        read_all(&mut *source, 100).await;
        source.commit(old[19]).await.unwrap();
        let more = send(&mut *producer, fill("more")).await;
        let left = oldest().await;
        assert!(old[0] < left && left <= old[20], "old, and up to what is committed: {left}");
        source.commit(new[39]).await.unwrap();
        send(&mut *producer, fill("still more")).await;
        let left = oldest().await;
        assert!(old[20] < left && left <= new[0], "only what is old: {left}");
        // A new subscription begins at what is left, and its backlog does not count what is gone.
        let mut late = log.source(&topic, 0, Some("late")).await.unwrap();
        assert_eq!(late.lag().await.unwrap().records, 160 - (left.0 as u64 - 1));
        late.commit(new[39]).await.unwrap();
        drop(producer);
        // By size, when the partition is opened again.
        let bytes = TopicSpec { retention_bytes: Some(10_000), retention_ms: None, ..spec };
        log.ensure(&topic, bytes).await.unwrap();
        let producer = log.producer(&topic, 0).await.unwrap();
        let left = oldest().await;
        assert!(new[0] < left && left <= more[0], "beyond the size, and up to what is committed: {left}");
        drop(producer);
        let mut behind = log.source(&topic, 0, None).await.unwrap();
        behind.seek(Some(old[0]));
        let error = behind.read(crate::conformance::NOW).await.unwrap_err();
        assert!(matches!(error, LogError::Gone { position: Position(2), .. }), "{error}");
    });
}

#[test]
fn a_topic_that_nobody_reads_yet_holds_its_producer_and_all_is_counted_exactly() {
    let log = EmbeddedLog::over(Arc::new(MemDirectory::new()), Clock::system());
    let topic = TopicName::raw_events();
    let spec = TopicSpec { backlog_bytes_max: Some(1000), ..TopicSpec::raw_events(1) };
    run(async {
        log.ensure(&topic, spec).await.unwrap();
        assert_eq!(log.topics().await.unwrap(), std::slice::from_ref(&topic));
        let mut producer = log.producer(&topic, 0).await.unwrap();
        let mut count = 0;
        let error = loop {
            match producer.append(b"", &[b'x'; 200], Duration::ZERO).await {
                Ok(()) => count += 1,
                Err(error) => break error,
            }
        };
        let LogError::Held { backlog_bytes, bytes_max: 1000, .. } = error else { panic!("{error}") };
        assert!((600..=1000).contains(&backlog_bytes), "{backlog_bytes}");
        let mut source = log.source(&topic, 0, Some("s")).await.unwrap();
        let lag = source.lag().await.unwrap();
        assert_eq!((lag.records, lag.bytes), (count, backlog_bytes));
        let first = read_all(&mut *source, 10).await[0].position;
        source.commit(first).await.unwrap();
        assert_eq!(source.lag().await.unwrap().bytes, backlog_bytes / count * (count - 1));
    });
}

/// Produces, reads and commits; returns what the caller may rely on: records flushed, and the committed place.
async fn live(disk: &FaultyDirectory, flushed: &mut usize, committed: &mut u128) -> Result<(), LogError> {
    let log = EmbeddedLog::over(Arc::new(disk.clone()), Clock::system());
    let topic = TopicName::raw_events();
    let spec = TopicSpec { segment_bytes: 4096, ..TopicSpec::raw_events(2) };
    log.ensure(&topic, spec).await?;
    let mut producer = log.producer(&topic, 1).await?;
    let mut source = log.source(&topic, 1, Some("s")).await?;
    for number in 0..24 {
        let payload = format!("{number:>300}");
        producer.append(b"k", payload.as_bytes(), Duration::ZERO).await?;
        if number % 2 == 1 {
            producer.flush().await?;
            *flushed = number + 1;
        }
        let records = source.read(crate::conformance::NOW).await?;
        if let Some(last) = records.last() {
            source.commit(last.position).await?;
            *committed = last.position.0;
        }
    }
    Ok(())
}

#[test]
fn what_was_flushed_and_committed_survives_a_power_loss_at_every_call() {
    let disk = FaultyDirectory::new();
    run(live(&disk, &mut 0, &mut 0)).unwrap();
    for stop in 1..=disk.calls() {
        let disk = FaultyDirectory::new();
        disk.stop_at(stop);
        let (mut flushed, mut committed) = (0, 0);
        run(live(&disk, &mut flushed, &mut committed)).unwrap_err();
        for seed in 0..4 {
            let after = disk.crash(seed * 1000 + stop);
            let log = EmbeddedLog::over(Arc::new(after), Clock::system());
            let topic = TopicName::raw_events();
            run(async {
                if log.spec(&topic).await.unwrap().is_none() {
                    assert_eq!((flushed, committed), (0, 0), "stop {stop}: the topic is gone");
                    return;
                }
                let mut producer = log.producer(&topic, 1).await.unwrap();
                let mut source = log.source(&topic, 1, Some("s")).await.unwrap();
                let there = source.committed().map_or(0, |position| position.0);
                // A commit under way may have happened; one that returned has.
                assert!(there >= committed, "stop {stop} seed {seed}: {there} < {committed}");
                source.seek(None);
                let records = read_all(&mut *source, 5).await;
                assert!(
                    records.len() >= flushed.max(there as usize),
                    "stop {stop} seed {seed}: {} records",
                    records.len()
                );
                for (record, number) in records.iter().zip(0..) {
                    assert_eq!(record.payload, format!("{number:>300}").into_bytes());
                }
                let next = send(&mut *producer, ["next".to_owned()]).await;
                assert_eq!(next[0].0, records.len() as u128 + 1);
                assert_eq!(read_all(&mut *source, 5).await.len(), 1);
            });
        }
    }
}
