//! What is read from memory and what as it lies on the disk is changed while a collection is searched, and builds nothing.

use std::sync::Arc;

use dvse_engine::EmbeddedCollection;
use dvse_storage::{Directory, FsDirectory};
use dvse_types::*;
use serde_json::json;

use crate::support::*;

const DIM: usize = 24;

fn graph(rerank: Rerank, on_disk: bool) -> IndexSpec {
    let sized = HnswSpec { m: 8, ef_construction: 40, full_scan_rows: 50, ..HnswSpec::default() };
    IndexSpec::Hnsw(HnswSpec { rerank, on_disk, ..sized })
}

fn tidy(collection: &EmbeddedCollection) {
    while collection.step().unwrap() {}
}

/// Distances of the nearest ten to some queries.
fn answers(collection: &EmbeddedCollection) -> Vec<Vec<f32>> {
    let (view, mut rng) = (collection.view(), Rng(5));
    (0..30)
        .map(|_| {
            let query: Vec<f32> = (0..DIM).map(|_| rng.float()).collect();
            view.search(&request(&query, 10)).unwrap().hits.iter().map(|hit| hit.distance).collect()
        })
        .collect()
}

/// The nearest are the same; sums of floats may round otherwise in their last bits.
#[track_caller]
fn same(one: &[Vec<f32>], other: &[Vec<f32>]) {
    for (one, other) in one.iter().flatten().zip(other.iter().flatten()) {
        assert!((one - other).abs() <= 1e-5 * other, "{one} {other}");
    }
}

fn graph_files(dir: &dyn Directory) -> Vec<String> {
    let names = dir.list().unwrap().into_iter().map(|entry| entry.name);
    let mut names: Vec<String> = names.filter(|name| name.contains(".graph-")).collect();
    names.sort();
    names
}

fn changed(rerank: Rerank, graph_on_disk: bool, on_disk: bool) -> Vec<WriteOp> {
    let (vector, index) = (String::new(), graph(rerank, graph_on_disk));
    vec![WriteOp::SetIndex { vector: vector.clone(), index }, WriteOp::SetOnDisk { vector, on_disk }]
}

fn check(dir: &Arc<dyn Directory>) {
    let mut schema = CollectionSchema::single(DIM, Metric::L2);
    schema.vectors.values_mut().for_each(|params| params.index = graph(Rerank::Single, false));
    let config = manual(100_000);
    let mut collection = EmbeddedCollection::create_in(dir, "c", schema, config.clone()).unwrap();
    let mut rng = Rng(3);
    let points = (0..3_000).map(|id| {
        let vector: Vec<f32> = (0..DIM).map(|_| rng.float()).collect();
        point(id, &vector, json!({}))
    });
    write(&collection, vec![WriteOp::Upsert(points.collect())]);
    settle(&collection);
    collection.flush().unwrap();
    tidy(&collection);
    let plain_bytes = collection.status().index_bytes;
    for rerank in [Rerank::Half, Rerank::Single] {
        // Another set of sections is another index.
        write(&collection, changed(rerank, false, false));
        assert_eq!(collection.status().segments_to_rebuild, 1);
        tidy(&collection);
        let halves = if rerank == Rerank::Half { 3_000 * 64 } else { 0 };
        // Another graph over the same rows has a few upper lists more or less.
        let more = collection.status().index_bytes.abs_diff(plain_bytes + halves);
        assert!(more < 20_000, "{rerank:?}: {more}");
        let before = answers(&collection);
        let names = graph_files(&**dir);
        assert_eq!(names.len(), 1, "{names:?}");
        for (graph_on_disk, on_disk) in [(true, false), (true, true), (false, true), (false, false)] {
            let view = collection.view();
            write(&collection, changed(rerank, graph_on_disk, on_disk));
            assert_eq!(collection.status().segments_to_rebuild, 1, "{graph_on_disk} {on_disk}");
            tidy(&collection);
            assert_eq!(collection.status().segments_to_rebuild, 0);
            assert_eq!(graph_files(&**dir), names, "the same files are read otherwise");
            same(&answers(&collection), &before);
            drop(view);
            // What is said is kept, whether in the log or in the manifest, and what is there is as was said.
            drop(collection);
            collection = EmbeddedCollection::open_in(dir, "c", config.clone()).unwrap();
            let params = &collection.schema().vectors[""];
            assert_eq!((params.index, params.on_disk), (graph(rerank, graph_on_disk), on_disk));
            tidy(&collection);
            same(&answers(&collection), &before);
        }
    }
}

#[test]
fn parts_are_read_from_where_they_are_said_to_be() {
    check(&mem());
}

/// The same over mapped files, which the system is told about.
#[test]
fn mapped_parts_are_read_from_where_they_are_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let dir: Arc<dyn Directory> = Arc::new(FsDirectory::open(folder.path()).unwrap());
    check(&dir);
}
