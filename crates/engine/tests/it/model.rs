//! Random operations on a collection and on an ordered map: whatever happens in between (sealing, merging, stopping in
//! any way), both give the same answers.

use std::sync::Arc;

use dvse_engine::{Durability, EmbeddedCollection, EngineConfig, MarkOutcome, Refusal, WriteError};
use dvse_storage::Directory;
use dvse_types::*;
use serde_json::json;

use crate::oracle::{Answer, Oracle};
use crate::support::*;

#[test]
fn a_collection_answers_as_a_map_whatever_happens_in_between() {
    for seed in 0..60 {
        run(seed, 60);
    }
}

/// Longer runs of fewer seeds, so that segments are merged many times.
#[test]
fn a_collection_answers_as_a_map_for_long() {
    for seed in 1000..1004 {
        run(seed, 600);
    }
}

fn schema() -> CollectionSchema {
    let params = |dim, metric, index| VectorParams { dim, metric, index, on_disk: false, model: None };
    let mut schema = CollectionSchema::single(3, Metric::L2);
    schema.vectors.insert(String::new(), params(3, Metric::L2, IndexSpec::Hnsw(graph(4, 32))));
    schema.vectors.insert("cos".to_owned(), params(2, Metric::Cosine, IndexSpec::Nsw(graph(4, 32))));
    schema.vectors.insert("flat".to_owned(), params(5, Metric::InnerProduct, IndexSpec::Flat));
    let lists = IvfPqSpec { lists: 3, full_scan_rows: 6, ..IvfPqSpec::default() };
    schema.vectors.insert("lists".to_owned(), params(4, Metric::L2, IndexSpec::IvfPq(lists)));
    schema.payload_indexes.insert("k".parse().unwrap(), FieldKind::Keyword);
    schema.payload_indexes.insert("n".parse().unwrap(), FieldKind::Integer);
    schema
}

fn graph(full_scan_rows: usize, ef_construction: usize) -> HnswSpec {
    HnswSpec { m: 4, ef_construction, full_scan_rows, ..HnswSpec::default() }
}

/// An index of any kind, of parameters that suit a few rows.
fn random_index(rng: &mut Rng) -> IndexSpec {
    let full_scan_rows = rng.below(10) as usize;
    let quantization = match rng.below(8) {
        0 | 1 => Quantization::None,
        2 => Quantization::Scalar8,
        3 => Quantization::RaBitQ { bits: Quantization::RABITQ_BITS[rng.below(4) as usize] },
        _ => Quantization::Sketch,
    };
    let rerank = if rng.chance(3) { Rerank::Half } else { Rerank::Single };
    let (m, on_disk) = (4 + rng.below(4) as usize, rng.chance(3));
    let spec = HnswSpec { m, quantization, rerank, on_disk, ..graph(full_scan_rows, 16) };
    match rng.below(4) {
        0 => IndexSpec::Flat,
        1 => IndexSpec::Hnsw(spec),
        2 => IndexSpec::Nsw(spec),
        _ => {
            let (lists, nprobe) = (rng.below(4) as usize, rng.below(3) as usize);
            IndexSpec::IvfPq(IvfPqSpec { lists, nprobe, full_scan_rows, ..IvfPqSpec::default() })
        }
    }
}

struct Run {
    seed: u64,
    rng: Rng,
    dir: Arc<dyn Directory>,
    config: EngineConfig,
    collection: Option<EmbeddedCollection>,
    oracle: Oracle,
    log: Vec<String>,
}

fn run(seed: u64, rounds: usize) {
    let mut rng = Rng(seed);
    let dir = mem();
    let config = EngineConfig {
        tail_bytes_max: 4096,
        verify_bytes_max: if rng.chance(2) { 0 } else { u64::MAX },
        ..manual(1 + rng.below(40) as usize)
    };
    let collection = EmbeddedCollection::create_in(&dir, "m", schema(), config.clone()).unwrap();
    let oracle = Oracle::new(schema());
    let mut run = Run { seed, rng, dir, config, collection: Some(collection), oracle, log: Vec::new() };
    for _ in 0..rounds {
        run.write();
        run.disturb();
        run.check();
    }
    settle(run.collection());
    run.log.push("settle".to_owned());
    run.check();
    run.check_everything();
}

