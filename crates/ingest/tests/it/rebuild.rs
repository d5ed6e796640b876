//! The history of a collection, read back from its events.

use std::sync::Arc;

use dvse_ingest::{
    Change, Clock, EmbeddedLog, IndexedEvent, Operation, RebuildError, Replay, Replayed, TopicLog, TopicName,
    TopicSpec,
};
use dvse_storage::MemDirectory;
use dvse_types::{PointId, Position, Vector};

use crate::conformance::run;

fn event(entry: u64, place: u64, id: u64) -> IndexedEvent {
    IndexedEvent {
        vector_id: id.to_string(),
        embedding: [place as f32].into(),
        commit_ts: 1_000 + entry,
        collection: "c".to_owned(),
        payload: b"{}".to_vec(),
        log_position: entry,
        source_stream: "s".to_owned(),
        source_position: place.to_string(),
        ..IndexedEvent::default()
    }
}

/// Publishes events and reads the history of `c` from them.
fn replay(events: &[IndexedEvent], since_ms: u64) -> Result<Vec<Replayed>, RebuildError> {
    let payloads: Vec<Vec<u8>> = events.iter().map(IndexedEvent::encode).collect();
    replay_bytes(&payloads, since_ms)
}

fn replay_bytes(payloads: &[Vec<u8>], since_ms: u64) -> Result<Vec<Replayed>, RebuildError> {
    let log = EmbeddedLog::over(Arc::new(MemDirectory::new()), Clock::system());
    let topic = TopicName::vector_indexed();
    run(async {
        log.ensure(&topic, TopicSpec::vector_indexed(1)).await.unwrap();
        let mut producer = log.producer(&topic, 0).await.unwrap();
        for payload in payloads {
            producer.append(b"k", payload, std::time::Duration::ZERO).await.unwrap();
        }
        producer.flush().await.unwrap();
        let mut replay = Replay::open(&log, &topic, 0, "c", since_ms).await?;
        assert_eq!(replay.left(), payloads.len() as u64);
        let mut all = Vec::new();
        while let Some(more) = replay.next().await? {
            all.extend(more);
        }
        Ok(all)
    })
}

fn ids(replayed: &[Replayed]) -> Vec<u64> {
    let id = |change: &Change| match change.id() {
        PointId::Num(id) => id,
        PointId::Uuid(_) => panic!("no such id was sent"),
    };
    replayed.iter().flat_map(|part| part.changes.iter().map(id)).collect()
}

#[test]
fn each_change_of_the_collection_comes_once_and_in_order() {
    let other = IndexedEvent { collection: "d".to_owned(), ..event(3, 2, 99) };
    let deleted = IndexedEvent {
        operation: Operation::Delete,
        embedding: Vector::default(),
        payload: Vec::new(),
        ..event(7, 5, 1)
    };
    let again = IndexedEvent { commit_ts: 9_999, ..event(4, 3, 3) };
    let events = [
        event(4, 1, 1),
        event(4, 3, 3),
        other,
        // The worker crashed, and the next one published the end of the batch again.
        again,
        event(4, 4, 4),
        deleted,
        IndexedEvent { source_stream: "t".to_owned(), ..event(8, 1, 5) },
    ];
    let replayed = replay(&events, 0).unwrap();
    assert_eq!(ids(&replayed), [1, 3, 4, 1, 5]);
    assert_eq!(replayed.len(), 2);
    assert_eq!((replayed[0].stream.as_str(), replayed[0].position), ("s", Position(5)));
    assert_eq!((replayed[1].stream.as_str(), replayed[1].position), ("t", Position(1)));
    assert!(matches!(replayed[0].changes[3], Change::Delete { id: PointId::Num(1) }));
    assert_eq!(replay(&[], 0).unwrap(), []);
}

#[test]
fn a_rebuilt_collection_goes_on_and_one_made_anew_is_another() {
    // The log of the rebuilt one begins anew, but its records go on.
    assert_eq!(ids(&replay(&[event(40, 1, 1), event(2, 2, 2), event(3, 3, 3)], 0).unwrap()), [1, 2, 3]);
    let anew = [event(4, 1, 1), event(5, 2, 2), event(3, 1, 7), event(4, 2, 8)];
    let error = replay(&anew, 0).unwrap_err();
    assert!(
        matches!(error, RebuildError::TwoHistories { before: 5, after: 3, since_ms: 1_003, .. }),
        "{error}"
    );
    // By chance in an entry of the same number, with what another model made of it.
    let chance = [event(4, 1, 1), IndexedEvent { embedding: [7.0].into(), ..event(4, 1, 1) }];
    assert!(matches!(replay(&chance, 0).unwrap_err(), RebuildError::TwoHistories { .. }));
    let anew = anew.map(|event| IndexedEvent {
        commit_ts: if event.vector_id.as_str() < "7" { 10 } else { 20 },
        ..event
    });
    assert_eq!(ids(&replay(&anew, 20).unwrap()), [7, 8]);
}

#[test]
fn what_is_no_event_is_named() {
    for (bad, says) in [
        (IndexedEvent { vector_id: "x".to_owned(), ..event(1, 1, 1) }, "field vector_id is x"),
        (IndexedEvent { payload: b"[1]".to_vec(), ..event(1, 1, 1) }, "field payload is [1]"),
        (IndexedEvent { embedding: Vector::default(), ..event(1, 1, 1) }, "field embedding is empty"),
        (IndexedEvent { source_position: "-".to_owned(), ..event(1, 1, 1) }, "field source_position is -"),
        (IndexedEvent { source_stream: String::new(), ..event(1, 1, 1) }, "field source_stream is"),
    ] {
        let error = replay(&[bad], 0).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("record 1 of partition 0"), "{error}");
    }
    let error = replay_bytes(&[b"no event".to_vec()], 0).unwrap_err();
    assert!(matches!(error, RebuildError::Event { partition: 0, .. }), "{error}");
}
