//! A collection from its making to its reopening.

use dvse_engine::{Durability, EmbeddedCollection, Health, WriteError};
use dvse_types::*;
use serde_json::json;

use crate::support::*;

#[test]
fn a_write_is_visible_when_it_is_answered_and_survives_every_way_of_stopping() {
    let dir = mem();
    let schema = CollectionSchema::single(2, Metric::L2);
    let collection = EmbeddedCollection::create_in(&dir, "c", schema, manual(100)).unwrap();
    let receipt = write(
        &collection,
        vec![
            WriteOp::Upsert((0..10).map(|id| point(id, &[id as f32, 0.0], json!({"k": id}))).collect()),
            WriteOp::Delete(PointSelector::Ids(num(&[3, 3, 99]))),
            WriteOp::Upsert(vec![point(4, &[100.0, 0.0], json!({"k": "new"}))]),
        ],
    );
    assert_eq!(receipt.touched, [10, 1, 1]);
    let check = |collection: &EmbeddedCollection| {
        let view = collection.view();
        assert_eq!(ids(&view), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
        let found = view.search(&request(&[3.2, 0.0], 2)).unwrap();
        let found: Vec<_> = found.hits.iter().map(|hit| hit.id).collect();
        assert_eq!(found, num(&[2, 5]));
        let projection = Projection { payload: PayloadSelector::All, vectors: VectorSelector::All };
        let records = view.retrieve(&num(&[9, 3, 4]), &projection).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[1].payload, Some(payload(json!({"k": "new"}))));
        assert_eq!(records[1].vectors.as_ref().unwrap()[""], [100.0, 0.0]);
        assert_eq!(view.count(None).unwrap(), 9);
    };
    check(&collection);
    // As after a kill: nothing is closed.
    drop(collection);
    let collection = EmbeddedCollection::open_in(&dir, "c", manual(100)).unwrap();
    check(&collection);
    collection.flush().unwrap();
    check(&collection);
    drop(collection);
    let collection = EmbeddedCollection::open_in(&dir, "c", manual(100)).unwrap();
    check(&collection);
    write(&collection, vec![WriteOp::Upsert(vec![point(50, &[50.0, 0.0], json!({}))])]);
    write(&collection, vec![WriteOp::Delete(PointSelector::Ids(num(&[50])))]);
    collection.close().unwrap();
    check(&collection);
    let refused = collection.write(WriteBatch::default(), Durability::Synced).unwrap_err();
    assert!(matches!(refused, WriteError::Closed { .. }), "{refused}");
    drop(collection);
    let collection = EmbeddedCollection::open_in(&dir, "c", manual(100)).unwrap();
    check(&collection);
    settle(&collection);
    check(&collection);
    assert_eq!((collection.status().health, collection.status().segments), (Health::Green, 1));
}

#[test]
fn an_exact_search_of_a_sealed_segment_leaves_out_rows_by_their_length() {
    const ROWS: u64 = 9_000;
    let mut rng = Rng(11);
    // Every third point has no vector, so vectors and rows are numbered differently.
    let vectors: Vec<Option<Vec<f32>>> = (0..ROWS)
        .map(|id| {
            let length = 1.0 + (id * 7_919 % ROWS) as f32;
            (id % 3 > 0).then(|| (0..4).map(|_| rng.float() * length).collect())
        })
        .collect();
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        let mut schema = CollectionSchema::single(4, metric);
        schema.vectors.values_mut().for_each(|params| params.index = IndexSpec::Flat);
        let collection = EmbeddedCollection::create_in(&mem(), "c", schema, manual(10_000)).unwrap();
        let points = vectors.iter().zip(0..).map(|(vector, id)| Point {
            vectors: vector.iter().map(|vector| (String::new(), vector.clone().into())).collect(),
            ..point(id, &[], json!({}))
        });
        write(&collection, vec![WriteOp::Upsert(points.collect())]);
        write(
            &collection,
            vec![WriteOp::Delete(PointSelector::Ids((0..ROWS).step_by(7).map(PointId::Num).collect()))],
        );
        let asked = |query: &[f32]| {
            let mut asked = request(query, 10);
            asked.params.exact = true;
            collection.view().search(&asked).unwrap()
        };
        let queries: Vec<_> = vectors.iter().flatten().step_by(397).collect();
        let growing: Vec<_> = queries.iter().map(|query| asked(query)).collect();
        settle(&collection);
        collection.flush().unwrap();
        let mut compared = 0;
        for (query, before) in queries.iter().zip(&growing) {
            let after = asked(query);
            let ids = |result: &SearchResult| result.hits.iter().map(|hit| hit.id).collect::<Vec<_>>();
            assert_eq!(ids(&after), ids(before), "{metric:?}");
            compared += after.stats.distances;
        }
        let all: u64 = growing.iter().map(|result| result.stats.distances).sum();
        // Of unit length there is nothing to leave out.
        assert_eq!(compared * 2 < all, metric != Metric::Cosine, "{metric:?}: {compared} of {all}");
    }
}
