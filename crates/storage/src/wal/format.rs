//! The bytes of a log file; `docs/format/wal.md` has the table.

use dvse_types::SeqNo;

use super::error::WalDamage;
use crate::codec::{align_up, put, u32_at, u64_at};

/// Size of the header of a file.
pub(super) const FILE_HEADER_BYTES: u64 = 32;
/// Size of the header of a record.
pub(super) const RECORD_HEADER_BYTES: u64 = 40;
/// Records start at multiples of this, so that a search for records after damage has few places to look at.
pub(super) const RECORD_ALIGNMENT: u64 = 8;

const MAGIC: [u8; 8] = *b"DVSEWAL1";
const VERSION: u32 = 1;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// A body that somebody appended.
    Entry,
    /// No body: written by a clean close, to prove that everything before it was synced.
    Mark,
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub body_bytes: u32,
    pub body_crc: u32,
    pub stream: u32,
    pub kind: RecordKind,
    pub seq: u64,
    /// Offset in the file up to which everything was synced before this record was written.
    pub batch_start: u64,
}

/// Why 40 bytes are not a record header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// All zero: nothing was ever written here.
    Zero,
    /// The checksum does not fit.
    Checksum,
    /// The checksum fits, the kind is not known.
    Kind(u32),
}

impl HeaderFault {
    pub(super) fn damage(self) -> WalDamage {
        match self {
            HeaderFault::Zero => WalDamage::Hole,
            HeaderFault::Checksum => WalDamage::RecordHeader,
            HeaderFault::Kind(kind) => WalDamage::Kind(kind),
        }
    }
}

/// Returns the name of the file whose first record is `first`.
pub(super) fn file_name(first: SeqNo) -> String {
    format!("wal-{first:020}.log", first = first.0)
}

/// Reads the first number from a file name; `None` for the name of something else.
pub(super) fn parse_file_name(name: &str) -> Option<SeqNo> {
    let digits = name.strip_prefix("wal-")?.strip_suffix(".log")?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // 0 means "nothing yet", and the highest number has none after it: neither names a file of ours.
    digits.parse().ok().filter(|first| (1..u64::MAX).contains(first)).map(SeqNo)
}

/// Returns the header of the file whose first record is `first`.
pub(super) fn encode_file_header(first: SeqNo) -> [u8; FILE_HEADER_BYTES as usize] {
    let mut out = [0; FILE_HEADER_BYTES as usize];
    put(&mut out, 0, &MAGIC);
    put(&mut out, 8, &VERSION.to_le_bytes());
    put(&mut out, 16, &first.0.to_le_bytes());
    let crc = crc32c::crc32c(&out[..28]);
    put(&mut out, 28, &crc.to_le_bytes());
    out
}

/// Checks the header of a file.
pub(super) fn check_file_header(bytes: &[u8], first: SeqNo) -> Result<(), WalDamage> {
    if (bytes.len() as u64) < FILE_HEADER_BYTES {
        return Err(WalDamage::ShortFileHeader);
    }
    let version = u32_at(bytes, 8);
    if bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..28]) != u32_at(bytes, 28) {
        return Err(WalDamage::FileHeader);
    }
    // Checked after the checksum: a flipped bit in the version is damage, not a file of the future.
    if version != VERSION {
        return Err(WalDamage::Version { found: version, supported: VERSION });
    }
    let found = u64_at(bytes, 16);
    if found != first.0 {
        return Err(WalDamage::FirstNumber { expected: first.0, found });
    }
    Ok(())
}

/// Bytes a record takes in the file, header and padding included.
pub(super) fn record_span(body_bytes: u64) -> u64 {
    align_up(RECORD_HEADER_BYTES + body_bytes, RECORD_ALIGNMENT)
}

impl RecordHeader {
    /// Writes the header to the front of `out` for its place in the file.
    ///
    /// The checksum also covers the file's first number and the record's own offset, which are not stored: a header
    /// that lies in the body of another record, or at a wrong place, is not valid there.
    pub(super) fn encode(&self, out: &mut [u8], file_first: u64, offset: u64) {
        put(out, 0, &self.body_bytes.to_le_bytes());
        put(out, 4, &self.body_crc.to_le_bytes());
        put(out, 8, &self.stream.to_le_bytes());
        let kind: u32 = match self.kind {
            RecordKind::Entry => 1,
            RecordKind::Mark => 2,
        };
        put(out, 12, &kind.to_le_bytes());
        put(out, 16, &self.seq.to_le_bytes());
        put(out, 24, &self.batch_start.to_le_bytes());
        let length_twin = !self.body_bytes;
        put(out, 32, &length_twin.to_le_bytes());
        let crc = placed_crc(&out[..36], file_first, offset);
        put(out, 36, &crc.to_le_bytes());
    }

    /// Reads and checks a header of 40 bytes.
    pub(super) fn decode(bytes: &[u8], file_first: u64, offset: u64) -> Result<RecordHeader, HeaderFault> {
        let body_bytes = u32_at(bytes, 0);
        // The complement of the length is never zero together with it, so no valid header is all zeros, and most
        // places of arbitrary data are told from a header without computing a checksum.
        if u32_at(bytes, 32) != !body_bytes {
            let zero = bytes.iter().all(|byte| *byte == 0);
            return Err(if zero { HeaderFault::Zero } else { HeaderFault::Checksum });
        }
        if bytes.len() < 40 || placed_crc(&bytes[..36], file_first, offset) != u32_at(bytes, 36) {
            return Err(HeaderFault::Checksum);
        }
        let kind = match u32_at(bytes, 12) {
            1 => RecordKind::Entry,
            2 => RecordKind::Mark,
            other => return Err(HeaderFault::Kind(other)),
        };
        Ok(RecordHeader {
            body_bytes,
            body_crc: u32_at(bytes, 4),
            stream: u32_at(bytes, 8),
            kind,
            seq: u64_at(bytes, 16),
            batch_start: u64_at(bytes, 24),
        })
    }
}

fn placed_crc(header: &[u8], file_first: u64, offset: u64) -> u32 {
    let mut place = [0; 16];
    put(&mut place, 0, &file_first.to_le_bytes());
    put(&mut place, 8, &offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), header)
}
