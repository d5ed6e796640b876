//! Walking the records of one log file, front to back, in bounded memory.

use std::sync::Arc;

use super::error::{WalDamage, WalError};
use super::format::{
    FILE_HEADER_BYTES, HeaderFault, RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader, RecordKind,
    check_file_header, record_span,
};
use crate::codec::align_up;
use crate::directory::{DirectoryError, FileHandle};

/// Bytes read from the file at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// What the scanner finds at its place.
#[derive(Debug)]
pub(super) enum Step {
    /// A record whose header is valid and next in order.
    Record(RecordHeader),
    /// The end of the bytes that the scanner may look at, at a border of records.
    End,
    /// Something else.
    Fault(WalDamage),
}

/// A place in one log file.
#[derive(Debug)]
pub(super) struct Scanner {
    pub file: Arc<dyn FileHandle>,
    /// Number of the file's first record.
    pub first: u64,
    /// Where the scanner stands.
    pub offset: u64,
    /// Number the next record must have.
    pub expected: u64,
    /// Stream of the records, once one was seen.
    pub stream: Option<u32>,
    /// The scanner does not look at or after this offset.
    end: u64,
    /// A window of the file: `window[..filled]` is what lies at `window_start`.
    window: Vec<u8>,
    window_start: u64,
    filled: usize,
}

impl Scanner {
    /// Stands before the first record of a file of which `end` bytes are to be looked at.
    pub(super) fn new(file: Arc<dyn FileHandle>, first: u64, end: u64, stream: Option<u32>) -> Scanner {
        let window = Vec::new();
        let offset = FILE_HEADER_BYTES;
        Scanner { file, first, offset, expected: first, stream, end, window, window_start: 0, filled: 0 }
    }

    /// Checks the header of the file.
    pub(super) fn check_file_header(&mut self) -> Result<(), WalError> {
        let first = dvse_types::SeqNo(self.first);
        let available = self.end.min(FILE_HEADER_BYTES) as usize;
        let header = self.bytes(0, available)?;
        check_file_header(header, first).map_err(|what| self.damaged(0, what))
    }

    /// Goes to a known place: where the record `expected` begins.
    pub(super) fn go_to(&mut self, place: Waypoint) {
        self.offset = place.offset;
        self.expected = place.seq;
    }

    /// Looks at the header of the record here, without moving.
    pub(super) fn step(&mut self) -> Result<Step, WalError> {
        let (offset, first) = (self.offset, self.first);
        let left = self.end.saturating_sub(offset);
        if left == 0 {
            return Ok(Step::End);
        }
        let header = self.bytes(offset, left.min(RECORD_HEADER_BYTES) as usize)?;
        let header = match RecordHeader::decode(header, first, offset) {
            Ok(header) => header,
            Err(fault) => return Ok(Step::Fault(fault.damage())),
        };
        let bytes = u64::from(header.body_bytes);
        if record_span(bytes) > left {
            return Ok(Step::Fault(WalDamage::PastEnd { bytes }));
        }
        let expected = match header.kind {
            RecordKind::Entry => self.expected,
            RecordKind::Mark => self.expected.wrapping_sub(1),
        };
        if header.seq != expected || header.seq == u64::MAX {
            return Ok(Step::Fault(WalDamage::Order { expected, found: header.seq }));
        }
        if let (RecordKind::Entry, Some(stream)) = (header.kind, self.stream)
            && header.stream != stream
        {
            return Ok(Step::Fault(WalDamage::Stream { expected: stream, found: header.stream }));
        }
        Ok(Step::Record(header))
    }

    /// Moves past a record that [`step`](Scanner::step) returned.
    pub(super) fn pass(&mut self, header: &RecordHeader) {
        self.offset += record_span(u64::from(header.body_bytes));
        if header.kind == RecordKind::Entry {
            self.expected = header.seq.wrapping_add(1);
            self.stream = Some(header.stream);
        }
    }

    /// Whether the body of the record here passes its checksum.
    pub(super) fn body_is_sound(&mut self, header: &RecordHeader) -> Result<bool, WalError> {
        let (mut at, mut left) = (self.offset + RECORD_HEADER_BYTES, header.body_bytes as usize);
        let mut crc = 0;
        while left > 0 {
            let part = left.min(WINDOW_BYTES);
            crc = crc32c::crc32c_append(crc, self.bytes(at, part)?);
            at += part as u64;
            left -= part;
        }
        Ok(crc == header.body_crc)
    }

