//! Write batches as bytes: the body of a log record. `docs/format/operations.md` has the table.

mod index;

use std::str::FromStr;

use dvse_storage::GatherBuf;
use dvse_types::{
    Condition, FieldKind, FieldTest, Filter, IndexSpec, MatchValue, MinShould, NESTING_MAX, NamedVectors,
    Payload, PayloadPath, Point, PointId, PointSelector, PointVectors, Range, WriteBatch, WriteOp,
};

use self::index::decode_hnsw;
pub(crate) use self::index::{decode_index, encode_index};
use crate::sources::{MARK_BYTES_MAX, decode_mark, decode_source, encode_mark, encode_source};
use crate::wire::{DecodeError, FieldReader, FieldWriter};

/// A batch without a mark.
const VERSION: u8 = 1;
/// A batch with a mark. One without is written as earlier versions read it.
const VERSION_MARKED: u8 = 2;
/// Filters nest at most this deep when they are read; writing checks the same bound first.
pub(crate) const FILTER_DEPTH_MAX: usize = NESTING_MAX;

/// Writes a batch as bytes.
#[must_use]
pub fn encode(batch: &WriteBatch) -> Vec<u8> {
    encode_behind(batch, GatherBuf::new()).into_vec()
}

/// As [`encode`], behind what a buffer holds, and without copying the vectors that are not short: the buffer refers to them.
#[must_use]
pub fn encode_behind(batch: &WriteBatch, mut out: GatherBuf) -> GatherBuf {
    let mark_bytes = batch.source.as_ref().map_or(0, |_| MARK_BYTES_MAX);
    let ops_bytes: usize = batch.ops.iter().map(bytes_about).sum();
    out.reserve(mark_bytes + ops_bytes);
    let mut out = FieldWriter::behind(out);
    match &batch.source {
        None => out.u8(VERSION),
        Some(mark) => {
            out.u8(VERSION_MARKED);
            encode_mark(&mut out, mark);
        }
    }
    out.count(batch.ops.len());
    batch.ops.iter().for_each(|op| encode_op(&mut out, op));
    out.into_gathered()
}

/// About how many bytes of an operation are copied: short vectors exactly, small parts with room. Growing a buffer of
/// megabytes step by step would copy all of it several times.
fn bytes_about(op: &WriteOp) -> usize {
    const SMALL_PARTS: usize = 128;
    let bytes = |vectors: &NamedVectors| {
        let sizes = vectors.values().map(|vector| size_of_val(&vector[..]));
        SMALL_PARTS + sizes.filter(|bytes| *bytes < GatherBuf::SHARED_BYTES_MIN).sum::<usize>()
    };
    match op {
        WriteOp::Upsert(points) => points.iter().map(|point| bytes(&point.vectors)).sum(),
        WriteOp::UpdateVectors(points) => points.iter().map(|point| bytes(&point.vectors)).sum(),
        _ => SMALL_PARTS,
    }
}

/// Reads a batch. Whatever the bytes are, this returns, and takes memory in proportion to their number.
///
/// # Errors
/// [`DecodeError`] with the offset of what is wrong.
pub fn decode(bytes: &[u8]) -> Result<WriteBatch, DecodeError> {
    let mut from = FieldReader::new(bytes);
    let source = match from.u8("the version")? {
        VERSION => None,
        VERSION_MARKED => Some(decode_mark(&mut from)?),
        got => {
            return Err(DecodeError::Version { got: u64::from(got), supported: u64::from(VERSION_MARKED) });
        }
    };
    let count = from.count(1, "the number of operations")?;
    let ops = (0..count).map(|_| decode_op(&mut from)).collect::<Result<Vec<_>, _>>()?;
    from.finish()?;
    Ok(WriteBatch { ops, source })
}

