//! A directory whose files are written no faster than somebody lets them be.

use std::fmt;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{DirEntry, Directory, DirectoryError, FileHandle, LockGuard};
use crate::bytes::Bytes;

/// Bytes of a file after which they are synced. Without this a slow writer would gather in the page cache what the
/// disk then gets all at once; a smaller number would cost more commits of the file system than it evens out.
const SYNC_BYTES: u64 = 8 << 20;

/// Says how fast files may be written. This crate has no clock: whoever has one hands it in.
pub trait WritePace: fmt::Debug + Send + Sync {
    /// Is told of so many bytes before they are written, and returns when they may be.
    fn before_write(&self, bytes: u64);
}

/// A directory over another one: it delays the writes to files, and syncs long files on the way, so that a reader or a
/// small write beside them waits for a few MiB at most. Everything else goes straight through.
#[derive(Debug, Clone)]
pub struct PacedDirectory {
    inner: Arc<dyn Directory>,
    pace: Arc<dyn WritePace>,
}

impl PacedDirectory {
    /// Wraps a directory.
    #[must_use]
    pub fn new(inner: Arc<dyn Directory>, pace: Arc<dyn WritePace>) -> PacedDirectory {
        PacedDirectory { inner, pace }
    }

    fn paced(&self, inner: Arc<dyn FileHandle>) -> Arc<dyn FileHandle> {
        Arc::new(PacedFile { inner, pace: Arc::clone(&self.pace), unsynced: AtomicU64::new(0) })
    }
}

impl Directory for PacedDirectory {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn create(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        self.inner.create(name).map(|file| self.paced(file))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        self.inner.open(name).map(|file| self.paced(file))
    }

    fn open_read(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        self.inner.open_read(name)
    }

    fn open_bytes(&self, name: &str) -> Result<Bytes, DirectoryError> {
        self.inner.open_bytes(name)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, DirectoryError> {
        self.inner.read(name)
    }

    fn list(&self) -> Result<Vec<DirEntry>, DirectoryError> {
        self.inner.list()
    }

    fn exists(&self, name: &str) -> Result<bool, DirectoryError> {
        self.inner.exists(name)
    }

    fn remove(&self, name: &str) -> Result<(), DirectoryError> {
        self.inner.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DirectoryError> {
        self.inner.rename(from, to)
    }

    fn sync_dir(&self) -> Result<(), DirectoryError> {
        self.inner.sync_dir()
    }

    fn create_dir(&self, name: &str) -> Result<(), DirectoryError> {
        self.inner.create_dir(name)
    }

    fn remove_dir_all(&self, name: &str) -> Result<(), DirectoryError> {
        self.inner.remove_dir_all(name)
    }

    fn lock(&self, name: &str) -> Result<LockGuard, DirectoryError> {
        self.inner.lock(name)
    }

    fn sub(&self, name: &str) -> Arc<dyn Directory> {
        Arc::new(PacedDirectory { inner: self.inner.sub(name), pace: Arc::clone(&self.pace) })
    }
}

#[derive(Debug)]
struct PacedFile {
    inner: Arc<dyn FileHandle>,
    pace: Arc<dyn WritePace>,
    /// Bytes written since the last sync.
    unsynced: AtomicU64,
}

impl FileHandle for PacedFile {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, DirectoryError> {
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DirectoryError> {
        let mut offset = offset;
        // A long write is many, so that no piece of it is larger than what is synced at once.
        for piece in data.chunks(SYNC_BYTES as usize) {
            let bytes = piece.len() as u64;
            self.pace.before_write(bytes);
            self.inner.write_at(offset, piece)?;
            offset += bytes;
            if self.unsynced.fetch_add(bytes, Ordering::Relaxed) + bytes >= SYNC_BYTES {
                self.sync_data()?;
            }
        }
        Ok(())
    }

    fn write_vectored_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> Result<(), DirectoryError> {
        let mut offset = offset;
        for part in parts {
            self.write_at(offset, part)?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    fn len(&self) -> Result<u64, DirectoryError> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> Result<(), DirectoryError> {
        self.inner.set_len(len)
    }

    fn allocate(&self, len: u64) -> Result<(), DirectoryError> {
        self.inner.allocate(len)
    }

    fn sync_data(&self) -> Result<(), DirectoryError> {
        self.unsynced.store(0, Ordering::Relaxed);
        self.inner.sync_data()
    }
}
