//! What one worker tells.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::progress::{Counts, Mode, lock};
use crate::log::{Lag, Record};

/// What a worker does. Ordered by how far it is from working as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkerState {
    /// It has done everything there was, as it was asked, and begins no batch.
    Drained,
    /// It begins no batch, as it was asked.
    Paused,
    /// It works, or looks for records.
    Running,
    /// It cannot go on before something else can: the collection, the model, the log. So it is before it has begun.
    Waiting,
    /// It has ended.
    Stopped,
}

impl WorkerState {
    /// All states.
    pub const ALL: [WorkerState; 5] = [
        WorkerState::Running,
        WorkerState::Waiting,
        WorkerState::Paused,
        WorkerState::Drained,
        WorkerState::Stopped,
    ];

    /// The name that is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            WorkerState::Drained => "drained",
            WorkerState::Paused => "paused",
            WorkerState::Running => "running",
            WorkerState::Waiting => "waiting",
            WorkerState::Stopped => "stopped",
        }
    }

    fn of(number: u8) -> WorkerState {
        let is = |state: &WorkerState| *state as u8 == number;
        WorkerState::ALL.into_iter().find(is).unwrap_or(WorkerState::Stopped)
    }
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The collection: away, busy or full, which is waited for; or it cannot be written at all, which ends the worker.
    Collection,
    /// The model, which is waited for.
    Model,
    /// The log, which ends the worker.
    Log,
    /// Another worker has the partition, which ends this one.
    Fenced,
    /// Anything else, which ends the worker.
    Other,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [FailureKind; 5] = [
        FailureKind::Collection,
        FailureKind::Model,
        FailureKind::Log,
        FailureKind::Fenced,
        FailureKind::Other,
    ];

    /// The name that is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FailureKind::Collection => "collection",
            FailureKind::Model => "model",
            FailureKind::Log => "log",
            FailureKind::Fenced => "fenced",
            FailureKind::Other => "other",
        }
    }
}

/// Shared between a worker and whoever watches it.
#[derive(Debug)]
pub struct PartitionProgress {
    number: u32,
    mode: watch::Receiver<Mode>,
    news: Arc<watch::Sender<u64>>,
    state: AtomicU8,
    epoch: AtomicU64,
    /// All records that were appended before this time are acknowledged; milliseconds since 1970.
    fresh_ms: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) changes: AtomicU64,
    pub(super) dead: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) recovered: AtomicU64,
    pub(super) retries: AtomicU64,
    failures: [AtomicU64; FailureKind::ALL.len()],
    lag: Mutex<Lag>,
    trouble: Mutex<Option<String>>,
}

/// A worker at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Its partition.
    pub partition: u32,
    /// What it does.
    pub state: WorkerState,
    /// Why it waits.
    pub reason: Option<String>,
    /// The epoch it writes with; 0 before it has one.
    pub epoch: u64,
    /// What it has done.
    pub counts: Counts,
    /// Time since which a record may have waited: now, less the time at which the oldest record that was read and is not
    /// acknowledged was appended; where there is none, less the time of the last look that found nothing. In milliseconds.
    pub age_ms: u64,
    /// How often what failed, in the order of [`FailureKind::ALL`].
    pub failures: [u64; FailureKind::ALL.len()],
}

impl PartitionProgress {
    pub(super) fn new(
        number: u32,
        mode: watch::Receiver<Mode>,
        news: Arc<watch::Sender<u64>>,
        now_ms: u64,
    ) -> PartitionProgress {
        PartitionProgress {
            number,
            mode,
            news,
            state: AtomicU8::new(WorkerState::Waiting as u8),
            epoch: AtomicU64::default(),
            fresh_ms: AtomicU64::new(now_ms),
            records: AtomicU64::default(),
            changes: AtomicU64::default(),
            dead: AtomicU64::default(),
            events: AtomicU64::default(),
            batches: AtomicU64::default(),
            recovered: AtomicU64::default(),
            retries: AtomicU64::default(),
            failures: Default::default(),
            lag: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    pub(super) fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    /// Tells the mode and its changes.
    pub(super) fn modes(&self) -> watch::Receiver<Mode> {
        self.mode.clone()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.mode().is_ending()
    }

    pub(super) fn set_state(&self, state: WorkerState) {
        if self.state.swap(state as u8, Ordering::Relaxed) != state as u8 {
            self.news.send_modify(|count| *count += 1);
        }
    }

    /// A worker that is to begin something anew is not in this state any more.
    pub(super) fn leave(&self, state: WorkerState) {
        let next = if state == WorkerState::Stopped { WorkerState::Waiting } else { WorkerState::Running };
        let _ = self.state.compare_exchange(state as u8, next as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The partition was taken over.
    pub(super) fn began(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
        self.set_state(WorkerState::Running);
    }

    /// What a look into the log that began at a time has found.
    pub(super) fn found(&self, records: &[Record], looked_ms: u64) {
        let fresh = records.first().map_or(looked_ms, |oldest| oldest.appended_ms.min(looked_ms));
        self.fresh_ms.store(fresh, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, kind: FailureKind) {
        if let Some(count) = self.failures.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        let state = if trouble.is_some() { WorkerState::Waiting } else { WorkerState::Running };
        *lock(&self.trouble) = trouble;
        self.set_state(state);
    }

    /// The worker has ended.
    pub(super) fn ended(&self) {
        *lock(&self.trouble) = None;
        self.set_state(WorkerState::Stopped);
    }

    pub(super) fn set_lag(&self, lag: Lag) {
        *lock(&self.lag) = lag;
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            records: read(&self.records),
            changes: read(&self.changes),
            dead: read(&self.dead),
            events: read(&self.events),
            batches: read(&self.batches),
            recovered: read(&self.recovered),
            retries: read(&self.retries),
            lag: *lock(&self.lag),
        }
    }

    pub(super) fn status(&self, now_ms: u64) -> PartitionStatus {
        PartitionStatus {
            partition: self.number,
            state: WorkerState::of(self.state.load(Ordering::Relaxed)),
            reason: self.trouble(),
            epoch: self.epoch.load(Ordering::Relaxed),
            counts: self.counts(),
            age_ms: now_ms.saturating_sub(self.fresh_ms.load(Ordering::Relaxed)),
            failures: std::array::from_fn(|kind| {
                self.failures.get(kind).map_or(0, |count| count.load(Ordering::Relaxed))
            }),
        }
    }
}