mod tag {
    pub(super) const UPSERT: u8 = 1;
    pub(super) const DELETE: u8 = 2;
    pub(super) const UPDATE_VECTORS: u8 = 3;
    pub(super) const DELETE_VECTORS: u8 = 4;
    pub(super) const SET_PAYLOAD: u8 = 5;
    pub(super) const OVERWRITE_PAYLOAD: u8 = 6;
    pub(super) const DELETE_PAYLOAD: u8 = 7;
    pub(super) const CLEAR_PAYLOAD: u8 = 8;
    pub(super) const CREATE_FIELD_INDEX: u8 = 9;
    pub(super) const DELETE_FIELD_INDEX: u8 = 10;
    /// Written by earlier versions, which had one kind of graph.
    pub(super) const SET_HNSW: u8 = 11;
    pub(super) const SET_INDEX: u8 = 12;
    pub(super) const TAKE_OVER: u8 = 13;
    pub(super) const SET_ON_DISK: u8 = 14;

    /// Bits of the byte before an id.
    pub(super) const ID_UUID: u8 = 1;
    pub(super) const NAMED_VECTORS: u8 = 2;
}

fn encode_op(out: &mut FieldWriter, op: &WriteOp) {
    match op {
        WriteOp::Upsert(points) => {
            out.u8(tag::UPSERT);
            out.count(points.len());
            for point in points {
                encode_id_vectors(out, point.id, &point.vectors);
                encode_payload(out, &point.payload);
            }
        }
        WriteOp::Delete(points) => {
            out.u8(tag::DELETE);
            encode_selector(out, points);
        }
        WriteOp::UpdateVectors(points) => {
            out.u8(tag::UPDATE_VECTORS);
            out.count(points.len());
            points.iter().for_each(|point| encode_id_vectors(out, point.id, &point.vectors));
        }
        WriteOp::DeleteVectors { points, names } => {
            out.u8(tag::DELETE_VECTORS);
            encode_selector(out, points);
            out.count(names.len());
            names.iter().for_each(|name| out.str(name));
        }
        WriteOp::SetPayload { points, payload, key } => {
            out.u8(tag::SET_PAYLOAD);
            encode_selector(out, points);
            encode_payload(out, payload);
            out.u8(u8::from(key.is_some()));
            if let Some(key) = key {
                out.str(key.as_str());
            }
        }
        WriteOp::OverwritePayload { points, payload } => {
            out.u8(tag::OVERWRITE_PAYLOAD);
            encode_selector(out, points);
            encode_payload(out, payload);
        }
        WriteOp::DeletePayload { points, keys } => {
            out.u8(tag::DELETE_PAYLOAD);
            encode_selector(out, points);
            out.count(keys.len());
            keys.iter().for_each(|key| out.str(key.as_str()));
        }
        WriteOp::ClearPayload(points) => {
            out.u8(tag::CLEAR_PAYLOAD);
            encode_selector(out, points);
        }
        WriteOp::CreateFieldIndex { field, kind } => {
            out.u8(tag::CREATE_FIELD_INDEX);
            out.str(field.as_str());
            out.u8(field_kind_tag(*kind));
        }
        WriteOp::DeleteFieldIndex(field) => {
            out.u8(tag::DELETE_FIELD_INDEX);
            out.str(field.as_str());
        }
        WriteOp::SetIndex { vector, index } => {
            out.u8(tag::SET_INDEX);
            out.str(vector);
            encode_index(out, index);
        }
        WriteOp::SetOnDisk { vector, on_disk } => {
            out.u8(tag::SET_ON_DISK);
            out.str(vector);
            out.u8(u8::from(*on_disk));
        }
        WriteOp::TakeOver { stream, partition } => {
            out.u8(tag::TAKE_OVER);
            encode_source(out, stream, *partition);
        }
    }
}

