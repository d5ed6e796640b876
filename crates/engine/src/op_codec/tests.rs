use super::index::encode_hnsw;
use super::*;
use dvse_types::{HnswSpec, IvfPqSpec, Position, Quantization, Rerank, SourceMark, StreamName, Vector};
use serde_json::json;

fn payload(value: serde_json::Value) -> Payload {
    value.as_object().unwrap().clone()
}

fn path(text: &str) -> PayloadPath {
    text.parse().unwrap()
}

/// A batch with every operation, condition and test.
fn everything() -> WriteBatch {
    let named = NamedVectors::from([("a".to_owned(), [1.0, -0.5].into()), ("b".to_owned(), [].into())]);
    let unnamed = NamedVectors::from([(String::new(), [f32::MIN_POSITIVE, 2.0, 3.0].into())]);
    let range = Range { gt: Some(1.5), gte: None, lt: Some(-0.0), lte: None };
    let tests = [
        FieldTest::Match(MatchValue::Keyword("ö".to_owned())),
        FieldTest::MatchAny(vec![MatchValue::Integer(i64::MIN), MatchValue::Bool(true)]),
        FieldTest::MatchExcept(vec![]),
        FieldTest::Range(range),
        FieldTest::DatetimeRange(Range { gte: Some(-5), lte: Some(i64::MAX), ..Range::default() }),
        FieldTest::ValuesCount(Range { lt: Some(u64::MAX), ..Range::default() }),
    ];
    let mut must: Vec<Condition> =
        tests.into_iter().map(|test| Condition::Field { key: path("a.b[].\"c.d\""), test }).collect();
    must.push(Condition::IsEmpty(path("x[3]")));
    must.push(Condition::HasVector("a".to_owned()));
    let nested = Filter { must_not: vec![Condition::IsNull(path("k"))], ..Filter::default() };
    let filter = Filter {
        must,
        should: vec![Condition::HasId(vec![PointId::Num(u64::MAX), PointId::Uuid(u128::MAX)])],
        must_not: vec![Condition::Nested { key: path("list"), filter: Box::new(nested.clone()) }],
        min_should: Some(MinShould { conditions: vec![Condition::Filter(Box::new(nested))], min_count: 1 }),
    };
    let some = PointSelector::Ids(vec![PointId::Num(0), PointId::Uuid(7)]);
    let points = |vectors: &NamedVectors, id| Point {
        id,
        vectors: vectors.clone(),
        payload: payload(json!({"k": [1, 2.5, null, "x"], "n": 18446744073709551615_u64})),
    };
    let stream: StreamName = "persistent://dvse/ingest/raw-events".parse().unwrap();
    let source = SourceMark { stream: stream.clone(), partition: 3, epoch: 5, position: Position(u128::MAX) };
    WriteBatch {
        source: Some(source),
        ops: vec![
            WriteOp::Upsert(vec![points(&named, PointId::Uuid(9)), points(&unnamed, PointId::Num(9))]),
            WriteOp::Upsert(vec![Point {
                payload: Payload::new(),
                ..points(&NamedVectors::new(), PointId::Num(1))
            }]),
            WriteOp::Delete(PointSelector::Filter(filter)),
            WriteOp::UpdateVectors(vec![PointVectors { id: PointId::Uuid(1), vectors: unnamed }]),
            WriteOp::DeleteVectors { points: some.clone(), names: vec!["a".to_owned(), String::new()] },
            WriteOp::SetPayload {
                points: some.clone(),
                payload: payload(json!({"a": 1})),
                key: Some(path("o.p")),
            },
            WriteOp::SetPayload { points: some.clone(), payload: Payload::new(), key: None },
            WriteOp::OverwritePayload { points: some.clone(), payload: payload(json!({"a": {"b": []}})) },
            WriteOp::DeletePayload { points: some.clone(), keys: vec![path("a"), path("b[]")] },
            WriteOp::ClearPayload(some),
            WriteOp::CreateFieldIndex { field: path("a"), kind: FieldKind::Uuid },
            WriteOp::DeleteFieldIndex(path("a")),
            WriteOp::TakeOver { stream, partition: u32::MAX },
            set_index(IndexSpec::Flat),
            set_index(IndexSpec::Hnsw(graph(Quantization::Sketch))),
            set_index(IndexSpec::Hnsw(graph(Quantization::None))),
            set_index(IndexSpec::Nsw(graph(Quantization::Sketch))),
            set_index(IndexSpec::Hnsw(graph(Quantization::Scalar8))),
            set_index(IndexSpec::Hnsw(graph(Quantization::RaBitQ { bits: 1 }))),
            set_index(IndexSpec::Nsw(graph(Quantization::RaBitQ { bits: 8 }))),
            set_index(IndexSpec::Hnsw(HnswSpec { rerank: Rerank::Half, ..graph(Quantization::Sketch) })),
            set_index(IndexSpec::Nsw(HnswSpec { on_disk: true, ..graph(Quantization::Scalar8) })),
            set_index(IndexSpec::Hnsw(HnswSpec {
                rerank: Rerank::Half,
                on_disk: true,
                ..graph(Quantization::RaBitQ { bits: 4 })
            })),
            WriteOp::SetOnDisk { vector: "a".to_owned(), on_disk: true },
            WriteOp::SetOnDisk { vector: String::new(), on_disk: false },
            set_index(IndexSpec::IvfPq(IvfPqSpec { nprobe: 7, ..IvfPqSpec::default() })),
        ],
    }
}

