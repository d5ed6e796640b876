//! A disk that stops, forgets, tears, fills up and fails to sync when told to.
//!
//! It keeps two states: what a running process sees, and what a power loss would leave. [`FaultyDirectory::crash`]
//! makes a new disk out of the second, with everything that was unsynced kept, dropped or torn as a seed decides.

mod crash;

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use self::crash::FileImage;
use super::mem::MemDirectory;
use super::{DirEntry, Directory, DirectoryError, FileHandle, LockGuard};
use crate::bytes::Bytes;

/// A directory in memory on a disk that misbehaves as planned; for tests and simulation.
///
/// Clones and sub-directories share the disk and its plan. Without a plan it behaves as [`MemDirectory`].
#[derive(Debug, Clone)]
pub struct FaultyDirectory {
    disk: Arc<Disk>,
    live: MemDirectory,
    /// Path from the root, with a slash at the end of each component; empty for the root.
    prefix: String,
}

#[derive(Debug)]
struct Disk {
    state: Mutex<DiskState>,
}

#[derive(Debug)]
struct DiskState {
    calls: u64,
    stop_at: Option<u64>,
    /// The sync that fails: 1 is the next.
    fail_sync: Option<u64>,
    free_bytes: Option<u64>,
    /// Whether `allocate` reserves space, or only makes the file longer.
    reserves: bool,
    files: Vec<FileImage>,
    live: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    unsynced: Vec<NameChange>,
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    /// Position in `DiskState::files`.
    File(usize),
}

#[derive(Debug, Clone)]
struct NameChange {
    /// Prefix of the directory whose sync makes it durable.
    dir: String,
    change: Change,
}

#[derive(Debug, Clone)]
enum Change {
    Set(String, Node),
    Remove(String),
    Rename(String, String),
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Works,
    /// The power goes while it is under way: it may or may not have happened.
    Interrupted,
    /// The power is gone.
    Refused,
}

impl FaultyDirectory {
    /// Makes an empty disk that works.
    #[must_use]
    pub fn new() -> FaultyDirectory {
        FaultyDirectory::with(MemDirectory::new(), Vec::new(), BTreeMap::new())
    }

    fn with(live: MemDirectory, files: Vec<FileImage>, names: BTreeMap<String, Node>) -> FaultyDirectory {
        let state = DiskState {
            calls: 0,
            stop_at: None,
            fail_sync: None,
            free_bytes: None,
            reserves: true,
            files,
            live: names.clone(),
            durable: names,
            unsynced: Vec::new(),
        };
        FaultyDirectory { disk: Arc::new(Disk { state: Mutex::new(state) }), live, prefix: String::new() }
    }

    /// Returns the number of calls so far that change something: create, write, resize, allocate, sync, remove, rename.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.disk.state.lock().calls
    }

    /// Lets the power go during call number `call` (counted from 1): it and all later ones fail.
    pub fn stop_at(&self, call: u64) {
        self.disk.state.lock().stop_at = Some(call);
    }

    /// Lets the `nth` sync of a file or directory from now fail (1 is the next). What it was to make durable is then
    /// not made durable by later syncs either, as on a real disk.
    pub fn fail_sync(&self, nth: u64) {
        self.disk.state.lock().fail_sync = Some(nth);
    }

    /// Leaves this much space, or as much as wanted with `None`.
    pub fn set_free_bytes(&self, free_bytes: Option<u64>) {
        self.disk.state.lock().free_bytes = free_bytes;
    }

    /// Chooses whether `allocate` reserves space (the default), or, as on file systems that cannot, only makes the
    /// file longer, so that a write inside it can find the disk full.
    pub fn set_reserving(&self, reserves: bool) {
        self.disk.state.lock().reserves = reserves;
    }

    /// Returns the disk as the next start finds it after a power loss now. Of what was unsynced, `seed` decides what
    /// is there: nothing, everything, a prefix that ends inside a write, or any sectors of 512 bytes; and for each
    /// directory, a prefix of its changes of names.
    #[must_use]
    pub fn crash(&self, seed: u64) -> FaultyDirectory {
        crash::crash(&self.disk.state.lock(), seed)
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn handle(&self, name: &str, inner: Arc<dyn FileHandle>) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        let node = self.disk.state.lock().live.get(&self.key(name)).copied();
        match node {
            Some(Node::File(id)) => Ok(Arc::new(FaultyFile { disk: Arc::clone(&self.disk), id, inner })),
            _ => Err(DirectoryError::NotFound { path: self.live.path().join(name) }),
        }
    }
}

impl Default for FaultyDirectory {
    fn default() -> Self {
        FaultyDirectory::new()
    }
}

impl DiskState {
    fn enter(&mut self) -> Fate {
        self.calls += 1;
        match self.stop_at {
            Some(stop) if self.calls == stop => Fate::Interrupted,
            Some(stop) if self.calls > stop => Fate::Refused,
            _ => Fate::Works,
        }
    }