fn decode_op(from: &mut FieldReader<'_>) -> Result<WriteOp, DecodeError> {
    let offset = from.offset();
    let op = match from.u8("an operation's tag")? {
        tag::UPSERT => {
            let count = from.count(17, "the number of points")?;
            let mut points = Vec::with_capacity(count);
            for _ in 0..count {
                let (id, vectors) = decode_id_vectors(from)?;
                points.push(Point { id, vectors, payload: decode_payload(from)? });
            }
            WriteOp::Upsert(points)
        }
        tag::DELETE => WriteOp::Delete(decode_selector(from)?),
        tag::UPDATE_VECTORS => {
            let count = from.count(13, "the number of points")?;
            let mut points = Vec::with_capacity(count);
            for _ in 0..count {
                let (id, vectors) = decode_id_vectors(from)?;
                points.push(PointVectors { id, vectors });
            }
            WriteOp::UpdateVectors(points)
        }
        tag::DELETE_VECTORS => {
            let points = decode_selector(from)?;
            let count = from.count(4, "the number of names")?;
            let names = (0..count).map(|_| from.str("a vector's name").map(str::to_owned));
            WriteOp::DeleteVectors { points, names: names.collect::<Result<_, _>>()? }
        }
        tag::SET_PAYLOAD => {
            let points = decode_selector(from)?;
            let payload = decode_payload(from)?;
            let key = if decode_bool(from)? { Some(decode_path(from)?) } else { None };
            WriteOp::SetPayload { points, payload, key }
        }
        tag::OVERWRITE_PAYLOAD => {
            WriteOp::OverwritePayload { points: decode_selector(from)?, payload: decode_payload(from)? }
        }
        tag::DELETE_PAYLOAD => {
            let points = decode_selector(from)?;
            let count = from.count(5, "the number of keys")?;
            let keys = (0..count).map(|_| decode_path(from)).collect::<Result<_, _>>()?;
            WriteOp::DeletePayload { points, keys }
        }
        tag::CLEAR_PAYLOAD => WriteOp::ClearPayload(decode_selector(from)?),
        tag::CREATE_FIELD_INDEX => {
            WriteOp::CreateFieldIndex { field: decode_path(from)?, kind: decode_field_kind(from)? }
        }
        tag::DELETE_FIELD_INDEX => WriteOp::DeleteFieldIndex(decode_path(from)?),
        tag::SET_HNSW => {
            let vector = from.str("a vector's name")?.to_owned();
            WriteOp::SetIndex { vector, index: IndexSpec::Hnsw(decode_hnsw(from)?) }
        }
        tag::SET_INDEX => {
            let vector = from.str("a vector's name")?.to_owned();
            WriteOp::SetIndex { vector, index: decode_index(from)? }
        }
        tag::SET_ON_DISK => {
            let vector = from.str("a vector's name")?.to_owned();
            WriteOp::SetOnDisk { vector, on_disk: decode_bool(from)? }
        }
        tag::TAKE_OVER => {
            let (stream, partition) = decode_source(from)?;
            WriteOp::TakeOver { stream, partition }
        }
        got => return Err(DecodeError::Tag { what: "an operation's tag", offset, got: u64::from(got) }),
    };
    Ok(op)
}

/// `[kind u8][u64 id][u32 dim][f32 × dim]` for the usual point with one unnamed vector; the bits of `kind` say when
/// the id is a UUID (16 bytes) and when a list of named vectors follows.
fn encode_id_vectors(out: &mut FieldWriter, id: PointId, vectors: &NamedVectors) {
    let only = match vectors.first_key_value() {
        Some((name, vector)) if name.is_empty() && vectors.len() == 1 => Some(vector),
        _ => None,
    };
    let named = if only.is_some() { 0 } else { tag::NAMED_VECTORS };
    encode_id(out, id, named);
    if let Some(vector) = only {
        out.vector(vector);
        return;
    }
    out.count(vectors.len());
    for (name, vector) in vectors {
        out.str(name);
        out.vector(vector);
    }
}

fn decode_id_vectors(from: &mut FieldReader<'_>) -> Result<(PointId, NamedVectors), DecodeError> {
    let (id, named) = decode_id(from, tag::NAMED_VECTORS)?;
    let mut vectors = NamedVectors::new();
    if named == 0 {
        vectors.insert(String::new(), from.vector()?);
        return Ok((id, vectors));
    }
    for _ in 0..from.count(8, "the number of vectors")? {
        let name = from.str("a vector's name")?.to_owned();
        vectors.insert(name, from.vector()?);
    }
    Ok((id, vectors))
}

