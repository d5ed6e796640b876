//! The real disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;

use super::{DirEntry, Directory, DirectoryError, FileHandle, LockGuard, check_name};
use crate::bytes::Bytes;
use crate::mmap::map_whole_file;

/// Parts of one vectored write: what Linux takes (`UIO_MAXIOV`).
const PARTS_MAX: usize = 1024;

/// A directory of the file system.
#[derive(Debug, Clone)]
pub struct FsDirectory {
    path: PathBuf,
    /// Set when this is the handle of a sub-directory whose name is no name; every operation then refuses.
    bad_name: Option<String>,
}

impl FsDirectory {
    /// Opens a directory; makes it, and its parents, durably, if it is not there.
    ///
    /// # Errors
    /// [`DirectoryError`] if it cannot be made, or the path is not a directory.
    pub fn create(path: impl Into<PathBuf>) -> Result<FsDirectory, DirectoryError> {
        let path = path.into();
        let missing: Vec<&Path> =
            path.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists()).collect();
        fs::create_dir_all(&path).map_err(|source| DirectoryError::new("create directory", &path, source))?;
        for made in missing {
            let parent = match made.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            sync_directory(parent)?;
        }
        Ok(FsDirectory { path, bad_name: None })
    }

    /// Opens a directory that must be there.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] if it is not; [`DirectoryError::Io`] if the path is something else.
    pub fn open(path: impl Into<PathBuf>) -> Result<FsDirectory, DirectoryError> {
        let path = path.into();
        let metadata = fs::metadata(&path).map_err(|source| DirectoryError::new("open", &path, source))?;
        if !metadata.is_dir() {
            let source = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(DirectoryError::new("open", &path, source));
        }
        Ok(FsDirectory { path, bad_name: None })
    }

    fn child(&self, name: &str) -> Result<PathBuf, DirectoryError> {
        self.check()?;
        check_name(name)?;
        Ok(self.path.join(name))
    }

    fn check(&self) -> Result<(), DirectoryError> {
        match &self.bad_name {
            Some(name) => Err(DirectoryError::InvalidName { name: name.clone() }),
            None => Ok(()),
        }
    }

    fn open_with(&self, name: &str, options: &OpenOptions) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        let path = self.child(name)?;
        let file = options.open(&path).map_err(|source| DirectoryError::new("open", &path, source))?;
        Ok(Arc::new(FsFile { file, path }))
    }
}

impl Directory for FsDirectory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn create(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        self.open_with(name, OpenOptions::new().read(true).write(true).create(true).truncate(true))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        self.open_with(name, OpenOptions::new().read(true).write(true))
    }

    fn open_read(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        self.open_with(name, OpenOptions::new().read(true))
    }

    fn open_bytes(&self, name: &str) -> Result<Bytes, DirectoryError> {
        let path = self.child(name)?;
        let fail = |source| DirectoryError::new("map", &path, source);
        let file = File::open(&path).map_err(fail)?;
        // A map of nothing is an error of the kernel; an empty file is not an error of ours.
        if file.metadata().map_err(fail)?.len() == 0 {
            return Ok(Bytes::copy_of(&[]));
        }
        map_whole_file(&file).map(Bytes::from_map).map_err(fail)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, DirectoryError> {
        let path = self.child(name)?;
        fs::read(&path).map_err(|source| DirectoryError::new("read", &path, source))
    }

    fn list(&self) -> Result<Vec<DirEntry>, DirectoryError> {
        self.check()?;
        let fail = |source| DirectoryError::new("list", &self.path, source);
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            // Names that are not UTF-8 are not ours: every name we make passed through a `&str`.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir: entry.file_type().map_err(fail)?.is_dir() });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn exists(&self, name: &str) -> Result<bool, DirectoryError> {
        let path = self.child(name)?;
        path.try_exists().map_err(|source| DirectoryError::new("look for", &path, source))
    }

    fn remove(&self, name: &str) -> Result<(), DirectoryError> {
        let path = self.child(name)?;
        fs::remove_file(&path).map_err(|source| DirectoryError::new("remove", &path, source))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DirectoryError> {
        let (from, to) = (self.child(from)?, self.child(to)?);
        fs::rename(&from, &to).map_err(|source| DirectoryError::new("rename", &from, source))
    }

    fn sync_dir(&self) -> Result<(), DirectoryError> {
        self.check()?;
        sync_directory(&self.path)
    }

    fn create_dir(&self, name: &str) -> Result<(), DirectoryError> {
        let path = self.child(name)?;
        match fs::create_dir(&path) {
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(source) => Err(DirectoryError::new("create directory", &path, source)),
            Ok(()) => Ok(()),
        }
    }

    fn remove_dir_all(&self, name: &str) -> Result<(), DirectoryError> {
        let path = self.child(name)?;
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(DirectoryError::new("remove directory", &path, source)),
            Ok(()) => Ok(()),
        }
    }

    fn lock(&self, name: &str) -> Result<LockGuard, DirectoryError> {
        let path = self.child(name)?;
        let fail = |source| DirectoryError::new("lock", &path, source);
        // Not truncated on open: the file says who holds the lock until we hold it ourselves.
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                if holder.is_empty() {
                    holder.push_str("another process");
                }
                return Err(DirectoryError::Locked { path, holder });
            }
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        file.set_len(0).map_err(fail)?;
        writeln!(file, "process {}", std::process::id()).map_err(fail)?;
        Ok(LockGuard::new(file))
    }

    fn sub(&self, name: &str) -> Arc<dyn Directory> {
        let bad_name = match check_name(name) {
            Ok(()) => self.bad_name.clone(),
            Err(_) => Some(name.to_owned()),
        };
        Arc::new(FsDirectory { path: self.path.join(name), bad_name })
    }
}

