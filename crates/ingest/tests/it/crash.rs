//! The protocol against power losses at every call to the disk, and deaths of the worker before and after every call to the
//! collection.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use dvse_ingest::pipeline::{self, PipelineConfig, Progress};
use dvse_ingest::{
    Change, Clock, DeadLetter, EmbeddedLog, IndexedEvent, Operation, Poison, RawChange, RawEvent, TopicLog,
    TopicName, TopicSpec,
};
use dvse_storage::FaultyDirectory;
use dvse_types::{PointId, Position, Vector};
use serde_json::json;

use crate::conformance::run;
use crate::memory_sink::{DIM, Fault, Restless, Shared, TestParts};

pub const RECORDS: usize = 31;

/// Records with every kind of trouble: points written again in one batch and later, deletes, texts, poison of all stages.
pub fn raw_record(number: usize) -> Vec<u8> {
    let id = number * 7 % 11;
    let common = json!({"source_id": "s", "timestamp": number, "payload": {"n": number}, "id": id});
    let mut record = common;
    match number % 10 {
        3 => return format!("not json {number}").into_bytes(),
        5 => record["op"] = json!("delete"),
        6 => record["text"] = json!(""),
        7 if number % 20 == 7 => record["vector"] = json!([1.0]),
        7 => record["vector"] = json!([0, 0, 0]),
        8 => {
            record["payload"]["refuse"] = json!(true);
            record["text"] = json!("refused");
        }
        1 | 4 => record["vector"] = json!([number, 2.0, 3.0]),
        _ => record["text"] = json!(format!("text of {number}")),
    }
    record.to_string().into_bytes()
}

/// What is to come of a record: its point and what it holds, or nothing but a dead letter.
fn is_poison(number: usize) -> bool {
    matches!(number % 10, 3 | 6 | 7 | 8)
}

pub fn config() -> PipelineConfig {
    PipelineConfig {
        batch_records: NonZeroUsize::new(6).unwrap(),
        embed_texts: NonZeroUsize::new(2).unwrap(),
        idle_wait: Duration::ZERO,
        retry_first: Duration::ZERO,
        retry_longest: Duration::ZERO,
        until_empty: true,
        ..PipelineConfig::of("c")
    }
}

pub fn log_on(disk: &FaultyDirectory) -> Arc<dyn TopicLog> {
    Arc::new(EmbeddedLog::over(Arc::new(disk.clone()), Clock::system()))
}

/// A disk with the topics and the records.
pub fn prepared() -> FaultyDirectory {
    let disk = FaultyDirectory::new();
    let log = log_on(&disk);
    run(async {
        // Small files: that they are begun and closed is part of the matrix, and large ones would be copied at each crash.
        for (topic, spec) in [
            (TopicName::raw_events(), TopicSpec::raw_events(1)),
            (TopicName::vector_indexed(), TopicSpec::vector_indexed(1)),
            (TopicName::dead_letters(), TopicSpec::dead_letters(1)),
        ] {
            log.ensure(&topic, TopicSpec { segment_bytes: 4096, ..spec }).await.unwrap();
        }
        assert_eq!(pipeline::ensure_topics(&*log, &config(), 7).await.unwrap(), 1);
        let mut producer = log.producer(&TopicName::raw_events(), 0).await.unwrap();
        for number in 0..RECORDS {
            producer.append(b"", &raw_record(number), Duration::ZERO).await.unwrap();
        }
        producer.flush().await.unwrap();
    });
    disk
}

pub fn ingest(disk: &FaultyDirectory, parts: &TestParts) -> Result<(), pipeline::PipelineError> {
    pipeline::run(&log_on(disk), &config(), 1, parts, &Progress::default())
}