pub(crate) fn encode_id(out: &mut FieldWriter, id: PointId, bits: u8) {
    match id {
        PointId::Num(number) => {
            out.u8(bits);
            out.u64(number);
        }
        PointId::Uuid(uuid) => {
            out.u8(bits | tag::ID_UUID);
            out.u128(uuid);
        }
    }
}

/// Reads an id and those of the bits in `allowed` that were set before it.
pub(crate) fn decode_id(from: &mut FieldReader<'_>, allowed: u8) -> Result<(PointId, u8), DecodeError> {
    let offset = from.offset();
    let bits = from.u8("an id's kind")?;
    if bits & !(allowed | tag::ID_UUID) != 0 {
        return Err(DecodeError::Tag { what: "an id's kind", offset, got: u64::from(bits) });
    }
    let id = if bits & tag::ID_UUID == 0 {
        PointId::Num(from.u64("an id")?)
    } else {
        PointId::Uuid(from.u128("a UUID")?)
    };
    Ok((id, bits & allowed))
}

/// JSON bytes of a payload. An empty payload takes no bytes, here and in the segments.
pub(crate) fn payload_json(payload: &Payload, out: &mut Vec<u8>) {
    if !payload.is_empty() {
        // Writing a map with string keys to memory has no way to fail.
        drop(serde_json::to_writer(out, payload));
    }
}

fn encode_payload(out: &mut FieldWriter, payload: &Payload) {
    out.measured(|bytes| payload_json(payload, bytes));
}

pub(crate) fn parse_payload(bytes: &[u8]) -> Result<Payload, serde_json::Error> {
    if bytes.is_empty() { Ok(Payload::new()) } else { serde_json::from_slice(bytes) }
}

fn decode_payload(from: &mut FieldReader<'_>) -> Result<Payload, DecodeError> {
    let offset = from.offset();
    parse_payload(from.bytes("a payload")?)
        .map_err(|error| DecodeError::Json { offset, reason: error.to_string() })
}

pub(crate) fn decode_path(from: &mut FieldReader<'_>) -> Result<PayloadPath, DecodeError> {
    let offset = from.offset();
    PayloadPath::from_str(from.str("a payload path")?).map_err(|source| DecodeError::Path { offset, source })
}

fn decode_bool(from: &mut FieldReader<'_>) -> Result<bool, DecodeError> {
    let offset = from.offset();
    match from.u8("a truth value")? {
        0 => Ok(false),
        1 => Ok(true),
        got => Err(DecodeError::Tag { what: "a truth value", offset, got: u64::from(got) }),
    }
}

pub(crate) fn field_kind_tag(kind: FieldKind) -> u8 {
    match kind {
        FieldKind::Keyword => 1,
        FieldKind::Integer => 2,
        FieldKind::Float => 3,
        FieldKind::Bool => 4,
        FieldKind::Datetime => 5,
        FieldKind::Uuid => 6,
    }
}

pub(crate) fn decode_field_kind(from: &mut FieldReader<'_>) -> Result<FieldKind, DecodeError> {
    let offset = from.offset();
    Ok(match from.u8("a field kind")? {
        1 => FieldKind::Keyword,
        2 => FieldKind::Integer,
        3 => FieldKind::Float,
        4 => FieldKind::Bool,
        5 => FieldKind::Datetime,
        6 => FieldKind::Uuid,
        got => return Err(DecodeError::Tag { what: "a field kind", offset, got: u64::from(got) }),
    })
}

pub(crate) fn decode_usize(from: &mut FieldReader<'_>, what: &'static str) -> Result<usize, DecodeError> {
    let offset = from.offset();
    let got = from.u64(what)?;
    usize::try_from(got).map_err(|_| DecodeError::Tag { what, offset, got })
}

fn encode_selector(out: &mut FieldWriter, selector: &PointSelector) {
    match selector {
        PointSelector::Ids(ids) => {
            out.u8(0);
            encode_ids(out, ids);
        }
        PointSelector::Filter(filter) => {
            out.u8(1);
            encode_filter(out, filter);
        }
    }
}

