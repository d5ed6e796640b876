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
