//! Reading a partition.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use dvse_storage::WalFollower;
use dvse_types::{Position, SeqNo, StreamName};

use super::Partition;
use super::record::{Header, decode};
use super::subscriptions::{Committed, Subscriptions};
use crate::log::{Lag, LogError, Pending, ReadLimits, Record, Source};

/// The first and the longest pause between two looks at a log that has nothing new. A look is a read of a few bytes;
/// the longest pause is what an idle pipeline adds to the way of a record.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// A partition of the embedded log, being read.
#[derive(Debug)]
pub(super) struct EmbeddedSource {
    partition: Partition,
    stream: StreamName,
    subscriptions: Subscriptions,
    /// Where this began.
    start: Committed,
    /// Name of the subscription and how far it has come.
    subscription: Option<(String, Committed)>,
    follower: WalFollower,
    /// Number and end of records given out and not committed, so that committing needs no look at the log.
    ends: VecDeque<(u64, u64)>,
    /// Walks ahead to the end, for the lag; and the end it found.
    scout: WalFollower,
    end: Committed,
}

impl EmbeddedSource {
    pub(super) fn open(
        partition: Partition,
        stream: StreamName,
        subscription: Option<&str>,
    ) -> Result<EmbeddedSource, LogError> {
        let subscriptions = Subscriptions::of(&partition);
        let front = front(&partition)?;
        let subscription = match subscription {
            None => None,
            Some(name) => {
                let committed = match subscriptions.get(name)? {
                    Some(committed) => committed,
                    None => {
                        subscriptions.put(name, front)?;
                        front
                    }
                };
                Some((name.to_owned(), committed))
            }
        };
        let committed = subscription.as_ref().map_or(front, |(_, committed)| *committed);
        let follow = || WalFollower::new(Arc::clone(&partition.dir), SeqNo(committed.seq + 1));
        let (follower, scout) = (follow(), follow());
        let ends = VecDeque::new();
        Ok(EmbeddedSource {
            partition,
            stream,
            start: committed,
            subscriptions,
            subscription,
            follower,
            ends,
            scout,
            end: committed,
        })
    }

    fn read_now(&mut self, limits: ReadLimits) -> Result<Vec<Record>, LogError> {
        let found = self.follower.read(limits.records, limits.bytes);
        let found = found.map_err(|error| self.partition.records(error))?;
        let mut records = Vec::with_capacity(found.len());
        for record in found {
            let seq = record.seq;
            let (header, record) =
                decode(seq, record.body).map_err(|problem| self.record_damaged(seq, &problem))?;
            self.ends.push_back((seq.0, header.end_bytes));
            records.push(record);
        }
        if self.subscription.is_none() {
            self.ends.clear();
        }
        Ok(records)
    }

    fn commit_now(&mut self, position: Position) -> Result<(), LogError> {
        let Some((name, committed)) = &mut self.subscription else { return Err(LogError::NoSubscription) };
        let gone = |newest: u64| LogError::Gone {
            topic: self.partition.topic.clone(),
            partition: self.partition.number,
            position,
            oldest: Position(1),
            newest: Position(u128::from(newest)),
        };
        let seq = u64::try_from(position.0).map_err(|_| gone(committed.seq))?;
        // Another reader of the same subscription may have come farther.
        if let Some(stored) = self.subscriptions.get(name)?
            && stored.seq > committed.seq
        {
            *committed = stored;
        }
        if seq <= committed.seq {
            return Ok(());
        }
        let end_bytes = match self.ends.iter().find(|(at, _)| *at == seq) {
            Some((_, end_bytes)) => *end_bytes,
            None => end_of(&self.partition, SeqNo(seq))?.ok_or_else(|| gone(committed.seq))?,
        };
        let next = Committed { seq, end_bytes };
        self.subscriptions.put(name, next)?;
        *committed = next;
        self.ends.retain(|(at, _)| *at > seq);
        Ok(())
    }

    fn lag_now(&mut self) -> Result<Lag, LogError> {
        let committed = self.subscription.as_ref().map_or(self.start, |(_, committed)| *committed);
        let last = self.scout.skip_to_last().map_err(|error| self.partition.records(error))?;
        if let Some(last) = last {
            let header =
                Header::decode(&last.body).map_err(|problem| self.record_damaged(last.seq, &problem))?;
            self.end = Committed { seq: last.seq.0, end_bytes: header.end_bytes };
        }
        Ok(Lag {
            records: self.end.seq.saturating_sub(committed.seq),
            bytes: self.end.end_bytes.saturating_sub(committed.end_bytes),
        })
    }

    fn record_damaged(&self, seq: SeqNo, problem: &str) -> LogError {
        self.partition.damaged("a record", format!("record {seq}: {problem}"))
    }
}

impl Source for EmbeddedSource {
    fn stream(&self) -> &StreamName {
        &self.stream
    }

    fn committed(&self) -> Option<Position> {
        let (_, committed) = self.subscription.as_ref()?;
        (committed.seq > 0).then_some(Position(u128::from(committed.seq)))
    }

    fn seek(&mut self, after: Option<Position>) {
        let from = match after {
            // No log has so many records: reading says that this one is not there.
            Some(position) => SeqNo(u64::try_from(position.0).unwrap_or(u64::MAX - 2) + 1),
            None => WalFollower::oldest(&*self.partition.dir).unwrap_or(SeqNo(1)),
        };
        self.ends.clear();
        self.follower = WalFollower::new(Arc::clone(&self.partition.dir), from);
    }

    fn read(&mut self, limits: ReadLimits) -> Pending<'_, Result<Vec<Record>, LogError>> {
        Box::pin(async move {
            let mut pause = FIRST_PAUSE;
            let mut waited = Duration::ZERO;
            loop {
                let records = self.read_now(limits)?;
                if !records.is_empty() || waited >= limits.wait {
                    return Ok(records);
                }
                let now = pause.min(limits.wait - waited);
                tokio::time::sleep(now).await;
                waited += now;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        })
    }

    fn commit(&mut self, position: Position) -> Pending<'_, Result<(), LogError>> {
        Box::pin(async move { self.commit_now(position) })
    }

    fn lag(&mut self) -> Pending<'_, Result<Lag, LogError>> {
        Box::pin(async move { self.lag_now() })
    }
}

/// Returns the place before the oldest record there is.
fn front(partition: &Partition) -> Result<Committed, LogError> {
    let oldest = WalFollower::oldest(&*partition.dir).map_err(|error| partition.records(error))?;
    if oldest == SeqNo(1) {
        return Ok(Committed::default());
    }
    let mut follower = WalFollower::new(Arc::clone(&partition.dir), oldest);
    let records = follower.read(1, 0).map_err(|error| partition.records(error))?;
    let Some(record) = records.first() else { return Ok(Committed { seq: oldest.0 - 1, end_bytes: 0 }) };
    let header = Header::decode(&record.body).map_err(|problem| partition.damaged("a record", problem))?;
    let end_bytes = header.end_bytes.saturating_sub(record.body.len() as u64);
    Ok(Committed { seq: oldest.0 - 1, end_bytes })
}

/// Returns the bytes up to a record; `None` if it is not there.
fn end_of(partition: &Partition, seq: SeqNo) -> Result<Option<u64>, LogError> {
    let mut follower = WalFollower::new(Arc::clone(&partition.dir), seq);
    let records = follower.read(1, 0).map_err(|error| partition.records(error))?;
    let Some(record) = records.first() else { return Ok(None) };
    let header = Header::decode(&record.body).map_err(|problem| partition.damaged("a record", problem))?;
    Ok(Some(header.end_bytes))
}