fn decode_selector(from: &mut FieldReader<'_>) -> Result<PointSelector, DecodeError> {
    let offset = from.offset();
    match from.u8("a selector's tag")? {
        0 => Ok(PointSelector::Ids(decode_ids(from)?)),
        1 => Ok(PointSelector::Filter(decode_filter(from, 0)?)),
        got => Err(DecodeError::Tag { what: "a selector's tag", offset, got: u64::from(got) }),
    }
}

fn encode_ids(out: &mut FieldWriter, ids: &[PointId]) {
    out.count(ids.len());
    ids.iter().for_each(|id| encode_id(out, *id, 0));
}

fn decode_ids(from: &mut FieldReader<'_>) -> Result<Vec<PointId>, DecodeError> {
    let count = from.count(9, "the number of ids")?;
    (0..count).map(|_| decode_id(from, 0).map(|(id, _)| id)).collect()
}

fn encode_filter(out: &mut FieldWriter, filter: &Filter) {
    for conditions in [&filter.must, &filter.should, &filter.must_not] {
        encode_conditions(out, conditions);
    }
    out.u8(u8::from(filter.min_should.is_some()));
    if let Some(min_should) = &filter.min_should {
        out.u64(min_should.min_count as u64);
        encode_conditions(out, &min_should.conditions);
    }
}

fn decode_filter(from: &mut FieldReader<'_>, depth: usize) -> Result<Filter, DecodeError> {
    if depth >= FILTER_DEPTH_MAX {
        return Err(DecodeError::Depth { offset: from.offset(), max: FILTER_DEPTH_MAX });
    }
    let must = decode_conditions(from, depth)?;
    let should = decode_conditions(from, depth)?;
    let must_not = decode_conditions(from, depth)?;
    let min_should = if decode_bool(from)? {
        let min_count = decode_usize(from, "min_count")?;
        Some(MinShould { min_count, conditions: decode_conditions(from, depth)? })
    } else {
        None
    };
    Ok(Filter { must, should, must_not, min_should })
}

fn encode_conditions(out: &mut FieldWriter, conditions: &[Condition]) {
    out.count(conditions.len());
    for condition in conditions {
        match condition {
            Condition::Field { key, test } => {
                out.u8(1);
                out.str(key.as_str());
                encode_test(out, test);
            }
            Condition::IsEmpty(key) => {
                out.u8(2);
                out.str(key.as_str());
            }
            Condition::IsNull(key) => {
                out.u8(3);
                out.str(key.as_str());
            }
            Condition::HasId(ids) => {
                out.u8(4);
                encode_ids(out, ids);
            }
            Condition::HasVector(name) => {
                out.u8(5);
                out.str(name);
            }
            Condition::Nested { key, filter } => {
                out.u8(6);
                out.str(key.as_str());
                encode_filter(out, filter);
            }
            Condition::Filter(filter) => {
                out.u8(7);
                encode_filter(out, filter);
            }
        }
    }
}

fn decode_conditions(from: &mut FieldReader<'_>, depth: usize) -> Result<Vec<Condition>, DecodeError> {
    let count = from.count(5, "the number of conditions")?;
    let mut conditions = Vec::new();
    for _ in 0..count {
        let offset = from.offset();
        conditions.push(match from.u8("a condition's tag")? {
            1 => Condition::Field { key: decode_path(from)?, test: decode_test(from)? },
            2 => Condition::IsEmpty(decode_path(from)?),
            3 => Condition::IsNull(decode_path(from)?),
            4 => Condition::HasId(decode_ids(from)?),
            5 => Condition::HasVector(from.str("a vector's name")?.to_owned()),
            6 => {
                let key = decode_path(from)?;
                Condition::Nested { key, filter: Box::new(decode_filter(from, depth + 1)?) }
            }
            7 => Condition::Filter(Box::new(decode_filter(from, depth + 1)?)),
            got => return Err(DecodeError::Tag { what: "a condition's tag", offset, got: u64::from(got) }),
        });
    }
    Ok(conditions)
}

