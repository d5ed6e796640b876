//! Many threads on one log: one sync for all that wait, every record in its place.

use std::io::IoSlice;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dvse_storage::{
    Bytes, DirEntry, Directory, DirectoryError, FaultyDirectory, FileHandle, LockGuard, MemDirectory,
    RecoveryMode, StorageErrorKind, Wal, WalError, WalOptions,
};
use dvse_types::SeqNo;

use crate::wal::{append, body, check_holds, open, put, small};

#[test]
fn one_sync_serves_everything_appended() {
    let disk = FaultyDirectory::new();
    let options = WalOptions { segment_bytes: 1 << 20, buffer_bytes: 1 << 20, ..small() };
    let (wal, _) = Wal::open(Arc::new(disk.clone()), options, RecoveryMode::CutTornTail).unwrap();
    append(&wal, 1..=1);
    wal.sync_to(SeqNo(1)).unwrap();
    append(&wal, 2..=500);
    let before = disk.calls();
    wal.sync_to(SeqNo(300)).unwrap();
    assert_eq!(wal.durable(), SeqNo(500));
    wal.sync_to(SeqNo(500)).unwrap();
    assert_eq!(disk.calls() - before, 2, "one write and one sync");
}

#[test]
fn those_who_come_during_a_sync_share_the_next() {
    let (dir, gate) = GatedDirectory::new();
    let options = WalOptions { segment_bytes: 1 << 20, buffer_bytes: 1 << 20, ..small() };
    let syncs = Arc::clone(&dir.gate.syncs);
    // Making the first file takes a sync of the file.
    gate.open(1);
    let (wal, _) = Wal::open(Arc::new(dir), options, RecoveryMode::CutTornTail).unwrap();
    append(&wal, 1..=1);
    assert_eq!(syncs.load(Ordering::SeqCst), 1);
    thread::scope(|scope| {
        let leader = scope.spawn(|| wal.sync_to(SeqNo(1)));
        gate.wait_for_arrival(2);
        // The leader is inside its sync. Appending goes on meanwhile.
        append(&wal, 2..=10);
        let followers: Vec<_> = (2..=10)
            .map(|seq| {
                scope.spawn({
                    let wal = &wal;
                    move || wal.sync_to(SeqNo(seq))
                })
            })
            .collect();
        gate.open(2);
        leader.join().unwrap().unwrap();
        for follower in followers {
            follower.join().unwrap().unwrap();
        }
    });
    assert_eq!(syncs.load(Ordering::SeqCst), 3, "the file, the first record, and all others together");
    check_holds(&wal, 1..=10);
}

#[test]
fn records_of_many_threads_are_all_there() {
    let place = tempfile::tempdir().unwrap();
    let dir: Arc<dyn Directory> = Arc::new(dvse_storage::FsDirectory::open(place.path()).unwrap());
    let (wal, _) = open(&dir);
    let numbers = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..40 {
                    let seq = {
                        let mut last = numbers.lock().unwrap();
                        *last += 1;
                        put(&wal, *last).unwrap();
                        SeqNo(*last)
                    };
                    wal.sync_to(seq).unwrap();
                    assert!(wal.durable() >= seq);
                    let record = wal.read(seq).unwrap().next().unwrap().unwrap();
                    assert_eq!(record.body, body(seq.0));
                }
            });
        }
        scope.spawn(|| {
            for before in (0..300).step_by(10) {
                wal.purge_before(SeqNo(before.min(wal.durable().0) / 4)).unwrap();
            }
        });
    });
    let first = wal.first().0;
    check_holds(&wal, first..=320);
    drop(wal);
    let (wal, recovery) = open(&dir);
    assert_eq!((recovery.last, recovery.truncated_bytes), (SeqNo(320), 0));
    check_holds(&wal, first..=320);
}

#[test]
fn all_who_wait_learn_of_a_failed_sync() {
    let disk = FaultyDirectory::new();
    let dir: Arc<dyn Directory> = Arc::new(disk.clone());
    let (wal, _) = open(&dir);
    append(&wal, 1..=8);
    disk.fail_sync(1);
    let kinds: Vec<StorageErrorKind> = thread::scope(|scope| {
        let waiters: Vec<_> = (1..=8u64)
            .map(|seq| {
                scope.spawn({
                    let wal = &wal;
                    move || wal.sync_to(SeqNo(seq)).unwrap_err().kind()
                })
            })
            .collect();
        waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect()
    });
    assert_eq!(kinds.iter().filter(|kind| **kind == StorageErrorKind::Io).count(), 1, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == StorageErrorKind::Poisoned).count(), 7, "{kinds:?}");
    assert_eq!(wal.durable(), SeqNo(0));
}