impl Run {
    fn collection(&self) -> &EmbeddedCollection {
        self.collection.as_ref().unwrap()
    }

    fn context(&self) -> String {
        format!("seed {}: …{:#?}", self.seed, &self.log[self.log.len().saturating_sub(6)..])
    }

    fn write(&mut self) {
        let source = self.random_mark();
        // With a mark a batch may be empty.
        let count = if source.is_some() { self.rng.below(4) } else { 1 + self.rng.below(3) };
        let ops = (0..count).map(|_| random_op(&mut self.rng)).collect();
        let batch = WriteBatch { ops, source };
        self.log.push(format!("{batch:?}"));
        let durability = if self.rng.chance(4) { Durability::Buffered } else { Durability::Synced };
        let next = self.collection().view().seq().next();
        let answer = self.collection().write(batch.clone(), durability);
        // A kill would rightly lose a buffered write, so one is made durable before the next disturbance.
        if durability == Durability::Buffered {
            write(self.collection(), vec![]);
        }
        let expect = self.oracle.write(next, &batch);
        let answer = match answer {
            Ok(receipt) => match receipt.mark {
                Some(MarkOutcome::Duplicate { position }) => Answer::Duplicate(position, receipt.seq),
                mark => {
                    assert_eq!(mark.map(MarkOutcome::position), batch.source.map(|mark| mark.position));
                    assert_eq!(receipt.seq, next);
                    Answer::Touched(receipt.touched)
                }
            },
            Err(WriteError::Refused(Refusal::Fenced { .. })) => Answer::Fenced,
            Err(error) => panic!("{error}: {}", self.context()),
        };
        assert_eq!(answer, expect, "{}", self.context());
    }

    /// Mostly the mark of a writer that may write, with records that are new.
    fn random_mark(&mut self) -> Option<SourceMark> {
        if !self.rng.chance(2) {
            return None;
        }
        let (stream, partition) = random_partition(&mut self.rng);
        let state = self.oracle.sources.get(&(stream.clone(), partition));
        let epoch = state.map_or(0, |state| state.epoch);
        let epoch = if self.rng.chance(6) { self.rng.below(4) } else { epoch };
        let stored = state.and_then(|state| state.position).map_or(0, |position| position.0);
        let position = Position((stored + u128::from(self.rng.below(9))).saturating_sub(1));
        Some(SourceMark { stream, partition, epoch, position })
    }

    fn disturb(&mut self) {
        let what = self.rng.below(16);
        match what {
            0 => self.collection().flush().unwrap(),
            1 => settle(self.collection()),
            2..=6 => drop(self.collection().step().unwrap()),
            7 => {
                // As a kill: nothing is closed.
                self.collection = None;
                self.open();
            }
            8 => {
                self.collection().close().unwrap();
                self.collection = None;
                self.open();
                let status = self.collection().status();
                assert_eq!(status.applied, status.durable, "{}", self.context());
            }
            _ => return,
        }
        self.log.push(format!("disturbance {what}"));
    }

    fn open(&mut self) {
        let opened = EmbeddedCollection::open_in(&self.dir, "m", self.config.clone());
        self.collection = Some(opened.unwrap_or_else(|error| panic!("{error}: {}", self.context())));
    }

    /// Asks a few random questions.
    fn check(&mut self) {
        let view = self.collection().view();
        let context = self.context();
        assert_eq!(view.len(), self.oracle.points.len(), "{context}");
        assert_eq!(view.sources(), self.oracle.sources(), "{context}");
        let filter = random_filter(&mut self.rng, 0);
        let passing = self.oracle.passing(Some(&filter));
        assert_eq!(view.count(Some(&filter)).unwrap(), passing.len(), "{filter:?} {context}");

        let limit = 1 + self.rng.below(20) as usize;
        let from = random_id(&mut self.rng);
        let page = view.scroll(Some(from), limit, Some(&filter)).unwrap();
        let expect: Vec<_> = passing.iter().filter(|id| **id >= from).copied().collect();
        assert_eq!(page.ids, expect[..limit.min(expect.len())], "{filter:?} {context}");
        assert_eq!(page.next, expect.get(limit).copied(), "{filter:?} {context}");

        let id = random_id(&mut self.rng);
        let projection = Projection { payload: PayloadSelector::All, vectors: VectorSelector::All };
        let records = view.retrieve(&[id], &projection).unwrap();
        let expect = self.oracle.points.get(&id).map(|(vectors, payload)| Record {
            id,
            payload: Some(payload.clone()),
            vectors: Some(vectors.clone()),
        });
        assert_eq!(records, expect.into_iter().collect::<Vec<_>>(), "{context}");

        for exact in [true, false] {
            self.check_search(
                exact,
                if self.rng.0.is_multiple_of(2) { None } else { Some(&filter) }.cloned(),
            );
        }
        self.check_facet(&filter);
    }

