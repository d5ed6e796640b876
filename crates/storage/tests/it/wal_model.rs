//! Random lives of a log against the simplest thing that does the same: a list.

use std::sync::Arc;

use dvse_storage::{FaultyDirectory, GatherBuf, RecoveryMode, Wal, WalOptions};
use dvse_types::{SeqNo, SharedBytes};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    /// Appends records of these sizes.
    Append(Vec<usize>),
    Sync,
    /// Purges or cuts at a place between first and last, in 256ths.
    Purge(u8),
    Truncate(u8),
    /// Ends without closing; the power stays on.
    Reopen,
    Close,
    /// The power goes; the seed says what was unsynced and is there.
    PowerLoss(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0usize..1300, 1..12).prop_map(Step::Append),
        4 => Just(Step::Sync),
        1 => any::<u8>().prop_map(Step::Purge),
        1 => any::<u8>().prop_map(Step::Truncate),
        1 => Just(Step::Reopen),
        1 => Just(Step::Close),
        2 => any::<u64>().prop_map(Step::PowerLoss),
    ]
}

/// What the log holds: the body of record `first + i` at position `i`.
#[derive(Debug, Default)]
struct Model {
    first: u64,
    bodies: Vec<Vec<u8>>,
    synced: u64,
}

impl Model {
    fn last(&self) -> u64 {
        self.first + self.bodies.len() as u64 - 1
    }

    fn keep_to(&mut self, last: u64) {
        self.bodies.truncate((last + 1 - self.first) as usize);
        self.synced = self.synced.min(last);
    }

    fn keep_from(&mut self, first: u64) {
        self.bodies.drain(..(first - self.first) as usize);
        self.first = first;
    }

    fn place(&self, part: u8) -> u64 {
        self.first + (self.bodies.len() as u64 * u64::from(part)) / 256
    }
}

fn open(disk: &FaultyDirectory) -> Wal {
    let options = WalOptions { segment_bytes: 4000, buffer_bytes: 2500, record_bytes_max: 1300 };
    Wal::open(Arc::new(disk.clone()), options, RecoveryMode::CutTornTail).unwrap().0
}

fn check(wal: &Wal, model: &Model) {
    let bodies: Vec<Vec<u8>> = wal.read(wal.first()).unwrap().map(|record| record.unwrap().body).collect();
    assert_eq!(bodies.len() as u64 + wal.first().0, wal.durable().0 + 1);
    assert_eq!(wal.first().0, model.first);
    assert!(bodies[..] == model.bodies[..bodies.len()]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_list(steps in prop::collection::vec(step(), 1..30)) {
        let mut disk = FaultyDirectory::new();
        let mut wal = open(&disk);
        let mut model = Model { first: 1, ..Model::default() };
        for step in steps {
            match step {
                Step::Append(sizes) => {
                    for size in sizes {
                        let seq = model.last() + 1;
                        let body: Vec<u8> = (0..size).map(|i| (i as u64 ^ seq) as u8).collect();
                        if size % 2 == 0 {
                            wal.append(0, SeqNo(seq), &[&body]).unwrap();
                        } else {
                            let mut gathered = GatherBuf::new();
                            gathered.share(SharedBytes::from(body.clone()));
                            wal.append_gathered(0, SeqNo(seq), &gathered).unwrap();
                        }
                        model.bodies.push(body);
                    }
                }
                Step::Sync => {
                    wal.sync_to(SeqNo(model.last())).unwrap();
                    model.synced = model.last();
                    assert_eq!(wal.durable().0, model.last());
                }
                Step::Purge(part) => {
                    let before = model.place(part);
                    wal.purge_before(SeqNo(before)).unwrap();
                    let first = wal.first().0;
                    assert!(first <= before.max(model.first));
                    model.keep_from(first);
                }
                Step::Truncate(part) => {
                    let after = model.place(part);
                    wal.truncate_after(SeqNo(after)).unwrap();
                    if after < model.last() {
                        model.keep_to(after);
                        model.synced = after;
                    }
                }
                Step::Reopen | Step::Close | Step::PowerLoss(_) => {
                    if matches!(step, Step::Close) {
                        wal.close().unwrap();
                        model.synced = model.last();
                    } else {
                        drop(wal);
                    }
                    if let Step::PowerLoss(seed) = step {
                        disk = disk.crash(seed);
                    }
                    wal = open(&disk);
                    let last = wal.last().0.max(model.first - 1);
                    assert!(last >= model.synced && last <= model.last(), "{last} {}", model.synced);
                    model.keep_to(last);
                    model.synced = last;
                }
            }
            if !model.bodies.is_empty() && model.synced >= model.first {
                check(&wal, &model);
            }
        }
    }
}
