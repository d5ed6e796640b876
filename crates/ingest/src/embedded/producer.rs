//! Appending to a partition, dropping what nobody needs, and holding whoever is too far ahead.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use dvse_storage::{GatherBuf, LockGuard, RecoveryMode, Wal, WalError, WalOptions};
use dvse_types::SeqNo;

use super::record::{HEADER_BYTES, Header, decode};
use super::subscriptions::{Committed, Subscriptions};
use super::{Clock, Partition};
use crate::log::{LogError, Pending, Producer, Record};
use crate::topic::TopicSpec;

const LOCK: &str = "producer.lock";
/// The stream of the log's records: each partition is a log of its own.
const STREAM: u32 = 0;
/// Pause between two looks at the subscriptions while a producer is held.
const HELD_PAUSE: Duration = Duration::from_millis(20);
/// At most this many records are read at once on the way back from the newest.
const BACK_RECORDS_MAX: u64 = 64;

/// A partition of the embedded log, being written.
#[derive(Debug)]
pub(super) struct EmbeddedProducer {
    partition: Partition,
    spec: TopicSpec,
    clock: Clock,
    wal: Wal,
    subscriptions: Subscriptions,
    /// Bytes of all records so far.
    end_bytes: u64,
    /// How far the slowest subscription had come when last looked.
    slowest: Committed,
    /// Number of files when retention was last applied.
    files: usize,
    /// Held as long as this lives.
    _lock: LockGuard,
}

impl EmbeddedProducer {
    pub(super) fn open(
        partition: Partition,
        spec: TopicSpec,
        clock: Clock,
    ) -> Result<EmbeddedProducer, LogError> {
        let lock = match partition.dir.lock(LOCK) {
            Err(dvse_storage::DirectoryError::Locked { holder, .. }) => {
                let (topic, partition) = (partition.topic.clone(), partition.number);
                return Err(LogError::Busy { topic, partition, holder });
            }
            locked => locked?,
        };
        let options = WalOptions { segment_bytes: spec.segment_bytes, ..WalOptions::default() };
        let opened = Wal::open(Arc::clone(&partition.dir), options, RecoveryMode::CutTornTail);
        let (wal, _) = opened.map_err(|error| partition.records(error))?;
        let subscriptions = Subscriptions::of(&partition);
        let slowest = subscriptions.slowest()?;
        let mut producer = EmbeddedProducer {
            partition,
            spec,
            clock,
            wal,
            subscriptions,
            end_bytes: 0,
            slowest,
            files: 0,
            _lock: lock,
        };
        if producer.wal.first() <= producer.wal.last() {
            producer.end_bytes = producer.header_of(producer.wal.last())?.end_bytes;
        }
        producer.retain()?;
        Ok(producer)
    }

    fn read_one(&self, seq: SeqNo) -> Result<Vec<u8>, LogError> {
        let fail = |error| self.partition.records(error);
        match self.wal.read(seq).map_err(fail)?.next() {
            Some(record) => Ok(record.map_err(fail)?.body),
            None => Err(self.partition.damaged("a record", format!("record {seq} is not there"))),
        }
    }

    fn header_of(&self, seq: SeqNo) -> Result<Header, LogError> {
        let body = self.read_one(seq)?;
        Header::decode(&body)
            .map_err(|problem| self.partition.damaged("a record", format!("record {seq}: {problem}")))
    }

    /// Drops the files that every subscription has passed and that are too old, or too much.
    fn retain(&mut self) -> Result<(), LogError> {
        let starts = self.wal.file_starts();
        self.files = starts.len();
        if starts.len() < 2 || (self.spec.retention_ms.is_none() && self.spec.retention_bytes.is_none()) {
            return Ok(());
        }
        self.slowest = self.subscriptions.slowest()?;
        let now = (self.clock.0)();
        let mut before = None;
        // What retention by bytes counts is what would be left without the file.
        for next in starts.iter().skip(1) {
            let last = self.header_of(SeqNo(next.0 - 1))?;
            let is_old = self.spec.retention_ms.is_some_and(|ms| now.saturating_sub(last.appended_ms) > ms);
            let left = self.end_bytes.saturating_sub(last.end_bytes);
            let is_beyond = self.spec.retention_bytes.is_some_and(|bytes| left >= bytes);
            if next.0 - 1 > self.slowest.seq || !(is_old || is_beyond) {
                break;
            }
            before = Some(*next);
        }
        if let Some(before) = before {
            self.wal.purge_before(before).map_err(|error| self.partition.records(error))?;
            self.files = self.wal.file_starts().len();
        }
        Ok(())
    }

    /// Bytes that the slowest subscription has not passed.
    fn backlog_bytes(&self) -> u64 {
        self.end_bytes.saturating_sub(self.slowest.end_bytes)
    }

