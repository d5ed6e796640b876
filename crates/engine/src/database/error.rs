//! What a database can answer instead of doing what it was asked.

use std::sync::Arc;

use dvse_storage::{CheckedFileError, DirectoryError};
use dvse_types::{Classify, ErrorKind};

use crate::embedded::{OpenCollectionError, WriteError};
use crate::shard::storage_kind;
use crate::wire::DecodeError;

/// An operation on a database failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is no collection of this name.
    #[error("Collection `{name}` doesn't exist!")]
    NotFound {
        /// The name or alias asked for.
        name: String,
    },
    /// There is a collection or an alias of this name.
    #[error("Collection `{name}` already exists!")]
    AlreadyExists {
        /// The name.
        name: String,
    },
    /// There is no alias of this name.
    #[error("Alias `{alias}` doesn't exist!")]
    NoAlias {
        /// The name.
        alias: String,
    },
    /// The name cannot be one of a collection or an alias.
    #[error("{name:?} cannot be a name: {reason}")]
    InvalidName {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// The collection could not be opened.
    #[error("collection `{name}` could not be opened: {cause}")]
    Broken {
        /// The collection.
        name: String,
        /// Why not.
        cause: Arc<OpenCollectionError>,
    },
    /// A collection cannot be made.
    #[error(transparent)]
    Collection(#[from] OpenCollectionError),
    /// A collection could not be closed cleanly.
    #[error("closing collection `{name}`: {source}")]
    Close {
        /// The collection.
        name: String,
        /// Why not.
        source: WriteError,
    },
    /// The directory refused.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The catalog cannot be read or written.
    #[error("catalog: {0}")]
    Catalog(#[from] CheckedFileError),
    /// The body of the catalog is not one.
    #[error("catalog {path}: {source}")]
    CatalogBody {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// There are collections, but no catalog that names them.
    #[error("the catalog is missing, but there is a collection in {folder}")]
    CatalogMissing {
        /// The first folder.
        folder: String,
    },
}

impl Classify for DatabaseError {
    fn kind(&self) -> ErrorKind {
        match self {
            DatabaseError::NotFound { .. } | DatabaseError::NoAlias { .. } => ErrorKind::NotFound,
            DatabaseError::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            DatabaseError::InvalidName { .. } => ErrorKind::InvalidInput,
            DatabaseError::Broken { cause, .. } => cause.kind(),
            DatabaseError::Collection(error) => error.kind(),
            DatabaseError::Close { source, .. } => source.kind(),
            DatabaseError::Directory(error) => storage_kind(error.kind()),
            DatabaseError::Catalog(error) => storage_kind(error.kind()),
            DatabaseError::CatalogBody { .. } | DatabaseError::CatalogMissing { .. } => ErrorKind::Corrupt,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            DatabaseError::Broken { cause, .. } => cause.help(),
            DatabaseError::Collection(error) => error.help(),
            DatabaseError::Directory(DirectoryError::Locked { .. }) => {
                Some("Another process serves this folder: stop it, or choose another folder.".to_owned())
            }
            _ => None,
        }
    }
}
