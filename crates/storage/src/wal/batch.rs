//! Records that wait to be written together.

use dvse_types::SeqNo;

use super::format::{RECORD_HEADER_BYTES, RecordHeader, RecordKind, record_span};
use crate::codec::u32_at;

/// Memory that stays between rounds: an idle log holds at most two buffers of it.
const KEPT_BYTES_MAX: usize = 2 << 20;

/// Encoded records in order, ready to be written with one call once their place in the file is known.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    headers: Vec<PendingHeader>,
    last: SeqNo,
}

/// A record in the buffer whose header waits for its place.
#[derive(Debug, Clone, Copy)]
struct PendingHeader {
    /// Offset of the record in the buffer.
    at: usize,
    body_crc: u32,
    stream: u32,
    seq: u64,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Number of the last record.
    pub(super) fn last(&self) -> SeqNo {
        self.last
    }

    /// Number of the first record.
    pub(super) fn first(&self) -> Option<u64> {
        self.headers.first().map(|header| header.seq)
    }

    /// Adds a record. `body_crc` is the checksum of the joined parts.
    pub(super) fn push(&mut self, stream: u32, seq: SeqNo, body: &[&[u8]], body_bytes: u32, body_crc: u32) {
        let at = self.bytes.len();
        let span = record_span(u64::from(body_bytes)) as usize;
        self.bytes.reserve(span);
        // The length waits in its place; the rest of the header is written by `seal`.
        self.bytes.extend_from_slice(&body_bytes.to_le_bytes());
        self.bytes.resize(at + RECORD_HEADER_BYTES as usize, 0);
        for part in body {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.resize(at + span, 0);
        self.headers.push(PendingHeader { at, body_crc, stream, seq: seq.0 });
        self.last = seq;
    }

    /// Writes the headers for a batch that goes to offset `start` of the file, and returns all bytes.
    pub(super) fn seal(&mut self, file_first: u64, start: u64) -> &[u8] {
        for pending in &self.headers {
            let out = &mut self.bytes[pending.at..pending.at + RECORD_HEADER_BYTES as usize];
            let header = RecordHeader {
                body_bytes: u32_at(out, 0),
                body_crc: pending.body_crc,
                stream: pending.stream,
                kind: RecordKind::Entry,
                seq: pending.seq,
                batch_start: start,
            };
            header.encode(out, file_first, start + pending.at as u64);
        }
        &self.bytes
    }

    /// Puts the records of `later` behind these.
    pub(super) fn append(&mut self, later: &Batch) {
        let shift = self.bytes.len();
        self.bytes.extend_from_slice(&later.bytes);
        self.headers
            .extend(later.headers.iter().map(|header| PendingHeader { at: header.at + shift, ..*header }));
        if !later.is_empty() {
            self.last = later.last;
        }
    }

    /// Forgets the records and keeps the memory for the next round, up to a bound.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.headers.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
    }
}
