//! The log on a disk that loses power, fills up and fails to sync.

use std::sync::Arc;

use dvse_storage::{
    Directory, FaultyDirectory, Recovery, RecoveryMode, StorageErrorKind, Wal, WalError, WalOptions,
};
use dvse_types::SeqNo;

use crate::wal::{append, body, check_holds, open, put, small};

/// What a log may and must hold, as far as its caller knows.
#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// Everything up to here was acknowledged.
    must: u64,
    /// Nothing beyond this was ever tried.
    may: u64,
    /// The first number may be anything up to this.
    purged: u64,
}

/// Writes, syncs, purges, cuts and reopens until it is done or the disk refuses.
fn live(dir: &Arc<dyn Directory>, known: &mut Known) -> Result<(), WalError> {
    let (wal, _) = Wal::open(Arc::clone(dir), small(), RecoveryMode::CutTornTail)?;
    let fill = |wal: &Wal, known: &mut Known, to: u64, round: u64| -> Result<(), WalError> {
        for seq in wal.last().0 + 1..=to {
            known.may = seq;
            put(wal, seq)?;
            if seq % round == 0 {
                wal.sync_to(SeqNo(seq))?;
                known.must = seq;
            }
        }
        wal.sync_to(SeqNo(to))?;
        known.must = to;
        Ok(())
    };
    fill(&wal, known, 30, 1)?;
    fill(&wal, known, 60, 7)?;
    known.purged = 40;
    wal.purge_before(SeqNo(40))?;
    known.must = 45;
    wal.truncate_after(SeqNo(45))?;
    known.may = 45;
    fill(&wal, known, 70, 3)?;
    wal.close()?;
    let (wal, _) = Wal::open(Arc::clone(dir), small(), RecoveryMode::CutTornTail)?;
    fill(&wal, known, 90, 4)
}

/// Checks that an opened log holds what it must and nothing it may not, and that it works.
fn check_recovered(dir: &Arc<dyn Directory>, known: Known) {
    let (wal, Recovery { first, last, .. }) = open(dir);
    assert!(last.0 >= known.must && last.0 <= known.may, "{last} {known:?}");
    if last.0 > 0 && first.0 > 0 {
        assert!(first.0 <= known.purged.max(1), "{first} {known:?}");
        check_holds(&wal, first.0..=last.0);
    }
    append(&wal, last.0 + 1..=last.0 + 20);
    wal.sync_to(SeqNo(last.0 + 20)).unwrap();
    drop(wal);
    let (wal, recovery) = open(dir);
    assert_eq!((recovery.last.0, recovery.truncated_bytes), (last.0 + 20, 0));
    check_holds(&wal, wal.first().0..=last.0 + 20);
}

#[test]
fn acknowledged_records_survive_a_power_loss_at_every_call() {
    let disk = FaultyDirectory::new();
    let mut known = Known::default();
    live(&(Arc::new(disk.clone()) as _), &mut known).unwrap();
    assert_eq!(known.must, 90);
    for stop in 1..=disk.calls() + 1 {
        let disk = FaultyDirectory::new();
        disk.stop_at(stop);
        let mut known = Known::default();
        let outcome = live(&(Arc::new(disk.clone()) as _), &mut known);
        assert_eq!(outcome.is_err(), stop <= disk.calls(), "stop {stop}: {outcome:?}");
        for seed in 0..6 {
            let after = disk.crash(seed * 1000 + stop);
            // A second power loss, while the log is being opened.
            for again in 1..=4 {
                let opening = after.crash(0);
                opening.stop_at(again);
                drop(Wal::open(Arc::new(opening.clone()), small(), RecoveryMode::CutTornTail));
                check_recovered(&(Arc::new(opening.crash(seed)) as _), known);
            }
            check_recovered(&(Arc::new(after) as _), known);
        }
    }
}

#[test]
fn a_failed_sync_poisons_until_reopened() {
    // The 3rd sync from here on is the first of a batch: file, directory, batch.
    for nth in 1..=6 {
        let disk = FaultyDirectory::new();
        let dir: Arc<dyn Directory> = Arc::new(disk.clone());
        let (wal, _) = open(&dir);
        disk.fail_sync(nth);
        let mut acknowledged = 0;
        let error = (1..=10)
            .find_map(|seq| {
                let outcome = put(&wal, seq).and_then(|()| wal.sync_to(SeqNo(seq)));
                if outcome.is_ok() {
                    acknowledged = seq;
                }
                outcome.err()
            })
            .expect("a sync was to fail");
        assert_eq!(error.kind(), StorageErrorKind::Io, "{error}");
        assert_eq!(wal.durable(), SeqNo(acknowledged));
        let next = wal.last().next();
        for later in [wal.append(9, next, &[b"x"]), wal.sync_to(next), wal.truncate_after(SeqNo(0))] {
            let later = later.unwrap_err();
            assert_eq!(later.kind(), StorageErrorKind::Poisoned);
            assert!(later.to_string().contains("planned failure"), "{later}");
        }
        // What was acknowledged can be read, and is there after a power loss.
        if acknowledged > 0 {
            check_holds(&wal, 1..=acknowledged);
        }
        drop(wal);
        for seed in 0..20 {
            let known = Known { must: acknowledged, may: acknowledged + 1, purged: 0 };
            check_recovered(&(Arc::new(disk.crash(seed)) as _), known);
        }
    }
}