    /// Whether the sync that is about to happen was planned to fail.
    fn sync_fails(&mut self) -> bool {
        match &mut self.fail_sync {
            Some(1) => {
                self.fail_sync = None;
                true
            }
            Some(nth) => {
                *nth -= 1;
                false
            }
            None => false,
        }
    }

    /// Takes space; returns how many of the bytes there is space for.
    fn take_space(&mut self, bytes: u64) -> u64 {
        let Some(free) = &mut self.free_bytes else { return bytes };
        let taken = bytes.min(*free);
        *free -= taken;
        taken
    }

    fn give_space(&mut self, bytes: u64) {
        if let Some(free) = &mut self.free_bytes {
            *free += bytes;
        }
    }

    fn change(&mut self, dir: &str, change: Change) {
        self.unsynced.push(NameChange { dir: dir.to_owned(), change });
    }

    /// Gives back the space of a file that lost its name.
    fn free_file(&mut self, node: Option<Node>) {
        if let Some(Node::File(id)) = node {
            let backed = std::mem::take(&mut self.files[id].backed);
            self.give_space(backed);
        }
    }
}

fn apply(names: &mut BTreeMap<String, Node>, change: &Change) {
    match change {
        Change::Set(key, node) => drop(names.insert(key.clone(), *node)),
        Change::Remove(key) => {
            let inside = format!("{key}/");
            names.retain(|name, _| name != key && !name.starts_with(&inside));
        }
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

fn powerless(operation: &'static str, path: &Path) -> DirectoryError {
    DirectoryError::new(operation, path, io::Error::other("the power is gone"))
}

impl Directory for FaultyDirectory {
    fn path(&self) -> &Path {
        self.live.path()
    }

    fn create(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        // Names and missing directories are judged before the disk is touched.
        if !self.live.exists(name)? {
            self.live.list()?;
        }
        let mut state = self.disk.state.lock();
        let fate = state.enter();
        if fate == Fate::Refused {
            return Err(powerless("open", &self.live.path().join(name)));
        }
        let key = self.key(name);
        match state.live.get(&key).copied() {
            Some(Node::File(id)) => {
                let backed = state.files[id].resize(0);
                state.give_space(backed);
            }
            _ => {
                let node = Node::File(state.files.len());
                state.files.push(FileImage::default());
                state.change(&self.prefix, Change::Set(key.clone(), node));
                if fate == Fate::Works {
                    state.live.insert(key, node);
                }
            }
        }
        if fate == Fate::Interrupted {
            return Err(powerless("open", &self.live.path().join(name)));
        }
        drop(state);
        let inner = self.live.create(name)?;
        self.handle(name, inner)
    }

    fn open(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        self.handle(name, self.live.open(name)?)
    }

    fn open_read(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        self.live.open_read(name)
    }

    fn open_bytes(&self, name: &str) -> Result<Bytes, DirectoryError> {
        self.live.open_bytes(name)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, DirectoryError> {
        self.live.read(name)
    }

    fn list(&self) -> Result<Vec<DirEntry>, DirectoryError> {
        self.live.list()
    }

    fn exists(&self, name: &str) -> Result<bool, DirectoryError> {
        self.live.exists(name)
    }

    fn remove(&self, name: &str) -> Result<(), DirectoryError> {
        let mut state = self.disk.state.lock();
        let fate = state.enter();
        let key = self.key(name);
        if fate == Fate::Works {
            self.live.remove(name)?;
            let node = state.live.remove(&key);
            state.free_file(node);
        }
        if fate != Fate::Refused {
            state.change(&self.prefix, Change::Remove(key));
        }
        finish(fate, "remove", &self.live.path().join(name))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DirectoryError> {
        let mut state = self.disk.state.lock();
        let fate = state.enter();
        let change = Change::Rename(self.key(from), self.key(to));
        if fate == Fate::Works {
            self.live.rename(from, to)?;
            let replaced = state.live.get(&self.key(to)).copied();
            state.free_file(replaced);
            apply(&mut state.live, &change);
        }
        if fate != Fate::Refused {
            state.change(&self.prefix, change);
        }
        finish(fate, "rename", &self.live.path().join(from))
    }

    fn sync_dir(&self) -> Result<(), DirectoryError> {
        self.live.sync_dir()?;
        let mut state = self.disk.state.lock();
        let fate = state.enter();
        finish(fate, "sync directory", self.live.path())?;
        if state.sync_fails() {
            let source = io::Error::other("planned failure");
            return Err(DirectoryError::new("sync directory", self.live.path(), source));
        }
        let (own, others) =
            std::mem::take(&mut state.unsynced).into_iter().partition(|change| change.dir == self.prefix);
        state.unsynced = others;
        let own: Vec<NameChange> = own;
        for change in own {
            apply(&mut state.durable, &change.change);
        }
        Ok(())
    }

    fn create_dir(&self, name: &str) -> Result<(), DirectoryError> {
        let mut state = self.disk.state.lock();
        let fate = state.enter();
        let key = self.key(name);
        if fate == Fate::Works {
            self.live.create_dir(name)?;
            if state.live.insert(key.clone(), Node::Dir) == Some(Node::Dir) {
                return Ok(());
            }
        }
        if fate != Fate::Refused {
            state.change(&self.prefix, Change::Set(key, Node::Dir));
        }
        finish(fate, "create directory", &self.live.path().join(name))
    }

    fn remove_dir_all(&self, name: &str) -> Result<(), DirectoryError> {
        let mut state = self.disk.state.lock();
        let fate = state.enter();
        let change = Change::Remove(self.key(name));
        if fate == Fate::Works {
            self.live.remove_dir_all(name)?;
            let inside = format!("{}/", self.key(name));
            let nodes: Vec<Node> = state
                .live
                .iter()
                .filter(|(key, _)| key.starts_with(&inside))
                .map(|(_, node)| *node)
                .collect();
            for node in nodes {
                state.free_file(Some(node));
            }
            apply(&mut state.live, &change);
        }
        if fate != Fate::Refused {
            state.change(&self.prefix, change);
        }
        finish(fate, "remove directory", &self.live.path().join(name))
    }

    fn lock(&self, name: &str) -> Result<LockGuard, DirectoryError> {
        // The lock file has no content, and whether it survives makes no difference to anybody.
        let guard = self.live.lock(name)?;
        let mut state = self.disk.state.lock();
        let key = self.key(name);
        if !state.live.contains_key(&key) {
            let node = Node::File(state.files.len());
            state.files.push(FileImage::default());
            state.live.insert(key, node);
        }
        Ok(guard)
    }

    fn sub(&self, name: &str) -> Arc<dyn Directory> {
        Arc::new(FaultyDirectory {
            disk: Arc::clone(&self.disk),
            live: self.live.sub_mem(name),
            prefix: format!("{}{name}/", self.prefix),
        })
    }
}

fn finish(fate: Fate, operation: &'static str, path: &Path) -> Result<(), DirectoryError> {
    if fate == Fate::Works { Ok(()) } else { Err(powerless(operation, path)) }
}

/// An open file of a faulty disk.
#[derive(Debug)]
struct FaultyFile {
    disk: Arc<Disk>,
    id: usize,
    inner: Arc<dyn FileHandle>,
}

impl FaultyFile {
    fn full(&self, operation: &'static str) -> DirectoryError {
        let path: PathBuf = self.inner.path().to_path_buf();
        DirectoryError::new(operation, &path, io::Error::from(io::ErrorKind::StorageFull))
    }
}

impl FileHandle for FaultyFile {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, DirectoryError> {
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DirectoryError> {
        let mut state = self.disk.state.lock();
        let fate = state.enter();
        if fate == Fate::Refused {
            return finish(fate, "write", self.path());
        }
        let end = offset + data.len() as u64;
        let wanted = end.saturating_sub(state.files[self.id].backed);
        let got = state.take_space(wanted);
        let fits = (data.len() as u64).saturating_sub(wanted - got) as usize;
        let file = &mut state.files[self.id];
        file.backed += got;
        file.write(offset, &data[..fits]);
        if fate == Fate::Works && fits > 0 {
            self.inner.write_at(offset, &data[..fits])?;
        }
        if fits < data.len() {
            return Err(self.full("write"));
        }
        finish(fate, "write", self.path())
    }

    fn write_vectored_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> Result<(), DirectoryError> {
        // One call to the disk, which tears it like any other.
        let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
        self.write_at(offset, &parts.concat())
    }

    fn len(&self) -> Result<u64, DirectoryError> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> Result<(), DirectoryError> {
        let mut state = self.disk.state.lock();
        let fate = state.enter();
        if fate != Fate::Refused {
            let freed = state.files[self.id].resize(len);
            state.give_space(freed);
        }
        if fate == Fate::Works {
            self.inner.set_len(len)?;
        }
        finish(fate, "resize", self.path())
    }

    fn allocate(&self, len: u64) -> Result<(), DirectoryError> {
        let mut state = self.disk.state.lock();
        let fate = state.enter();
        if fate == Fate::Refused {
            return finish(fate, "allocate", self.path());
        }
        if state.reserves {
            let wanted = len.saturating_sub(state.files[self.id].backed);
            let got = state.take_space(wanted);
            if got < wanted {
                state.give_space(got);
                return Err(self.full("allocate"));
            }
            state.files[self.id].backed += got;
        }
        if self.inner.len()? < len {
            state.files[self.id].grow(len);
            if fate == Fate::Works {
                self.inner.allocate(len)?;
            }
        }
        finish(fate, "allocate", self.path())
    }

    fn sync_data(&self) -> Result<(), DirectoryError> {
        let mut state = self.disk.state.lock();
        let fate = state.enter();
        finish(fate, "sync", self.path())?;
        if state.sync_fails() {
            state.files[self.id].sync_failed();
            return Err(DirectoryError::new("sync", self.path(), io::Error::other("planned failure")));
        }
        state.files[self.id].sync();
        Ok(())
    }
}
