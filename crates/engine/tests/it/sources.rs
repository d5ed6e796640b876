//! Batches that come from a stream: each record takes effect once, and only for the last who took over.

use std::collections::BTreeSet;
use std::sync::Arc;

use dvse_engine::{
    Applied, Durability, EmbeddedCollection, EngineConfig, MarkOutcome, Refusal, Shard, WriteError,
};
use dvse_storage::{Directory, FaultyDirectory, RecoveryMode, Wal, WalOptions};
use dvse_types::*;
use serde_json::json;

use crate::support::*;

fn schema() -> CollectionSchema {
    CollectionSchema::single(2, Metric::L2)
}

fn stream() -> StreamName {
    "raw".parse().unwrap()
}

fn mark(epoch: u64, position: u128) -> SourceMark {
    SourceMark { stream: stream(), partition: 3, epoch, position: Position(position) }
}

/// A batch that writes one point and has a mark.
fn batch(id: u64, epoch: u64, position: u128) -> WriteBatch {
    let ops = vec![WriteOp::Upsert(vec![point(id, &[id as f32, 0.0], json!({}))])];
    WriteBatch { ops, source: Some(mark(epoch, position)) }
}

fn state(collection: &EmbeddedCollection) -> SourceState {
    collection.view().source(&stream(), 3).unwrap()
}

fn fenced(sent: u64, granted: Option<u64>) -> WriteError {
    WriteError::Refused(Refusal::Fenced { stream: stream(), partition: 3, sent, granted })
}

#[test]
fn records_take_effect_once_and_only_for_the_last_who_took_over() {
    let dir = mem();
    let collection = EmbeddedCollection::create_in(&dir, "c", schema(), manual(100)).unwrap();
    let send = |batch| collection.write(batch, Durability::Synced);
    let refused = send(batch(1, 1, 10)).unwrap_err();
    assert_eq!((refused.kind(), refused.help().is_some()), (ErrorKind::Fenced, true));
    assert_eq!(refused, fenced(1, None));
    assert_eq!(collection.status().applied, SeqNo(0), "a batch that is fenced is not logged");

    let taken = collection.take_over(&stream(), 3).unwrap();
    assert_eq!(taken, SourceState { epoch: 1, position: None, seq: SeqNo(0) });
    let first = send(batch(1, 1, 10)).unwrap();
    assert_eq!((first.seq, first.touched), (SeqNo(2), vec![1]));
    assert_eq!(first.mark, Some(MarkOutcome::Applied { position: Position(10) }));
    for position in [10, 9, 0] {
        let again = send(batch(2, 1, position)).unwrap();
        assert_eq!((again.seq, again.touched), (SeqNo(2), vec![]));
        assert_eq!(again.mark, Some(MarkOutcome::Duplicate { position: Position(10) }));
    }
    // Nothing of it but the position.
    let empty = send(WriteBatch { ops: vec![], source: Some(mark(1, 11)) }).unwrap();
    assert_eq!((empty.seq, empty.touched), (SeqNo(3), vec![]));
    assert_eq!(empty.mark, Some(MarkOutcome::Applied { position: Position(11) }));
    // A batch that does not fit the collection leaves the position.
    let misfit = WriteOp::Upsert(vec![point(1, &[1.0], json!({}))]);
    send(WriteBatch { ops: vec![misfit], source: Some(mark(1, 12)) }).unwrap_err();

    let taken = collection.take_over(&stream(), 3).unwrap();
    assert_eq!(taken, SourceState { epoch: 2, position: Some(Position(11)), seq: SeqNo(3) });
    assert_eq!(send(batch(3, 1, 12)).unwrap_err(), fenced(1, Some(2)));
    assert_eq!(send(batch(3, 3, 12)).unwrap_err(), fenced(3, Some(2)));
    assert_eq!(send(batch(3, 2, 12)).unwrap().seq, SeqNo(5));
    assert_eq!(ids(&collection.view()), [1, 3]);
    assert_eq!(collection.status().applied, SeqNo(5));

    // Other partitions and streams have states of their own, and batches without a mark have none.
    assert_eq!(collection.take_over(&stream(), 4).unwrap().epoch, 1);
    assert_eq!(collection.take_over(&"a".parse().unwrap(), 3).unwrap().epoch, 1);
    assert_eq!(write(&collection, vec![]).mark, None);
    let names: Vec<_> = collection.view().sources().into_iter().map(|(name, part, _)| (name, part)).collect();
    assert_eq!(names, [("a".parse().unwrap(), 3), (stream(), 3), (stream(), 4)]);
}

