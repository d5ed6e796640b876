//! A log file of arbitrary content: opening answers with records or an error, and what it kept it keeps.
//!
//! The first byte chooses what is done to the rest, so that the fuzzer also gets behind the checksums: odd inputs are
//! edits of a sound log, as triples of place and value; even ones are the raw bytes of a file.
#![no_main]

use std::sync::Arc;

use dvse_storage::{Directory, MemDirectory, RecoveryMode, StorageErrorKind, Wal, WalError, WalOptions};
use dvse_types::SeqNo;
use libfuzzer_sys::fuzz_target;

const NAME: &str = "wal-00000000000000000001.log";

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else { return };
    let content = if choice % 2 == 0 { rest.to_vec() } else { edited(rest) };
    let dir = MemDirectory::new();
    dir.put(NAME, content.clone()).expect("the name is a name");
    match open(&dir, RecoveryMode::Refuse) {
        Ok(wal) => drop(bodies(&wal)),
        Err(error) => assert_eq!(error.kind(), StorageErrorKind::Corrupt, "{error}"),
    }
    assert_eq!(dir.read(NAME).expect("still there"), content, "refusing changes nothing");
    let Ok(wal) = open(&dir, RecoveryMode::CutTornTail) else { return };
    let kept = bodies(&wal);
    let next = SeqNo(wal.last().0 + 1);
    let stream = wal.read(wal.first()).ok().and_then(|mut records| records.next()).map_or(0, |first| {
        first.expect("recovery has checked it").stream
    });
    wal.append(stream, next, &[b"appended"]).expect("a recovered log goes on");
    wal.sync_to(next).expect("memory does not fail");
    drop(wal);
    let mut again = bodies(&open(&dir, RecoveryMode::CutTornTail).expect("what was repaired is sound"));
    assert_eq!(again.pop().as_deref(), Some(&b"appended"[..]));
    assert_eq!(again, kept, "what was recovered once is recovered again");
});

fn open(dir: &MemDirectory, mode: RecoveryMode) -> Result<Wal, WalError> {
    let options = WalOptions { segment_bytes: 1 << 16, buffer_bytes: 1 << 16, record_bytes_max: 1 << 16 };
    Wal::open(Arc::new(dir.clone()), options, mode).map(|(wal, _)| wal)
}

fn bodies(wal: &Wal) -> Vec<Vec<u8>> {
    let records = wal.read(wal.first()).expect("the first record is there, or is the next");
    records.map(|record| record.expect("recovery has checked it").body).collect()
}

/// Applies edits, three bytes each, to a sound log of a few rounds.
fn edited(edits: &[u8]) -> Vec<u8> {
    let dir = MemDirectory::new();
    let options = WalOptions { segment_bytes: 1024, buffer_bytes: 1024, record_bytes_max: 1024 };
    let (wal, _) =
        Wal::open(Arc::new(dir.clone()), options, RecoveryMode::CutTornTail).expect("an empty log opens");
    for seq in 1..=9u64 {
        wal.append(3, SeqNo(seq), &[&vec![seq as u8; seq as usize * 5]]).expect("there is room");
        if seq % 3 == 0 {
            wal.sync_to(SeqNo(seq)).expect("memory does not fail");
        }
    }
    drop(wal);
    let mut content = dir.read(NAME).expect("the log has one file");
    for edit in edits.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % content.len();
        content[place] = edit[2];
    }
    content
}
