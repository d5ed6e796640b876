//! What is published about a change that is committed; `docs/format/vector-indexed.proto` is its schema.
//!
//! Written by hand: twelve fields of three wire types need no generator, and the vector is not copied.

use dvse_storage::GatherBuf;
use thiserror::Error;

use dvse_types::{Position, Vector};

/// A record of `vector-indexed`. Its identity is (collection, log position, ordinal): after a crash an event may be there twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct IndexedEvent {
    /// The id of the point, as text. Field 1.
    pub vector_id: String,
    /// Its vector; empty if it was deleted. Field 2.
    pub embedding: Vector,
    /// The shard that holds it. Field 3.
    pub shard_id: u32,
    /// When the commit was learned of, in milliseconds since 1970. Field 4.
    pub commit_ts: u64,
    /// The collection. Field 5.
    pub collection: String,
    /// What was done. Field 6.
    pub operation: Operation,
    /// The payload, a JSON object; empty if the point was deleted. Field 7.
    pub payload: Vec<u8>,
    /// The number of the entry in the collection's log. Field 8.
    pub log_position: u64,
    /// The stream of the record that asked for it. Field 9.
    pub source_stream: String,
    /// Its partition. Field 10.
    pub source_partition: u32,
    /// Its place there, as decimal text since no number of Protobuf is so large. Field 11.
    pub source_position: String,
    /// Which change of the entry this is, from 0. Field 12.
    pub ordinal: u32,
}

/// What was done to a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Operation {
    /// It was written.
    #[default]
    Upsert,
    /// It was deleted.
    Delete,
}

/// Bytes that are no event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not an event of vector-indexed: {problem} at byte {at}")]
pub struct InvalidEvent {
    at: usize,
    problem: &'static str,
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl IndexedEvent {
    /// Returns the place of the record that asked for it.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.source_position.parse().ok()
    }

