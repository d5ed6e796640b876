//! What the log can answer instead of doing what it was asked.

use std::path::PathBuf;
use std::sync::Arc;

use dvse_types::SeqNo;
use thiserror::Error;

use crate::directory::DirectoryError;
use crate::error::StorageErrorKind;

/// An operation on the write-ahead log failed.
#[derive(Debug, Error)]
pub enum WalError {
    /// A file of the log does not hold what was written.
    #[error("write-ahead log {path} is damaged at offset {offset}: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Byte offset of the record (or header) that is damaged.
        offset: u64,
        /// What is wrong with it.
        what: WalDamage,
    },
    /// A file between two others is not there.
    #[error("write-ahead log {path} begins at {found}, but the file before it ends at {last}: a file is missing", path = path.display())]
    Gap {
        /// The file after the gap.
        path: PathBuf,
        /// Last number before the gap.
        last: SeqNo,
        /// First number after the gap.
        found: SeqNo,
    },
    /// There is no space for the record. Nothing of it was kept by a failed append; records of a failed sync are kept
    /// in memory and written by the next sync. The log works again once space is free.
    #[error("write-ahead log: {source}")]
    Full {
        /// What the directory said.
        source: DirectoryError,
    },
    /// An operation failed; if it was a write or a sync, the log is poisoned from here on.
    #[error("write-ahead log: {source}")]
    Io {
        /// What the directory said.
        source: DirectoryError,
    },
    /// An earlier write or sync failed, so what is on the disk is unknown until the log is opened again.
    #[error("write-ahead log refuses to go on after an earlier failure ({cause}); open it again")]
    Poisoned {
        /// The earlier failure.
        cause: Arc<str>,
    },
    /// The log was opened with [`RecoveryMode::Refuse`](crate::RecoveryMode::Refuse), for looking at it.
    #[error("write-ahead log was opened for reading only")]
    ReadOnly,
    /// The number of a record does not follow the one before it.
    #[error(
        "write-ahead log: record {got} cannot follow record {last}: numbers are contiguous, from 1 to 2^64 - 2"
    )]
    NotContiguous {
        /// The last number appended.
        last: SeqNo,
        /// The number given.
        got: SeqNo,
    },
    /// The record belongs to another stream than the log.
    #[error("write-ahead log holds stream {expected}, but the record belongs to stream {got}")]
    ForeignStream {
        /// The stream of the log.
        expected: u32,
        /// The stream given.
        got: u32,
    },
    /// The record is larger than the log takes.
    #[error(
        "write-ahead log: a record of {bytes} bytes is larger than the limit of {bytes_max}: write smaller batches"
    )]
    TooLarge {
        /// Size of the body.
        bytes: u64,
        /// Largest size of a body.
        bytes_max: u64,
    },
    /// A number was to be synced or read that is not in the log.
    #[error("write-ahead log does not hold record {seq}: it holds {first} to {last}")]
    NotThere {
        /// The number asked for.
        seq: SeqNo,
        /// First number the log can give.
        first: SeqNo,
        /// Last number appended.
        last: SeqNo,
    },
}

/// What is wrong with a part of a log file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WalDamage {
    /// The file is shorter than its header.
    #[error("the file ends inside its header")]
    ShortFileHeader,
    /// The file header does not pass its checksum, or is no header.
    #[error("the file header is not valid")]
    FileHeader,
    /// The file is of a version this build does not read.
    #[error("format version {found} is not supported, this build reads up to {supported}")]
    Version {
        /// Version in the file.
        found: u32,
        /// Newest version this build reads.
        supported: u32,
    },
    /// The number in the header is not the one in the name.
    #[error("the header says the first record is {found}, the name says {expected}")]
    FirstNumber {
        /// Number in the name.
        expected: u64,
        /// Number in the header.
        found: u64,
    },
    /// The record header does not pass its checksum.
    #[error("the record header fails its checksum")]
    RecordHeader,
    /// The record header is valid but of a kind this build does not know.
    #[error("record kind {0} is not known")]
    Kind(u32),
    /// The record runs past the end of the file.
    #[error("the record of {bytes} bytes runs past the end of the file")]
    PastEnd {
        /// Size of the body as the header says.
        bytes: u64,
    },
    /// The body does not pass its checksum.
    #[error("the body of record {seq} fails its checksum")]
    Body {
        /// Number of the record.
        seq: u64,
    },
    /// The number of the record is not the next one.
    #[error("expected record {expected}, found {found}")]
    Order {
        /// The next number.
        expected: u64,
        /// The number in the record.
        found: u64,
    },
    /// The stream of the record is not the one of the log.
    #[error("expected stream {expected}, found {found}")]
    Stream {
        /// Stream of the log.
        expected: u32,
        /// Stream of the record.
        found: u32,
    },
    /// There is nothing where a record should be, and later records or files show that there was one.
    #[error("no record is here, but later ones exist")]
    Hole,
}

impl WalError {
    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> StorageErrorKind {
        match self {
            WalError::Damaged { .. } | WalError::Gap { .. } => StorageErrorKind::Corrupt,
            WalError::Full { .. } => StorageErrorKind::Full,
            WalError::Io { source } => source.kind(),
            WalError::Poisoned { .. } => StorageErrorKind::Poisoned,
            WalError::ReadOnly
            | WalError::NotContiguous { .. }
            | WalError::ForeignStream { .. }
            | WalError::TooLarge { .. }
            | WalError::NotThere { .. } => StorageErrorKind::Invalid,
        }
    }
}

impl From<DirectoryError> for WalError {
    fn from(source: DirectoryError) -> Self {
        match source.kind() {
            StorageErrorKind::Full => WalError::Full { source },
            _ => WalError::Io { source },
        }
    }
}
