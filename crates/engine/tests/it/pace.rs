//! Merges that are held back, and what makes them hurry. The pacer of these tests never lets go by itself: a test
//! whose hurry were not seen would not end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use dvse_engine::{Database, EmbeddedCollection, EngineConfig, MergePace, Pacer};
use dvse_storage::MemDirectory;
use dvse_types::*;
use serde_json::json;

use crate::support::*;

const DIM: usize = 16;

/// Holds every write until it is told to hurry.
#[derive(Debug)]
struct Stubborn {
    held: Mutex<mpsc::Sender<()>>,
    bytes: AtomicU64,
}

impl Pacer for Stubborn {
    fn pace(&self, bytes: u64, hurried: &dyn Fn() -> bool) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Nobody listens any more once the test is over.
        let _ = self.held.lock().unwrap().send(());
        while !hurried() {
            std::thread::yield_now();
        }
    }
}

/// A database with a merge that is being held.
fn held() -> (Database, Arc<EmbeddedCollection>, Arc<Stubborn>) {
    let (held, first) = mpsc::channel();
    let pacer = Arc::new(Stubborn { held: Mutex::new(held), bytes: AtomicU64::new(0) });
    let config = EngineConfig {
        background_threads: 1,
        growing_rows_max: 500,
        tail_bytes_max: 64 << 10,
        merge_pace: MergePace::new(Arc::clone(&pacer) as Arc<dyn Pacer>),
        ..EngineConfig::default()
    };
    let database = Database::open_in(Arc::new(MemDirectory::new()), config).unwrap();
    let collection = database.create("c", CollectionSchema::single(DIM, Metric::L2)).unwrap();
    upsert(&collection, 0..500);
    let gone = num(&(0..250).collect::<Vec<_>>());
    write(&collection, vec![WriteOp::Delete(PointSelector::Ids(gone))]);
    // Half of the sealed rows are dead, so their segment is written anew.
    first.recv().unwrap();
    (database, collection, pacer)
}

fn upsert(collection: &EmbeddedCollection, ids: std::ops::Range<u64>) {
    let points = ids.map(|id| point(id, &[id as f32; DIM], json!({}))).collect();
    write(collection, vec![WriteOp::Upsert(points)]);
}

#[test]
fn a_held_merge_ends_when_the_database_closes() {
    let (database, collection, pacer) = held();
    database.close().unwrap();
    assert_eq!(ids(&collection.view()), (250..500).collect::<Vec<_>>());
    assert!(pacer.bytes.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_held_merge_does_not_keep_its_collection_from_being_dropped() {
    let (database, _, _) = held();
    assert!(database.drop_collection("c").unwrap());
}

#[test]
fn a_held_merge_hurries_when_writers_wait_for_room() {
    let (database, collection, _) = held();
    // Several times what may wait to be linked, in the collection itself and in another one.
    let other = database.create("other", CollectionSchema::single(DIM, Metric::L2)).unwrap();
    for round in 0..40 {
        upsert(&other, round * 100..(round + 1) * 100);
        upsert(&collection, 1_000 + round * 100..1_000 + (round + 1) * 100);
    }
    assert_eq!((other.view().len(), collection.view().len()), (4_000, 4_250));
    database.close().unwrap();
}
