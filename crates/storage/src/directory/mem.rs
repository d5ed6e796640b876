//! A directory in memory, for tests and simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::{DirEntry, Directory, DirectoryError, FileHandle, LockGuard, check_name};
use crate::bytes::Bytes;

/// A directory that lives in memory and ends with its last handle.
#[derive(Debug, Clone)]
pub struct MemDirectory {
    tree: Arc<Mutex<Tree>>,
    /// Path from the root, with a slash at the end of each component; empty for the root.
    prefix: String,
    path: PathBuf,
    bad_name: Option<String>,
}

#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<String, Arc<Content>>,
    /// Every directory but the root, with its slash.
    dirs: BTreeSet<String>,
    locks: BTreeSet<String>,
}

type Content = RwLock<Vec<u8>>;

impl MemDirectory {
    /// Makes an empty directory.
    #[must_use]
    pub fn new() -> MemDirectory {
        MemDirectory {
            tree: Arc::default(),
            prefix: String::new(),
            path: PathBuf::from("mem:"),
            bad_name: None,
        }
    }

    /// Puts a finished file there at once; for tests and for parsers of bytes that never were a file.
    ///
    /// # Errors
    /// [`DirectoryError::InvalidName`] if the name is not a single path component, and
    /// [`DirectoryError::NotFound`] if this is a sub-directory that was not made.
    pub fn put(&self, name: &str, content: Vec<u8>) -> Result<(), DirectoryError> {
        let key = self.key(name)?;
        let mut tree = self.tree.lock();
        self.check_present(&tree)?;
        tree.files.insert(key, Arc::new(RwLock::new(content)));
        Ok(())
    }

    fn key(&self, name: &str) -> Result<String, DirectoryError> {
        if let Some(bad) = &self.bad_name {
            return Err(DirectoryError::InvalidName { name: bad.clone() });
        }
        check_name(name)?;
        Ok(format!("{}{name}", self.prefix))
    }

    fn check_present(&self, tree: &Tree) -> Result<(), DirectoryError> {
        if let Some(bad) = &self.bad_name {
            return Err(DirectoryError::InvalidName { name: bad.clone() });
        }
        if self.prefix.is_empty() || tree.dirs.contains(&self.prefix) {
            return Ok(());
        }
        Err(DirectoryError::NotFound { path: self.path.clone() })
    }

    fn content(&self, name: &str) -> Result<Arc<Content>, DirectoryError> {
        let key = self.key(name)?;
        let found = self.tree.lock().files.get(&key).cloned();
        found.ok_or_else(|| DirectoryError::NotFound { path: self.path.join(name) })
    }

    fn handle(&self, name: &str, content: Arc<Content>, writable: bool) -> Arc<dyn FileHandle> {
        Arc::new(MemFile { content, path: self.path.join(name), writable })
    }
}

impl Default for MemDirectory {
    fn default() -> Self {
        MemDirectory::new()
    }
}

