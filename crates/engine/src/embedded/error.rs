//! What a collection can answer instead of writing or opening.

use std::sync::Arc;

use dvse_storage::WalError;
use dvse_types::{Classify, ErrorKind, SeqNo};

use crate::apply::ApplyError;
use crate::shard::{OpenShardError, storage_kind};
use crate::sources::Refusal;
use crate::validate::InvalidBatch;
use crate::wire::DecodeError;

/// A write was refused. Nothing of it was applied.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// The batch does not fit the collection.
    #[error(transparent)]
    Invalid(#[from] InvalidBatch),
    /// The batch has a mark that is not for its sender to write, or takes over what cannot be. Never a duplicate: that is
    /// no error.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The batch is larger than an entry of the log can be.
    #[error("the batch takes {bytes} bytes in the log, at most {bytes_max} are allowed")]
    TooLarge {
        /// Bytes it takes.
        bytes: u64,
        /// Bytes allowed.
        bytes_max: u64,
    },
    /// There is no space on the disk.
    #[error("no space left: {cause}")]
    OutOfSpace {
        /// What could not be written.
        cause: Arc<str>,
    },
    /// An earlier failure left the collection in a state that only opening it again can clear up.
    #[error("collection `{name}` takes no more writes after a failure: {cause}")]
    Poisoned {
        /// The collection.
        name: String,
        /// The failure.
        cause: Arc<str>,
    },
    /// The collection is closed, or was dropped.
    #[error("collection `{name}` is closed")]
    Closed {
        /// The collection.
        name: String,
    },
    /// Sealing or linking fails, so there is no room for more rows.
    #[error("maintenance fails: {cause}")]
    Maintenance {
        /// What kind of failure it is.
        kind: ErrorKind,
        /// The failure.
        cause: Arc<str>,
    },
}

impl WriteError {
    pub(super) fn maintenance(kind: ErrorKind, cause: Arc<str>) -> WriteError {
        match kind {
            ErrorKind::OutOfSpace => WriteError::OutOfSpace { cause },
            kind => WriteError::Maintenance { kind, cause },
        }
    }
}

impl Classify for WriteError {
    fn kind(&self) -> ErrorKind {
        match self {
            WriteError::Invalid(_) => ErrorKind::InvalidInput,
            WriteError::Refused(Refusal::Fenced { .. }) => ErrorKind::Fenced,
            WriteError::Refused(Refusal::Duplicate { .. }) => ErrorKind::AlreadyExists,
            WriteError::TooLarge { .. } | WriteError::Refused(Refusal::TooMany { .. }) => ErrorKind::TooLarge,
            WriteError::OutOfSpace { .. } => ErrorKind::OutOfSpace,
            WriteError::Poisoned { .. } | WriteError::Closed { .. } => ErrorKind::Unavailable,
            WriteError::Maintenance { kind, .. } => *kind,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            WriteError::TooLarge { .. } => Some("Send the points in several smaller batches.".to_owned()),
            WriteError::Refused(Refusal::Fenced { granted: None, .. }) => {
                Some("Take the partition over first; the answer has the epoch to send.".to_owned())
            }
            WriteError::Refused(Refusal::Fenced { .. }) => Some(
                "Another writer has taken the partition over. Stop this one, or take over again if it is the other that \
                 should stop."
                    .to_owned(),
            ),
            WriteError::Refused(Refusal::TooMany { .. }) => {
                Some("Use fewer partitions, or a collection for each group of streams.".to_owned())
            }
            WriteError::OutOfSpace { .. } => Some(
                "Free space on the disk; searches go on, and writes work again once there is space."
                    .to_owned(),
            ),
            WriteError::Poisoned { .. } => Some(
                "Check the disk, then restart the server: every acknowledged write is in the log.".to_owned(),
            ),
            _ => None,
        }
    }
}

/// A collection cannot be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum OpenCollectionError {
    /// Its segments cannot be opened.
    #[error(transparent)]
    Shard(#[from] OpenShardError),
    /// Its log cannot be opened.
    #[error(transparent)]
    Log(#[from] WalError),
    /// The log lacks entries that the segments do not have.
    #[error(
        "the log holds entries {first} to {last}, but the segments end at {watermark}: entries are missing"
    )]
    LogGap {
        /// The last entry in the segments.
        watermark: SeqNo,
        /// The first entry in the log.
        first: SeqNo,
        /// The last entry in the log.
        last: SeqNo,
    },
    /// An entry of the log is not a batch.
    #[error("entry {seq} of the log is not a batch: {source}")]
    Entry {
        /// The entry.
        seq: SeqNo,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// An entry of the log cannot be applied.
    #[error("entry {seq} of the log cannot be applied: {source}")]
    Apply {
        /// The entry.
        seq: SeqNo,
        /// Why.
        source: ApplyError,
    },
    /// The threads cannot be started.
    #[error("the background threads cannot be started: {reason}")]
    Threads {
        /// What the system said.
        reason: String,
    },
}

impl Classify for OpenCollectionError {
    fn kind(&self) -> ErrorKind {
        match self {
            OpenCollectionError::Shard(error) => error.kind(),
            OpenCollectionError::Log(error) => storage_kind(error.kind()),
            OpenCollectionError::LogGap { .. } | OpenCollectionError::Entry { .. } => ErrorKind::Corrupt,
            OpenCollectionError::Apply { source: ApplyError::Segment(fault), .. } => fault.kind(),
            OpenCollectionError::Apply { .. } | OpenCollectionError::Threads { .. } => ErrorKind::Overloaded,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            OpenCollectionError::Shard(error) => error.help(),
            _ if self.kind() == ErrorKind::Corrupt => Some(
                "Restore the collection's folder from a backup, or move it away and load the collection again."
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
