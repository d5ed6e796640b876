//! Readers, writers and the background at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dvse_engine::{Database, Durability, EngineConfig, Health};
use dvse_storage::MemDirectory;
use dvse_types::*;
use serde_json::json;

use crate::support::*;

/// Each batch writes all ids with one value, so a reader that sees two values saw half a batch.
#[test]
fn readers_see_whole_batches_in_order_while_segments_come_and_go() {
    const IDS: u64 = 20;
    const BATCHES: u64 = 400;
    let config = EngineConfig {
        background_threads: 1,
        growing_rows_max: 300,
        wal_segment_bytes: 64 << 10,
        ..EngineConfig::default()
    };
    let database = Database::open_in(Arc::new(MemDirectory::new()), config).unwrap();
    let mut schema = CollectionSchema::single(4, Metric::L2);
    schema.payload_indexes.insert("v".parse().unwrap(), FieldKind::Integer);
    let collection = database.create("c", schema).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|reader| {
                let (collection, done) = (&collection, &done);
                scope.spawn(move || {
                    let mut last = 0;
                    let mut looks = 0_u64;
                    while !done.load(Ordering::Relaxed) || looks == 0 {
                        looks += 1;
                        let view = collection.view();
                        let all: Vec<PointId> = num(&(0..IDS).collect::<Vec<_>>());
                        let projection =
                            Projection { payload: PayloadSelector::All, vectors: VectorSelector::All };
                        let records = view.retrieve(&all, &projection).unwrap();
                        assert!(records.is_empty() || records.len() == all.len());
                        let Some(first) = records.first() else { continue };
                        let value = first.payload.as_ref().unwrap()["v"].as_u64().unwrap();
                        for record in &records {
                            assert_eq!(record.payload.as_ref().unwrap()["v"], json!(value));
                            assert_eq!(record.vectors.as_ref().unwrap()[""][0], value as f32);
                        }
                        assert!(value >= last, "reader {reader} went back from {last} to {value}");
                        last = value;
                        let range =
                            Range { gte: Some(value as f64), lte: Some(value as f64), ..Range::default() };
                        let condition =
                            Condition::Field { key: "v".parse().unwrap(), test: FieldTest::Range(range) };
                        assert_eq!(view.count(Some(&must(vec![condition]))).unwrap(), all.len());
                        let found =
                            view.search(&request(&[value as f32, 0.0, 0.0, 0.0], all.len() + 5)).unwrap();
                        assert_eq!(found.hits.len(), all.len());
                    }
                })
            })
            .collect();
        for value in 1..=BATCHES {
            let points =
                (0..IDS).map(|id| point(id, &[value as f32, id as f32, 0.0, 0.0], json!({"v": value})));
            let ops = vec![WriteOp::Upsert(points.collect())];
            collection.write(WriteBatch::new(ops), Durability::Synced).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    settle(&collection);
    let status = collection.status();
    assert_eq!((status.health, status.points as u64), (Health::Green, IDS), "{status:?}");
    database.close().unwrap();
}

#[test]
fn many_writers_get_their_own_answers() {
    let database = Database::open_in(Arc::new(MemDirectory::new()), EngineConfig::default()).unwrap();
    let collection = database.create("c", CollectionSchema::single(2, Metric::Cosine)).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..6_u64 {
            let collection = &collection;
            scope.spawn(move || {
                for round in 0..50 {
                    let points: Vec<_> = (0..writer + 1)
                        .map(|at| point(writer * 1000 + round * 10 + at, &[1.0, at as f32], json!({})))
                        .collect();
                    let durability = if round % 3 == 0 { Durability::Buffered } else { Durability::Synced };
                    let ops = vec![WriteOp::Upsert(points)];
                    let receipt = collection.write(WriteBatch::new(ops), durability).unwrap();
                    assert_eq!(receipt.touched, [writer as usize + 1]);
                    let view = collection.view();
                    assert!(
                        view.seq() >= receipt.seq && view.contains(PointId::Num(writer * 1000 + round * 10))
                    );
                }
            });
        }
    });
    assert_eq!(collection.view().len(), 50 * (1 + 2 + 3 + 4 + 5 + 6));
    assert_eq!(collection.status().applied, SeqNo(300));
}