impl Directory for MemDirectory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn create(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        let key = self.key(name)?;
        let mut tree = self.tree.lock();
        self.check_present(&tree)?;
        if tree.dirs.contains(&format!("{key}/")) {
            let source = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(DirectoryError::new("open", &self.path.join(name), source));
        }
        let content = Arc::clone(tree.files.entry(key).or_default());
        content.write().clear();
        Ok(self.handle(name, content, true))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        Ok(self.handle(name, self.content(name)?, true))
    }

    fn open_read(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        Ok(self.handle(name, self.content(name)?, false))
    }

    fn open_bytes(&self, name: &str) -> Result<Bytes, DirectoryError> {
        Ok(Bytes::copy_of(&self.content(name)?.read()))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, DirectoryError> {
        Ok(self.content(name)?.read().clone())
    }

    fn list(&self) -> Result<Vec<DirEntry>, DirectoryError> {
        let tree = self.tree.lock();
        self.check_present(&tree)?;
        let files = tree.files.keys().filter_map(|key| self.own_name(key, false));
        let dirs = tree.dirs.iter().filter_map(|key| self.own_name(key, true));
        let mut entries: Vec<DirEntry> = files.chain(dirs).collect();
        entries.sort();
        Ok(entries)
    }

    fn exists(&self, name: &str) -> Result<bool, DirectoryError> {
        let key = self.key(name)?;
        let tree = self.tree.lock();
        Ok(tree.files.contains_key(&key) || tree.dirs.contains(&format!("{key}/")))
    }

    fn remove(&self, name: &str) -> Result<(), DirectoryError> {
        let key = self.key(name)?;
        match self.tree.lock().files.remove(&key) {
            Some(_) => Ok(()),
            None => Err(DirectoryError::NotFound { path: self.path.join(name) }),
        }
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DirectoryError> {
        let (from_key, to_key) = (self.key(from)?, self.key(to)?);
        let mut tree = self.tree.lock();
        let Some(content) = tree.files.remove(&from_key) else {
            return Err(DirectoryError::NotFound { path: self.path.join(from) });
        };
        tree.files.insert(to_key, content);
        Ok(())
    }

    fn sync_dir(&self) -> Result<(), DirectoryError> {
        self.check_present(&self.tree.lock())
    }

    fn create_dir(&self, name: &str) -> Result<(), DirectoryError> {
        let key = self.key(name)?;
        let mut tree = self.tree.lock();
        self.check_present(&tree)?;
        if tree.files.contains_key(&key) {
            let source = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(DirectoryError::new("create directory", &self.path.join(name), source));
        }
        tree.dirs.insert(format!("{key}/"));
        Ok(())
    }

    fn remove_dir_all(&self, name: &str) -> Result<(), DirectoryError> {
        let prefix = format!("{}/", self.key(name)?);
        let mut tree = self.tree.lock();
        tree.files.retain(|key, _| !key.starts_with(&prefix));
        tree.dirs.retain(|key| !key.starts_with(&prefix));
        Ok(())
    }

    fn lock(&self, name: &str) -> Result<LockGuard, DirectoryError> {
        let key = self.key(name)?;
        let mut tree = self.tree.lock();
        self.check_present(&tree)?;
        tree.files.entry(key.clone()).or_default();
        if !tree.locks.insert(key.clone()) {
            let holder = "this process".to_owned();
            return Err(DirectoryError::Locked { path: self.path.join(name), holder });
        }
        Ok(LockGuard::new(MemLock { tree: Arc::clone(&self.tree), key }))
    }

    fn sub(&self, name: &str) -> Arc<dyn Directory> {
        Arc::new(self.sub_mem(name))
    }
}

impl MemDirectory {
    /// [`Directory::sub`] with the type kept.
    pub(super) fn sub_mem(&self, name: &str) -> MemDirectory {
        let bad_name = match check_name(name) {
            Ok(()) => self.bad_name.clone(),
            Err(_) => Some(name.to_owned()),
        };
        let tree = Arc::clone(&self.tree);
        MemDirectory { tree, prefix: format!("{}{name}/", self.prefix), path: self.path.join(name), bad_name }
    }

    /// The entry for a key of the tree, if it lies directly in this directory.
    fn own_name(&self, key: &str, is_dir: bool) -> Option<DirEntry> {
        let rest = key.strip_prefix(&self.prefix)?;
        let name = rest.strip_suffix('/').unwrap_or(rest);
        (!name.is_empty() && !name.contains('/')).then(|| DirEntry { name: name.to_owned(), is_dir })
    }
}

struct MemLock {
    tree: Arc<Mutex<Tree>>,
    key: String,
}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.tree.lock().locks.remove(&self.key);
    }
}

#[derive(Debug)]
struct MemFile {
    content: Arc<Content>,
    path: PathBuf,
    writable: bool,
}

impl MemFile {
    fn check_writable(&self, operation: &'static str) -> Result<(), DirectoryError> {
        if self.writable {
            return Ok(());
        }
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        Err(DirectoryError::new(operation, &self.path, source))
    }

    /// Positions of a file in memory fit the address space, or there is no memory for it.
    fn position(&self, operation: &'static str, offset: u64) -> Result<usize, DirectoryError> {
        usize::try_from(offset).map_err(|_| {
            DirectoryError::new(operation, &self.path, io::Error::from(io::ErrorKind::FileTooLarge))
        })
    }
}

impl FileHandle for MemFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, DirectoryError> {
        let start = self.position("read", offset)?;
        let content = self.content.read();
        let Some(rest) = content.get(start..) else { return Ok(0) };
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DirectoryError> {
        self.write_vectored_at(offset, &mut [IoSlice::new(data)])
    }

    fn write_vectored_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> Result<(), DirectoryError> {
        self.check_writable("write")?;
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let mut start = self.position("write", offset)?;
        let end = self.position("write", offset.saturating_add(bytes as u64))?;
        let mut content = self.content.write();
        if content.len() < end {
            content.resize(end, 0);
        }
        for part in parts {
            content[start..start + part.len()].copy_from_slice(part);
            start += part.len();
        }
        Ok(())
    }

    fn len(&self) -> Result<u64, DirectoryError> {
        Ok(self.content.read().len() as u64)
    }

    fn set_len(&self, len: u64) -> Result<(), DirectoryError> {
        self.check_writable("resize")?;
        let len = self.position("resize", len)?;
        self.content.write().resize(len, 0);
        Ok(())
    }

    fn allocate(&self, len: u64) -> Result<(), DirectoryError> {
        self.check_writable("allocate")?;
        let len = self.position("allocate", len)?;
        let mut content = self.content.write();
        if content.len() < len {
            content.resize(len, 0);
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), DirectoryError> {
        Ok(())
    }
}