/// Checks all that is promised.
pub fn check_exactly_once(disk: &FaultyDirectory, sink: &Shared, context: &str) {
    let collection = sink.0.lock().unwrap();
    check_points(&collection.points, context);
    let mark = collection.mark(0);
    assert_eq!(mark, Some(Position(RECORDS as u128)), "{context}");
    let marks: Vec<Position> = collection.entries.iter().map(|(_, mark, _)| mark.position).collect();
    assert!(marks.is_sorted_by(|a, b| a < b), "{context}: {marks:?}");
    let log = log_on(disk);
    run(async {
        let mut events: BTreeMap<(u64, u32), IndexedEvent> = BTreeMap::new();
        let mut producer = log.producer(&TopicName::vector_indexed(), 0).await.unwrap();
        let mut visit = |record: dvse_ingest::Record| {
            let event = IndexedEvent::decode(&record.payload).unwrap();
            let older = events.insert((event.log_position, event.ordinal), event.clone());
            if let Some(older) = older {
                assert_eq!(
                    IndexedEvent { commit_ts: 0, ..older },
                    IndexedEvent { commit_ts: 0, ..event },
                    "{context}: two events of one identity"
                );
            }
            ControlFlow::Continue(())
        };
        producer.visit_newest_first(&mut visit).await.unwrap();
        let mut expected = 0;
        for (seq, _, changes) in &collection.entries {
            for (ordinal, change) in (0..).zip(changes) {
                expected += 1;
                let event = events.get(&(*seq, ordinal));
                let event =
                    event.unwrap_or_else(|| panic!("{context}: no event of entry {seq}, change {ordinal}"));
                check_event(event, change, context);
            }
        }
        assert_eq!(events.len(), expected, "{context}: events of what was not committed");
        check_letters(&*log, context).await;
    });
}

