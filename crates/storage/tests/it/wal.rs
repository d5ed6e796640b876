//! The write-ahead log: what was synced comes back in order, through any crash; damage is never taken for its absence.

use std::sync::Arc;

use dvse_storage::{
    Directory, FsDirectory, GatherBuf, MemDirectory, Recovery, RecoveryMode, Wal, WalError, WalOptions,
};
use dvse_types::{SeqNo, SharedBytes};

pub(crate) fn small() -> WalOptions {
    WalOptions { segment_bytes: 4096, buffer_bytes: 2048, record_bytes_max: 10_000 }
}

pub(crate) fn open(dir: &Arc<dyn Directory>) -> (Wal, Recovery) {
    Wal::open(Arc::clone(dir), small(), RecoveryMode::CutTornTail).unwrap()
}

/// The body of record `seq`: of a length and content of its own. Some have a part that is long enough to be shared.
pub(crate) fn body(seq: u64) -> Vec<u8> {
    let len = (seq * 37 % 301) as usize + if seq % 16 == 13 { GatherBuf::SHARED_BYTES_MIN } else { 0 };
    (0..len).map(|i| (i as u64 * 7 + seq) as u8).collect()
}

/// Appends record `seq` of stream 9, in parts; those of every other one are shared where they are long.
pub(crate) fn put(wal: &Wal, seq: u64) -> Result<(), WalError> {
    let body = body(seq);
    let (front, back) = body.split_at(seq as usize % (body.len().min(300) + 1));
    if seq.is_multiple_of(2) {
        return wal.append(9, SeqNo(seq), &[front, back]);
    }
    let mut gathered = GatherBuf::new();
    gathered.copy(front);
    gathered.share(SharedBytes::copy_from_slice(back));
    wal.append_gathered(9, SeqNo(seq), &gathered)
}

pub(crate) fn append(wal: &Wal, range: std::ops::RangeInclusive<u64>) {
    range.for_each(|seq| put(wal, seq).unwrap());
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

/// Whoever reads a log cannot tell which parts of it were copied on the way: the files are the same, byte for byte.
#[test]
fn shared_parts_leave_the_files_as_they_are() {
    let body = |seq: u64| -> Vec<u8> { (0..seq * 977 % 6_000).map(|at| ((at * seq) >> 3) as u8).collect() };
    let files = |gathers: bool| {
        let dir: Arc<dyn Directory> = Arc::new(MemDirectory::new());
        let options = WalOptions { segment_bytes: 40_000, buffer_bytes: 20_000, record_bytes_max: 10_000 };
        let (wal, _) = Wal::open(Arc::clone(&dir), options, RecoveryMode::CutTornTail).unwrap();
        for seq in 1..=60 {
            let body = body(seq);
            if gathers {
                let mut gathered = GatherBuf::new();
                body.chunks(1_500).for_each(|part| gathered.share(SharedBytes::copy_from_slice(part)));
                wal.append_gathered(9, SeqNo(seq), &gathered).unwrap();
            } else {
                wal.append(9, SeqNo(seq), &[&body]).unwrap();
            }
            if seq % 4 == 0 {
                wal.sync_to(SeqNo(seq)).unwrap();
            }
        }
        wal.close().unwrap();
        let names = dir.list().unwrap().into_iter().map(|entry| entry.name);
        names.map(|name| (name.clone(), dir.read(&name).unwrap())).collect::<Vec<_>>()
    };
    let (copied, gathered) = (files(false), files(true));
    assert!(copied.len() > 2);
    assert!(copied == gathered);
}

/// On the disk, where one write takes so many parts only, and an entry has more.
#[test]
fn a_record_of_many_parts_comes_back() {
    let place = tempfile::tempdir().unwrap();
    let dir: Arc<dyn Directory> = Arc::new(FsDirectory::open(place.path()).unwrap());
    let (wal, _) = Wal::open(Arc::clone(&dir), WalOptions::default(), RecoveryMode::CutTornTail).unwrap();
    let part = SharedBytes::from(vec![7; GatherBuf::SHARED_BYTES_MIN]);
    let mut body = GatherBuf::new();
    for number in 0..2_000_u16 {
        body.copy(&number.to_le_bytes());
        body.share(part.clone());
    }
    wal.append_gathered(9, SeqNo(1), &body).unwrap();
    wal.append(9, SeqNo(2), &[b"next"]).unwrap();
    wal.sync_to(SeqNo(2)).unwrap();
    drop(wal);
    let (wal, _) = Wal::open(dir, WalOptions::default(), RecoveryMode::CutTornTail).unwrap();
    let bodies: Vec<Vec<u8>> = wal.read(SeqNo(1)).unwrap().map(|record| record.unwrap().body).collect();
    assert!(bodies == [body.into_vec(), b"next".to_vec()]);
}

/// What is shared counts as what waits in the buffer, and is let go of once it is written.
#[test]
fn shared_parts_count_for_the_buffer_and_are_given_back() {
    let (wal, _) = open(&(Arc::new(MemDirectory::new()) as Arc<dyn Directory>));
    let part = SharedBytes::from(vec![7; 1_500]);
    let mut body = GatherBuf::new();
    body.share(part.clone());
    wal.append_gathered(9, SeqNo(1), &body).unwrap();
    assert_eq!(wal.durable(), SeqNo(0));
    // Two do not fit `buffer_bytes`, so the first is written before the second is taken.
    wal.append_gathered(9, SeqNo(2), &body).unwrap();
    assert_eq!(wal.durable(), SeqNo(1));
    wal.sync_to(SeqNo(2)).unwrap();
    drop(body);
    assert!(part.is_unique());
}
