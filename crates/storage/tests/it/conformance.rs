//! What every directory must do, over all of them.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dvse_storage::{
    DirEntry, Directory, FaultyDirectory, FsDirectory, MemDirectory, PacedDirectory, StorageErrorKind,
    WritePace,
};

fn check(dir: Arc<dyn Directory>) {
    files_are_written_at_positions(&*dir);
    parts_are_written_one_behind_the_other(&*dir);
    missing_files_are_not_found(&*dir);
    names_are_single_components(&*dir);
    rename_replaces(&*dir);
    open_handles_outlive_the_name(&*dir);
    bytes_are_aligned(&*dir);
    allocating_never_cuts(&*dir);
    sub_directories_nest(&*dir);
    lock_is_exclusive(&*dir);
}

#[test]
fn fs_directory_conforms() {
    let place = tempfile::tempdir().unwrap();
    check(Arc::new(FsDirectory::create(place.path().join("deep/er")).unwrap()));
}

#[test]
fn mem_directory_conforms() {
    check(Arc::new(MemDirectory::new()));
}

#[test]
fn faulty_directory_without_faults_conforms() {
    check(Arc::new(FaultyDirectory::new()));
}

/// Counts what it is told, and lets everything through.
#[derive(Debug, Default)]
struct Told(AtomicU64);