fn graph(quantization: Quantization) -> HnswSpec {
    HnswSpec { m: 5, ef_construction: 6, full_scan_rows: usize::MAX, quantization, ..HnswSpec::default() }
}

fn set_index(index: IndexSpec) -> WriteOp {
    WriteOp::SetIndex { vector: "a".to_owned(), index }
}

/// A log that was written before there were kinds of graphs.
#[test]
fn parameters_of_the_one_graph_there_was_are_read() {
    let mut out = FieldWriter::default();
    out.u8(VERSION);
    out.count(1);
    out.u8(tag::SET_HNSW);
    out.str("a");
    encode_hnsw(&mut out, &graph(Quantization::Sketch));
    let expect = WriteBatch::new(vec![set_index(IndexSpec::Hnsw(graph(Quantization::Sketch)))]);
    assert_eq!(decode(&out.into_bytes()), Ok(expect));
}

#[test]
fn a_batch_comes_back() {
    let batch = everything();
    assert_eq!(decode(&encode(&batch)), Ok(batch));
    let unmarked = WriteBatch { source: None, ..everything() };
    assert_eq!(decode(&encode(&unmarked)), Ok(unmarked));
    assert_eq!(decode(&encode(&WriteBatch::default())), Ok(WriteBatch::default()));
}

#[test]
fn an_unnamed_vector_is_id_dimension_and_floats() {
    let vectors = NamedVectors::from([(String::new(), [1.0].into())]);
    let point = Point { id: PointId::Num(0x0102), vectors, payload: Payload::new() };
    let bytes = encode(&WriteBatch::new(vec![WriteOp::Upsert(vec![point])]));
    let expect = [
        &[1, 1, 0, 0, 0, tag::UPSERT, 1, 0, 0, 0][..],
        &[0, 0x02, 0x01, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x80, 0x3f],
        &[0, 0, 0, 0],
    ];
    assert_eq!(bytes, expect.concat());
}

