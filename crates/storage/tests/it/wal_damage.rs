//! Damaged logs: a right prefix where a crash may be the reason, an error that names file and offset elsewhere.

use std::sync::Arc;

use dvse_storage::{
    Directory, MemDirectory, Recovery, RecoveryMode, StorageErrorKind, Wal, WalError, WalOptions,
};
use dvse_types::SeqNo;

use crate::wal::{append, body, check_holds, small};

const RECORDS: u64 = 24;

/// Makes a small log of several files, in rounds of 1 to 3 records.
fn make(close: bool) -> Vec<(String, Vec<u8>)> {
    let dir = MemDirectory::new();
    let options = WalOptions { segment_bytes: 1500, ..small() };
    let (wal, _) = Wal::open(Arc::new(dir.clone()), options, RecoveryMode::CutTornTail).unwrap();
    for seq in 1..=RECORDS {
        append(&wal, seq..=seq);
        if seq % 3 != 1 {
            wal.sync_to(SeqNo(seq)).unwrap();
        }
    }
    wal.sync_to(SeqNo(RECORDS)).unwrap();
    if close {
        wal.close().unwrap();
    }
    let names = dir.list().unwrap();
    names.into_iter().map(|entry| (entry.name.clone(), dir.read(&entry.name).unwrap())).collect()
}

fn load(files: &[(String, Vec<u8>)]) -> MemDirectory {
    let dir = MemDirectory::new();
    for (name, content) in files {
        dir.put(name, content.clone()).unwrap();
    }
    dir
}

fn reopen(dir: &MemDirectory) -> Result<(Wal, Recovery), WalError> {
    Wal::open(Arc::new(dir.clone()), small(), RecoveryMode::CutTornTail)
}

/// Whatever was done to the log, it either opens with a right prefix or says where it is damaged.
fn check_prefix_or_error(files: &[(String, Vec<u8>)], what: &str) -> Option<Recovery> {
    let dir = load(files);
    match reopen(&dir) {
        Ok((wal, recovery)) => {
            assert!(recovery.last.0 <= RECORDS, "{what}");
            if recovery.records > 0 {
                check_holds(&wal, 1..=recovery.last.0);
            }
            // What was cut is gone for good, and the log goes on from there.
            append(&wal, recovery.last.0 + 1..=recovery.last.0 + 3);
            wal.sync_to(recovery.last.next()).unwrap();
            drop(wal);
            let (wal, again) = reopen(&dir).unwrap();
            assert_eq!((again.last.0, again.truncated_bytes), (recovery.last.0 + 3, 0), "{what}");
            check_holds(&wal, 1..=recovery.last.0 + 3);
            Some(recovery)
        }
        Err(error) => {
            assert_eq!(error.kind(), StorageErrorKind::Corrupt, "{what}: {error}");
            let message = error.to_string();
            assert!(message.contains("wal-0"), "{what}: {message}");
            None
        }
    }
}

#[test]
fn a_log_cut_at_any_byte_keeps_a_prefix() {
    let files = make(false);
    let (name, last) = files.last().unwrap();
    let sound = check_prefix_or_error(&files, "sound").unwrap();
    assert_eq!((sound.last, sound.truncated_bytes), (SeqNo(RECORDS), 0));
    let mut shortest = u64::MAX;
    for len in 32..last.len() {
        let mut cut = files.clone();
        cut.last_mut().unwrap().1.truncate(len);
        let recovery = check_prefix_or_error(&cut, &format!("{name} cut to {len}")).unwrap();
        shortest = shortest.min(recovery.last.0);
    }
    let first_of_last: u64 = name[4..24].parse().unwrap();
    assert_eq!(shortest, first_of_last - 1, "files before the last are never touched");
    for len in 0..32 {
        let mut cut = files.clone();
        cut.last_mut().unwrap().1.truncate(len);
        assert!(check_prefix_or_error(&cut, "cut header").is_none(), "a file gets its name with its header");
    }
}

#[test]
fn a_cut_or_missing_inner_file_is_an_error() {
    let files = make(false);
    assert!(files.len() >= 3);
    for index in 0..files.len() - 1 {
        for len in 0..files[index].1.len() {
            let mut cut = files.clone();
            cut[index].1.truncate(len);
            assert!(check_prefix_or_error(&cut, &format!("file {index} cut to {len}")).is_none());
        }
        if index > 0 {
            let mut missing = files.clone();
            missing.remove(index);
            let error = reopen(&load(&missing)).unwrap_err();
            assert!(matches!(error, WalError::Gap { .. }), "{error}");
        }
    }
}

#[test]
fn every_flipped_byte_gives_a_prefix_or_an_error() {
    let files = make(false);
    let last = files.len() - 1;
    let (mut errors, mut prefixes) = (0, 0);
    for index in 0..files.len() {
        for place in 0..files[index].1.len() {
            for bit in [0x01, 0x80] {
                let mut damaged = files.clone();
                damaged[index].1[place] ^= bit;
                match check_prefix_or_error(&damaged, &format!("file {index} byte {place}")) {
                    None => errors += 1,
                    // In an inner file, only padding may differ.
                    Some(recovery) if index < last => assert_eq!(recovery.last, SeqNo(RECORDS)),
                    Some(_) => prefixes += 1,
                }
            }
        }
    }
    assert!(errors > 1000 && prefixes > 1000, "{errors} {prefixes}");
}

