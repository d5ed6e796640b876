//! The write-ahead log: what was synced comes back in order, through any crash; damage is never taken for its absence.

use std::sync::Arc;

use dvse_storage::{Directory, FsDirectory, MemDirectory, Recovery, RecoveryMode, Wal, WalOptions};
use dvse_types::SeqNo;

pub(crate) fn small() -> WalOptions {
    WalOptions { segment_bytes: 4096, buffer_bytes: 2048, record_bytes_max: 10_000 }
}

pub(crate) fn open(dir: &Arc<dyn Directory>) -> (Wal, Recovery) {
    Wal::open(Arc::clone(dir), small(), RecoveryMode::CutTornTail).unwrap()
}

/// The body of record `seq`: of a length and content of its own.
pub(crate) fn body(seq: u64) -> Vec<u8> {
    let len = (seq * 37 % 301) as usize;
    (0..len).map(|i| (i as u64 * 7 + seq) as u8).collect()
}

pub(crate) fn append(wal: &Wal, range: std::ops::RangeInclusive<u64>) {
    for seq in range {
        let body = body(seq);
        let (front, back) = body.split_at(body.len() / 3);
        wal.append(9, SeqNo(seq), &[front, back]).unwrap();
    }
}

/// Checks that the log holds exactly the records of `range`, each with its body.
pub(crate) fn check_holds(wal: &Wal, range: std::ops::RangeInclusive<u64>) {
    let mut expected = *range.start();
    for record in wal.read(SeqNo(expected)).unwrap() {
        let record = record.unwrap();
        assert_eq!((record.stream, record.seq), (9, SeqNo(expected)));
        assert_eq!(record.body, body(expected));
        expected += 1;
    }
    assert_eq!(expected, range.end() + 1);
}

fn check_life(dir: Arc<dyn Directory>) {
    let (wal, recovery) = open(&dir);
    assert_eq!((recovery.first, recovery.last, recovery.records), (SeqNo(0), SeqNo(0), 0));
    append(&wal, 1..=100);
    assert_eq!(wal.last(), SeqNo(100));
    wal.sync_to(SeqNo(100)).unwrap();
    assert_eq!(wal.durable(), SeqNo(100));
    check_holds(&wal, 1..=100);
    check_holds(&wal, 57..=100);
    append(&wal, 101..=101);
    assert!(wal.read(SeqNo(101)).unwrap().next().is_none(), "not durable yet");
    wal.close().unwrap();

    let (wal, recovery) = open(&dir);
    assert_eq!((recovery.first, recovery.last, recovery.records), (SeqNo(1), SeqNo(101), 101));
    assert_eq!(recovery.truncated_bytes, 0);
    assert!(recovery.files > 3);
    append(&wal, 102..=200);
    wal.sync_to(SeqNo(150)).unwrap();
    wal.sync_to(SeqNo(200)).unwrap();
    drop(wal);

    let (wal, recovery) = open(&dir);
    assert_eq!((recovery.last, recovery.truncated_bytes), (SeqNo(200), 0));
    check_holds(&wal, 1..=200);
    wal.purge_before(SeqNo(120)).unwrap();
    let first = wal.first();
    assert!(first > SeqNo(80) && first <= SeqNo(120), "{first}");
    check_holds(&wal, first.0..=200);
    wal.truncate_after(SeqNo(150)).unwrap();
    assert_eq!((wal.last(), wal.durable()), (SeqNo(150), SeqNo(150)));
    check_holds(&wal, first.0..=150);
    append(&wal, 151..=160);
    wal.sync_to(SeqNo(160)).unwrap();
    drop(wal);

    let (wal, recovery) = open(&dir);
    assert_eq!((recovery.first, recovery.last), (first, SeqNo(160)));
    check_holds(&wal, first.0..=160);
    wal.truncate_after(SeqNo(first.0 - 1)).unwrap();
    append(&wal, 777..=780);
    wal.sync_to(SeqNo(780)).unwrap();
    check_holds(&wal, 777..=780);
    drop(wal);
    let (wal, recovery) = open(&dir);
    assert_eq!((recovery.first, recovery.last), (SeqNo(777), SeqNo(780)));
    check_holds(&wal, 777..=780);
}

#[test]
fn a_log_lives_in_memory() {
    check_life(Arc::new(MemDirectory::new()));
}

#[test]
fn a_log_lives_on_disk() {
    let place = tempfile::tempdir().unwrap();
    check_life(Arc::new(FsDirectory::open(place.path()).unwrap()));
}

#[test]
fn reading_and_cutting_start_near_the_record_in_a_large_file() {
    let dir: Arc<dyn Directory> = Arc::new(MemDirectory::new());
    let options = WalOptions { segment_bytes: 16 << 20, ..WalOptions::default() };
    let body = |seq: u64| vec![seq as u8; 3000 + (seq % 100) as usize];
    let open = || Wal::open(Arc::clone(&dir), options.clone(), RecoveryMode::CutTornTail).unwrap();
    let check = |wal: &Wal, last: u64| {
        for from in [1, 2, 340, 341, 999, 1000, 2500, last, last + 1] {
            let records: Vec<_> = wal.read(SeqNo(from)).unwrap().map(Result::unwrap).collect();
            assert_eq!(records.len() as u64, last + 1 - from);
            assert!(
                records
                    .iter()
                    .zip(from..)
                    .all(|(record, seq)| record.seq.0 == seq && record.body == body(seq))
            );
        }
    };
    let (wal, _) = open();
    for seq in 1..=3000 {
        wal.append(1, SeqNo(seq), &[&body(seq)]).unwrap();
        if seq % 200 == 0 {
            wal.sync_to(SeqNo(seq)).unwrap();
        }
    }
    check(&wal, 3000);
    wal.truncate_after(SeqNo(2800)).unwrap();
    check(&wal, 2800);
    for seq in 2801..=2900 {
        wal.append(1, SeqNo(seq), &[&body(seq)]).unwrap();
    }
    wal.sync_to(SeqNo(2900)).unwrap();
    check(&wal, 2900);
    drop(wal);
    let (wal, recovery) = open();
    assert_eq!((recovery.last, recovery.files), (SeqNo(2900), 1));
    check(&wal, 2900);
    wal.truncate_after(SeqNo(2600)).unwrap();
    check(&wal, 2600);
}
