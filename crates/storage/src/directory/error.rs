//! What a directory can answer instead of doing what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::error::StorageErrorKind;

/// An operation on a file or directory failed.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// There is no such file or directory.
    #[error("{path} does not exist", path = path.display())]
    NotFound {
        /// What was looked for.
        path: PathBuf,
    },
    /// There is no space left, or a quota is used up.
    #[error("cannot {operation} {path}: no space left", path = path.display())]
    Full {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else holds the lock.
    #[error("{path} is locked by {holder}: stop it, or use another directory", path = path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as the lock file says.
        holder: String,
    },
    /// The name is not a single path component.
    #[error("{name:?} is not a file name: it must be 1 to 255 bytes without slashes, and not . or ..")]
    InvalidName {
        /// The name as given.
        name: String,
    },
    /// The operating system refused.
    #[error("cannot {operation} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DirectoryError {
    /// Sorts what the operating system said into a variant.
    pub(crate) fn new(operation: &'static str, path: &Path, source: io::Error) -> DirectoryError {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => DirectoryError::NotFound { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                DirectoryError::Full { operation, path, source }
            }
            _ => DirectoryError::Io { operation, path, source },
        }
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> StorageErrorKind {
        match self {
            DirectoryError::NotFound { .. } | DirectoryError::Io { .. } => StorageErrorKind::Io,
            DirectoryError::Full { .. } => StorageErrorKind::Full,
            DirectoryError::Locked { .. } => StorageErrorKind::Locked,
            DirectoryError::InvalidName { .. } => StorageErrorKind::Invalid,
        }
    }

    /// Whether the file or directory is simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, DirectoryError::NotFound { .. })
    }
}
