//! What went wrong, in the few kinds a caller acts on.

use thiserror::Error;

/// The kind of a storage error: what a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StorageErrorKind {
    /// A file does not hold what was written. Restore it from a replica or a backup.
    Corrupt,
    /// The operating system refused an operation.
    Io,
    /// There is no space. Nothing was lost; free space and try again.
    Full,
    /// Another process holds the directory.
    Locked,
    /// An earlier failure made the state on disk unknown. Reopen.
    Poisoned,
    /// The caller asked for something that cannot be.
    Invalid,
}

/// A part of a file does not have the shape it should have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// The bytes do not start at a multiple of the alignment of the wanted type.
    #[error("bytes at address offset {misalignment} cannot be viewed as values aligned to {alignment} bytes")]
    Misaligned {
        /// Alignment of the wanted type, in bytes.
        alignment: usize,
        /// Address of the bytes modulo that alignment.
        misalignment: usize,
    },
    /// The number of bytes is not a multiple of the size of the wanted type.
    #[error("{len} bytes are not a whole number of values of {size} bytes")]
    PartialValue {
        /// Number of bytes.
        len: usize,
        /// Size of one value, in bytes.
        size: usize,
    },
    /// The asked range is not inside the bytes.
    #[error("range {start}..{end} is not inside {len} bytes")]
    OutOfRange {
        /// First byte asked for.
        start: usize,
        /// One past the last byte asked for.
        end: usize,
        /// Number of bytes there are.
        len: usize,
    },
}

impl FormatError {
    /// Returns [`StorageErrorKind::Corrupt`]: the shape of a file is decided by its writer.
    #[must_use]
    pub fn kind(&self) -> StorageErrorKind {
        StorageErrorKind::Corrupt
    }
}