fn check_points(
    points: &BTreeMap<PointId, (Vector, serde_json::Map<String, serde_json::Value>)>,
    context: &str,
) {
    let mut expected: BTreeMap<PointId, usize> = BTreeMap::new();
    for number in (0..RECORDS).filter(|number| !is_poison(*number)) {
        let id = PointId::Num((number * 7 % 11) as u64);
        if number % 10 == 5 {
            expected.remove(&id);
        } else {
            expected.insert(id, number);
        }
    }
    assert_eq!(points.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{context}");
    for (id, (vector, payload)) in points {
        let number = expected[id];
        assert_eq!(payload["n"], number, "{context}: point {id}");
        match RawEvent::decode(&raw_record(number), DIM).unwrap().change {
            RawChange::Upsert { content: dvse_ingest::Content::Vector(sent), .. } => {
                assert_eq!(*vector, sent, "{context}")
            }
            _ => assert_eq!(vector[..2], Restless::of(&format!("text of {number}")), "{context}"),
        }
    }
}

fn check_event(event: &IndexedEvent, change: &Change, context: &str) {
    assert_eq!(event.vector_id, change.id().to_string(), "{context}");
    match change {
        Change::Upsert { vector, payload, .. } => {
            assert_eq!(event.operation, Operation::Upsert);
            // A vector that was replaced before its event was made again is told as the model gives it then.
            assert_eq!(event.embedding[..2], vector[..2], "{context}");
            assert_eq!(event.payload, serde_json::to_vec(payload).unwrap(), "{context}");
        }
        Change::Delete { .. } => assert_eq!((event.operation, event.embedding.len()), (Operation::Delete, 0)),
    }
}

async fn check_letters(log: &dyn TopicLog, context: &str) {
    let mut letters: BTreeMap<Position, Vec<DeadLetter>> = BTreeMap::new();
    let mut producer = log.producer(&TopicName::dead_letters(), 0).await.unwrap();
    let mut visit = |record: dvse_ingest::Record| {
        let letter = DeadLetter::from_json(&record.payload).unwrap();
        letters.entry(letter.position).or_default().push(letter);
        ControlFlow::Continue(())
    };
    producer.visit_newest_first(&mut visit).await.unwrap();
    let expected: BTreeSet<Position> =
        (0..RECORDS).filter(|number| is_poison(*number)).map(|number| Position(number as u128 + 1)).collect();
    assert_eq!(letters.keys().copied().collect::<BTreeSet<_>>(), expected, "{context}");
    for (position, letters) in letters {
        let number = position.0 as usize - 1;
        assert!(letters.iter().all(|letter| letter.record == raw_record(number)), "{context}");
        let code = &letters[0].code;
        let expect =
            [Poison::NotAnEvent(String::new()), Poison::Text(String::new()), Poison::Refused(String::new())];
        let expect = match number % 10 {
            3 => expect[0].code(),
            6 => expect[1].code(),
            7 if number % 20 == 7 => "invalid_field",
            _ => expect[2].code(),
        };
        assert_eq!(code, expect, "{context}");
    }
}

#[test]
fn a_power_loss_at_every_call_loses_and_doubles_nothing() {
    let disk = prepared();
    let before = disk.calls();
    let parts = TestParts::default();
    ingest(&disk, &parts).unwrap();
    let calls = disk.calls() - before;
    check_exactly_once(&disk, &parts.sink, "without a fault");
    assert!(calls > 60, "{calls}");
    for stop in 1..=calls {
        let disk = prepared();
        disk.stop_at(before + stop);
        let parts = TestParts::default();
        ingest(&disk, &parts).unwrap_err();
        for seed in 0..3 {
            let context = format!("stop {stop} seed {seed}");
            let after = disk.crash(seed * 1000 + stop);
            // Each seed begins with the collection as it was at the fault.
            let copy = TestParts { sink: copy_of(&parts.sink), model: parts.model.clone() };
            ingest(&after, &copy).unwrap_or_else(|error| panic!("{context}: {error}"));
            check_exactly_once(&after, &copy.sink, &context);
        }
    }
}

fn copy_of(sink: &Shared) -> Shared {
    let there = sink.0.lock().unwrap();
    let copy = Shared::default();
    {
        let mut collection = copy.0.lock().unwrap();
        collection.points.clone_from(&there.points);
        collection.sources.clone_from(&there.sources);
        collection.entries.clone_from(&there.entries);
        collection.seq = there.seq;
    }
    copy
}

#[test]
fn a_failure_before_and_after_every_call_to_the_collection_is_survived() {
    let parts = TestParts::default();
    ingest(&prepared(), &parts).unwrap();
    let calls = parts.sink.0.lock().unwrap().calls;
    for call in 1..=calls {
        for fault in [Fault::Busy, Fault::AnswerLost, Fault::CrashBefore, Fault::CrashAfter] {
            let context = format!("call {call} {fault:?}");
            let (disk, parts) = (prepared(), TestParts::default());
            parts.sink.0.lock().unwrap().faults.insert(call, fault);
            let first = ingest(&disk, &parts);
            let is_crash = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
            assert_eq!(first.is_err(), is_crash, "{context}: {first:?}");
            // A process that dies leaves the disk as it is.
            if is_crash {
                ingest(&disk, &parts).unwrap();
            }
            check_exactly_once(&disk, &parts.sink, &context);
        }
    }
}

#[test]
fn crash_after_crash_still_comes_to_the_same_end() {
    for seed in 0..120_u64 {
        let mut disk = prepared();
        let parts = TestParts::default();
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut crashes = 0;
        loop {
            if crashes < 12 {
                disk.stop_at(disk.calls() + 1 + next(25));
                let call = parts.sink.0.lock().unwrap().calls + 1 + next(12);
                let fault =
                    [Fault::Busy, Fault::AnswerLost, Fault::CrashBefore, Fault::CrashAfter][next(4) as usize];
                parts.sink.0.lock().unwrap().faults.insert(call, fault);
            }
            if ingest(&disk, &parts).is_ok() {
                break;
            }
            crashes += 1;
            disk = disk.crash(next(1 << 40));
        }
        parts.sink.0.lock().unwrap().faults.clear();
        disk.stop_at(u64::MAX);
        check_exactly_once(&disk, &parts.sink, &format!("seed {seed}, {crashes} crashes"));
    }
}