fn sync_directory(path: &Path) -> Result<(), DirectoryError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| DirectoryError::new("sync directory", path, source))
}

/// An open file of the file system.
#[derive(Debug)]
struct FsFile {
    file: File,
    path: PathBuf,
}

impl FsFile {
    fn fail(&self, operation: &'static str, source: io::Error) -> DirectoryError {
        DirectoryError::new(operation, &self.path, source)
    }
}

impl FileHandle for FsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, DirectoryError> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.file.read_at(&mut buf[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.fail("read", source)),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DirectoryError> {
        self.file.write_all_at(data, offset).map_err(|source| self.fail("write", source))
    }

    fn write_vectored_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> Result<(), DirectoryError> {
        let write = |parts: &[IoSlice<'_>], offset| Ok(rustix::io::pwritev(&self.file, parts, offset)?);
        write_all_parts(offset, parts, write).map_err(|source| self.fail("write", source))
    }

    fn len(&self) -> Result<u64, DirectoryError> {
        Ok(self.file.metadata().map_err(|source| self.fail("look at", source))?.len())
    }

    fn set_len(&self, len: u64) -> Result<(), DirectoryError> {
        self.file.set_len(len).map_err(|source| self.fail("resize", source))
    }

    fn allocate(&self, len: u64) -> Result<(), DirectoryError> {
        if len == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // The file system cannot reserve; the length alone is then all there is to have.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                if self.len()? < len {
                    self.set_len(len)
                } else {
                    Ok(())
                }
            }
            Err(errno) => Err(self.fail("allocate", errno.into())),
        }
    }

    fn sync_data(&self) -> Result<(), DirectoryError> {
        self.file.sync_data().map_err(|source| self.fail("sync", source))
    }
}

/// Writes all parts, as many at once as the system takes, and goes on where a write ended early.
fn write_all_parts(
    mut offset: u64,
    mut parts: &mut [IoSlice<'_>],
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    // Without the empty ones at the front, a write of nothing says that nothing can be written.
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match write(&parts[..parts.len().min(PARTS_MAX)], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                offset += count as u64;
                IoSlice::advance_slices(&mut parts, count);
            }
            Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(source),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes pieces of these lengths with a system that takes, call by call, what `takes` says, and then everything.
    fn check(lengths: &[usize], takes: &[io::Result<usize>], expected: Result<(), io::ErrorKind>) {
        let bytes = (1..=u8::MAX).cycle();
        let pieces: Vec<Vec<u8>> = bytes.zip(lengths).map(|(byte, len)| vec![byte; *len]).collect();
        let mut parts: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let (mut file, mut takes) = (vec![0_u8; 7], takes.iter());
        let written = write_all_parts(7, &mut parts, |parts, offset| {
            assert!(parts.len() <= PARTS_MAX && offset == file.len() as u64);
            let all: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
            let count = match takes.next() {
                Some(Ok(count)) => (*count).min(all.len()),
                Some(Err(error)) => return Err(error.kind().into()),
                None => all.len(),
            };
            file.extend_from_slice(&all[..count]);
            Ok(count)
        });
        assert_eq!(written.map_err(|error| error.kind()), expected, "{lengths:?}");
        if expected.is_ok() {
            assert_eq!(file[7..], pieces.concat(), "{lengths:?}");
        }
    }

    #[test]
    fn parts_are_written_whatever_the_system_takes_at_once() {
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        check(&[], &[], Ok(()));
        check(&[0, 0], &[], Ok(()));
        check(&[0, 3, 0, 2, 0], &[], Ok(()));
        check(&[3, 4, 5], &[Ok(1), Ok(2), interrupted(), Ok(5), Ok(3)], Ok(()));
        check(&vec![2; 3 * PARTS_MAX + 1], &[Ok(2 * PARTS_MAX - 1)], Ok(()));
        check(&[3, 4], &[Ok(3), Ok(0)], Err(io::ErrorKind::WriteZero));
        check(&[3, 4], &[Ok(5), Err(io::ErrorKind::StorageFull.into())], Err(io::ErrorKind::StorageFull));
    }
}