fn encode_test(out: &mut FieldWriter, test: &FieldTest) {
    match test {
        FieldTest::Match(value) => {
            out.u8(1);
            encode_value(out, value);
        }
        FieldTest::MatchAny(values) => {
            out.u8(2);
            out.count(values.len());
            values.iter().for_each(|value| encode_value(out, value));
        }
        FieldTest::MatchExcept(values) => {
            out.u8(3);
            out.count(values.len());
            values.iter().for_each(|value| encode_value(out, value));
        }
        FieldTest::Range(range) => {
            out.u8(4);
            encode_range(out, range, f64::to_bits);
        }
        FieldTest::DatetimeRange(range) => {
            out.u8(5);
            encode_range(out, range, i64::cast_unsigned);
        }
        FieldTest::ValuesCount(range) => {
            out.u8(6);
            encode_range(out, range, |count| count);
        }
    }
}

fn decode_test(from: &mut FieldReader<'_>) -> Result<FieldTest, DecodeError> {
    let offset = from.offset();
    Ok(match from.u8("a test's tag")? {
        1 => FieldTest::Match(decode_value(from)?),
        2 => FieldTest::MatchAny(decode_values(from)?),
        3 => FieldTest::MatchExcept(decode_values(from)?),
        4 => FieldTest::Range(decode_range(from, f64::from_bits)?),
        5 => FieldTest::DatetimeRange(decode_range(from, u64::cast_signed)?),
        6 => FieldTest::ValuesCount(decode_range(from, |count| count)?),
        got => return Err(DecodeError::Tag { what: "a test's tag", offset, got: u64::from(got) }),
    })
}

fn encode_value(out: &mut FieldWriter, value: &MatchValue) {
    match value {
        MatchValue::Keyword(text) => {
            out.u8(1);
            out.str(text);
        }
        MatchValue::Integer(number) => {
            out.u8(2);
            out.u64(number.cast_unsigned());
        }
        MatchValue::Bool(truth) => {
            out.u8(3);
            out.u8(u8::from(*truth));
        }
    }
}

fn decode_value(from: &mut FieldReader<'_>) -> Result<MatchValue, DecodeError> {
    let offset = from.offset();
    Ok(match from.u8("a value's tag")? {
        1 => MatchValue::Keyword(from.str("a keyword")?.to_owned()),
        2 => MatchValue::Integer(from.u64("an integer")?.cast_signed()),
        3 => MatchValue::Bool(decode_bool(from)?),
        got => return Err(DecodeError::Tag { what: "a value's tag", offset, got: u64::from(got) }),
    })
}

fn decode_values(from: &mut FieldReader<'_>) -> Result<Vec<MatchValue>, DecodeError> {
    let count = from.count(2, "the number of values")?;
    (0..count).map(|_| decode_value(from)).collect()
}

fn encode_range<T: Copy>(out: &mut FieldWriter, range: &Range<T>, to_bits: impl Fn(T) -> u64) {
    let bounds = [range.gt, range.gte, range.lt, range.lte];
    let present = bounds.iter().enumerate().map(|(bit, bound)| u8::from(bound.is_some()) << bit).sum();
    out.u8(present);
    bounds.into_iter().flatten().for_each(|bound| out.u64(to_bits(bound)));
}

fn decode_range<T>(
    from: &mut FieldReader<'_>,
    from_bits: impl Fn(u64) -> T,
) -> Result<Range<T>, DecodeError> {
    let offset = from.offset();
    let present = from.u8("a range's bounds")?;
    if present > 0b1111 {
        return Err(DecodeError::Tag { what: "a range's bounds", offset, got: u64::from(present) });
    }
    let mut bound = |bit: u8| -> Result<Option<T>, DecodeError> {
        if present >> bit & 1 == 0 { Ok(None) } else { Ok(Some(from_bits(from.u64("a bound")?))) }
    };
    Ok(Range { gt: bound(0)?, gte: bound(1)?, lt: bound(2)?, lte: bound(3)? })
}

#[cfg(test)]
mod tests;
