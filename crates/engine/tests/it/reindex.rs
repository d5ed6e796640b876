//! The index of a collection is changed while it is searched.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dvse_engine::{CollectionView, Database, EmbeddedCollection, EngineConfig, Health};
use dvse_storage::{Directory, MemDirectory};
use dvse_types::*;
use serde_json::json;

use crate::support::*;

const DIM: usize = 16;
const POINTS: u64 = 4_000;

/// Rows of the segments: each so much larger than those before it that none are merged.
const SEGMENTS: [u64; 3] = [3_400, 500, 100];

fn graph(m: usize) -> HnswSpec {
    HnswSpec { m, ef_construction: 40, full_scan_rows: 50, ..HnswSpec::default() }
}

fn lists(lists: usize) -> IvfPqSpec {
    IvfPqSpec { lists, full_scan_rows: 50, ..IvfPqSpec::default() }
}

/// Each kind follows another, and so do other parameters of a kind.
fn changes() -> [IndexSpec; 14] {
    [
        IndexSpec::IvfPq(lists(0)),
        IndexSpec::Nsw(graph(8)),
        IndexSpec::Flat,
        IndexSpec::Hnsw(graph(12)),
        IndexSpec::Hnsw(graph(8)),
        IndexSpec::Hnsw(HnswSpec { quantization: Quantization::None, ..graph(8) }),
        IndexSpec::Hnsw(HnswSpec { quantization: Quantization::Scalar8, ..graph(8) }),
        IndexSpec::Hnsw(HnswSpec { quantization: Quantization::RaBitQ { bits: 1 }, ..graph(8) }),
        IndexSpec::Nsw(HnswSpec { quantization: Quantization::RaBitQ { bits: 4 }, ..graph(8) }),
        IndexSpec::Hnsw(HnswSpec { rerank: Rerank::Half, ..graph(8) }),
        IndexSpec::Hnsw(HnswSpec { rerank: Rerank::Half, quantization: Quantization::Scalar8, ..graph(8) }),
        IndexSpec::Nsw(HnswSpec { rerank: Rerank::Half, on_disk: true, ..graph(8) }),
        IndexSpec::IvfPq(lists(9)),
        IndexSpec::Hnsw(graph(8)),
    ]
}

fn schema() -> CollectionSchema {
    let mut schema = CollectionSchema::single(DIM, Metric::L2);
    schema.vectors.values_mut().for_each(|params| params.index = IndexSpec::Hnsw(graph(8)));
    schema
}

fn vector(rng: &mut Rng) -> Vec<f32> {
    let cluster = rng.below(30) as f32;
    (0..DIM).map(|at| (cluster * (at + 1) as f32).sin() * 2.0 + rng.float()).collect()
}

fn fill(collection: &EmbeddedCollection) {
    let (mut rng, mut first) = (Rng(3), 0);
    for rows in SEGMENTS {
        let points = (first..first + rows).map(|id| point(id, &vector(&mut rng), json!({}))).collect();
        write(collection, vec![WriteOp::Upsert(points)]);
        collection.flush().unwrap();
        first += rows;
    }
    tidy(collection);
    assert_eq!((first, collection.status().segments), (POINTS, SEGMENTS.len()));
}

/// Does what is due, and no more: settling would make one segment of all.
fn tidy(collection: &EmbeddedCollection) {
    while collection.step().unwrap() {}
}

/// Queries, and the distances of the nearest ten to each.
fn truth(view: &CollectionView) -> Vec<(Vec<f32>, Vec<f32>)> {
    let mut rng = Rng(4);
    (0..40)
        .map(|_| {
            let query = vector(&mut rng);
            let mut exact = request(&query, 10);
            exact.params.exact = true;
            (query, view.search(&exact).unwrap().hits.iter().map(|hit| hit.distance).collect())
        })
        .collect()
}

/// Asks one query; its answer is complete, in order, and holds at least seven of the nearest ten. How many it holds.
fn ask(view: &CollectionView, (query, nearest): &(Vec<f32>, Vec<f32>)) -> usize {
    let mut asked = request(query, 10);
    asked.params.ef_search = Some(200);
    let hits = view.search(&asked).unwrap().hits;
    assert_eq!(hits.len(), 10);
    assert!(hits.is_sorted_by(|a, b| (a.distance, a.id) < (b.distance, b.id)));
    let found = hits.iter().filter(|hit| hit.distance <= nearest[9] * 1.0001).count();
    assert!(found >= 7, "{found} of the nearest ten were found");
    found
}

fn recall(view: &CollectionView, truth: &[(Vec<f32>, Vec<f32>)]) -> f64 {
    truth.iter().map(|asked| ask(view, asked)).sum::<usize>() as f64 / (10 * truth.len()) as f64
}

fn set(index: IndexSpec) -> Vec<WriteOp> {
    vec![WriteOp::SetIndex { vector: String::new(), index }]
}

/// The kinds of index of all segments with rows, and how many have each.
fn kinds(collection: &EmbeddedCollection) -> BTreeMap<&'static str, usize> {
    collection.status().index_kinds.remove("").unwrap_or_default()
}