#[test]
fn records_that_cannot_be_in_the_log_are_refused() {
    let dir: Arc<dyn Directory> = Arc::new(MemDirectory::new());
    let (wal, _) = open(&dir);
    assert!(matches!(wal.append(9, SeqNo(0), &[]), Err(WalError::NotContiguous { .. })));
    assert!(matches!(
        wal.append(9, SeqNo(1), &[&[0; 10_001]]),
        Err(WalError::TooLarge { bytes: 10_001, .. })
    ));
    wal.append(9, SeqNo(1), &[]).unwrap();
    for seq in [0, 1, 3, u64::MAX] {
        let error = wal.append(9, SeqNo(seq), &[]).unwrap_err();
        assert!(matches!(error, WalError::NotContiguous { last: SeqNo(1), .. }), "{error}");
    }
    assert!(matches!(wal.append(8, SeqNo(2), &[]), Err(WalError::ForeignStream { expected: 9, got: 8 })));
    wal.append(9, SeqNo(2), &[&[7; 10_000]]).unwrap();
    assert!(matches!(wal.sync_to(SeqNo(3)), Err(WalError::NotThere { .. })));
    wal.sync_to(SeqNo(2)).unwrap();
    assert!(matches!(wal.read(SeqNo(0)), Err(WalError::NotThere { .. })));
    assert!(matches!(wal.read(SeqNo(4)), Err(WalError::NotThere { .. })));
    assert!(wal.read(SeqNo(3)).unwrap().next().is_none());
    let bodies: Vec<usize> = wal.read(SeqNo(1)).unwrap().map(|record| record.unwrap().body.len()).collect();
    assert_eq!(bodies, [0, 10_000], "a record larger than a file gets a file of its own");
    drop(wal);
    assert_eq!(open(&dir).1.last, SeqNo(2));
}

/// A directory in memory whose syncs of files wait until they are let through.
#[derive(Debug)]
struct GatedDirectory {
    inner: MemDirectory,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Gate {
    syncs: Arc<AtomicU64>,
    arrivals: Sender<u64>,
    permits: Mutex<Receiver<()>>,
}

struct GateKeeper {
    arrivals: Receiver<u64>,
    permits: Sender<()>,
}

impl GateKeeper {
    fn open(&self, times: u64) {
        for _ in 0..times {
            self.permits.send(()).unwrap();
        }
    }

    fn wait_for_arrival(&self, sync: u64) {
        while self.arrivals.recv_timeout(Duration::from_secs(60)).unwrap() < sync {}
    }
}

impl GatedDirectory {
    fn new() -> (GatedDirectory, GateKeeper) {
        let (arrive, arrivals) = channel();
        let (permit, permits) = channel();
        let gate = Gate { syncs: Arc::default(), arrivals: arrive, permits: Mutex::new(permits) };
        let dir = GatedDirectory { inner: MemDirectory::new(), gate: Arc::new(gate) };
        (dir, GateKeeper { arrivals, permits: permit })
    }

    fn gated(&self, inner: Arc<dyn FileHandle>) -> Arc<dyn FileHandle> {
        Arc::new(GatedFile { inner, gate: Arc::clone(&self.gate) })
    }
}

impl Directory for GatedDirectory {
    fn path(&self) -> &Path {
        self.inner.path()
    }
    fn create(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        Ok(self.gated(self.inner.create(name)?))
    }
    fn open(&self, name: &str) -> Result<Arc<dyn FileHandle>, DirectoryError> {
        Ok(self.gated(self.inner.open(name)?))
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
        self.inner.sub(name)
    }
}

#[derive(Debug)]
struct GatedFile {
    inner: Arc<dyn FileHandle>,
    gate: Arc<Gate>,
}

impl FileHandle for GatedFile {
    fn path(&self) -> &Path {
        self.inner.path()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, DirectoryError> {
        self.inner.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DirectoryError> {
        self.inner.write_at(offset, data)
    }
    fn write_vectored_at(&self, offset: u64, parts: &mut [IoSlice<'_>]) -> Result<(), DirectoryError> {
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
        let sync = self.gate.syncs.fetch_add(1, Ordering::SeqCst) + 1;
        self.gate.arrivals.send(sync).unwrap();
        self.gate.permits.lock().unwrap().recv().unwrap();
        self.inner.sync_data()
    }
}