    /// Whether the record may be appended; looks at the subscriptions only if it did not seem so.
    fn has_room(&mut self, bytes: u64) -> Result<bool, LogError> {
        let Some(bytes_max) = self.spec.backlog_bytes_max else { return Ok(true) };
        // A record that is larger than the bound alone passes once nothing waits before it.
        let fits = |backlog: u64| backlog == 0 || backlog.saturating_add(bytes) <= bytes_max;
        if fits(self.backlog_bytes()) {
            return Ok(true);
        }
        self.slowest = self.subscriptions.slowest()?;
        Ok(fits(self.backlog_bytes()))
    }

    /// Waits until a record may be appended, and returns its bytes.
    async fn wait_for_room(
        &mut self,
        key: &[u8],
        payload_bytes: usize,
        wait: Duration,
    ) -> Result<u64, LogError> {
        let bytes = (HEADER_BYTES + key.len() + payload_bytes) as u64;
        if bytes > u64::from(WalOptions::default().record_bytes_max) {
            return Err(too_large(bytes));
        }
        let mut waited = Duration::ZERO;
        while !self.has_room(bytes)? {
            // What is appended so far has to be readable, or nobody could ever catch up.
            self.flush_now()?;
            if waited >= wait {
                return Err(LogError::Held {
                    topic: self.partition.topic.clone(),
                    partition: self.partition.number,
                    backlog_bytes: self.backlog_bytes(),
                    bytes_max: self.spec.backlog_bytes_max.unwrap_or_default(),
                });
            }
            let pause = HELD_PAUSE.min(wait - waited);
            tokio::time::sleep(pause).await;
            waited += pause;
        }
        Ok(bytes)
    }

    /// Appends a record of so many bytes, for which there is room; `append` gives it to the log behind its header.
    fn append_now(
        &mut self,
        key: &[u8],
        bytes: u64,
        append: impl FnOnce(&Wal, SeqNo, &[u8]) -> Result<(), WalError>,
    ) -> Result<(), LogError> {
        let key_bytes = u32::try_from(key.len()).map_err(|_| too_large(bytes))?;
        let header = Header { key_bytes, appended_ms: (self.clock.0)(), end_bytes: self.end_bytes + bytes };
        let appended = append(&self.wal, self.wal.last().next(), &header.encode());
        appended.map_err(|error| self.partition.records(error))?;
        self.end_bytes += bytes;
        Ok(())
    }

    fn flush_now(&mut self) -> Result<(), LogError> {
        self.wal.sync_to(self.wal.last()).map_err(|error| self.partition.records(error))?;
        if self.wal.file_starts().len() > self.files {
            self.retain()?;
        }
        Ok(())
    }

    fn visit_now(&self, visit: &mut (dyn FnMut(Record) -> ControlFlow<()> + Send)) -> Result<(), LogError> {
        let (first, mut end) = (self.wal.first().0, self.wal.durable().0 + 1);
        let mut step = 1;
        while end > first {
            let from = end.saturating_sub(step).max(first);
            let fail = |error| self.partition.records(error);
            let mut records = Vec::new();
            for record in self.wal.read(SeqNo(from)).map_err(fail)?.take((end - from) as usize) {
                let record = record.map_err(fail)?;
                let damaged = |problem| self.partition.damaged("a record", problem);
                records.push(decode(record.seq, record.body).map_err(damaged)?.1);
            }
            for record in records.into_iter().rev() {
                if visit(record).is_break() {
                    return Ok(());
                }
            }
            end = from;
            step = (step * 2).min(BACK_RECORDS_MAX);
        }
        Ok(())
    }
}

impl Producer for EmbeddedProducer {
    fn append<'a>(
        &'a mut self,
        key: &'a [u8],
        payload: &'a [u8],
        wait: Duration,
    ) -> Pending<'a, Result<(), LogError>> {
        Box::pin(async move {
            let bytes = self.wait_for_room(key, payload.len(), wait).await?;
            self.append_now(key, bytes, |wal, seq, header| wal.append(STREAM, seq, &[header, key, payload]))
        })
    }

    fn append_gathered<'a>(
        &'a mut self,
        key: &'a [u8],
        payload: GatherBuf,
        wait: Duration,
    ) -> Pending<'a, Result<(), LogError>> {
        Box::pin(async move {
            let bytes = self.wait_for_room(key, payload.len(), wait).await?;
            self.append_now(key, bytes, |wal, seq, header| {
                let mut body = GatherBuf::new();
                body.reserve(header.len() + key.len() + payload.copied_len());
                body.copy(header);
                body.copy(key);
                body.append(&payload);
                wal.append_gathered(STREAM, seq, &body)
            })
        })
    }

    fn flush(&mut self) -> Pending<'_, Result<(), LogError>> {
        Box::pin(async move { self.flush_now() })
    }

    fn visit_newest_first<'a>(
        &'a mut self,
        visit: &'a mut (dyn FnMut(Record) -> ControlFlow<()> + Send),
    ) -> Pending<'a, Result<(), LogError>> {
        Box::pin(async move { self.visit_now(visit) })
    }
}

fn too_large(bytes: u64) -> LogError {
    LogError::TooLarge { bytes, bytes_max: u64::from(WalOptions::default().record_bytes_max) }
}