fn is_only(collection: &EmbeddedCollection, index: &IndexSpec) {
    let kinds = kinds(collection);
    assert!(kinds.keys().eq([&index.name()]), "{kinds:?} instead of {index:?}");
    let status = collection.status();
    assert_eq!((status.segments_to_rebuild, status.reason), (0, None), "{index:?}");
    if *index != IndexSpec::Flat {
        assert_eq!(status.indexed_vectors, status.vectors, "{index:?}");
    }
}

#[test]
fn a_thread_searches_without_pause_while_the_index_changes() {
    let config =
        EngineConfig { background_threads: 1, wal_segment_bytes: 256 << 10, ..EngineConfig::default() };
    let dir: Arc<dyn Directory> = Arc::new(MemDirectory::new());
    let database = Database::open_in(dir, config).unwrap();
    let collection = database.create("c", schema()).unwrap();
    fill(&collection);
    let truth = truth(&collection.view());
    let (done, answers, found) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let searcher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for asked in &truth {
                    found.fetch_add(ask(&collection.view(), asked), Ordering::Relaxed);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        for index in changes() {
            let before = answers.load(Ordering::Relaxed);
            write(&collection, set(index));
            tidy(&collection);
            is_only(&collection, &index);
            // A change is over when it was searched through, on a machine however slow.
            while answers.load(Ordering::Relaxed) < before + truth.len() && !searcher.is_finished() {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    let (answers, found) = (answers.into_inner(), found.into_inner());
    let recall = found as f64 / (10 * answers) as f64;
    assert!(answers >= changes().len() * truth.len() && recall >= 0.95, "{recall} over {answers}");
    assert_eq!(collection.status().health, Health::Green);
}

#[test]
fn segments_take_the_new_index_one_after_the_other() {
    let dir = mem();
    let collection = EmbeddedCollection::create_in(&dir, "c", schema(), manual(100_000)).unwrap();
    fill(&collection);
    let truth = truth(&collection.view());
    let mut before = IndexSpec::Hnsw(graph(8));
    for index in changes() {
        write(&collection, set(index));
        let segments = collection.status().segments;
        assert_eq!(collection.status().segments_to_rebuild, segments, "{index:?}");
        assert!(kinds(&collection).keys().eq([&before.name()]), "searches have what they had: {index:?}");
        let old_view = collection.view();
        let mut left = segments;
        let mut seen = Vec::new();
        while collection.step().unwrap() {
            let now = collection.status().segments_to_rebuild;
            assert!(now <= left && left - now <= 1, "{left} then {now}");
            if now < left {
                seen.push(now);
                assert!(recall(&collection.view(), &truth) >= 0.95, "{index:?}, {now} left");
            }
            left = now;
        }
        assert_eq!(seen, (0..segments).rev().collect::<Vec<_>>(), "{index:?}");
        is_only(&collection, &index);
        assert!(recall(&old_view, &truth) >= 0.95, "a view that is held keeps its indexes: {index:?}");
        before = index;
    }
}

#[test]
fn a_change_that_was_cut_off_goes_on_after_a_restart() {
    let dir = mem();
    let config = manual(100_000);
    let mut collection = EmbeddedCollection::create_in(&dir, "c", schema(), config.clone()).unwrap();
    fill(&collection);
    let truth = truth(&collection.view());
    for index in changes() {
        write(&collection, set(index));
        let segments = collection.status().segments;
        while collection.status().segments_to_rebuild > segments / 2 {
            assert!(collection.step().unwrap());
        }
        // As a kill: nothing is closed.
        drop(collection);
        collection = EmbeddedCollection::open_in(&dir, "c", config.clone()).unwrap();
        assert_eq!(collection.schema().vectors[""].index, index, "the change itself is kept");
        assert_eq!(collection.status().segments_to_rebuild, segments / 2, "{index:?}");
        assert!(recall(&collection.view(), &truth) >= 0.95, "{index:?}");
        tidy(&collection);
        is_only(&collection, &index);
        assert!(recall(&collection.view(), &truth) >= 0.95, "{index:?}");
    }
}

/// Rows that come after the change are indexed as asked at once, and a change of mind half way leaves nothing behind.
#[test]
fn writes_go_on_and_the_last_change_counts() {
    let dir = mem();
    let collection = EmbeddedCollection::create_in(&dir, "c", schema(), manual(100_000)).unwrap();
    fill(&collection);
    let mut rng = Rng(9);
    let last = IndexSpec::Nsw(graph(6));
    for index in changes().into_iter().chain([last]) {
        write(&collection, set(index));
        for id in 0..20 {
            write(&collection, vec![WriteOp::Upsert(vec![point(id, &vector(&mut rng), json!({}))])]);
            collection.step().unwrap();
        }
    }
    settle(&collection);
    assert_eq!(collection.view().len(), POINTS as usize);
    is_only(&collection, &last);
    assert!(recall(&collection.view(), &truth(&collection.view())) >= 0.95);
    let search_only = IndexSpec::IvfPq(IvfPqSpec { nprobe: 4, ..lists(9) });
    write(&collection, set(IndexSpec::IvfPq(lists(9))));
    tidy(&collection);
    write(&collection, set(search_only));
    assert_eq!(collection.status().segments_to_rebuild, 0, "how lists are searched changes no index");
}
