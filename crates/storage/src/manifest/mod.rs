//! The manifest: the one place where a new state of a directory becomes the state.
//!
//! A manifest is a body of bytes that its owner understands, in a file `manifest-<generation>`. Publishing writes the
//! next generation under a temporary name, syncs it, renames it and syncs the directory; then the older ones are
//! removed. The highest generation is the state. See `docs/format/manifest.md`.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;

use crate::checked_file::{self, CheckedFileError, TEMPORARY_SUFFIX};
use crate::directory::{Directory, DirectoryError};
use crate::error::StorageErrorKind;

const MAGIC: [u8; 8] = *b"DVSEMAN1";
const PREFIX: &str = "manifest-";

/// The manifests of one directory.
#[derive(Debug)]
pub struct ManifestStore {
    dir: Arc<dyn Directory>,
    state: Mutex<State>,
}

/// A generation and its body.
pub type Published = (u64, Vec<u8>);

#[derive(Debug)]
struct State {
    /// The generation that is the state; 0 if there is none yet.
    generation: u64,
    poison: Option<Arc<str>>,
}

/// An operation on the manifest failed.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The newest manifest cannot be read. An older one is never taken in its place: it may name files that are gone,
    /// and lacks what was acknowledged since.
    #[error("manifest: {0}")]
    Unreadable(#[source] CheckedFileError),
    /// The next manifest cannot be written; the state is the one before.
    #[error("manifest cannot be written: {0}")]
    Unwritten(#[source] CheckedFileError),
    /// The next manifest was written, but whether it would survive a power loss is unknown.
    #[error("manifest {path}: it is unknown whether it is durable ({source}); open the directory again", path = path.display())]
    Unknown {
        /// The manifest.
        path: PathBuf,
        /// What the directory said.
        source: DirectoryError,
    },
    /// An earlier publish ended in the unknown.
    #[error("manifest refuses to go on after an earlier failure ({cause}); open the directory again")]
    Poisoned {
        /// The earlier failure.
        cause: Arc<str>,
    },
    /// The directory cannot be looked at.
    #[error("manifest: {0}")]
    Directory(#[from] DirectoryError),
}

impl ManifestError {
    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> StorageErrorKind {
        match self {
            ManifestError::Unreadable(error) | ManifestError::Unwritten(error) => error.kind(),
            ManifestError::Unknown { .. } => StorageErrorKind::Io,
            ManifestError::Poisoned { .. } => StorageErrorKind::Poisoned,
            ManifestError::Directory(error) => error.kind(),
        }
    }
}

impl ManifestStore {
    /// Opens the manifests of a directory and returns the newest with its generation; `None` if there is none.
    ///
    /// Older generations and unfinished files are removed.
    ///
    /// # Errors
    /// [`ManifestError::Unreadable`] if the newest is damaged: a file gets its name only when it is complete and
    /// synced, so a crash cannot be the reason. [`ManifestError::Directory`] if the directory cannot be used.
    pub fn open(dir: Arc<dyn Directory>) -> Result<(ManifestStore, Option<Published>), ManifestError> {
        let mut newest = 0;
        for entry in dir.list()? {
            if entry.name.starts_with(PREFIX) && entry.name.ends_with(TEMPORARY_SUFFIX) {
                dir.remove(&entry.name)?;
            } else if let Some(generation) = parse_name(&entry.name) {
                newest = newest.max(generation);
            }
        }
        let mut found = None;
        if newest > 0 {
            let body =
                checked_file::read(&*dir, &name(newest), MAGIC, newest).map_err(ManifestError::Unreadable)?;
            // The rename may have been seen by us and yet not be durable, if the process ended just after it.
            dir.sync_dir()?;
            remove_older(&*dir, newest)?;
            found = Some((newest, body));
        }
        let state = Mutex::new(State { generation: newest, poison: None });
        Ok((ManifestStore { dir, state }, found))
    }

    /// Makes `body` the state and returns its generation. When it returns, the new state is durable; after a crash in
    /// between, the state is the old or the new one.
    ///
    /// # Errors
    /// [`ManifestError::Unwritten`] if the old state stands and the call may be repeated, as on a full disk;
    /// [`ManifestError::Unknown`] if it is unknown which of the two would survive: all later calls then answer
    /// [`ManifestError::Poisoned`].
    pub fn publish(&self, body: &[u8]) -> Result<u64, ManifestError> {
        let mut state = self.state.lock();
        if let Some(cause) = &state.poison {
            return Err(ManifestError::Poisoned { cause: Arc::clone(cause) });
        }
        let generation = state.generation + 1;
        let name = name(generation);
        checked_file::prepare(&*self.dir, &name, MAGIC, generation, body)
            .map_err(ManifestError::Unwritten)?;
        if let Err(source) = checked_file::publish(&*self.dir, &name) {
            state.poison = Some(source.to_string().into());
            return Err(ManifestError::Unknown { path: self.dir.path().join(name), source });
        }
        state.generation = generation;
        // The new state is durable, whatever happens to the old ones: the next opening removes what stays.
        drop(remove_older(&*self.dir, generation));
        Ok(generation)
    }

    /// Returns the generation that is the state; 0 if nothing was published yet.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.state.lock().generation
    }
}

fn name(generation: u64) -> String {
    format!("{PREFIX}{generation:020}")
}

fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // 0 means "nothing yet", and the highest number has none after it: neither names a file of ours.
    digits.parse().ok().filter(|generation| (1..u64::MAX).contains(generation))
}

fn remove_older(dir: &dyn Directory, newest: u64) -> Result<(), DirectoryError> {
    for entry in dir.list()? {
        if parse_name(&entry.name).is_some_and(|generation| generation < newest) {
            dir.remove(&entry.name)?;
        }
    }
    Ok(())
}
