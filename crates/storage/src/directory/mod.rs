//! The way to the disk: one directory of files, and the promises about what survives.

mod error;
mod faulty;
mod fs;
mod mem;
mod paced;

use std::any::Any;
use std::fmt;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

pub use error::DirectoryError;
pub use faulty::FaultyDirectory;

pub use fs::FsDirectory;
pub use mem::MemDirectory;
pub use paced::{PacedDirectory, WritePace};

use crate::bytes::Bytes;

/// One directory of files and sub-directories.
///
/// Names are single path components. What survives a power loss:
///
/// - the bytes of a file, once [`FileHandle::sync_data`] returned after they were written;
/// - the *name* of a file (its creation, removal or rename), once [`Directory::sync_dir`] of its directory returned;
/// - nothing else: unsynced bytes may be there, in part or not at all, and so may unsynced names.
///
/// A failed sync says nothing about what is on the disk, and a later sync that succeeds does not repair it: the
/// kernel may have dropped the bytes in between.
pub trait Directory: fmt::Debug + Send + Sync {
    /// Where the directory is, for messages.
    fn path(&self) -> &Path;

    /// Opens a file for reading and writing; makes it if there is none, empties it if there is one.
    ///
    /// # Errors
    /// [`DirectoryError`] if the name is not a single component or the operating system refuses.
    fn create(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] if there is none; [`DirectoryError`] if the operating system refuses.
    fn open(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError>;

    /// Opens an existing file for reading; writing through the handle fails.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] if there is none; [`DirectoryError`] if the operating system refuses.
    fn open_read(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError>;

    /// Opens a *finished* file as bytes, without reading it yet where it can be mapped.
    ///
    /// The caller promises that nobody writes to the file any more: it may be removed or replaced by a rename, never
    /// changed. The first byte is aligned to 64 at least.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] if there is none; [`DirectoryError`] if the operating system refuses.
    fn open_bytes(&self, name: &str) -> Result<Bytes, DirectoryError>;

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] if there is none; [`DirectoryError`] if the operating system refuses.
    fn read(&self, name: &str) -> Result<Vec<u8>, DirectoryError>;

    /// Returns what is in the directory, sorted by name.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] if the directory itself is not there.
    fn list(&self) -> Result<Vec<DirEntry>, DirectoryError>;

    /// Whether there is a file or directory of this name.
    ///
    /// # Errors
    /// [`DirectoryError`] if the operating system refuses to tell.
    fn exists(&self, name: &str) -> Result<bool, DirectoryError>;

    /// Removes a file. Who has it open or mapped keeps it.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] if there is none; [`DirectoryError`] if the operating system refuses.
    fn remove(&self, name: &str) -> Result<(), DirectoryError>;

    /// Gives a file another name, in place of the file that had it: a reader sees one or the other, never neither.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] if there is no file `from`; [`DirectoryError`] if the operating system refuses.
    fn rename(&self, from: &str, to: &str) -> Result<(), DirectoryError>;

    /// Makes the names in this directory durable.
    ///
    /// # Errors
    /// [`DirectoryError`] if the operating system refuses; what is durable is then unknown.
    fn sync_dir(&self) -> Result<(), DirectoryError>;

    /// Makes a sub-directory; one that is there already is fine. Durable after [`sync_dir`](Directory::sync_dir).
    ///
    /// # Errors
    /// [`DirectoryError`] if the operating system refuses.
    fn create_dir(&self, name: &str) -> Result<(), DirectoryError>;

    /// Removes a sub-directory and all that is in it; one that is not there is fine.
    ///
    /// # Errors
    /// [`DirectoryError`] if the operating system refuses; some of the files may be gone.
    fn remove_dir_all(&self, name: &str) -> Result<(), DirectoryError>;

    /// Takes the lock file `name`, so that no second opener, in this process or another, gets it. The lock ends with
    /// the guard or with the process, whichever is first; the file stays.
    ///
    /// # Errors
    /// [`DirectoryError::Locked`] if somebody holds it.
    fn lock(&self, name: &str) -> Result<LockGuard, DirectoryError>;

    /// Returns the handle of a sub-directory. Touches nothing: a name that is no single component, or a directory that
    /// is not there, is an error of the first operation on it.
    fn sub(&self, name: &str) -> Arc<dyn Directory>;
}

/// An open file with positioned reads and writes; no cursor, so threads may share it.
pub trait FileHandle: fmt::Debug + Send + Sync {
    /// Where the file is, for messages. The name it was opened by; a rename does not change it.
    fn path(&self) -> &Path;

    /// Reads into `buf` from `offset`; fewer bytes than asked only at the end of the file.
    ///
    /// # Errors
    /// [`DirectoryError`] if the operating system refuses.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, DirectoryError>;

    /// Writes all of `data` at `offset`, growing the file if it ends before.
    ///
    /// # Errors
    /// [`DirectoryError`] if the operating system refuses; a part may have been written.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DirectoryError>;

    /// Writes all parts at `offset`, one behind the other, as [`write_at`](FileHandle::write_at) does with one. Changes the
    /// list as it goes on.
    ///
    /// # Errors
    /// [`DirectoryError`] if the operating system refuses; a part may have been written.
    fn write_vectored_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> Result<(), DirectoryError>;

    /// Returns the length in bytes.
    ///
    /// # Errors
    /// [`DirectoryError`] if the operating system refuses.
    fn len(&self) -> Result<u64, DirectoryError>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// [`DirectoryError`] if the operating system refuses.
    fn is_empty(&self) -> Result<bool, DirectoryError> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file or grows it with zeros.
    ///
    /// # Errors
    /// [`DirectoryError`] if the operating system refuses.
    fn set_len(&self, len: u64) -> Result<(), DirectoryError>;

    /// Makes the file at least `len` bytes long, new bytes being zero, and reserves the space where the file system
    /// can, so that later writes inside do not find the disk full. Never cuts.
    ///
    /// # Errors
    /// [`DirectoryError::Full`] if there is no space; [`DirectoryError`] if the operating system refuses otherwise.
    fn allocate(&self, len: u64) -> Result<(), DirectoryError>;

    /// Makes all bytes written so far, and the length, durable.
    ///
    /// # Errors
    /// [`DirectoryError`] if the operating system refuses; what is durable is then unknown, and stays unknown even if
    /// the next call succeeds.
    fn sync_data(&self) -> Result<(), DirectoryError>;
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, a single path component.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Holds a lock file; see [`Directory::lock`].
pub struct LockGuard {
    _held: Box<dyn Any + Send + Sync>,
}

impl LockGuard {
    fn new(held: impl Any + Send + Sync) -> LockGuard {
        LockGuard { _held: Box::new(held) }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockGuard")
    }
}

/// Refuses what is not a single path component that every file system takes.
fn check_name(name: &str) -> Result<(), DirectoryError> {
    let allowed = !name.is_empty()
        && name.len() <= 255
        && name != "."
        && name != ".."
        && !name.contains(['/', '\\', '\0']);
    if allowed { Ok(()) } else { Err(DirectoryError::InvalidName { name: name.to_owned() }) }
}