#[test]
fn damage_to_a_synced_record_with_a_later_round_is_an_error() {
    let files = make(false);
    let (name, content) = files.last().unwrap();
    let first: u64 = name[4..24].parse().unwrap();
    // The last round is the last record or two; what is before was synced before the round was written.
    let last_round = if RECORDS % 3 == 2 { RECORDS - 1 } else { RECORDS };
    assert!(first < last_round, "the last file holds several rounds");
    let mut at = 32;
    for seq in first..last_round {
        let body_len = body(seq).len();
        for place in (at..at + 40).chain(at + 40..at + 40 + body_len) {
            let mut damaged = files.clone();
            damaged.last_mut().unwrap().1[place] ^= 0x10;
            let error = reopen(&load(&damaged)).unwrap_err();
            let WalError::Damaged { path, offset, .. } = &error else { panic!("{error}") };
            assert!(path.ends_with(name));
            assert_eq!(*offset, at as u64, "{error}");
        }
        // The same for a record that reads as if it had never been written.
        let mut damaged = files.clone();
        damaged.last_mut().unwrap().1[at..at + 40 + body_len].fill(0);
        reopen(&load(&damaged)).unwrap_err();
        at += (40 + body_len).next_multiple_of(8);
    }
    assert!(at < content.len());
}

#[test]
fn after_a_clean_close_damage_to_the_last_record_is_an_error_too() {
    let files = make(true);
    let end = files.last().unwrap().1.len() - 40;
    let last_body = body(RECORDS).len();
    let start = end - (40 + last_body).next_multiple_of(8);
    for place in start..start + 40 + last_body {
        let mut damaged = files.clone();
        damaged.last_mut().unwrap().1[place] ^= 0x04;
        assert_eq!(reopen(&load(&damaged)).unwrap_err().kind(), StorageErrorKind::Corrupt, "byte {place}");
    }
    // Damage to the mark itself costs nothing but the mark.
    for place in end..end + 40 {
        let mut damaged = files.clone();
        damaged.last_mut().unwrap().1[place] ^= 0x04;
        assert_eq!(reopen(&load(&damaged)).unwrap().1.last, SeqNo(RECORDS), "byte {place}");
    }
}

#[test]
fn refusing_changes_nothing_and_reports_the_torn_tail() {
    let mut files = make(false);
    let (_, content) = files.last_mut().unwrap();
    let used = content.iter().rposition(|byte| *byte != 0).unwrap();
    content[used] ^= 1;
    let dir = load(&files);
    let error = Wal::open(Arc::new(dir.clone()), small(), RecoveryMode::Refuse).unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::Corrupt);
    for (name, content) in &files {
        assert_eq!(&dir.read(name).unwrap(), content);
    }
    let dir = load(&make(true));
    let (wal, recovery) = Wal::open(Arc::new(dir), small(), RecoveryMode::Refuse).unwrap();
    check_holds(&wal, 1..=recovery.last.0);
    assert!(matches!(wal.append(9, recovery.last.next(), &[b"x"]), Err(WalError::ReadOnly)));
}

#[test]
fn damage_after_opening_is_found_by_reading() {
    let files = make(true);
    let dir = load(&files);
    let (wal, _) = reopen(&dir).unwrap();
    let (name, content) = &files[1];
    let mut damaged = content.clone();
    damaged[32 + 40 + 3] ^= 1;
    dir.put(name, damaged).unwrap();
    let first: u64 = name[4..24].parse().unwrap();
    let records: Vec<_> = wal.read(SeqNo(1)).unwrap().collect();
    assert_eq!(records.len() as u64, first, "the records before, and one error");
    let error = records.into_iter().next_back().unwrap().unwrap_err();
    assert!(error.to_string().contains(name) && error.to_string().contains("offset 32"), "{error}");
}

#[test]
fn a_record_inside_a_record_is_not_taken_for_proof() {
    // The body of a torn record is a whole log, of which every header claims that much was synced before it.
    let inner: Vec<u8> = make(true).into_iter().flat_map(|(_, content)| content).collect();
    let dir = MemDirectory::new();
    let options = WalOptions { segment_bytes: 1 << 16, buffer_bytes: 1 << 16, record_bytes_max: 1 << 16 };
    let open = || Wal::open(Arc::new(dir.clone()), options.clone(), RecoveryMode::CutTornTail).unwrap();
    let (wal, _) = open();
    wal.append(9, SeqNo(1), &[b"one"]).unwrap();
    wal.sync_to(SeqNo(1)).unwrap();
    wal.append(9, SeqNo(2), &[&inner]).unwrap();
    wal.sync_to(SeqNo(2)).unwrap();
    drop(wal);
    let name = &dir.list().unwrap()[0].name;
    let mut content = dir.read(name).unwrap();
    content[32 + 48 + 40] ^= 1;
    dir.put(name, content).unwrap();
    let (_, recovery) = open();
    assert_eq!(recovery.last, SeqNo(1));
    assert!(recovery.truncated_bytes > 5000, "{recovery:?}");
    assert_eq!(recovery.truncated_at, Some((name.clone(), 80)));
}
