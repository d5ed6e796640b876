//! Recall after much has been overwritten and deleted.

use std::collections::BTreeSet;

use dvse_engine::{EmbeddedCollection, EngineConfig, Health};
use dvse_types::*;
use serde_json::json;

use crate::support::*;

const DIM: usize = 24;
const POINTS: u64 = 3_000;
/// Mean recall@10 at `ef_search` 32 over 100 queries on 24-dimensional data of 40 clusters.
const RECALL_FLOOR: f64 = 0.95;

fn clustered(rng: &mut Rng) -> Vec<f32> {
    let cluster = rng.below(40);
    let mut centre = Rng(cluster + 1_000_000);
    (0..DIM).map(|_| centre.float() * 4.0 + (rng.float() + rng.float() - 1.0)).collect()
}

#[test]
fn recall_stays_above_its_floor_after_every_point_was_replaced_three_times() {
    let dir = mem();
    let mut schema = CollectionSchema::single(DIM, Metric::L2);
    for params in schema.vectors.values_mut() {
        let spec = HnswSpec { ef_construction: 100, full_scan_rows: 100, ..HnswSpec::default() };
        params.index = IndexSpec::Hnsw(spec);
    }
    let config = EngineConfig { tail_bytes_max: 64 << 10, ..manual(1_000) };
    let collection = EmbeddedCollection::create_in(&dir, "c", schema, config).unwrap();
    let mut rng = Rng(5);
    for _ in 0..POINTS * 4 / 50 {
        let points = (0..50).map(|_| point(rng.below(POINTS), &clustered(&mut rng), json!({})));
        let points: Vec<_> = points.collect();
        write(&collection, vec![WriteOp::Upsert(points)]);
        if rng.chance(4) {
            let gone: Vec<u64> = (0..20).map(|_| rng.below(POINTS)).collect();
            write(&collection, vec![WriteOp::Delete(PointSelector::Ids(num(&gone)))]);
        }
        collection.step().unwrap();
    }
    // Segments may be so small here that all are scanned; once settled there is one, and it is walked.
    check_recall(&collection, &mut rng, "with work waiting");
    settle(&collection);
    let walked = check_recall(&collection, &mut rng, "settled");
    assert!(walked > 0, "no graph was walked");
    let status = collection.status();
    assert_eq!(status.health, Health::Green, "{status:?}");
    assert!(status.segments <= 4, "{status:?}");
    assert!(status.deleted_rows < status.points, "{status:?}");
}

fn check_recall(collection: &EmbeddedCollection, rng: &mut Rng, when: &str) -> u64 {
    let view = collection.view();
    let mut right = 0;
    let mut walked = 0;
    for _ in 0..100 {
        let mut request = request(&clustered(rng), 10);
        // So few that segments of this size are walked and not scanned.
        request.params.ef_search = Some(32);
        let found = view.search(&request).unwrap();
        walked += found.stats.hops;
        request.params.exact = true;
        let truth: BTreeSet<_> = view.search(&request).unwrap().hits.iter().map(|hit| hit.id).collect();
        right += found.hits.iter().filter(|hit| truth.contains(&hit.id)).count();
    }
    let recall = right as f64 / 1000.0;
    assert!(recall >= RECALL_FLOOR, "recall {recall} {when}");
    walked
}

#[test]
fn a_small_collection_that_rests_becomes_one_segment_once_enough_has_changed() {
    let dir = mem();
    let schema = CollectionSchema::single(DIM, Metric::L2);
    let collection = EmbeddedCollection::create_in(&dir, "c", schema.clone(), manual(10_000)).unwrap();
    let mut rng = Rng(6);
    let fill = |rng: &mut Rng, ids: std::ops::Range<u64>| {
        let points = ids.map(|id| point(id, &clustered(rng), json!({"n": id})));
        write(&collection, vec![WriteOp::Upsert(points.collect())]);
    };
    fill(&mut rng, 0..POINTS);
    collection.flush().unwrap();
    settle(&collection);
    // 60 grown and 60 dead are left alone, 70 and 70 are not.
    for (replaced, segments, dead) in [(60, 2, 60), (70, 1, 0)] {
        fill(&mut rng, 0..replaced);
        collection.rest().unwrap();
        let status = collection.status();
        assert_eq!((status.segments, status.deleted_rows), (segments, dead), "{status:?}");
        assert_eq!(status.points as u64, POINTS, "{status:?}");
    }
    let question = request(&clustered(&mut rng), 10);
    let before = collection.view().search(&question).unwrap().hits;
    assert_eq!(before.len(), 10);
    drop(collection);
    let opened = EmbeddedCollection::open_in(&dir, "c", manual(10_000)).unwrap();
    assert_eq!(opened.view().search(&question).unwrap().hits, before);
    assert_eq!(opened.status().deleted_rows, 0);
}
