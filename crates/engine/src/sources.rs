//! How far into each partition of each stream a collection is: part of its state at a position of the log.
//!
//! A writer takes a partition over and is granted an epoch; its batches carry a mark with that epoch and the position of
//! their last record. A batch of an earlier epoch is fenced off, a batch at or before the position is a duplicate; of
//! both nothing takes effect. The same function, [`Sources::after`], says so before a batch enters the log and when it
//! is applied, so that every replay of a log comes to the same state, whoever ordered it.

use std::collections::BTreeMap;
use std::sync::Arc;

use dvse_types::{
    Position, SOURCES_MAX, STREAM_NAME_BYTES_MAX, SeqNo, SourceMark, SourceState, StreamName, WriteBatch,
    WriteOp,
};

use crate::wire::{DecodeError, FieldReader, FieldWriter};

/// A batch whose mark keeps it, or a take-over, from taking effect. Nothing of the batch is applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The records are in the collection already.
    #[error("the collection holds the records up to position {position} since entry {seq}")]
    Duplicate {
        /// The position of the last record whose effect is in the collection.
        position: Position,
        /// The entry that carried it.
        seq: SeqNo,
    },
    /// The writer's epoch is not the one granted last.
    #[error(
        "partition {partition} of stream {:?} is fenced: epoch {sent} was sent, {}",
        stream.as_str(),
        granted.map_or_else(|| "none was ever granted".to_owned(), |epoch| format!("{epoch} is the one granted last"))
    )]
    Fenced {
        /// The stream.
        stream: StreamName,
        /// Its partition.
        partition: u32,
        /// The epoch of the batch.
        sent: u64,
        /// The epoch granted last, if one was.
        granted: Option<u64>,
    },
    /// The collection keeps no further states.
    #[error(
        "partition {partition} of stream {:?} cannot be taken over: the collection knows {SOURCES_MAX} \
         partitions of streams, which is as many as it can",
        stream.as_str()
    )]
    TooMany {
        /// The stream.
        stream: StreamName,
        /// Its partition.
        partition: u32,
    },
}

type Bucket = BTreeMap<(StreamName, u32), SourceState>;

/// A batch with a mark changes one state while a view holds the states before it, so the part that holds it is copied:
/// at most some hundred states. Measured 4 µs a batch with one pair and 50 µs with as many as there can be.
const BUCKETS: usize = 256;

/// The state of every partition that was ever taken over. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// None before the first take-over, then [`BUCKETS`].
    buckets: Arc<Vec<Arc<Bucket>>>,
    pairs: usize,
}

impl Sources {
    /// The states after a batch, or why the batch may not take effect.
    pub(crate) fn after(&self, seq: SeqNo, batch: &WriteBatch) -> Result<Sources, Refusal> {
        let mut next = self.clone();
        if let Some(mark) = &batch.source {
            next.advance(seq, mark)?;
        }
        for op in &batch.ops {
            if let WriteOp::TakeOver { stream, partition } = op {
                next.take_over(stream, *partition)?;
            }
        }
        Ok(next)
    }

    fn advance(&mut self, seq: SeqNo, mark: &SourceMark) -> Result<(), Refusal> {
        let SourceMark { stream, partition, epoch, position } = mark;
        let state = self.get(stream, *partition);
        let Some(state) = state.filter(|state| state.epoch == *epoch) else {
            return Err(Refusal::Fenced {
                stream: stream.clone(),
                partition: *partition,
                sent: *epoch,
                granted: state.map(|state| state.epoch),
            });
        };
        if let Some(stored) = state.position
            && *position <= stored
        {
            return Err(Refusal::Duplicate { position: stored, seq: state.seq });
        }
        self.put(stream, *partition, SourceState { position: Some(*position), seq, ..state });
        Ok(())
    }

    fn take_over(&mut self, stream: &StreamName, partition: u32) -> Result<(), Refusal> {
        let state = match self.get(stream, partition) {
            // Granting 2⁶⁴ epochs takes longer than any disk lasts.
            Some(state) => SourceState { epoch: state.epoch.saturating_add(1), ..state },
            None if self.pairs >= SOURCES_MAX => {
                return Err(Refusal::TooMany { stream: stream.clone(), partition });
            }
            None => SourceState { epoch: 1, position: None, seq: SeqNo(0) },
        };
        self.put(stream, partition, state);
        Ok(())
    }

