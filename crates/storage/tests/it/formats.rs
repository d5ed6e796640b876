//! The files of version 1 are what `docs/format/` says, and open forever.
//!
//! The fixtures are the worked examples of those pages. A change of a format leaves them as they are and adds a folder.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use dvse_storage::{
    Directory, ManifestStore, MemDirectory, RecoveryMode, SectionTag, SegmentReader, SegmentWriter, Wal,
    WalOptions,
};
use dvse_types::SeqNo;

const WAL: &str = "wal-00000000000000000001.log";
const MANIFEST: &str = "manifest-00000000000000000003";
const PIDS: SectionTag = SectionTag::new(*b"PIDS");

fn fixture(folder: &str, name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", folder, name].iter().collect();
    fs::read(path).unwrap()
}

fn with(name: &str, content: &[u8]) -> MemDirectory {
    let dir = MemDirectory::new();
    dir.put(name, content.to_vec()).unwrap();
    dir
}

#[test]
fn log_v1_is_written_and_read() {
    let written = MemDirectory::new();
    let options = WalOptions { segment_bytes: 192, ..WalOptions::default() };
    let (wal, _) = Wal::open(Arc::new(written.clone()), options.clone(), RecoveryMode::CutTornTail).unwrap();
    for (seq, body) in [(1, &b"abc"[..]), (2, b"defgh")] {
        wal.append(7, SeqNo(seq), &[body]).unwrap();
        wal.sync_to(SeqNo(seq)).unwrap();
    }
    wal.close().unwrap();
    let expected = fixture("wal-v1", WAL);
    assert_eq!(written.read(WAL).unwrap(), expected);

    let dir = Arc::new(with(WAL, &expected));
    let (wal, recovery) = Wal::open(dir, options, RecoveryMode::Refuse).unwrap();
    assert_eq!((recovery.first, recovery.last), (SeqNo(1), SeqNo(2)));
    let records: Vec<_> = wal.read(SeqNo(1)).unwrap().map(Result::unwrap).collect();
    assert_eq!(records.iter().map(|record| record.stream).collect::<Vec<_>>(), [7, 7]);
    assert_eq!(records.into_iter().map(|record| record.body).collect::<Vec<_>>(), [&b"abc"[..], b"defgh"]);
}

#[test]
fn segment_v1_is_written_and_read() {
    let written = MemDirectory::new();
    let mut writer = SegmentWriter::create(Arc::new(written.clone()), "example.seg").unwrap();
    writer.section(PIDS, bytemuck::cast_slice(&[7u64, 9])).unwrap();
    assert_eq!(writer.finish().unwrap(), 256);
    let expected = fixture("segment-v1", "example.seg");
    assert_eq!(written.read("example.seg").unwrap(), expected);

    let reader = SegmentReader::open(&with("example.seg", &expected), "example.seg").unwrap();
    reader.verify_all().unwrap();
    assert_eq!(reader.required(PIDS).unwrap().as_slice_of::<u64>().unwrap(), [7, 9]);
}

#[test]
fn manifest_v1_is_written_and_read() {
    let written = MemDirectory::new();
    let (store, _) = ManifestStore::open(Arc::new(written.clone())).unwrap();
    for body in [&b"a"[..], b"b", b"hi"] {
        store.publish(body).unwrap();
    }
    let expected = fixture("manifest-v1", MANIFEST);
    assert_eq!(written.read(MANIFEST).unwrap(), expected);

    let (_, found) = ManifestStore::open(Arc::new(with(MANIFEST, &expected))).unwrap();
    assert_eq!(found, Some((3, b"hi".to_vec())));
}
