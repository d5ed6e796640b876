//! Reading a log while somebody else writes it.

use std::sync::Arc;

use dvse_storage::{
    Directory, FaultyDirectory, FsDirectory, MemDirectory, RecoveryMode, Wal, WalError, WalFollower,
};
use dvse_types::SeqNo;

use crate::wal::{append, body, check_holds, open, put, small};

/// Reads what is there in small bites and checks each record; returns the last number read.
fn follow(follower: &mut WalFollower, bite: usize) -> Result<u64, WalError> {
    loop {
        let expected = follower.next().0;
        let records = follower.read(bite, 300)?;
        if records.is_empty() {
            return Ok(expected - 1);
        }
        assert!(records.len() <= bite);
        for (record, seq) in records.iter().zip(expected..) {
            assert_eq!((record.seq, &record.body), (SeqNo(seq), &body(seq)));
        }
    }
}

#[test]
fn followers_see_what_was_synced_across_files_closing_and_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let disks: [Arc<dyn Directory>; 2] =
        [Arc::new(MemDirectory::new()), Arc::new(FsDirectory::create(folder.path()).unwrap())];
    for dir in disks {
        let mut follower = WalFollower::new(Arc::clone(&dir), SeqNo(0));
        assert_eq!(follow(&mut follower, 3).unwrap(), 0);
        let mut last = 0;
        for round in 0..6 {
            let (wal, _) = open(&dir);
            for _ in 0..20 {
                append(&wal, last + 1..=last + 3);
                // A full file makes an append write what was before it.
                assert!((last..last + 3).contains(&follow(&mut follower, 2).unwrap()), "seen before written");
                last += 3;
                wal.sync_to(SeqNo(last)).unwrap();
                assert_eq!(follow(&mut follower, 1 + round).unwrap(), last);
            }
            if round % 2 == 0 {
                wal.close().unwrap();
            }
        }
        let (wal, _) = open(&dir);
        assert!(wal.file_starts().len() > 3, "the log was to have several files");
        assert_eq!(wal.file_starts().first(), Some(&SeqNo(1)));
        for from in [1, 2, 77, last, last + 1] {
            let mut late = WalFollower::new(Arc::clone(&dir), SeqNo(from));
            assert_eq!(follow(&mut late, 7).unwrap(), last);
        }
        let mut end = WalFollower::new(Arc::clone(&dir), SeqNo(5));
        assert_eq!(end.skip_to_last().unwrap().map(|record| record.body), Some(body(last)));
        assert_eq!(end.skip_to_last().unwrap(), None);
    }
}

#[test]
fn a_follower_that_is_overtaken_by_a_purge_is_told() {
    let dir: Arc<dyn Directory> = Arc::new(MemDirectory::new());
    let (wal, _) = open(&dir);
    append(&wal, 1..=10);
    wal.sync_to(SeqNo(10)).unwrap();
    let mut at_the_end = WalFollower::new(Arc::clone(&dir), SeqNo(11));
    assert!(at_the_end.read(10, 1 << 20).unwrap().is_empty());
    append(&wal, 11..=200);
    wal.sync_to(SeqNo(200)).unwrap();
    wal.purge_before(SeqNo(150)).unwrap();
    assert_eq!(WalFollower::oldest(&*dir).unwrap(), wal.first());
    for mut behind in
        [WalFollower::new(Arc::clone(&dir), SeqNo(1)), WalFollower::new(Arc::clone(&dir), SeqNo(202))]
    {
        let error = behind.read(10, 1 << 20).unwrap_err();
        assert!(matches!(error, WalError::NotThere { .. }), "{error}");
    }
    // The file it stood in still gives what it held; then comes an error and not a gap.
    let error = loop {
        match at_the_end.read(10, 1 << 20) {
            Ok(records) => assert!(!records.is_empty(), "waits for ever"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, WalError::NotThere { .. }), "{error}");
}

#[test]
fn damage_is_an_error_for_a_follower_and_a_torn_tail_is_not() {
    let dir: Arc<dyn Directory> = Arc::new(MemDirectory::new());
    let (wal, _) = open(&dir);
    for seq in 1..=5 {
        append(&wal, seq..=seq);
        wal.sync_to(SeqNo(seq)).unwrap();
    }
    drop(wal);
    let name = dir.list().unwrap().into_iter().find(|entry| entry.name.ends_with(".log")).unwrap().name;
    let file = dir.open(&name).unwrap();
    let bytes = dir.read(&name).unwrap();
    // The body of record 3 begins somewhere; find it by its content.
    let wanted = body(3);
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).unwrap() as u64;
    file.write_at(at, &[!wanted[0]]).unwrap();
    let mut follower = WalFollower::new(Arc::clone(&dir), SeqNo(1));
    assert_eq!(follower.read(2, 1 << 20).unwrap().len(), 2);
    let error = follower.read(2, 1 << 20).unwrap_err();
    assert!(matches!(error, WalError::Damaged { .. }), "{error}");
    // The same at the last record is what a crash leaves.
    file.write_at(at, &wanted[..1]).unwrap();
    let last = body(5);
    let at = bytes.windows(last.len()).rposition(|window| window == last).unwrap() as u64;
    file.write_at(at, &[!last[0]]).unwrap();
    assert_eq!(follow(&mut follower, 2).unwrap(), 4);
}

#[test]
fn what_a_follower_was_given_survives_a_power_loss_at_every_call() {
    let live = |disk: &FaultyDirectory, seen: &mut u64| -> Result<(), WalError> {
        let dir: Arc<dyn Directory> = Arc::new(disk.clone());
        let (wal, _) = Wal::open(Arc::clone(&dir), small(), RecoveryMode::CutTornTail)?;
        let mut follower = WalFollower::new(dir, SeqNo(1));
        for seq in 1..=60 {
            let wrote = put(&wal, seq);
            let wrote = wrote.and_then(|()| if seq % 3 == 0 { wal.sync_to(SeqNo(seq)) } else { Ok(()) });
            // The writer's round may be under way, or failed, when the follower looks.
            *seen = follow(&mut follower, 4)?;
            wrote?;
        }
        Ok(())
    };
    let disk = FaultyDirectory::new();
    live(&disk, &mut 0).unwrap();
    for stop in 1..=disk.calls() {
        let disk = FaultyDirectory::new();
        disk.stop_at(stop);
        let mut seen = 0;
        assert!(live(&disk, &mut seen).is_err(), "stop {stop}");
        for seed in 0..6 {
            let after: Arc<dyn Directory> = Arc::new(disk.crash(seed * 1000 + stop));
            let (wal, recovery) = open(&after);
            assert!(recovery.last.0 >= seen, "stop {stop} seed {seed}: {recovery:?}, seen {seen}");
            if recovery.last.0 > 0 {
                check_holds(&wal, 1..=recovery.last.0);
            }
        }
    }
}
