//! How much memory is taken between a model's return and the write of the log. A program of its own, because the allocator counts for
//! all of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a check that fails is to panic")]

use std::alloc::System;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use dvse_embed::Embedder as _;
use dvse_embed_python::PythonOptions;
use dvse_engine::{Durability, EmbeddedCollection, EngineConfig};
use dvse_types::{CollectionSchema, Metric, NamedVectors, Payload, Point, PointId, WriteBatch, WriteOp};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

use crate::models::Module;
use crate::recording::Recording;

#[path = "../it/models.rs"]
#[expect(dead_code, reason = "the other program uses more of it")]
mod models;
#[path = "../it/recording.rs"]
mod recording;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROWS: usize = 256;

/// Embeds 256 texts and writes them to a collection, durably, and returns what was allocated from before the call of the model until
/// the log's file was asked to write.
fn allocated_until_the_write(dim: usize, name: &str, kept_as: &str) -> Stats {
    let source = format!(
        "import numpy\nkept = None\ndef embed(texts):\n    global kept\n    \
         rows = numpy.full((len(texts), {dim}), 2, dtype='float32')\n    {kept_as} = rows\n    return rows\n"
    );
    let module = Module::new(name, &source);
    let options = PythonOptions { batch: NonZeroUsize::new(ROWS).unwrap(), ..module.options() };
    let model = module.load_with("embed", options).unwrap();
    let texts = vec!["some text"; ROWS];

    let folder = tempfile::tempdir().unwrap();
    let begun: Arc<Mutex<Option<Region<'_, System>>>> = Arc::default();
    let found: Arc<Mutex<Vec<Stats>>> = Arc::default();
    let (theirs, finds) = (Arc::clone(&begun), Arc::clone(&found));
    let dir = Recording::telling(folder.path(), move |parts| {
        // The entry, and not what makes the files.
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if let Some(region) = theirs.lock().unwrap().as_ref().filter(|_| bytes > ROWS * dim * 4) {
            let change = region.change();
            finds.lock().unwrap().push(change);
        }
    });
    let config = EngineConfig { background_threads: 0, ..EngineConfig::default() };
    let schema = CollectionSchema::single(dim, Metric::Cosine);
    let collection = EmbeddedCollection::create_in(&dir, "c", schema, config).unwrap();
    let write = || {
        let vectors = model.embed(&texts).unwrap();
        let points = vectors.into_iter().zip(0..).map(|(vector, id)| Point {
            id: PointId::Num(id),
            vectors: NamedVectors::from([(String::new(), vector)]),
            payload: Payload::new(),
        });
        let batch = WriteBatch::new(vec![WriteOp::Upsert(points.collect())]);
        collection.write(batch, Durability::Synced).unwrap();
    };
    // Once before it counts, so that buffers that are used again are there.
    write();
    *begun.lock().unwrap() = Some(Region::new(ALLOCATOR));
    write();
    let found = found.lock().unwrap();
    assert_eq!(found.len(), 1, "one write of the entry");
    found[0]
}

fn bytes(stats: &Stats) -> usize {
    stats.bytes_allocated.saturating_add_signed(stats.bytes_reallocated)
}

#[test]
fn what_is_allocated_does_not_grow_with_the_dimension() {
    let small = allocated_until_the_write(512, "small", "ignored");
    let large = allocated_until_the_write(1536, "large", "ignored");
    println!("of {ROWS} × 512: {small:?}\nof {ROWS} × 1536: {large:?}");
    assert_eq!(small.allocations, large.allocations);
    assert!(bytes(&large).abs_diff(bytes(&small)) <= 4096, "{} {}", bytes(&small), bytes(&large));
    // All of it is less than one copy of the smaller array, such as the list of parts and the small bytes between vectors.
    assert!(bytes(&small) < ROWS * 512 * 4 / 2, "{}", bytes(&small));
    // And a copy would have been seen: there is one of what a model keeps.
    let copied = allocated_until_the_write(1536, "copied", "kept");
    assert!(bytes(&copied) - bytes(&large) >= ROWS * 1536 * 4, "{} {}", bytes(&large), bytes(&copied));
}