    fn check_search(&mut self, exact: bool, filter: Option<Filter>) {
        let names = ["", "cos", "flat", "lists"];
        let name = names[self.rng.below(4) as usize];
        let dim = schema().vectors[name].dim;
        let query: Vec<f32> = (0..dim).map(|_| self.rng.float() * 4.0 - 1.9).collect();
        let limit = 1 + self.rng.below(12) as usize;
        let mut request = request(&query, limit);
        request.vector_name = name.to_owned();
        request.filter = filter.clone();
        request.params.exact = exact;
        request.exclude = (0..self.rng.below(30)).map(|_| random_id(&mut self.rng)).collect();
        let found = self.collection().view().search(&request).unwrap().hits;
        let mut truth = self.oracle.nearest(name, &query, filter.as_ref());
        truth.retain(|(_, id)| !request.exclude.contains(id));
        let context = format!("{request:?}\n{found:?}\n{truth:?}\n{}", self.context());
        assert_eq!(found.len(), limit.min(truth.len()), "{context}");
        assert!(found.is_sorted_by(|a, b| (a.distance, a.id) < (b.distance, b.id)), "{context}");
        for (hit, (distance, _)) in found.iter().zip(&truth) {
            let real = truth.iter().find(|(_, id)| *id == hit.id).unwrap_or_else(|| panic!("{context}"));
            assert!((real.0 - hit.distance).abs() < 1e-4, "{context}");
            assert!(!exact || (hit.distance - distance).abs() < 1e-4, "{context}");
        }
    }

    fn check_facet(&mut self, filter: &Filter) {
        let key: PayloadPath = "k".parse().unwrap();
        if self.oracle.schema.as_ref().unwrap().payload_indexes.get(&key) != Some(&FieldKind::Keyword) {
            return;
        }
        let counts = self.collection().view().facet(&key, Some(filter), usize::MAX).unwrap();
        for word in WORDS {
            let mut with = filter.clone();
            with.must.push(keyword("k", word));
            let expect = self.oracle.passing(Some(&with)).len();
            let value = MatchValue::Keyword(word.to_owned());
            let got = counts.iter().find(|count| count.value == value).map_or(0, |count| count.count);
            assert_eq!(got, expect, "{word} {filter:?} {}", self.context());
        }
    }

    fn check_everything(&self) {
        let view = self.collection().view();
        let all: Vec<PointId> = self.oracle.points.keys().copied().collect();
        assert_eq!(view.scroll(None, usize::MAX, None).unwrap().ids, all, "{}", self.context());
        let status = self.collection().status();
        assert_eq!(status.points, all.len());
        assert_eq!(status.reason, None, "{status:?} {}", self.context());
    }
}

const WORDS: [&str; 5] = ["red", "green", "blue", "", "naïve"];
const UUIDS: [&str; 3] = [
    "550e8400-e29b-41d4-a716-446655440000",
    "550E8400e29b41d4a716446655440000",
    "urn:uuid:550e8400-e29b-41d4-a716-446655440001",
];

fn random_id(rng: &mut Rng) -> PointId {
    match rng.below(4) {
        0 => PointId::Uuid(u128::from(rng.below(20)) << 64 | u128::from(rng.below(2))),
        _ => PointId::Num(rng.below(50)),
    }
}

fn random_ids(rng: &mut Rng) -> Vec<PointId> {
    (0..rng.below(6)).map(|_| random_id(rng)).collect()
}

fn random_vectors(rng: &mut Rng, all: bool) -> NamedVectors {
    let mut vectors = NamedVectors::new();
    for (name, params) in schema().vectors {
        if all || !rng.chance(4) {
            // Few distinct values, so that there are equal vectors and equal distances.
            let values = (0..params.dim).map(|_| rng.below(7) as f32 * 0.5 - 1.25).collect();
            vectors.insert(name, values);
        }
    }
    vectors
}

