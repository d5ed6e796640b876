//! The bytes of a record; `docs/format/topics.md` has the table.

use dvse_types::SeqNo;

use crate::log::Record;
use dvse_types::Position;

const VERSION: u32 = 1;
/// Size of what stands before key and payload.
pub(super) const HEADER_BYTES: usize = 24;

/// What stands before key and payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub key_bytes: u32,
    pub appended_ms: u64,
    /// Bytes of all records of the partition up to this one, itself included: bytes between two records are a
    /// subtraction, however many lie between them or were dropped.
    pub end_bytes: u64,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let fields: [&[u8]; 4] = [
            &VERSION.to_le_bytes(),
            &self.key_bytes.to_le_bytes(),
            &self.appended_ms.to_le_bytes(),
            &self.end_bytes.to_le_bytes(),
        ];
        let bytes = fields.into_iter().flatten();
        out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = *byte);
        out
    }

    /// Reads the header of a body; the error says what is wrong.
    pub(super) fn decode(body: &[u8]) -> Result<Header, String> {
        let short = || format!("a record of {} bytes is shorter than its header", body.len());
        let (version, rest) = body.split_first_chunk::<4>().ok_or_else(short)?;
        let (key_bytes, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let (appended_ms, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (end_bytes, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(format!("version {version} of records is not known, this build reads {VERSION}"));
        }
        let key_bytes = u32::from_le_bytes(*key_bytes);
        if key_bytes as usize > rest.len() {
            return Err(format!("a key of {key_bytes} bytes runs past the end of its record"));
        }
        Ok(Header {
            key_bytes,
            appended_ms: u64::from_le_bytes(*appended_ms),
            end_bytes: u64::from_le_bytes(*end_bytes),
        })
    }
}

/// Takes a body apart.
pub(super) fn decode(seq: SeqNo, mut body: Vec<u8>) -> Result<(Header, Record), String> {
    let header = Header::decode(&body)?;
    let end = HEADER_BYTES + header.key_bytes as usize;
    let key = body.get(HEADER_BYTES..end).unwrap_or_default().to_vec();
    // In place: a record may be large.
    body.drain(..end);
    let position = Position(u128::from(seq.0));
    Ok((header, Record { position, key, payload: body, appended_ms: header.appended_ms, flaw: None }))
}
