//! The idx format of the MNIST files: two zero bytes, a type code, the number of dimensions, their lengths, and the
//! numbers, all most significant byte first.

use super::{ByteOrder, Element, HeaderError};

/// As many bytes as a header can take.
pub(super) const PREFIX_LIMIT: usize = 4 + 4 * 255;

/// What an idx header says.
pub(super) struct IdxHeader {
    pub(super) element: Element,
    pub(super) shape: Vec<u64>,
    pub(super) data_at: usize,
}

/// Numbers of more than one byte are big-endian.
pub(super) const ORDER: ByteOrder = ByteOrder::Big;

/// Whether `bytes` start as an idx file does.
pub(super) fn looks_like_idx(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0, code, dimensions, ..] if element(*code).is_ok() && *dimensions > 0)
}

/// Parses the header at the start of `bytes`.
pub(super) fn parse_idx_header(bytes: &[u8]) -> Result<IdxHeader, HeaderError> {
    let [0, 0, code, dimensions, lengths @ ..] = bytes else {
        return Err(HeaderError::Magic { format: "idx" });
    };
    let element = element(*code)?;
    let data_at = 4 + 4 * usize::from(*dimensions);
    let (lengths, _) = lengths.as_chunks::<4>();
    let Some(lengths) = lengths.get(..usize::from(*dimensions)) else {
        return Err(HeaderError::Short { expected: data_at as u64, got: bytes.len() as u64 });
    };
    let shape = lengths.iter().map(|length| u32::from_be_bytes(*length).into()).collect();
    Ok(IdxHeader { element, shape, data_at })
}

fn element(code: u8) -> Result<Element, HeaderError> {
    match code {
        0x08 => Ok(Element::U8),
        0x09 => Ok(Element::I8),
        0x0b => Ok(Element::I16),
        0x0c => Ok(Element::I32),
        0x0d => Ok(Element::F32),
        0x0e => Ok(Element::F64),
        got => Err(HeaderError::IdxType { got }),
    }
}
