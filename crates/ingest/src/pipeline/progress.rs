//! What a running pipeline tells, and how it is steered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::partition::{FailureKind, PartitionProgress, PartitionStatus, WorkerState};
use crate::log::Lag;

/// What the workers of a pipeline are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Take what comes.
    #[default]
    Run,
    /// Begin no batch.
    Pause,
    /// Go on until nothing is left, then begin no batch.
    Drain {
        /// How often it was asked: what is left is looked for anew each time.
        round: u64,
    },
    /// End: one of them failed.
    Halt,
    /// End, for good.
    Stop,
}

impl Mode {
    /// Whether the workers are to end.
    pub(super) fn is_ending(self) -> bool {
        matches!(self, Mode::Halt | Mode::Stop)
    }

    /// The name that is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Run => "run",
            Mode::Pause => "pause",
            Mode::Drain { .. } => "drain",
            Mode::Halt | Mode::Stop => "stop",
        }
    }
}

/// Shared between the workers of a pipeline and whoever watches and steers it.
///
/// Nothing of it is durable: a pipeline that is started again runs, because how far it is stands in the collection and in the log.
#[derive(Debug)]
pub struct Progress {
    mode: watch::Sender<Mode>,
    /// Counts the changes of states, for who waits for one.
    changes: Arc<watch::Sender<u64>>,
    partitions: Mutex<Vec<Arc<PartitionProgress>>>,
    /// What the log as a whole waits for.
    log_trouble: Mutex<Option<String>>,
    /// Why the pipeline ended by itself, once all workers have.
    failure: Mutex<Option<String>>,
    /// Failures that no worker had.
    failures: [AtomicU64; FailureKind::ALL.len()],
}

/// What a pipeline, or one of its workers, has done since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records acknowledged.
    pub records: u64,
    /// Changes committed; records of one point in one batch are one change.
    pub changes: u64,
    /// Dead letters written.
    pub dead: u64,
    /// Events published.
    pub events: u64,
    /// Batches committed.
    pub batches: u64,
    /// Events published for a batch that an earlier worker had committed.
    pub recovered: u64,
    /// Calls tried again.
    pub retries: u64,
    /// What is still to be done, when last looked: once a second.
    pub lag: Lag,
}

impl Counts {
    fn plus(self, other: Counts) -> Counts {
        Counts {
            records: self.records + other.records,
            changes: self.changes + other.changes,
            dead: self.dead + other.dead,
            events: self.events + other.events,
            batches: self.batches + other.batches,
            recovered: self.recovered + other.recovered,
            retries: self.retries + other.retries,
            lag: Lag {
                records: self.lag.records + other.lag.records,
                bytes: self.lag.bytes + other.lag.bytes,
            },
        }
    }
}

/// A pipeline at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineStatus {
    /// What it was asked to do.
    pub mode: Mode,
    /// What it does: what the worker does that is farthest from working as asked.
    pub state: WorkerState,
    /// Why it waits or stopped.
    pub reason: Option<String>,
    /// The sums of all workers.
    pub counts: Counts,
    /// The age of the worker that is farthest behind, in milliseconds.
    pub age_ms: u64,
    /// The workers, by partition. None before the log has told how many partitions there are.
    pub partitions: Vec<PartitionStatus>,
    /// How often it failed before there were workers, by kind.
    pub failures: [u64; FailureKind::ALL.len()],
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            mode: watch::Sender::new(Mode::Run),
            changes: Arc::new(watch::Sender::new(0)),
            partitions: Mutex::default(),
            log_trouble: Mutex::default(),
            failure: Mutex::default(),
            failures: Default::default(),
        }
    }
}

impl Progress {
    /// Asks the workers to end after the batch under way, for good.
    pub fn stop(&self) {
        self.mode.send_if_modified(|mode| std::mem::replace(mode, Mode::Stop) != Mode::Stop);
        self.changed();
    }

    /// Ends the workers because one of them failed, or none could be started.
    pub fn halt(&self) {
        self.mode.send_if_modified(|mode| {
            let is_new = !mode.is_ending();
            if is_new {
                *mode = Mode::Halt;
            }
            is_new
        });
    }

