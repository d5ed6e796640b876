//! Records that wait to be written together.

use dvse_types::SeqNo;

use super::format::{RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader, RecordKind, record_span};
use crate::codec::u32_at;
use crate::gather::GatherBuf;

/// Memory that stays between rounds: an idle log holds at most two buffers of it.
const KEPT_BYTES_MAX: usize = 2 << 20;

/// Encoded records in order, ready to be written with one call once their place in the file is known.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: GatherBuf,
    headers: Vec<PendingHeader>,
    last: SeqNo,
}

/// A record in the buffer whose header waits for its place.
#[derive(Debug, Clone, Copy)]
struct PendingHeader {
    /// Offset of the record among all bytes of the batch.
    offset: usize,
    /// Offset of its header among those that are copies.
    at: usize,
    body_crc: u32,
    stream: u32,
    seq: u64,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Number of bytes, those that are not copied included.
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

    /// Adds a record; `put_body` appends its body. `body_crc` is the checksum of that.
    pub(super) fn push(
        &mut self,
        stream: u32,
        seq: SeqNo,
        put_body: impl FnOnce(&mut GatherBuf),
        body_bytes: u32,
        body_crc: u32,
    ) {
        let (offset, at) = (self.bytes.len(), self.bytes.copied_len());
        // The length waits in its place; the rest of the header is written by `seal`.
        let mut header = [0; RECORD_HEADER_BYTES as usize];
        header[..4].copy_from_slice(&body_bytes.to_le_bytes());
        self.bytes.copy(&header);
        put_body(&mut self.bytes);
        let span = record_span(u64::from(body_bytes)) as usize;
        let end = offset + span;
        self.bytes.copy(&[0; RECORD_ALIGNMENT as usize][..end - self.bytes.len()]);
        self.headers.push(PendingHeader { offset, at, body_crc, stream, seq: seq.0 });
        self.last = seq;
    }

    /// Writes the headers for a batch that goes to offset `start` of the file, and returns all bytes.
    pub(super) fn seal(&mut self, file_first: u64, start: u64) -> &GatherBuf {
        for pending in &self.headers {
            let out = &mut self.bytes.copies_mut()[pending.at..pending.at + RECORD_HEADER_BYTES as usize];
            let header = RecordHeader {
                body_bytes: u32_at(out, 0),
                body_crc: pending.body_crc,
                stream: pending.stream,
                kind: RecordKind::Entry,
                seq: pending.seq,
                batch_start: start,
            };
            header.encode(out, file_first, start + pending.offset as u64);
        }
        &self.bytes
    }

    /// Puts the records of `later` behind these.
    pub(super) fn append(&mut self, later: &Batch) {
        let (shift, copies) = (self.bytes.len(), self.bytes.copied_len());
        self.bytes.append(&later.bytes);
        self.headers.extend(later.headers.iter().map(|header| PendingHeader {
            offset: header.offset + shift,
            at: header.at + copies,
            ..*header
        }));
        if !later.is_empty() {
            self.last = later.last;
        }
    }

    /// Forgets the records and keeps the memory for the next round, up to a bound.
    pub(super) fn clear(&mut self) {
        self.bytes.clear(KEPT_BYTES_MAX);
        self.headers.clear();
    }
}

#[cfg(test)]
mod tests {
    use dvse_types::SharedBytes;

    use super::*;

    /// Records of which some have a shared part.
    fn push(batch: &mut Batch, range: std::ops::RangeInclusive<u64>) {
        for seq in range {
            let part = SharedBytes::from(vec![seq as u8; 700 * seq as usize]);
            let put = |buffer: &mut GatherBuf| buffer.share(part.clone());
            batch.push(3, SeqNo(seq), put, part.len() as u32, crc32c::crc32c(&part));
        }
    }

    #[test]
    fn records_that_came_later_stand_behind_as_if_they_had_waited_together() {
        let (mut together, mut first, mut later) = <(Batch, Batch, Batch)>::default();
        push(&mut together, 1..=6);
        push(&mut first, 1..=3);
        push(&mut later, 4..=6);
        first.append(&later);
        assert_eq!((first.len(), first.first(), first.last()), (together.len(), Some(1), SeqNo(6)));
        assert!(!first.bytes.is_contiguous());
        let bytes = |mut batch: Batch| batch.seal(1, 4_096).clone().into_vec();
        assert!(bytes(first) == bytes(together));
    }
}