fn random_value(rng: &mut Rng) -> Value {
    match rng.below(12) {
        0 => Value::Null,
        1 => json!(rng.chance(2)),
        2..=4 => json!(rng.below(10) as i64 - 5),
        5 => json!(rng.below(10) as f64 / 2.0 - 2.0),
        6..=8 => json!(WORDS[rng.below(5) as usize]),
        9 => json!(format!("2024-02-{:02}", 1 + rng.below(28))),
        10 => json!(UUIDS[rng.below(3) as usize]),
        _ => {
            let edges = [json!(u64::MAX), json!(i64::MIN), json!(1e300), json!(9007199254740993_i64)];
            edges[rng.below(4) as usize].clone()
        }
    }
}

fn random_payload(rng: &mut Rng) -> Payload {
    let mut object = Payload::new();
    for key in ["k", "n", "x"] {
        if !rng.chance(4) {
            let value = match rng.below(4) {
                0 => Value::Array((0..rng.below(4)).map(|_| random_value(rng)).collect()),
                _ => random_value(rng),
            };
            object.insert(key.to_owned(), value);
        }
    }
    if rng.chance(3) {
        let elements = (0..rng.below(3)).map(|_| json!({"k": random_value(rng), "n": random_value(rng)}));
        object.insert("list".to_owned(), Value::Array(elements.collect()));
    }
    if rng.chance(3) {
        object.insert("o".to_owned(), json!({"k": random_value(rng), "p": {"n": random_value(rng)}}));
    }
    object
}

fn random_path(rng: &mut Rng) -> PayloadPath {
    let paths = ["k", "n", "x", "k", "n", "x", "o.k", "o.p.n", "list[].k", "list[0].n", "list", "none"];
    paths[rng.below(paths.len() as u64) as usize].parse().unwrap()
}

fn random_match(rng: &mut Rng) -> MatchValue {
    match rng.below(7) {
        0 => MatchValue::Bool(rng.chance(2)),
        1 | 2 => MatchValue::Integer(rng.below(10) as i64 - 5),
        3 => MatchValue::Keyword(UUIDS[rng.below(3) as usize].to_owned()),
        4 => MatchValue::Integer([i64::MIN, 9007199254740993, 9007199254740992][rng.below(3) as usize]),
        _ => MatchValue::Keyword(WORDS[rng.below(5) as usize].to_owned()),
    }
}

fn random_range<T>(rng: &mut Rng, value: impl Fn(&mut Rng) -> T) -> Range<T> {
    let bound = |rng: &mut Rng| rng.chance(3).then(|| value(rng));
    Range { gt: bound(rng), gte: bound(rng), lt: bound(rng), lte: bound(rng) }
}

fn random_test(rng: &mut Rng) -> FieldTest {
    match rng.below(8) {
        0 | 1 => FieldTest::Match(random_match(rng)),
        2 => FieldTest::MatchAny((0..rng.below(4)).map(|_| random_match(rng)).collect()),
        3 => FieldTest::MatchExcept((0..rng.below(4)).map(|_| random_match(rng)).collect()),
        4 | 5 => FieldTest::Range(random_range(rng, |rng| {
            let edges = [9007199254740992.0, 1e300, -9223372036854775808.0, 18446744073709551615.0];
            if rng.chance(6) { edges[rng.below(4) as usize] } else { rng.below(20) as f64 / 2.0 - 5.0 }
        })),
        6 => FieldTest::DatetimeRange(random_range(rng, |rng| {
            parse_datetime_micros(&format!("2024-02-{:02}", 1 + rng.below(28))).unwrap()
        })),
        _ => FieldTest::ValuesCount(random_range(rng, |rng| rng.below(4))),
    }
}

