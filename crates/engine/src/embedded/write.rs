//! The way of a batch: into the log, and from there, in the order of the log, into the shard.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dvse_storage::{GatherBuf, Wal, WalError};
use dvse_types::{SeqNo, WriteBatch};

use super::queue::{Pending, Slot};
use super::{Durability, EmbeddedCollection, MarkOutcome, WriteError, WriteReceipt};
use crate::apply::Applied;
use crate::maintenance::{Goal, Step};
use crate::op_codec;
use crate::segment::Segment;
use crate::sources::{Refusal, Sources};
use crate::validate::validate;

/// Growing segments that may wait to be sealed before writers wait too. Each is at most as large as a growing
/// segment gets.
const WAITING_SEGMENTS_MAX: usize = 2;

/// The stream of the log: a log of one collection has one.
const STREAM: u32 = 0;

/// A batch that has its place in the log.
pub(super) struct Logged {
    pub(super) seq: SeqNo,
    slot: Arc<Slot>,
    /// How far into each stream the collection is with this batch.
    pub(super) sources: Sources,
}

impl EmbeddedCollection {
    /// Checks a batch against the schema, logs it, applies it, and answers when it is visible and as durable as asked.
    ///
    /// A batch whose mark says that its records are in the collection already is neither logged nor applied; the
    /// answer says so, when those records are visible and as durable as asked.
    ///
    /// # Errors
    /// [`WriteError`]; of a batch that was refused nothing is applied. After [`WriteError::Poisoned`] the
    /// collection takes no more writes until it is opened again, and reads go on.
    pub fn write(&self, batch: WriteBatch, durability: Durability) -> Result<WriteReceipt, WriteError> {
        let mark = batch.source.as_ref().map(|mark| MarkOutcome::Applied { position: mark.position });
        match self.log_and_apply(batch, durability)? {
            Ok((logged, touched)) => Ok(WriteReceipt { seq: logged.seq, touched, mark }),
            Err(refusal) => self.refused(refusal, durability),
        }
    }

    /// Logs and applies a batch, unless its mark keeps it out of the log.
    pub(super) fn log_and_apply(
        &self,
        batch: WriteBatch,
        durability: Durability,
    ) -> Result<Result<(Logged, Vec<usize>), Refusal>, WriteError> {
        self.check_writable()?;
        validate(&batch, &self.schema())?;
        self.wait_for_room()?;
        let body = op_codec::encode_behind(&batch, self.bodies.take());
        let wal = self.wal.read();
        let Some(wal) = wal.as_ref() else { return Err(WriteError::Closed { name: self.name.clone() }) };
        let enqueued = self.enqueue(wal, batch, &body, durability);
        self.bodies.give_back(body);
        let logged = match enqueued? {
            Ok(logged) => logged,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if durability == Durability::Synced {
            wal.sync_to(logged.seq).map_err(|error| self.log_failed(error))?;
        }
        let applied = self.apply_until(wal, || logged.slot.take())??;
        self.wake();
        Ok(match applied {
            Applied::Touched(touched) => Ok((logged, touched)),
            Applied::Refused(refusal) => Err(refusal),
        })
    }

    /// Gives the batch its place in the log, unless its mark keeps it out. Asking the mark, number and append are one
    /// step, so the log is in the order of numbers and every mark is asked about the state it will be applied to.
    fn enqueue(
        &self,
        wal: &Wal,
        batch: WriteBatch,
        body: &GatherBuf,
        durability: Durability,
    ) -> Result<Result<Logged, Refusal>, WriteError> {
        let mut queue = self.queue.lock();
        let seq = queue.next;
        let sources = match queue.sources.after(seq, &batch) {
            Ok(sources) => sources,
            Err(refusal) => return Ok(Err(refusal)),
        };
        wal.append_gathered(STREAM, seq, body).map_err(|error| self.log_failed(error))?;
        queue.next = seq.next();
        queue.sources = sources.clone();
        let slot = Arc::new(Slot::default());
        queue.pending.push_back(Pending { seq, batch, durability, slot: Arc::clone(&slot) });
        Ok(Ok(Logged { seq, slot, sources }))
    }

    /// Applies entries in order until `done` has an answer. An entry whose writer waits for the disk is applied
    /// only when it is on the disk, so nobody sees what a power loss could take back; entries behind it wait.
    pub(super) fn apply_until<T>(&self, wal: &Wal, done: impl Fn() -> Option<T>) -> Result<T, WriteError> {
        loop {
            let blocked_by = {
                let _turn = self.applying.lock();
                self.apply_ready(wal);
                if let Some(outcome) = done() {
                    return Ok(outcome);
                }
                self.queue.lock().pending.front().map(|pending| pending.seq)
            };
            self.check_writable()?;
            if let Some(seq) = blocked_by {
                wal.sync_to(seq).map_err(|error| self.log_failed(error))?;
            }
        }
    }

    fn apply_ready(&self, wal: &Wal) {
        loop {
            let durable = wal.durable();
            let Some(pending) = self.queue.lock().pop_ready(durable) else { return };
            let outcome = self.shard.apply(pending.seq, &pending.batch);
            let outcome = outcome.map_err(|error| {
                let cause: Arc<str> = error.to_string().into();
                self.poison.lock().get_or_insert_with(|| Arc::clone(&cause));
                WriteError::Poisoned { name: self.name.clone(), cause }
            });
            pending.slot.set(outcome);
        }
    }

    pub(super) fn check_writable(&self) -> Result<(), WriteError> {
        if let Some(cause) = self.poison.lock().clone() {
            return Err(WriteError::Poisoned { name: self.name.clone(), cause });
        }
        if self.closing.load(Ordering::Acquire) {
            return Err(WriteError::Closed { name: self.name.clone() });
        }
        Ok(())
    }

    /// Sorts what the log said: a full disk and a batch that is too large refuse the one write, everything else means
    /// that what is on the disk is unknown, and poisons the collection.
    pub(super) fn log_failed(&self, error: WalError) -> WriteError {
        match error {
            WalError::Full { .. } => WriteError::OutOfSpace { cause: error.to_string().into() },
            WalError::TooLarge { bytes, bytes_max } => WriteError::TooLarge { bytes, bytes_max },
            other => {
                let cause: Arc<str> = other.to_string().into();
                let cause = Arc::clone(self.poison.lock().get_or_insert(cause));
                WriteError::Poisoned { name: self.name.clone(), cause }
            }
        }
    }

    /// Waits while more waits to be linked or sealed than the configuration allows. Without a background thread it
    /// does the work itself.
    fn wait_for_room(&self) -> Result<(), WriteError> {
        loop {
            let seen = *self.worked_lock.lock();
            if self.has_room() {
                return Ok(());
            }
            self.check_writable()?;
            if self.waker.is_none() {
                if self.run_step(Goal::Tidy)? == Step::Idle {
                    return Ok(());
                }
                continue;
            }
            if let Some((kind, cause)) = self.failure.lock().clone() {
                self.wake();
                return Err(WriteError::maintenance(kind, cause));
            }
            self.wake();
            let mut worked = self.worked_lock.lock();
            if *worked == seen {
                self.worked.wait(&mut worked);
            }
        }
    }

    fn has_room(&self) -> bool {
        let view = self.view();
        let mut tail_bytes = 0;
        let mut growing = 0;
        for state in &view.state().segments {
            if let Segment::Growing(segment) = &state.segment {
                tail_bytes += segment.tail_bytes();
                growing += 1;
            }
        }
        tail_bytes <= self.shard.config.tail_bytes_max as u64 && growing <= WAITING_SEGMENTS_MAX + 1
    }
}