    /// Reads the body of the record here; `None` if it fails its checksum.
    pub(super) fn body(&mut self, header: &RecordHeader) -> Result<Option<Vec<u8>>, WalError> {
        let (mut at, mut left) = (self.offset + RECORD_HEADER_BYTES, header.body_bytes as usize);
        // The size is bounded by the file: `step` refused records that run past its end.
        let mut body = Vec::with_capacity(left);
        while left > 0 {
            let part = left.min(WINDOW_BYTES);
            body.extend_from_slice(self.bytes(at, part)?);
            at += part as u64;
            left -= part;
        }
        Ok((crc32c::crc32c(&body) == header.body_crc).then_some(body))
    }

    /// Looks through everything after the place here, where no valid record is.
    ///
    /// Tells apart a write that the crash cut short from damage to what was synced: see `docs/format/wal.md`.
    pub(super) fn look_ahead(&mut self) -> Result<LookAhead, WalError> {
        let stop = self.offset;
        let mut found = LookAhead { proof: None, torn_bytes: 0 };
        let mut at = stop;
        while at < self.end {
            let part = (self.end - at).min(WINDOW_BYTES as u64) as usize;
            let bytes = self.bytes(at, part)?;
            if !is_zero(bytes) {
                let last = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default();
                found.torn_bytes = at + last as u64 + 1 - stop;
                if let Some(proof) = self.synced_record(at, part, stop)? {
                    found.proof = Some(proof);
                    return Ok(found);
                }
            }
            at += part as u64;
        }
        Ok(found)
    }

    /// Searches `at..at + part` for the start of a record that was written after everything up to and including the
    /// place `stop` had been synced.
    fn synced_record(&mut self, at: u64, part: usize, stop: u64) -> Result<Option<u64>, WalError> {
        let mut place = align_up(at, RECORD_ALIGNMENT);
        while place < at + part as u64 && place + RECORD_HEADER_BYTES <= self.end {
            let first = self.first;
            let header = self.bytes(place, RECORD_HEADER_BYTES as usize)?;
            match RecordHeader::decode(header, first, place) {
                Ok(header) if header.batch_start > stop && place > stop => return Ok(Some(place)),
                Err(HeaderFault::Kind(_)) if place > stop => return Ok(Some(place)),
                _ => {}
            }
            place += RECORD_ALIGNMENT;
        }
        Ok(None)
    }

    /// Makes the error for this file.
    pub(super) fn damaged(&self, offset: u64, what: WalDamage) -> WalError {
        WalError::Damaged { path: self.file.path().to_path_buf(), offset, what }
    }

    /// Returns `len` bytes at `offset`; at most a window of them, and inside `end`.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], WalError> {
        let inside =
            offset >= self.window_start && offset + len as u64 <= self.window_start + self.filled as u64;
        if !inside {
            self.window.resize(WINDOW_BYTES.min((self.end - offset) as usize).max(len), 0);
            self.filled = self.file.read_at(offset, &mut self.window)?;
            self.window_start = offset;
            if self.filled < len {
                return Err(self.shrunk(offset + len as u64));
            }
        }
        let start = (offset - self.window_start) as usize;
        Ok(&self.window[start..start + len])
    }

    /// The file is shorter than it was when its length was taken.
    fn shrunk(&self, wanted: u64) -> WalError {
        let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let offset = wanted.min(self.window_start + self.filled as u64);
        let source = DirectoryError::new("read", self.file.path(), source);
        debug_assert!(offset <= wanted);
        WalError::Io { source }
    }
}

/// Whether all bytes are zero; compares blocks, which is many times faster than looking at each byte.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|block| block == &ZEROS[..block.len()])
}

/// A place in a file where a record is known to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waypoint {
    pub seq: u64,
    pub offset: u64,
}

/// What lies after the place where the valid records of a file end.
#[derive(Debug, Clone, Copy)]
pub(super) struct LookAhead {
    /// Offset of a later record that proves that this place had been synced.
    pub proof: Option<u64>,
    /// Bytes from this place to the last one that is not zero.
    pub torn_bytes: u64,
}
