//! Entries that are in the log and not applied yet.

use std::collections::VecDeque;
use std::sync::Arc;

use dvse_types::{SeqNo, WriteBatch};
use parking_lot::Mutex;

use super::{Durability, WriteError};
use crate::apply::Applied;
use crate::sources::Sources;

/// Entries in the order of the log.
pub(super) struct Queue {
    /// The number of the next entry.
    pub(super) next: SeqNo,
    pub(super) pending: VecDeque<Pending>,
    /// How far into each stream the collection is once everything in the log is applied.
    pub(super) sources: Sources,
}

/// One entry.
pub(super) struct Pending {
    pub(super) seq: SeqNo,
    pub(super) batch: WriteBatch,
    pub(super) durability: Durability,
    pub(super) slot: Arc<Slot>,
}

/// Where the writer of an entry finds what came of it.
#[derive(Default)]
pub(super) struct Slot {
    outcome: Mutex<Option<Result<Applied, WriteError>>>,
}

impl Slot {
    pub(super) fn set(&self, outcome: Result<Applied, WriteError>) {
        *self.outcome.lock() = Some(outcome);
    }

    pub(super) fn take(&self) -> Option<Result<Applied, WriteError>> {
        self.outcome.lock().take()
    }
}

impl Queue {
    pub(super) fn new(next: SeqNo, sources: Sources) -> Queue {
        Queue { next, pending: VecDeque::new(), sources }
    }

    /// Takes the first entry if it may be applied.
    pub(super) fn pop_ready(&mut self, durable: SeqNo) -> Option<Pending> {
        let first = self.pending.front()?;
        let ready = first.durability == Durability::Buffered || first.seq <= durable;
        if ready { self.pending.pop_front() } else { None }
    }
}