impl WritePace for Told {
    fn before_write(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[test]
fn paced_directory_conforms() {
    check(Arc::new(PacedDirectory::new(Arc::new(MemDirectory::new()), Arc::new(Told::default()))));
}

#[test]
fn a_paced_file_tells_every_byte_and_syncs_on_the_way() {
    let disk = FaultyDirectory::new();
    let told = Arc::new(Told::default());
    let dir = PacedDirectory::new(Arc::new(disk.clone()), Arc::clone(&told) as Arc<dyn WritePace>);
    let data: Vec<u8> = (0..20_u32 << 20).map(|at| (at >> 12) as u8).collect();
    let file = dir.create("long").unwrap();
    let before = disk.calls();
    file.write_at(0, &data[..3]).unwrap();
    assert_eq!(disk.calls() - before, 1, "a short write is one call");
    file.write_at(3, &data[3..]).unwrap();
    assert_eq!(told.0.load(Ordering::Relaxed), data.len() as u64);
    // Three writes, of 8, 8 and 4 MiB, and two syncs.
    assert_eq!(disk.calls() - before, 1 + 5);
    assert!(dir.read("long").unwrap() == data);
}

#[test]
fn sub_directories_of_each_kind_conform() {
    let place = tempfile::tempdir().unwrap();
    let roots: [Arc<dyn Directory>; 3] = [
        Arc::new(FsDirectory::open(place.path()).unwrap()),
        Arc::new(MemDirectory::new()),
        Arc::new(FaultyDirectory::new()),
    ];
    for root in roots {
        root.create_dir("inner").unwrap();
        check(root.sub("inner"));
    }
}

fn files_are_written_at_positions(dir: &dyn Directory) {
    let file = dir.create("a").unwrap();
    assert!(file.is_empty().unwrap());
    file.write_at(3, b"def").unwrap();
    file.write_at(0, b"abc").unwrap();
    file.sync_data().unwrap();
    assert_eq!(dir.read("a").unwrap(), b"abcdef");
    let mut buf = [0; 10];
    assert_eq!(file.read_at(2, &mut buf).unwrap(), 4);
    assert_eq!(&buf[..4], b"cdef");
    assert_eq!(file.read_at(6, &mut buf).unwrap(), 0);
    assert_eq!(file.read_at(600, &mut buf).unwrap(), 0);
    file.set_len(2).unwrap();
    file.set_len(4).unwrap();
    assert_eq!(dir.read("a").unwrap(), b"ab\0\0");
    assert_eq!(file.len().unwrap(), 4);
    file.write_at(6, b"x").unwrap();
    assert_eq!(dir.read("a").unwrap(), b"ab\0\0\0\0x");
    assert_eq!(dir.open("a").unwrap().len().unwrap(), 7);
    let read_only = dir.open_read("a").unwrap();
    assert_eq!(read_only.read_at(0, &mut buf).unwrap(), 7);
    assert_eq!(read_only.write_at(0, b"y").unwrap_err().kind(), StorageErrorKind::Io);
    assert_eq!(dir.create("a").unwrap().len().unwrap(), 0, "create empties");
    assert!(file.path().ends_with("a"));
    dir.remove("a").unwrap();
}

fn parts_are_written_one_behind_the_other(dir: &dyn Directory) {
    let file = dir.create("parts").unwrap();
    let long: Vec<u8> = (0..5_000_u32).map(|at| (at % 251) as u8).collect();
    let mut parts: Vec<IoSlice<'_>> = long.chunks(2).map(IoSlice::new).collect();
    parts.insert(1, IoSlice::new(&[]));
    file.write_at(0, b"in the way of it").unwrap();
    file.write_vectored_at(7, &mut parts).unwrap();
    file.write_vectored_at(3, &mut []).unwrap();
    file.write_vectored_at(9_000, &mut [IoSlice::new(b"behind"), IoSlice::new(b" the end")]).unwrap();
    let expected = [&b"in the "[..], &long, &vec![0; 9_000 - 5_007], b"behind the end"].concat();
    assert!(dir.read("parts").unwrap() == expected);
    dir.remove("parts").unwrap();
}

fn missing_files_are_not_found(dir: &dyn Directory) {
    assert!(!dir.exists("nothing").unwrap());
    for error in [
        dir.open("nothing").map(drop).unwrap_err(),
        dir.open_read("nothing").map(drop).unwrap_err(),
        dir.open_bytes("nothing").map(drop).unwrap_err(),
        dir.read("nothing").map(drop).unwrap_err(),
        dir.remove("nothing").unwrap_err(),
        dir.rename("nothing", "something").unwrap_err(),
        dir.sub("nowhere").list().map(drop).unwrap_err(),
        dir.sub("nowhere").create("a").map(drop).unwrap_err(),
    ] {
        assert!(error.is_not_found(), "{error}");
        assert!(error.to_string().contains("no"), "{error}");
    }
}

fn names_are_single_components(dir: &dyn Directory) {
    let long = "n".repeat(256);
    for name in ["", ".", "..", "a/b", "/a", "a\\b", "a\0", &long] {
        for error in [
            dir.create(name).map(drop).unwrap_err(),
            dir.exists(name).map(drop).unwrap_err(),
            dir.sub(name).list().map(drop).unwrap_err(),
            dir.sub(name).sub("inner").create("a").map(drop).unwrap_err(),
            dir.create_dir(name).unwrap_err(),
            dir.remove_dir_all(name).unwrap_err(),
            dir.rename("x", name).unwrap_err(),
        ] {
            assert_eq!(error.kind(), StorageErrorKind::Invalid, "{name:?}: {error}");
        }
    }
}

fn rename_replaces(dir: &dyn Directory) {
    dir.create("old").unwrap().write_at(0, b"old").unwrap();
    dir.create("new").unwrap().write_at(0, b"new").unwrap();
    dir.rename("new", "old").unwrap();
    dir.sync_dir().unwrap();
    assert_eq!(dir.read("old").unwrap(), b"new");
    assert!(!dir.exists("new").unwrap());
    dir.remove("old").unwrap();
}

fn open_handles_outlive_the_name(dir: &dyn Directory) {
    let file = dir.create("a").unwrap();
    file.write_at(0, b"still here").unwrap();
    let bytes = dir.open_bytes("a").unwrap();
    dir.create("b").unwrap().write_at(0, b"other").unwrap();
    dir.rename("b", "a").unwrap();
    assert_eq!(&*bytes, b"still here");
    let mut buf = [0; 10];
    assert_eq!(file.read_at(0, &mut buf).unwrap(), 10);
    dir.remove("a").unwrap();
    assert_eq!(&*bytes, b"still here");
}

fn bytes_are_aligned(dir: &dyn Directory) {
    let numbers: Vec<u64> = (0..1000).collect();
    let raw: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    dir.create("n").unwrap().write_at(0, &raw).unwrap();
    let bytes = dir.open_bytes("n").unwrap();
    assert_eq!(bytes.as_ptr().addr() % 64, 0);
    assert_eq!(bytes.as_slice_of::<u64>().unwrap(), numbers);
    assert_eq!(bytes.slice(64..80).unwrap().as_slice_of::<u64>().unwrap(), [8, 9]);
    assert!(bytes.slice(1..9).unwrap().as_slice_of::<u64>().is_err(), "not aligned");
    assert!(bytes.slice(0..9).unwrap().as_slice_of::<u64>().is_err(), "not a whole number");
    assert!(bytes.slice(0..8001).is_err());
    assert_eq!(bytes.slice(8000..8000).unwrap().as_slice_of::<u64>().unwrap(), [0u64; 0]);
    dir.remove("n").unwrap();
    dir.create("empty").unwrap();
    assert!(dir.open_bytes("empty").unwrap().is_empty());
    dir.remove("empty").unwrap();
}

fn allocating_never_cuts(dir: &dyn Directory) {
    let file = dir.create("a").unwrap();
    file.write_at(0, b"abc").unwrap();
    file.allocate(10).unwrap();
    assert_eq!(dir.read("a").unwrap(), b"abc\0\0\0\0\0\0\0");
    file.allocate(2).unwrap();
    file.allocate(0).unwrap();
    assert_eq!(file.len().unwrap(), 10);
    dir.remove("a").unwrap();
}

fn sub_directories_nest(dir: &dyn Directory) {
    dir.create_dir("d").unwrap();
    dir.create_dir("d").unwrap();
    let inner = dir.sub("d");
    inner.create_dir("e").unwrap();
    inner.create("f").unwrap();
    inner.sub("e").create("g").unwrap();
    dir.create("z").unwrap();
    let entry = |name: &str, is_dir| DirEntry { name: name.to_owned(), is_dir };
    assert_eq!(dir.list().unwrap(), [entry("d", true), entry("z", false)]);
    assert_eq!(inner.list().unwrap(), [entry("e", true), entry("f", false)]);
    assert!(dir.exists("d").unwrap());
    assert!(inner.path().starts_with(dir.path()));
    dir.remove_dir_all("d").unwrap();
    dir.remove_dir_all("d").unwrap();
    dir.remove("z").unwrap();
    assert_eq!(dir.list().unwrap(), []);
}

fn lock_is_exclusive(dir: &dyn Directory) {
    let guard = dir.lock("lock").unwrap();
    let error = dir.lock("lock").unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::Locked);
    let message = error.to_string();
    assert!(message.contains("lock") && message.contains("process"), "{message}");
    let other = dir.lock("other").unwrap();
    drop(guard);
    drop(dir.lock("lock").unwrap());
    drop(other);
    dir.remove("lock").unwrap();
    dir.remove("other").unwrap();
}