#[test]
fn a_full_disk_refuses_a_record_before_it_is_taken() {
    let disk = FaultyDirectory::new();
    disk.set_free_bytes(Some(3 * 4096));
    let dir: Arc<dyn Directory> = Arc::new(disk.clone());
    let (wal, _) = open(&dir);
    let mut seq = 0;
    let error = loop {
        seq += 1;
        if let Err(error) = put(&wal, seq) {
            break error;
        }
        wal.sync_to(SeqNo(seq)).expect("what was taken has its space");
    };
    assert_eq!(error.kind(), StorageErrorKind::Full, "{error}");
    assert!(seq > 30, "{seq}");
    assert_eq!((wal.last(), wal.durable()), (SeqNo(seq - 1), SeqNo(seq - 1)));
    check_holds(&wal, 1..=seq - 1);
    assert_eq!(put(&wal, seq).unwrap_err().kind(), StorageErrorKind::Full);
    assert_eq!(dir.list().unwrap().iter().filter(|entry| entry.name.contains("tmp")).count(), 0);
    check_recovered_full(&disk, seq - 1);
    disk.set_free_bytes(None);
    append(&wal, seq..=seq + 50);
    wal.sync_to(SeqNo(seq + 50)).unwrap();
    check_holds(&wal, 1..=seq + 50);
    drop(wal);
    let (_, recovery) = open(&dir);
    assert_eq!((recovery.last, recovery.truncated_bytes), (SeqNo(seq + 50), 0));
}

/// A log on a full disk can be opened and read, and says that it is full when written to.
fn check_recovered_full(disk: &FaultyDirectory, last: u64) {
    for seed in 0..8 {
        let after = disk.crash(seed);
        after.set_free_bytes(Some(0));
        let dir: Arc<dyn Directory> = Arc::new(after.clone());
        let (wal, recovery) = open(&dir);
        assert_eq!(recovery.last, SeqNo(last));
        check_holds(&wal, 1..=last);
        let error = (last + 1..).find_map(|seq| wal.append(9, SeqNo(seq), &[&[1; 600]]).err()).unwrap();
        assert_eq!(error.kind(), StorageErrorKind::Full);
    }
}

#[test]
fn a_write_that_finds_the_disk_full_is_cut_and_tried_again() {
    for free in [40, 100, 500, 700, 1500] {
        let disk = FaultyDirectory::new();
        disk.set_reserving(false);
        let dir: Arc<dyn Directory> = Arc::new(disk.clone());
        let (wal, _) = open(&dir);
        append(&wal, 1..=3);
        wal.sync_to(SeqNo(3)).unwrap();
        append(&wal, 4..=9);
        disk.set_free_bytes(Some(free));
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            outcomes.push(wal.sync_to(SeqNo(9)));
        }
        if outcomes.iter().any(Result::is_ok) {
            assert!(free >= 1000);
            continue;
        }
        for outcome in outcomes {
            assert_eq!(outcome.unwrap_err().kind(), StorageErrorKind::Full);
        }
        assert_eq!((wal.durable(), wal.last()), (SeqNo(3), SeqNo(9)));
        let end: usize = 32 + (1..=3).map(|seq| (40 + body(seq).len()).next_multiple_of(8)).sum::<usize>();
        let content = dir.read("wal-00000000000000000001.log").unwrap();
        assert_eq!(content.len(), end, "nothing of the record that did not fit stays");
        for seed in 0..10 {
            check_recovered(&(Arc::new(disk.crash(seed)) as _), Known { must: 3, may: 9, purged: 0 });
        }
        disk.set_free_bytes(None);
        append(&wal, 10..=10);
        wal.sync_to(SeqNo(10)).unwrap();
        check_holds(&wal, 1..=10);
        drop(wal);
        check_recovered(&(Arc::new(disk.crash(1)) as _), Known { must: 10, may: 10, purged: 0 });
    }
}

#[test]
fn a_power_loss_in_a_large_round_keeps_a_prefix() {
    let options = WalOptions { segment_bytes: 1 << 20, buffer_bytes: 1 << 20, record_bytes_max: 100_000 };
    for seed in 0..300 {
        let disk = FaultyDirectory::new();
        let dir: Arc<dyn Directory> = Arc::new(disk.clone());
        let (wal, _) = Wal::open(dir, options.clone(), RecoveryMode::CutTornTail).unwrap();
        append(&wal, 1..=10);
        wal.sync_to(SeqNo(10)).unwrap();
        append(&wal, 11..=60);
        // The next two calls are the write of the round and its sync.
        disk.stop_at(disk.calls() + 1 + seed % 2);
        wal.sync_to(SeqNo(60)).unwrap_err();
        check_recovered(&(Arc::new(disk.crash(seed)) as _), Known { must: 10, may: 60, purged: 0 });
    }
}
