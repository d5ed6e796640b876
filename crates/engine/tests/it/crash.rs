//! The power goes at every call that changes the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dvse_engine::{Durability, EmbeddedCollection, EngineConfig, MarkOutcome, Refusal, WriteError};
use dvse_storage::{Directory, FaultyDirectory};
use dvse_types::*;
use serde_json::json;

use crate::oracle::{Answer, Oracle};
use crate::support::*;

fn config() -> EngineConfig {
    EngineConfig { wal_segment_bytes: 8 << 10, ..manual(12) }
}

fn graph() -> HnswSpec {
    HnswSpec { m: 4, ef_construction: 16, full_scan_rows: 4, ..HnswSpec::default() }
}

fn schema() -> CollectionSchema {
    let mut schema = CollectionSchema::single(2, Metric::L2);
    schema.payload_indexes.insert("k".parse().unwrap(), FieldKind::Integer);
    for params in schema.vectors.values_mut() {
        params.index = IndexSpec::Hnsw(graph());
    }
    schema
}

/// What the script does next.
enum Act {
    Write(WriteBatch, Durability),
    Flush,
    Step,
    Settle,
}

/// Overwrites, deletes and changes of a few points, with seals and merges in between. Most batches come from one of two
/// partitions of a stream, which are taken over again now and then.
fn script() -> Vec<Act> {
    let mut rng = Rng(7);
    let stream: StreamName = "raw".parse().unwrap();
    let mut epochs = [0; 2];
    let mut acts = Vec::new();
    for round in 0..36_u64 {
        let points = (0..1 + rng.below(4)).map(|_| {
            let id = rng.below(14);
            point(id, &[rng.float(), id as f32], json!({"k": round}))
        });
        let mut ops = vec![WriteOp::Upsert(points.collect())];
        if rng.chance(3) {
            ops.push(WriteOp::Delete(PointSelector::Ids(num(&[rng.below(14)]))));
        }
        if rng.chance(4) {
            let points = PointSelector::Ids(num(&[rng.below(14), rng.below(14)]));
            ops.push(WriteOp::SetPayload { points, payload: payload(json!({"set": round})), key: None });
        }
        if round == 20 {
            ops.push(WriteOp::CreateFieldIndex { field: "set".parse().unwrap(), kind: FieldKind::Integer });
        }
        // Every kind comes after every other in one of the rounds.
        let lists = IvfPqSpec { lists: 2, full_scan_rows: 4, ..IvfPqSpec::default() };
        let index = match round {
            6 | 27 => Some(IndexSpec::Nsw(graph())),
            12 | 31 => Some(IndexSpec::IvfPq(lists)),
            17 => Some(IndexSpec::Flat),
            22 => Some(IndexSpec::Hnsw(graph())),
            14 => Some(IndexSpec::Hnsw(HnswSpec { rerank: Rerank::Half, ..graph() })),
            9 => Some(IndexSpec::Hnsw(HnswSpec { quantization: Quantization::Scalar8, ..graph() })),
            24 => {
                let quantization = Quantization::RaBitQ { bits: 4 };
                let (rerank, on_disk) = (Rerank::Half, true);
                Some(IndexSpec::Nsw(HnswSpec { quantization, rerank, on_disk, ..graph() }))
            }
            _ => None,
        };
        if let 11 | 19 | 26 = round {
            ops.push(WriteOp::SetOnDisk { vector: String::new(), on_disk: round != 19 });
        }
        ops.extend(index.map(|index| WriteOp::SetIndex { vector: String::new(), index }));
        let durability = if round % 5 == 3 { Durability::Buffered } else { Durability::Synced };
        let partition = rng.below(2) as u32;
        let epoch = &mut epochs[partition as usize];
        let source = if *epoch == 0 || rng.chance(6) {
            *epoch += 1;
            ops.push(WriteOp::TakeOver { stream: stream.clone(), partition });
            None
        } else {
            let position = Position(u128::from(round) << 64);
            rng.chance(2).then(|| SourceMark { stream: stream.clone(), partition, epoch: *epoch, position })
        };
        if source.is_some() && rng.chance(4) {
            ops.clear();
        }
        acts.push(Act::Write(WriteBatch { ops, source }, durability));
        acts.push(match round % 9 {
            2 | 5 => Act::Step,
            7 => Act::Flush,
            8 => Act::Settle,
            _ => continue,
        });
    }
    acts
}

/// How far a run came: batches that were answered, those of them that must survive, and those that were begun.
#[derive(Default)]
struct Progress {
    made: bool,
    answered: usize,
    durable: usize,
    begun: usize,
}