/// The bytes of a record do not tell which vectors were copied into it.
#[test]
fn a_vector_that_stays_where_it_is_is_written_like_one_that_is_copied() {
    let vector = |dim: u16| Vector::from_iter((0..dim).map(|at| f32::from(at) - 1.5));
    let (long, longer) = (vector(256), vector(768));
    let bytes_of = |vector: &Vector| {
        let floats = vector.iter().flat_map(|value| value.to_le_bytes());
        [&(vector.len() as u32).to_le_bytes()[..], &floats.collect::<Vec<_>>()].concat()
    };
    let named = [("x", vector(1)), ("y", longer.clone()), ("z", vector(255))];
    let point = |id, vectors, payload| Point { id: PointId::Num(id), vectors, payload };
    let batch = WriteBatch::new(vec![
        WriteOp::Upsert(vec![
            point(1, NamedVectors::from([(String::new(), long.clone())]), payload(json!({"k": 1}))),
            point(2, named.clone().map(|(name, vector)| (name.to_owned(), vector)).into(), Payload::new()),
        ]),
        WriteOp::UpdateVectors(vec![PointVectors {
            id: PointId::Uuid(3),
            vectors: NamedVectors::from([(String::new(), longer.slice(0..512))]),
        }]),
    ]);
    let mut expect = vec![1, 2, 0, 0, 0, tag::UPSERT, 2, 0, 0, 0];
    expect.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0, 0]);
    expect.extend_from_slice(&bytes_of(&long));
    expect.extend_from_slice(b"\x07\0\0\0{\"k\":1}");
    expect.extend_from_slice(&[tag::NAMED_VECTORS, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
    for (name, vector) in &named {
        expect.extend_from_slice(&[1, 0, 0, 0, name.as_bytes()[0]]);
        expect.extend_from_slice(&bytes_of(vector));
    }
    expect.extend_from_slice(&[0, 0, 0, 0, tag::UPDATE_VECTORS, 1, 0, 0, 0, tag::ID_UUID, 3]);
    expect.extend_from_slice(&[0; 15]);
    expect.extend_from_slice(&bytes_of(&longer.slice(0..512)));
    assert_eq!(encode(&batch), expect);
    assert_eq!(decode(&expect), Ok(batch.clone()));

    let mut before = GatherBuf::new();
    before.copy(b"before");
    let gathered = encode_behind(&batch, before);
    let places: Vec<*const u8> = gathered.slices().map(<[u8]>::as_ptr).collect();
    let [long, longer] = [long, longer].map(|vector| vector.as_ptr().cast::<u8>());
    assert_eq!([places[1], places[3], places[5]], [long, longer, longer]);
    assert_eq!(gathered.into_vec(), [b"before", &expect[..]].concat());
}

#[test]
fn every_cut_is_refused_and_no_changed_byte_does_harm() {
    let bytes = encode(&everything());
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "{len}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            // Whatever it means now, it is read without harm, and what is read can be written.
            if let Ok(batch) = decode(&changed) {
                let _ = encode(&batch);
            }
        }
    }
    assert!(matches!(decode(&[bytes, vec![0]].concat()), Err(DecodeError::Trailing { left: 1, .. })));
}

#[test]
fn a_count_that_cannot_be_is_refused_before_memory_is_taken() {
    for op in [tag::UPSERT, tag::UPDATE_VECTORS] {
        let bytes = [VERSION, 1, 0, 0, 0, op, 0xff, 0xff, 0xff, 0xff];
        assert!(matches!(decode(&bytes), Err(DecodeError::Short { offset: 6, .. })));
    }
    let mut deep = vec![VERSION, 1, 0, 0, 0, tag::DELETE, 1];
    for _ in 0..100_000 {
        // A `must` of one condition, which is a filter.
        deep.extend_from_slice(&[1, 0, 0, 0, 7]);
    }
    assert!(matches!(decode(&deep), Err(DecodeError::Depth { .. })));
}

/// What `docs/format/operations.md` shows.
#[test]
fn a_mark_stands_before_the_operations_and_makes_version_two() {
    let source = SourceMark {
        stream: "raw".parse().unwrap(),
        partition: 3,
        epoch: 2,
        position: Position(0x0102 << 64 | 9),
    };
    let bytes = encode(&WriteBatch { ops: vec![], source: Some(source.clone()) });
    let expect = [
        &[2, 3, 0, 0, 0, b'r', b'a', b'w', 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0][..],
        &[9, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x01, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 0],
    ];
    assert_eq!(bytes, expect.concat());
    let unmarked = encode(&WriteBatch::new(everything().ops));
    assert_eq!(unmarked[0], VERSION, "earlier versions read batches that have no mark");
    assert!(matches!(decode(&[3, 0, 0, 0, 0]), Err(DecodeError::Version { got: 3, supported: 2 })));
}

#[test]
fn a_stream_that_cannot_be_is_refused_with_its_place() {
    for name in ["", "a\nb", &"x".repeat(201)] {
        let mut out = FieldWriter::default();
        out.u8(VERSION);
        out.count(1);
        out.u8(tag::TAKE_OVER);
        out.str(name);
        out.u32(0);
        assert!(matches!(decode(&out.into_bytes()), Err(DecodeError::Stream { offset: 6, .. })), "{name:?}");
    }
}