    pub(crate) fn get(&self, stream: &StreamName, partition: u32) -> Option<SourceState> {
        let bucket = self.buckets.get(bucket_of(stream, partition))?;
        bucket.get(&(stream.clone(), partition)).copied()
    }

    fn put(&mut self, stream: &StreamName, partition: u32, state: SourceState) {
        let buckets = Arc::make_mut(&mut self.buckets);
        if buckets.is_empty() {
            *buckets = vec![Arc::default(); BUCKETS];
        }
        if let Some(bucket) = buckets.get_mut(bucket_of(stream, partition)) {
            let known = Arc::make_mut(bucket).insert((stream.clone(), partition), state);
            self.pairs += usize::from(known.is_none());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pairs == 0
    }

    /// All states, by stream and partition.
    pub(crate) fn sorted(&self) -> Vec<(StreamName, u32, SourceState)> {
        let all = self.buckets.iter().flat_map(|bucket| bucket.iter());
        let mut all: Vec<_> =
            all.map(|((stream, partition), state)| (stream.clone(), *partition, *state)).collect();
        all.sort_unstable_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        all
    }

    pub(crate) fn encode(&self, out: &mut FieldWriter) {
        out.count(self.pairs);
        for (stream, partition, state) in self.sorted() {
            encode_source(out, &stream, partition);
            out.u64(state.epoch);
            out.u8(u8::from(state.position.is_some()));
            if let Some(position) = state.position {
                out.u128(position.0);
            }
            out.u64(state.seq.0);
        }
    }

    pub(crate) fn decode(from: &mut FieldReader<'_>) -> Result<Sources, DecodeError> {
        let mut sources = Sources::default();
        for _ in 0..from.count(26, "the number of sources")? {
            let (stream, partition) = decode_source(from)?;
            let epoch = from.u64("an epoch")?;
            let offset = from.offset();
            let position = match from.u8("whether there is a position")? {
                0 => None,
                1 => Some(Position(from.u128("a position")?)),
                got => {
                    let what = "whether there is a position";
                    return Err(DecodeError::Tag { what, offset, got: got.into() });
                }
            };
            let seq = SeqNo(from.u64("a source's entry")?);
            sources.put(&stream, partition, SourceState { epoch, position, seq });
        }
        Ok(sources)
    }
}

impl PartialEq for Sources {
    fn eq(&self, other: &Sources) -> bool {
        self.sorted() == other.sorted()
    }
}

/// FNV-1a. Where a state is kept shows in nothing but the time of a copy.
fn bucket_of(stream: &StreamName, partition: u32) -> usize {
    let bytes = stream.as_str().bytes().chain(partition.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The low bits of this hash see only the low bits of what went in.
    ((hash >> 32) ^ hash) as usize % BUCKETS
}

pub(crate) fn encode_source(out: &mut FieldWriter, stream: &StreamName, partition: u32) {
    out.str(stream.as_str());
    out.u32(partition);
}

pub(crate) fn decode_source(from: &mut FieldReader<'_>) -> Result<(StreamName, u32), DecodeError> {
    let offset = from.offset();
    let name = from.str("the name of a stream")?;
    let stream = name.parse().map_err(|source| DecodeError::Stream { offset, source })?;
    Ok((stream, from.u32("a partition")?))
}

pub(crate) fn encode_mark(out: &mut FieldWriter, mark: &SourceMark) {
    encode_source(out, &mark.stream, mark.partition);
    out.u64(mark.epoch);
    out.u128(mark.position.0);
}

pub(crate) fn decode_mark(from: &mut FieldReader<'_>) -> Result<SourceMark, DecodeError> {
    let (stream, partition) = decode_source(from)?;
    let epoch = from.u64("an epoch")?;
    Ok(SourceMark { stream, partition, epoch, position: Position(from.u128("a position")?) })
}

/// Bytes that a mark takes at most.
pub(crate) const MARK_BYTES_MAX: usize = 4 + STREAM_NAME_BYTES_MAX + 4 + 8 + 16;

#[cfg(test)]
mod tests;