    /// Notes why the pipeline ended by itself. Its workers have ended; [`resume`](Progress::resume) may start it again.
    pub fn ended(&self, kind: Option<FailureKind>, reason: String) {
        self.halt();
        if let Some(count) = kind.and_then(|kind| self.failures.get(kind as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        *lock(&self.failure) = Some(reason);
        self.changed();
    }

    /// Begins no batch from now on; the one under way is brought to its end. False if the pipeline has ended or is ending.
    pub fn pause(&self) -> bool {
        self.ask(|_| Mode::Pause)
    }

    /// Goes on until nothing is left, and begins no batch from then on. False if the pipeline has ended or is ending.
    pub fn drain(&self) -> bool {
        // What was seen to be empty before is to be looked at anew.
        for partition in lock(&self.partitions).iter() {
            partition.leave(WorkerState::Drained);
        }
        self.ask(|mode| match mode {
            Mode::Drain { round } => Mode::Drain { round: round + 1 },
            _ => Mode::Drain { round: 0 },
        })
    }

    fn ask(&self, next: impl FnOnce(Mode) -> Mode) -> bool {
        let mut is_asked = false;
        self.mode.send_if_modified(|mode| {
            is_asked = !mode.is_ending();
            if is_asked {
                *mode = next(*mode);
            }
            is_asked
        });
        is_asked
    }

    /// Takes what comes again. A pipeline that ended by itself is to be started again by who runs it, once all its workers have
    /// ended; false before that, and after [`stop`](Progress::stop).
    pub fn resume(&self) -> bool {
        let mut failure = lock(&self.failure);
        let mut is_resumed = false;
        self.mode.send_if_modified(|mode| {
            is_resumed = match *mode {
                Mode::Stop => false,
                Mode::Halt => failure.is_some(),
                _ => true,
            };
            if is_resumed { std::mem::replace(mode, Mode::Run) != Mode::Run } else { false }
        });
        if is_resumed && failure.take().is_some() {
            for partition in lock(&self.partitions).iter() {
                partition.leave(WorkerState::Stopped);
            }
        }
        drop(failure);
        self.changed();
        is_resumed
    }

    /// Whether it was stopped for good.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.mode.borrow() == Mode::Stop
    }

    /// Whether the workers were asked to end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.mode.borrow().is_ending()
    }

    /// Waits on this thread until a pipeline that ended by itself is to be started again; false if it is to stop for good.
    ///
    /// # Errors
    /// There is no runtime to wait in.
    pub fn wait_for_resume(&self) -> std::io::Result<bool> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let mut modes = self.mode.subscribe();
        // The sender is this value's own.
        let mode = runtime.block_on(modes.wait_for(|mode| *mode != Mode::Halt));
        Ok(mode.is_ok_and(|mode| *mode != Mode::Stop))
    }

    /// Tells of each change of a state.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Returns what was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.partitions).iter().fold(Counts::default(), |sum, one| sum.plus(one.counts()))
    }

    /// Returns why a worker is waiting, if one is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        lock(&self.partitions).iter().find_map(|partition| partition.trouble())
    }

    /// Notes what the log as a whole waits for, or that it waits no more.
    pub fn set_log_trouble(&self, trouble: Option<String>) {
        *lock(&self.log_trouble) = trouble;
        self.changed();
    }

    /// Returns how all is, at a time in milliseconds since 1970.
    #[must_use]
    pub fn status(&self, now_ms: u64) -> PipelineStatus {
        let mode = *self.mode.borrow();
        let failure = lock(&self.failure).clone();
        let log_trouble = lock(&self.log_trouble).clone();
        let mut partitions: Vec<PartitionStatus> =
            lock(&self.partitions).iter().map(|partition| partition.status(now_ms)).collect();
        for partition in &mut partitions {
            // A worker that reads does not know that its log is away.
            if log_trouble.is_some() && partition.state == WorkerState::Running {
                partition.state = WorkerState::Waiting;
                partition.reason.clone_from(&log_trouble);
            }
        }
        let farthest = partitions.iter().map(|partition| partition.state).max();
        let state = match &failure {
            Some(_) => WorkerState::Stopped,
            None => farthest.unwrap_or(WorkerState::Waiting),
        };
        let of_workers = || partitions.iter().find_map(|partition| partition.reason.clone());
        PipelineStatus {
            mode,
            state,
            reason: failure.or_else(of_workers).or(log_trouble),
            counts: partitions.iter().fold(Counts::default(), |sum, one| sum.plus(one.counts)),
            age_ms: partitions.iter().map(|partition| partition.age_ms).max().unwrap_or(0),
            failures: std::array::from_fn(|kind| {
                self.failures.get(kind).map_or(0, |count| count.load(Ordering::Relaxed))
            }),
            partitions,
        }
    }

    /// Makes the places of the workers; those that are there go on counting.
    pub(super) fn prepare(&self, count: u32, now_ms: u64) -> Vec<Arc<PartitionProgress>> {
        let mut partitions = lock(&self.partitions);
        for number in (0..count).skip(partitions.len()) {
            let (mode, changes) = (self.mode.subscribe(), Arc::clone(&self.changes));
            partitions.push(Arc::new(PartitionProgress::new(number, mode, changes, now_ms)));
        }
        partitions.truncate(count as usize);
        partitions.clone()
    }

    pub(super) fn add(count: &AtomicU64, more: usize) {
        count.fetch_add(more as u64, Ordering::Relaxed);
    }
}

pub(super) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
