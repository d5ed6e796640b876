//! What the tests share: points, requests, a generator of numbers.

use std::sync::Arc;

use dvse_engine::{CollectionView, Durability, EmbeddedCollection, EngineConfig, WriteReceipt};
use dvse_storage::{Directory, MemDirectory};
use dvse_types::*;

/// SplitMix64 (Steele, Lea & Flood 2014): small, good enough, the same everywhere.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

/// A configuration without a background thread.
pub fn manual(growing_rows_max: usize) -> EngineConfig {
    EngineConfig { background_threads: 0, growing_rows_max, ..EngineConfig::default() }
}

pub fn mem() -> Arc<dyn Directory> {
    Arc::new(MemDirectory::new())
}

pub fn payload(value: Value) -> Payload {
    value.as_object().unwrap().clone()
}

pub fn point(id: u64, vector: &[f32], value: Value) -> Point {
    let vectors = NamedVectors::from([(String::new(), vector.into())]);
    Point { id: PointId::Num(id), vectors, payload: payload(value) }
}

pub fn write(collection: &EmbeddedCollection, ops: Vec<WriteOp>) -> WriteReceipt {
    collection.write(WriteBatch::new(ops), Durability::Synced).unwrap()
}

pub fn request(query: &[f32], limit: usize) -> SearchRequest {
    SearchRequest {
        vector_name: String::new(),
        query: query.to_vec(),
        limit,
        filter: None,
        exclude: vec![],
        distance_max: None,
        params: SearchParams::default(),
    }
}

pub fn ids(view: &CollectionView) -> Vec<u64> {
    let page = view.scroll(None, usize::MAX, None).unwrap();
    assert_eq!(page.next, None);
    page.ids.iter().map(|id| if let PointId::Num(number) = id { *number } else { panic!("{id}") }).collect()
}

pub fn num(ids: &[u64]) -> Vec<PointId> {
    ids.iter().map(|id| PointId::Num(*id)).collect()
}

pub fn keyword(key: &str, value: &str) -> Condition {
    let test = FieldTest::Match(MatchValue::Keyword(value.to_owned()));
    Condition::Field { key: key.parse().unwrap(), test }
}

pub fn must(conditions: Vec<Condition>) -> Filter {
    Filter { must: conditions, ..Filter::default() }
}

pub fn settle(collection: &EmbeddedCollection) {
    collection.settle(&mut |_, _| true).unwrap();
}