fn run(disk: &FaultyDirectory, acts: &[Act]) -> Progress {
    let mut progress = Progress::default();
    let dir: Arc<dyn Directory> = Arc::new(disk.clone());
    let Ok(collection) = EmbeddedCollection::create_in(&dir, "c", schema(), config()) else {
        return progress;
    };
    progress.made = true;
    for act in acts {
        let went_on = match act {
            Act::Write(batch, durability) => {
                progress.begun += 1;
                let written = collection.write(batch.clone(), *durability).is_ok();
                if written {
                    progress.answered += 1;
                    if *durability == Durability::Synced {
                        progress.durable = progress.answered;
                    }
                }
                written
            }
            Act::Flush => collection.flush().is_ok(),
            Act::Step => collection.step().is_ok(),
            Act::Settle => collection.settle(&mut |_, _| true).is_ok(),
        };
        if !went_on {
            break;
        }
    }
    progress
}

/// The collection after each number of batches.
fn states(acts: &[Act]) -> Vec<Oracle> {
    let mut states = vec![Oracle::new(schema())];
    for act in acts {
        if let Act::Write(batch, _) = act {
            let mut next = states.last().unwrap().clone();
            let answer = next.write(SeqNo(states.len() as u64), batch);
            assert!(matches!(answer, Answer::Touched(_)), "{answer:?}: batches of the script take effect");
            states.push(next);
        }
    }
    states
}

fn is_state(collection: &EmbeddedCollection, oracle: &Oracle) -> bool {
    let view = collection.view();
    let ids = view.scroll(None, usize::MAX, None).unwrap().ids;
    let projection = Projection { payload: PayloadSelector::All, vectors: VectorSelector::All };
    let records = view.retrieve(&ids, &projection).unwrap();
    view.sources() == oracle.sources()
        && records.len() == oracle.points.len()
        && records.into_iter().all(|record| {
            oracle.points.get(&record.id).is_some_and(|(vectors, payload)| {
                record.vectors.as_ref() == Some(vectors) && record.payload.as_ref() == Some(payload)
            })
        })
}

#[test]
fn every_acknowledged_batch_survives_a_stop_at_every_call_and_none_survives_in_part() {
    let acts = script();
    let states = states(&acts);
    let disk = FaultyDirectory::new();
    let whole = run(&disk, &acts);
    assert_eq!(whole.answered + 1, states.len(), "the script runs through on a disk that works");
    let calls = disk.calls();
    assert!(calls > 300, "{calls}");
    for stop in 1..=calls {
        let disk = FaultyDirectory::new();
        disk.stop_at(stop);
        let progress = run(&disk, &acts);
        for seed in 0..2 {
            let context = format!("stop {stop}, crash {seed}");
            let after: Arc<dyn Directory> = Arc::new(disk.crash(seed));
            let opened = EmbeddedCollection::open_in(&after, "c", config());
            let collection = match opened {
                Ok(collection) => collection,
                Err(error) => {
                    assert!(!progress.made, "{context}: {error}");
                    assert_eq!(error.kind(), ErrorKind::NotFound, "{context}: {error}");
                    continue;
                }
            };
            let candidates = progress.durable..=progress.begun;
            let found = candidates.clone().rev().find(|count| is_state(&collection, &states[*count]));
            let Some(found) = found else {
                panic!("{context}: none of the states after {candidates:?} batches")
            };
            go_on(&collection, &acts, found, &context);
        }
    }
}

/// What was opened takes the rest of the script, and ends where the script ends.
fn go_on(collection: &EmbeddedCollection, acts: &[Act], done: usize, context: &str) {
    let rest = acts.iter().filter_map(|act| match act {
        Act::Write(batch, _) => Some(batch),
        _ => None,
    });
    for batch in rest.clone().take(done).filter(|batch| batch.source.is_some()) {
        // As a sender does that did not hear an answer: nothing takes effect twice.
        match collection.write(batch.clone(), Durability::Synced) {
            Ok(receipt) => {
                assert!(
                    matches!(receipt.mark, Some(MarkOutcome::Duplicate { .. })),
                    "{context}: {receipt:?}"
                );
                assert!(receipt.seq <= SeqNo(done as u64), "{context}: {receipt:?}");
            }
            Err(error) => {
                assert!(matches!(error, WriteError::Refused(Refusal::Fenced { .. })), "{context}: {error}");
            }
        }
    }
    for batch in rest.skip(done) {
        collection.write(batch.clone(), Durability::Buffered).unwrap_or_else(|e| panic!("{context}: {e}"));
    }
    settle(collection);
    assert!(is_state(collection, states(acts).last().unwrap()), "{context}");
    assert_eq!(
        collection.status().segments_to_rebuild,
        0,
        "{context}: the last index asked for is everywhere"
    );
}