    /// Returns the event as Protobuf, fields in order and those of the default left out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.gather().into_vec()
    }

    /// As [`encode`](IndexedEvent::encode), without copying the vector unless it is short.
    #[must_use]
    pub fn gather(&self) -> GatherBuf {
        let mut out = GatherBuf::new();
        out.reserve(self.payload.len() + 256);
        out.copy_with(|out| put_bytes(out, 1, self.vector_id.as_bytes()));
        if !self.embedding.is_empty() {
            let floats = self.embedding.le_bytes();
            out.copy_with(|out| {
                put_varint(out, (2 << 3) | BYTES);
                put_varint(out, floats.len() as u64);
            });
            out.share(floats);
        }
        out.copy_with(|out| self.put_rest(out));
        out
    }

    fn put_rest(&self, out: &mut Vec<u8>) {
        put_number(out, 3, u64::from(self.shard_id));
        put_number(out, 4, self.commit_ts);
        put_bytes(out, 5, self.collection.as_bytes());
        put_number(out, 6, u64::from(self.operation == Operation::Delete));
        put_bytes(out, 7, &self.payload);
        put_number(out, 8, self.log_position);
        put_bytes(out, 9, self.source_stream.as_bytes());
        put_number(out, 10, u64::from(self.source_partition));
        put_bytes(out, 11, self.source_position.as_bytes());
        put_number(out, 12, u64::from(self.ordinal));
    }

    /// Reads an event. Fields it does not know are passed over.
    ///
    /// # Errors
    /// Where the bytes stop being one.
    pub fn decode(bytes: &[u8]) -> Result<IndexedEvent, InvalidEvent> {
        let mut event = IndexedEvent::default();
        let mut embedding = Vec::new();
        let mut reader = Reader { bytes, at: 0 };
        while reader.at < bytes.len() {
            let tag = reader.varint()?;
            match (tag >> 3, tag & 7) {
                (1, BYTES) => event.vector_id = reader.text()?,
                (2, BYTES) => reader.floats(&mut embedding)?,
                (2, FIXED32) => embedding.push(f32::from_le_bytes(reader.array()?)),
                (3, VARINT) => event.shard_id = reader.u32()?,
                (4, VARINT) => event.commit_ts = reader.varint()?,
                (5, BYTES) => event.collection = reader.text()?,
                (6, VARINT) => {
                    event.operation = match reader.varint()? {
                        0 => Operation::Upsert,
                        1 => Operation::Delete,
                        _ => return Err(reader.wrong("an operation that is not known")),
                    }
                }
                (7, BYTES) => event.payload = reader.bytes()?.to_vec(),
                (8, VARINT) => event.log_position = reader.varint()?,
                (9, BYTES) => event.source_stream = reader.text()?,
                (10, VARINT) => event.source_partition = reader.u32()?,
                (11, BYTES) => event.source_position = reader.text()?,
                (12, VARINT) => event.ordinal = reader.u32()?,
                (0, _) => return Err(reader.wrong("field 0")),
                (_, VARINT) => drop(reader.varint()?),
                (_, FIXED64) => drop(reader.array::<8>()?),
                (_, BYTES) => drop(reader.bytes()?),
                (_, FIXED32) => drop(reader.array::<4>()?),
                _ => return Err(reader.wrong("a wire type that is not known")),
            }
        }
        event.embedding = embedding.into();
        Ok(event)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        put_varint(out, (field << 3) | VARINT);
        put_varint(out, value);
    }
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_varint(out, (field << 3) | BYTES);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, problem: &'static str) -> InvalidEvent {
        InvalidEvent { at: self.at, problem }
    }

    fn varint(&mut self) -> Result<u64, InvalidEvent> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.wrong("a number of more than 64 bits"))
    }

    fn u32(&mut self) -> Result<u32, InvalidEvent> {
        u32::try_from(self.varint()?).map_err(|_| self.wrong("a number of more than 32 bits"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], InvalidEvent> {
        let rest = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let array = *rest.ok_or_else(|| self.wrong("the end inside a field"))?;
        self.at += N;
        Ok(array)
    }

    fn bytes(&mut self) -> Result<&'a [u8], InvalidEvent> {
        let len = usize::try_from(self.varint()?).map_err(|_| self.wrong("a length beyond all memory"))?;
        let end = self.at.checked_add(len);
        let bytes = end.and_then(|end| self.bytes.get(self.at..end));
        let bytes = bytes.ok_or_else(|| self.wrong("the end inside a field"))?;
        self.at += len;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, InvalidEvent> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.wrong("a text that is not UTF-8"))
    }

    fn floats(&mut self, into: &mut Vec<f32>) -> Result<(), InvalidEvent> {
        let (floats, rest) = self.bytes()?.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(self.wrong("a vector that ends inside a number"));
        }
        into.extend(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> IndexedEvent {
        IndexedEvent {
            vector_id: "7".to_owned(),
            embedding: [1.0, -2.5].into(),
            shard_id: 0,
            commit_ts: 300,
            collection: "c".to_owned(),
            operation: Operation::Upsert,
            payload: b"{}".to_vec(),
            log_position: u64::MAX,
            source_stream: "s".to_owned(),
            source_partition: 1,
            source_position: "340282366920938463463374607431768211455".to_owned(),
            ordinal: 2,
        }
    }

    #[test]
    fn an_event_is_written_as_its_schema_says() {
        let small = IndexedEvent { log_position: 1, source_position: "9".to_owned(), ..sample() };
        let expect: &[u8] = &[
            0x0a, 1, b'7', 0x12, 8, 0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0, 0x20, 0xac, 0x02, 0x2a, 1, b'c',
            0x3a, 2, b'{', b'}', 0x40, 1, 0x4a, 1, b's', 0x50, 1, 0x5a, 1, b'9', 0x60, 2,
        ];
        assert_eq!(small.encode(), expect);
    }

    #[test]
    fn a_long_vector_stays_where_it_is() {
        let event = IndexedEvent { embedding: (0..300_u16).map(f32::from).collect(), ..sample() };
        let gathered = event.gather();
        assert_eq!(gathered.slices().nth(1).unwrap().as_ptr(), event.embedding.as_ptr().cast());
        assert_eq!(gathered.into_vec(), event.encode());
        assert_eq!(IndexedEvent::decode(&event.encode()), Ok(event));
    }

    #[test]
    fn events_come_back_and_unknown_fields_are_passed_over() {
        let deleted =
            IndexedEvent { operation: Operation::Delete, embedding: [].into(), payload: vec![], ..sample() };
        for event in [sample(), deleted, IndexedEvent::default()] {
            let mut bytes = event.encode();
            assert_eq!(IndexedEvent::decode(&bytes), Ok(event.clone()));
            // Fields 100 to 103, one of each wire type.
            for more in [
                &[0xa0, 0x06, 0x01][..],
                &[0xa9, 0x06, 0, 0, 0, 0, 0, 0, 0, 0],
                &[0xb2, 0x06, 1, 9],
                &[0xbd, 0x06, 0, 0, 0, 0],
            ] {
                bytes.extend_from_slice(more);
            }
            assert_eq!(IndexedEvent::decode(&bytes), Ok(event));
        }
    }

    #[test]
    fn bytes_that_are_cut_or_changed_are_refused_or_read_without_panic() {
        let bytes = sample().encode();
        for end in 0..bytes.len() {
            drop(IndexedEvent::decode(&bytes[..end]));
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                drop(IndexedEvent::decode(&changed));
            }
        }
        for (bad, says) in [
            (&[0x0a, 5, b'x'][..], "the end inside"),
            (&[0x12, 3, 0, 0, 0], "inside a number"),
            (&[0x40, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "64 bits"),
            (&[0x30, 2], "operation"),
            (&[0x0b], "wire type"),
            (&[0x0a, 1, 0xff], "UTF-8"),
        ] {
            let error = IndexedEvent::decode(bad).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
