//! What a running pipeline tells, and how it is asked to stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::log::Lag;

/// Shared between the workers of a pipeline and whoever watches it.
#[derive(Debug, Default)]
pub struct Progress {
    stop: AtomicBool,
    pub(super) records: AtomicU64,
    pub(super) changes: AtomicU64,
    pub(super) dead: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) recovered: AtomicU64,
    pub(super) retries: AtomicU64,
    lags: Mutex<Vec<Lag>>,
    trouble: Mutex<Option<String>>,
}

/// What a pipeline has done since it began.
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
    /// What is still to be done, when last looked.
    pub lag: Lag,
}

impl Progress {
    /// Asks the workers to end after the batch under way.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether they were asked.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns what was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        let lag = lags.iter().fold(Lag::default(), |sum, lag| Lag {
            records: sum.records + lag.records,
            bytes: sum.bytes + lag.bytes,
        });
        Counts {
            records: read(&self.records),
            changes: read(&self.changes),
            dead: read(&self.dead),
            events: read(&self.events),
            batches: read(&self.batches),
            recovered: read(&self.recovered),
            retries: read(&self.retries),
            lag,
        }
    }

    /// Returns why a worker is waiting, if one is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(super) fn set_lag(&self, partition: u32, lag: Lag) {
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        let at = partition as usize;
        if lags.len() <= at {
            lags.resize(at + 1, Lag::default());
        }
        if let Some(slot) = lags.get_mut(at) {
            *slot = lag;
        }
    }

    pub(super) fn add(count: &AtomicU64, more: usize) {
        count.fetch_add(more as u64, Ordering::Relaxed);
    }
}