#[test]
fn acknowledged_writes_of_many_threads_survive_a_stop() {
    for round in 0..40 {
        let disk = FaultyDirectory::new();
        let dir: Arc<dyn Directory> = Arc::new(disk.clone());
        let collection = EmbeddedCollection::create_in(&dir, "c", schema(), config()).unwrap();
        disk.stop_at(disk.calls() + 3 + round * 2);
        let acknowledged: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
        let begun: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| {
            for writer in 0..4_usize {
                let (collection, acknowledged, begun) = (&collection, &acknowledged, &begun);
                scope.spawn(move || {
                    for value in 1..200_u64 {
                        begun[writer].store(value, Ordering::Relaxed);
                        let id = writer as u64;
                        let ops = vec![WriteOp::Upsert(vec![
                            point(id, &[value as f32, 0.0], json!({"v": value})),
                            point(id + 100, &[value as f32, 0.0], json!({"v": value})),
                        ])];
                        if collection.write(WriteBatch::new(ops), Durability::Synced).is_err() {
                            return;
                        }
                        acknowledged[writer].store(value, Ordering::Relaxed);
                    }
                });
            }
        });
        drop(collection);
        let after: Arc<dyn Directory> = Arc::new(disk.crash(round));
        let collection = EmbeddedCollection::open_in(&after, "c", config()).unwrap();
        for writer in 0..4_u64 {
            let value = |id| stored_value(&collection, id);
            let range = acknowledged[writer as usize].load(Ordering::Relaxed)
                ..=begun[writer as usize].load(Ordering::Relaxed);
            assert!(range.contains(&value(writer)), "round {round}: {} is not in {range:?}", value(writer));
            assert_eq!(value(writer), value(writer + 100), "round {round}: a batch was torn");
        }
    }
}

fn stored_value(collection: &EmbeddedCollection, id: u64) -> u64 {
    let projection = Projection { payload: PayloadSelector::All, vectors: VectorSelector::None };
    let records = collection.view().retrieve(&num(&[id]), &projection).unwrap();
    records.first().map_or(0, |record| record.payload.as_ref().unwrap()["v"].as_u64().unwrap())
}

#[test]
fn a_failed_sync_poisons_writes_and_leaves_reads() {
    let disk = FaultyDirectory::new();
    let dir: Arc<dyn Directory> = Arc::new(disk.clone());
    let collection = EmbeddedCollection::create_in(&dir, "c", schema(), config()).unwrap();
    let upsert = |id| WriteBatch::new(vec![WriteOp::Upsert(vec![point(id, &[1.0, 2.0], json!({}))])]);
    collection.write(upsert(1), Durability::Synced).unwrap();
    disk.fail_sync(1);
    let first = collection.write(upsert(2), Durability::Synced).unwrap_err();
    assert!(matches!(first, WriteError::Poisoned { .. }), "{first}");
    assert_eq!(first.kind(), ErrorKind::Unavailable);
    for durability in [Durability::Synced, Durability::Buffered] {
        let later = collection.write(upsert(3), durability).unwrap_err();
        assert_eq!(later, first, "every later write names the first cause");
    }
    assert_eq!(ids(&collection.view()), [1]);
    let status = collection.status();
    assert_eq!(status.health, dvse_engine::Health::Red);
    assert!(status.reason.is_some());
    drop(collection);
    for seed in 0..6 {
        let after: Arc<dyn Directory> = Arc::new(disk.crash(seed));
        let collection = EmbeddedCollection::open_in(&after, "c", config()).unwrap();
        assert!(ids(&collection.view()).starts_with(&[1]));
        collection.write(upsert(4), Durability::Synced).unwrap();
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space() {
    let disk = FaultyDirectory::new();
    let dir: Arc<dyn Directory> = Arc::new(disk.clone());
    let collection = EmbeddedCollection::create_in(&dir, "c", schema(), config()).unwrap();
    let upsert = |id| {
        let text = json!({"text": "x".repeat(300)});
        WriteBatch::new(vec![WriteOp::Upsert(vec![point(id, &[1.0, 2.0], text)])])
    };
    for free in [0, 500, 5_000, 20_000] {
        disk.set_free_bytes(Some(free));
        let before = ids(&collection.view());
        let mut refused = None;
        for id in 0..400 {
            if let Err(error) = collection.write(upsert(1000 + free * 1000 + id), Durability::Synced) {
                refused = Some(error);
                break;
            }
        }
        let refused = refused.unwrap();
        assert_eq!(refused.kind(), ErrorKind::OutOfSpace, "{refused}");
        let answered = ids(&collection.view());
        assert!(answered.starts_with(&before));
        assert!(
            !collection.view().search(&request(&[1.0, 2.0], 3)).unwrap().hits.is_empty()
                || answered.is_empty()
        );
        disk.set_free_bytes(None);
        collection.write(upsert(free), Durability::Synced).unwrap();
        settle(&collection);
        assert_eq!(ids(&collection.view()).len(), answered.len() + 1);
    }
    let known = ids(&collection.view());
    drop(collection);
    let after: Arc<dyn Directory> = Arc::new(disk.crash(1));
    let collection = EmbeddedCollection::open_in(&after, "c", config()).unwrap();
    assert_eq!(ids(&collection.view()), known);
}