#[test]
fn marks_survive_seal_purge_merge_and_every_reopening() {
    let dir = mem();
    let config = EngineConfig { wal_segment_bytes: 4 << 10, ..manual(16) };
    let mut collection = EmbeddedCollection::create_in(&dir, "c", schema(), config.clone()).unwrap();
    collection.take_over(&stream(), 3).unwrap();
    let mut seq = 1;
    for round in 1..=60_u64 {
        seq += 1;
        let receipt = collection.write(batch(round % 20, 1, u128::from(round)), Durability::Synced).unwrap();
        assert_eq!(receipt.seq, SeqNo(seq));
        match round % 12 {
            2 => drop(collection.step().unwrap()),
            5 => collection.flush().unwrap(),
            7 => settle(&collection),
            // As after a kill, then as after a stop.
            8 | 11 => {
                if round % 12 == 11 {
                    collection.close().unwrap();
                }
                drop(collection);
                collection = EmbeddedCollection::open_in(&dir, "c", config.clone()).unwrap();
            }
            _ => {}
        }
        let expect = SourceState { epoch: 1, position: Some(Position(u128::from(round))), seq: SeqNo(seq) };
        assert_eq!(state(&collection), expect, "round {round}");
    }
    collection.flush().unwrap();
    settle(&collection);
    let status = collection.status();
    assert_eq!((status.points, status.segments), (20, 1), "{status:?}");
    let before = collection.view().sources();
    drop(collection);
    // The take-over was purged from the log, and segments and manifest alone know as much.
    let (wal, _) = Wal::open(dir.sub("wal"), WalOptions::default(), RecoveryMode::CutTornTail).unwrap();
    assert!(wal.first() > SeqNo(1), "{}", wal.first());
    drop(wal);
    let shard = Shard::open(Arc::clone(&dir), config.clone()).unwrap();
    assert_eq!(shard.view().sources(), before);
    drop(shard);
    let collection = EmbeddedCollection::open_in(&dir, "c", config).unwrap();
    assert_eq!(collection.view().sources(), before);
    let again = collection.write(batch(99, 1, 60), Durability::Synced).unwrap();
    assert_eq!(again.mark, Some(MarkOutcome::Duplicate { position: Position(60) }));
    assert_eq!((again.seq, ids(&collection.view()).len()), (SeqNo(seq), 20));
}

#[test]
fn a_collection_knows_as_many_partitions_as_allowed_and_says_so() {
    let dir = mem();
    let collection = EmbeddedCollection::create_in(&dir, "c", schema(), manual(100)).unwrap();
    let all = (0..SOURCES_MAX as u32).map(|partition| WriteOp::TakeOver { stream: stream(), partition });
    write(&collection, all.collect());
    let other: StreamName = "other".parse().unwrap();
    let refused = collection.take_over(&other, 0).unwrap_err();
    let expect = Refusal::TooMany { stream: other, partition: 0 };
    assert_eq!(refused, WriteError::Refused(expect));
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    assert!(refused.to_string().contains("65536"), "{refused}");
    assert_eq!(collection.status().applied, SeqNo(1), "what is refused is not logged");
    assert_eq!(collection.take_over(&stream(), 3).unwrap().epoch, 2);
    collection.write(batch(1, 2, 1), Durability::Synced).unwrap();
    collection.close().unwrap();
    drop(collection);
    let collection = EmbeddedCollection::open_in(&dir, "c", manual(100)).unwrap();
    assert_eq!(collection.view().sources().len(), SOURCES_MAX);
    assert_eq!(state(&collection).position, Some(Position(1)));
}

/// Whoever hears that records are there already forgets them.
#[test]
fn a_duplicate_is_answered_when_the_first_is_durable() {
    for seed in 0..8 {
        let disk = FaultyDirectory::new();
        let dir: Arc<dyn Directory> = Arc::new(disk.clone());
        let collection = EmbeddedCollection::create_in(&dir, "c", schema(), manual(100)).unwrap();
        collection.take_over(&stream(), 3).unwrap();
        collection.write(batch(1, 1, 5), Durability::Buffered).unwrap();
        assert!(collection.status().durable < SeqNo(2), "the first is not durable yet");
        let again = collection.write(batch(1, 1, 5), Durability::Synced).unwrap();
        assert_eq!(again.mark, Some(MarkOutcome::Duplicate { position: Position(5) }));
        assert_eq!(collection.status().durable, SeqNo(2));
        drop(collection);
        let after: Arc<dyn Directory> = Arc::new(disk.crash(seed));
        let collection = EmbeddedCollection::open_in(&after, "c", manual(100)).unwrap();
        assert_eq!(ids(&collection.view()), [1]);
        assert_eq!(state(&collection).position, Some(Position(5)));
    }
}

