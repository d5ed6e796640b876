//! A vector in base64: the little-endian bytes of its `f32` values, one after the other.
//!
//! It is the form that embedding services answer with when they are asked for base64, and what
//! `base64.b64encode(row.astype("<f4"))` makes of a NumPy row. As text a number takes up to 19 bytes and has to be
//! parsed; so it takes five and a third and is copied.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Why a text is no vector in base64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Base64Error {
    /// It is not base64 of the usual alphabet, with its padding.
    #[error(
        "a text where a vector is expected must be base64 of its little-endian f32 bytes, but is not base64: {0}"
    )]
    Text(#[from] base64::DecodeError),
    /// The bytes are no whole number of values.
    #[error("a vector in base64 holds {bytes} bytes, which is not a multiple of the 4 that an f32 takes")]
    Bytes {
        /// How many there are.
        bytes: usize,
    },
}

/// Reads a vector. Values that are no finite numbers are found where vectors of any form are checked.
///
/// # Errors
/// [`Base64Error`].
pub fn read_base64(text: &[u8]) -> Result<Vec<f32>, Base64Error> {
    let bytes = STANDARD.decode(text)?;
    let (values, []) = bytes.as_chunks::<4>() else {
        return Err(Base64Error::Bytes { bytes: bytes.len() });
    };
    Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_the_values_they_are() {
        let values = [0.0, -1.5, f32::MIN_POSITIVE, f32::MAX];
        let bytes: Vec<u8> = values.iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
        assert_eq!(read_base64(STANDARD.encode(bytes).as_bytes()), Ok(values.to_vec()));
        assert_eq!(read_base64(b""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_vector_is_refused_with_its_reason() {
        let said = |text: &[u8]| read_base64(text).expect_err("no vector").to_string();
        assert!(
            said(b"a small boat").contains("not base64: Invalid symbol 32, offset 1"),
            "{}",
            said(b"a small boat")
        );
        assert!(said(b"AAAAAAA").contains("padding"), "{}", said(b"AAAAAAA"));
        assert_eq!(
            said(b"AAAAAAA="),
            "a vector in base64 holds 5 bytes, which is not a multiple of the 4 that an f32 takes"
        );
    }
}
