//! Little-endian fields in a run of bytes: what the op codec, the manifest and the small sections are made of.
//!
//! The reader checks every length against the bytes that are left before anything is allocated for it, so the
//! memory a hostile input can take is bounded by the input's own size.

use dvse_storage::GatherBuf;
use dvse_types::{InvalidStreamName, ParsePathError, Vector};

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("{what} at byte {offset} needs {needed} bytes, {left} are left")]
    Short {
        /// The field.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// Bytes it needs.
        needed: u64,
        /// Bytes there are.
        left: usize,
    },
    /// A tag has no meaning.
    #[error("{what} at byte {offset} is {got}, which has no meaning")]
    Tag {
        /// The field.
        what: &'static str,
        /// Where it is.
        offset: usize,
        /// What it is.
        got: u64,
    },
    /// The bytes were written by a later version.
    #[error("format version {got} is not supported, this build reads up to {supported}")]
    Version {
        /// Version found.
        got: u64,
        /// Newest version this build reads.
        supported: u64,
    },
    /// A text is not UTF-8.
    #[error("{what} at byte {offset} is not UTF-8")]
    Utf8 {
        /// The field.
        what: &'static str,
        /// Where it begins.
        offset: usize,
    },
    /// A payload is not a JSON object.
    #[error("the payload at byte {offset} is not a JSON object: {reason}")]
    Json {
        /// Where it begins.
        offset: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A payload path cannot be read.
    #[error("the path at byte {offset}: {source}")]
    Path {
        /// Where it begins.
        offset: usize,
        /// What is wrong with it.
        source: ParsePathError,
    },
    /// The name of a stream cannot be one.
    #[error("the stream at byte {offset}: {source}")]
    Stream {
        /// Where it begins.
        offset: usize,
        /// What is wrong with it.
        source: InvalidStreamName,
    },
    /// Something nests deeper than anything that was written.
    #[error("the filter at byte {offset} nests deeper than {max} levels")]
    Depth {
        /// Where the level too much begins.
        offset: usize,
        /// Levels allowed.
        max: usize,
    },
    /// There are bytes after the end.
    #[error("{left} bytes follow the end at byte {offset}")]
    Trailing {
        /// Where the end is.
        offset: usize,
        /// Bytes after it.
        left: usize,
    },
}

/// Collects fields. Vectors stay where they are, unless they are short.
#[derive(Debug, Default)]
pub(crate) struct FieldWriter {
    bytes: GatherBuf,
}

impl FieldWriter {
    /// Behind what a buffer holds.
    pub(crate) fn behind(bytes: GatherBuf) -> FieldWriter {
        FieldWriter { bytes }
    }

    pub(crate) fn into_gathered(self) -> GatherBuf {
        self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_vec()
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.copy(&[value]);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.copy(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.copy(&value.to_le_bytes());
    }

    pub(crate) fn u128(&mut self, value: u128) {
        self.bytes.copy(&value.to_le_bytes());
    }

    /// A count of things that follow. Batches are bounded far below 2³² by the log's record size.
    pub(crate) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.bytes.copy(value);
    }

    pub(crate) fn str(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// A dimension and as many floats.
    pub(crate) fn vector(&mut self, value: &Vector) {
        self.count(value.len());
        self.bytes.share(value.le_bytes());
    }

    /// Lets `write` append bytes and puts their number in front.
    pub(crate) fn measured(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.copy_with(|bytes| {
            let at = bytes.len();
            bytes.extend_from_slice(&[0; 4]);
            write(bytes);
            let len = u32::try_from(bytes.len() - at - 4).unwrap_or(u32::MAX);
            bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
        });
    }
}

/// Takes fields off the front.
#[derive(Debug)]
pub(crate) struct FieldReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> FieldReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> FieldReader<'a> {
        FieldReader { bytes, at: 0 }
    }

    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, len: u64, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Short { what, offset: self.at, needed: len, left: self.left() };
        let Ok(len) = usize::try_from(len) else { return Err(short) };
        let Some(part) = self.bytes[self.at..].get(..len) else { return Err(short) };
        self.at += len;
        Ok(part)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64, what)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u128(&mut self, what: &'static str) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array(what)?))
    }

    /// A count of things that take at least `bytes_min` bytes each; it is checked against what is left.
    pub(crate) fn count(&mut self, bytes_min: usize, what: &'static str) -> Result<usize, DecodeError> {
        let offset = self.at;
        let count = self.u32(what)?;
        let needed = u64::from(count) * bytes_min.max(1) as u64;
        if needed > self.left() as u64 {
            return Err(DecodeError::Short { what, offset, needed, left: self.left() });
        }
        Ok(count as usize)
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.u32(what)?;
        self.take(u64::from(len), what)
    }

    pub(crate) fn str(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let offset = self.at;
        std::str::from_utf8(self.bytes(what)?).map_err(|_| DecodeError::Utf8 { what, offset })
    }

    pub(crate) fn vector(&mut self) -> Result<Vector, DecodeError> {
        let dim = self.u32("a vector's dimension")?;
        let bytes = self.take(u64::from(dim) * 4, "a vector")?;
        let mut vector = vec![0.0_f32; dim as usize];
        bytemuck::cast_slice_mut(&mut vector).copy_from_slice(bytes);
        Ok(vector.into())
    }

    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { offset: self.at, left }),
        }
    }
}