#[test]
fn a_take_over_is_durable_when_it_is_answered() {
    let disk = FaultyDirectory::new();
    let dir: Arc<dyn Directory> = Arc::new(disk.clone());
    let collection = EmbeddedCollection::create_in(&dir, "c", schema(), manual(100)).unwrap();
    collection.take_over(&stream(), 3).unwrap();
    disk.fail_sync(1);
    let failed = collection.take_over(&stream(), 3).unwrap_err();
    assert!(matches!(failed, WriteError::Poisoned { .. }), "{failed}");
    assert_eq!(state(&collection).epoch, 1, "nobody sees an epoch that may be lost");
    drop(collection);
    for seed in 0..6 {
        let after: Arc<dyn Directory> = Arc::new(disk.crash(seed));
        let collection = EmbeddedCollection::open_in(&after, "c", manual(100)).unwrap();
        let epoch = state(&collection).epoch;
        assert!((1..=2).contains(&epoch), "seed {seed}: {epoch}");
        assert_eq!(collection.take_over(&stream(), 3).unwrap().epoch, epoch + 1);
    }
}

/// Several writers take one partition over again and again and write what comes after the position they were told.
#[test]
fn writers_at_once_hear_different_epochs_and_write_every_record_once() {
    const RECORDS: u128 = 300;
    let collection = EmbeddedCollection::create_in(&mem(), "c", schema(), manual(1_000)).unwrap();
    let epochs: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4).map(|_| scope.spawn(|| write_records(&collection, RECORDS))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let heard: Vec<u64> = epochs.into_iter().flatten().collect();
    let distinct: BTreeSet<u64> = heard.iter().copied().collect();
    assert_eq!(distinct.len(), heard.len(), "no epoch is granted twice");
    assert_eq!(state(&collection).epoch as usize, heard.len());
    assert_eq!(state(&collection).position, Some(Position(RECORDS)));
    assert_eq!(ids(&collection.view()), (1..=RECORDS as u64).collect::<Vec<_>>());
    // Each record is one entry, each take-over another, and there are no others.
    assert_eq!(collection.status().applied.0, RECORDS as u64 + heard.len() as u64);
}

fn write_records(collection: &EmbeddedCollection, records: u128) -> Vec<u64> {
    let mut epochs = Vec::new();
    loop {
        let SourceState { epoch, position, .. } = collection.take_over(&stream(), 3).unwrap();
        epochs.push(epoch);
        let done = position.map_or(0, |position| position.0);
        if done == records {
            return epochs;
        }
        for record in done + 1..=records.min(done + 7) {
            match collection.write(batch(record as u64, epoch, record), Durability::Synced) {
                Ok(receipt) => {
                    assert_eq!(receipt.mark, Some(MarkOutcome::Applied { position: Position(record) }));
                }
                Err(WriteError::Refused(Refusal::Fenced { sent, granted, .. })) => {
                    assert!(granted > Some(sent), "{sent} {granted:?}");
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A log that somebody else ordered may hold batches that must not take effect; all who apply it pass over the same.
#[test]
fn a_shard_passes_over_entries_that_may_not_take_effect_and_says_so() {
    let take_over = WriteBatch::new(vec![WriteOp::TakeOver { stream: stream(), partition: 3 }]);
    let duplicate = Applied::Refused(Refusal::Duplicate { position: Position(5), seq: SeqNo(3) });
    let fence =
        |sent, granted| Applied::Refused(Refusal::Fenced { stream: stream(), partition: 3, sent, granted });
    let log = [
        (batch(1, 1, 5), fence(1, None)),
        (take_over.clone(), Applied::Touched(vec![0])),
        (batch(2, 1, 5), Applied::Touched(vec![1])),
        (batch(3, 1, 5), duplicate),
        (take_over, Applied::Touched(vec![0])),
        (batch(4, 1, 6), fence(1, Some(2))),
        (batch(5, 2, 6), Applied::Touched(vec![1])),
    ];
    let shard = Shard::create(mem(), schema(), manual(100)).unwrap();
    for (at, (batch, expect)) in log.iter().enumerate() {
        let seq = SeqNo(at as u64 + 1);
        assert_eq!(&shard.apply(seq, batch).unwrap(), expect, "entry {seq}");
        assert_eq!((shard.applied(), shard.view().seq()), (seq, seq));
        // Once more, as when a log is replayed.
        assert_eq!(shard.apply(seq, batch).unwrap(), Applied::Touched(vec![]));
    }
    assert_eq!(ids(&shard.view()), [2, 5]);
    let last = SourceState { epoch: 2, position: Some(Position(6)), seq: SeqNo(7) };
    assert_eq!(shard.view().source(&stream(), 3), Some(last));
}
