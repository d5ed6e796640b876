//! The fvecs, ivecs and bvecs formats of the TEXMEX collections: records of a little-endian `i32` with the number of
//! dimensions, then as many numbers. There is no other header; the name tells the type.

use super::{Element, HeaderError};

/// Bytes in front of each row.
pub(super) const PREFIX: usize = 4;

/// The type that goes with a file name extension.
pub(super) fn element(extension: &str) -> Option<Element> {
    match extension {
        "fvecs" => Some(Element::F32),
        "ivecs" => Some(Element::I32),
        "bvecs" => Some(Element::U8),
        _ => None,
    }
}

/// The number of dimensions that the record at the start of `bytes` states.
pub(super) fn record_dim(bytes: &[u8], limit: u64) -> Result<u64, HeaderError> {
    let Some(prefix) = bytes.first_chunk() else {
        return Err(HeaderError::Short { expected: PREFIX as u64, got: bytes.len() as u64 });
    };
    let got = i32::from_le_bytes(*prefix);
    match u64::try_from(got) {
        Ok(dim) if (1..=limit).contains(&dim) => Ok(dim),
        _ => Err(HeaderError::RecordDim { got, limit }),
    }
}
