//! Batches that come from a stream: what became of their marks, and who may write them.

use dvse_types::{Position, SourceState, StreamName, WriteBatch, WriteOp};

use super::{Durability, EmbeddedCollection, WriteError, WriteReceipt};
use crate::sources::Refusal;

/// What became of the mark of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkOutcome {
    /// Batch and mark took effect.
    Applied {
        /// The position of the mark.
        position: Position,
    },
    /// The records were in the collection already; nothing changed.
    Duplicate {
        /// The position of the last record whose effect is in the collection.
        position: Position,
    },
}

impl MarkOutcome {
    /// The position of the last record whose effect is in the collection.
    #[must_use]
    pub fn position(self) -> Position {
        match self {
            MarkOutcome::Applied { position } | MarkOutcome::Duplicate { position } => position,
        }
    }
}

impl EmbeddedCollection {
    /// Takes a partition of a stream over: grants the next epoch, so that batches of earlier ones are refused from here
    /// on. Answers, once it is on the disk, the new epoch and how far the collection is.
    ///
    /// # Errors
    /// [`WriteError::Refused`] when the collection knows as many partitions as it can; else as
    /// [`EmbeddedCollection::write`].
    pub fn take_over(&self, stream: &StreamName, partition: u32) -> Result<SourceState, WriteError> {
        let op = WriteOp::TakeOver { stream: stream.clone(), partition };
        let logged = self.log_and_apply(WriteBatch::new(vec![op]), Durability::Synced)?;
        let (logged, _) = logged.map_err(WriteError::Refused)?;
        // Of this entry, not of the newest view: two that take over at once must not hear the same epoch.
        let state = logged.sources.get(stream, partition);
        state.ok_or_else(|| WriteError::Closed { name: self.name.clone() })
    }

    /// Answers a batch that its mark kept from taking effect.
    pub(super) fn refused(
        &self,
        refusal: Refusal,
        durability: Durability,
    ) -> Result<WriteReceipt, WriteError> {
        let Refusal::Duplicate { position, seq } = refusal else { return Err(WriteError::Refused(refusal)) };
        // The entry that holds the records may still be on its way; whoever hears of a duplicate counts on it.
        let wal = self.wal.read();
        let Some(wal) = wal.as_ref() else { return Err(WriteError::Closed { name: self.name.clone() }) };
        if durability == Durability::Synced {
            wal.sync_to(seq).map_err(|error| self.log_failed(error))?;
        }
        self.apply_until(wal, || (self.shard.applied() >= seq).then_some(()))?;
        let mark = Some(MarkOutcome::Duplicate { position });
        Ok(WriteReceipt { seq, touched: Vec::new(), mark })
    }
}