fn random_condition(rng: &mut Rng, depth: usize, nested: bool) -> Condition {
    match rng.below(if depth > 2 { 7 } else { 9 }) {
        4 => Condition::IsEmpty(random_path(rng)),
        5 if !nested => {
            let mut ids = random_ids(rng);
            ids.sort();
            ids.dedup();
            Condition::HasId(ids)
        }
        6 if !nested => Condition::HasVector(["", "cos", "lists", "none"][rng.below(4) as usize].to_owned()),
        3 => Condition::IsNull(random_path(rng)),
        7 => {
            let filter = Box::new(random_filter_in(rng, depth + 1, true));
            Condition::Nested { key: "list".parse().unwrap(), filter }
        }
        8 => Condition::Filter(Box::new(random_filter_in(rng, depth + 1, nested))),
        _ => Condition::Field { key: random_path(rng), test: random_test(rng) },
    }
}

fn random_filter(rng: &mut Rng, depth: usize) -> Filter {
    random_filter_in(rng, depth, false)
}

fn random_filter_in(rng: &mut Rng, depth: usize, nested: bool) -> Filter {
    let conditions = |rng: &mut Rng, max| -> Vec<Condition> {
        (0..rng.below(max)).map(|_| random_condition(rng, depth, nested)).collect()
    };
    let must = conditions(rng, 3);
    let should = conditions(rng, 3);
    let must_not = conditions(rng, 2);
    let min_should = rng
        .chance(6)
        .then(|| MinShould { min_count: 1 + rng.below(2) as usize, conditions: conditions(rng, 4) });
    Filter { must, should, must_not, min_should }
}

fn random_selector(rng: &mut Rng) -> PointSelector {
    if rng.chance(3) {
        PointSelector::Filter(random_filter(rng, 0))
    } else {
        PointSelector::Ids(random_ids(rng))
    }
}

fn random_partition(rng: &mut Rng) -> (StreamName, u32) {
    let name = ["raw", "persistent://dvse/ingest/raw-events"][rng.below(2) as usize];
    (name.parse().unwrap(), rng.below(2) as u32)
}

fn random_op(rng: &mut Rng) -> WriteOp {
    match rng.below(25) {
        0..=9 => WriteOp::Upsert(
            (0..1 + rng.below(8))
                .map(|_| Point {
                    id: random_id(rng),
                    vectors: {
                        let all = rng.chance(2);
                        random_vectors(rng, all)
                    },
                    payload: random_payload(rng),
                })
                .collect(),
        ),
        10 | 11 => WriteOp::Delete(PointSelector::Ids(random_ids(rng))),
        12 if rng.chance(3) => WriteOp::Delete(random_selector(rng)),
        13 | 14 => WriteOp::UpdateVectors(
            (0..rng.below(4))
                .map(|_| PointVectors { id: random_id(rng), vectors: random_vectors(rng, false) })
                .collect(),
        ),
        15 => WriteOp::DeleteVectors {
            points: random_selector(rng),
            names: vec![["", "cos"][rng.below(2) as usize].to_owned()],
        },
        16 | 17 => {
            let keys = [None, Some("o"), Some("o.p"), Some("list[]"), Some("list[0].q")];
            let key = keys[rng.below(5) as usize].map(|key| key.parse().unwrap());
            WriteOp::SetPayload { points: random_selector(rng), payload: random_payload(rng), key }
        }
        18 => WriteOp::OverwritePayload { points: random_selector(rng), payload: random_payload(rng) },
        19 => WriteOp::DeletePayload { points: random_selector(rng), keys: vec![random_path(rng)] },
        20 if rng.chance(2) => WriteOp::ClearPayload(random_selector(rng)),
        21 => {
            let kinds = [
                FieldKind::Keyword,
                FieldKind::Integer,
                FieldKind::Float,
                FieldKind::Bool,
                FieldKind::Datetime,
                FieldKind::Uuid,
            ];
            WriteOp::CreateFieldIndex { field: random_path(rng), kind: kinds[rng.below(6) as usize] }
        }
        22 if rng.chance(2) => WriteOp::DeleteFieldIndex(random_path(rng)),
        23 => {
            let vector = ["", "cos", "flat", "lists"][rng.below(4) as usize].to_owned();
            WriteOp::SetIndex { vector, index: random_index(rng) }
        }
        22 => {
            let vector = ["", "cos", "flat", "lists"][rng.below(4) as usize].to_owned();
            WriteOp::SetOnDisk { vector, on_disk: rng.chance(2) }
        }
        24 => {
            let (stream, partition) = random_partition(rng);
            WriteOp::TakeOver { stream, partition }
        }
        _ => WriteOp::Upsert(vec![]),
    }
}
