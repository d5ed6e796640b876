//! A directory on the disk that tells what its files are asked to write, and where that lies in memory.

use std::fmt;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use dvse_storage::{Bytes, DirEntry, Directory, DirectoryError, FileHandle, FsDirectory, LockGuard};

/// What is called before each write, with its parts.
type Listener = Arc<dyn Fn(&[IoSlice<'_>]) + Send + Sync>;

/// A directory whose listener hears of every write to its files, and to those of its sub-directories, before the disk does.
#[derive(Clone)]
pub struct Recording {
    inner: Arc<dyn Directory>,
    listener: Listener,
}

impl Recording {
    pub fn telling(
        folder: &Path,
        listener: impl Fn(&[IoSlice<'_>]) + Send + Sync + 'static,
    ) -> Arc<dyn Directory> {
        let inner = Arc::new(FsDirectory::open(folder).unwrap());
        Arc::new(Recording { inner, listener: Arc::new(listener) })
    }

    fn recorded(&self, inner: Arc<dyn FileHandle>) -> Arc<dyn FileHandle> {
        Arc::new(RecordedFile { inner, listener: Arc::clone(&self.listener) })
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Directory for Recording {
    fn path(&self) -> &Path {
        self.inner.path()
    }
    fn create(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        Ok(self.recorded(self.inner.create(name)?))
    }
    fn open(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        Ok(self.recorded(self.inner.open(name)?))
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
        Arc::new(Recording { inner: self.inner.sub(name), listener: Arc::clone(&self.listener) })
    }
}

struct RecordedFile {
    inner: Arc<dyn FileHandle>,
    listener: Listener,
}

impl fmt::Debug for RecordedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl FileHandle for RecordedFile {
    fn path(&self) -> &Path {
        self.inner.path()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, DirectoryError> {
        self.inner.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DirectoryError> {
        (self.listener)(&[IoSlice::new(data)]);
        self.inner.write_at(offset, data)
    }
    fn write_vectored_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> Result<(), DirectoryError> {
        (self.listener)(parts);
        self.inner.write_vectored_at(offset, parts)
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
        self.inner.sync_data()
    }
}
