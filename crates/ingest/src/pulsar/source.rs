//! Reading a partition: a task that has the consumer and goes on after every outage, and a handle for the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::consumer::Consumer;
use super::place::Place;
use super::pump::{Order, Pump, Queued, queued_bytes};
use crate::log::{Lag, LogError, Pending, ReadLimits, Record, Source};
use dvse_types::{Position, StreamName};

/// Between two looks whether a record that is there comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A partition of a topic of Pulsar, being read.
#[derive(Debug)]
pub(super) struct PulsarSource {
    stream: StreamName,
    orders: mpsc::UnboundedSender<Order>,
    queue: mpsc::UnboundedReceiver<Queued>,
    /// Bytes of the records in the queue.
    queued_bytes: Arc<AtomicUsize>,
    committed: Option<Position>,
    is_durable: bool,
    /// Where to go before the next record is read.
    seek: Option<Option<Position>>,
    /// Counts the seeks: what was queued before the last one is not wanted any more.
    generation: u64,
    /// Taken from the queue and not given out yet.
    carried: Option<Record>,
}

impl PulsarSource {
    /// Starts the task of a pump that is connected.
    pub(super) fn start(stream: StreamName, pump: Pump, runtime: &tokio::runtime::Handle) -> PulsarSource {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (sender, queue) = mpsc::unbounded_channel();
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let (committed, is_durable) = (pump.committed(), pump.is_durable());
        runtime.spawn(pump.run(inbox, sender, Arc::clone(&queued_bytes)));
        PulsarSource {
            stream,
            orders,
            queue,
            queued_bytes,
            committed,
            is_durable,
            seek: None,
            generation: 0,
            carried: None,
        }
    }

    async fn ask<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Order,
    ) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        // The task ends only with the runtime of the log.
        drop(self.orders.send(order(reply)));
        answer.await.unwrap_or_else(|_| Err(gone_away()))
    }

    fn go(&mut self) {
        if let Some(after) = self.seek.take() {
            self.generation += 1;
            self.carried = None;
            drop(self.orders.send(Order::Seek { after, generation: self.generation }));
        }
    }

    /// Takes the next record if there is one.
    fn take(&mut self, queued: Queued) -> Result<Option<Record>, LogError> {
        if let Ok(record) = &queued.record {
            let bytes = queued_bytes(record);
            let before = self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            if !Consumer::has_room(before) && Consumer::has_room(before.saturating_sub(bytes)) {
                drop(self.orders.send(Order::Room));
            }
        }
        match queued.generation == self.generation {
            true => queued.record.map(Some),
            false => Ok(None),
        }
    }

    /// Waits for the first record; none if the partition has none after the time to wait.
    async fn first(&mut self, wait: Duration) -> Result<Option<Record>, LogError> {
        if let Some(record) = self.carried.take() {
            return Ok(Some(record));
        }
        let mut deadline = Instant::now() + wait;
        loop {
            match tokio::time::timeout_at(deadline, self.queue.recv()).await {
                Ok(Some(queued)) => {
                    if let Some(record) = self.take(queued)? {
                        return Ok(Some(record));
                    }
                }
                Ok(None) => return Err(gone_away()),
                Err(_) => {
                    // Nothing came in time. Whether there is nothing only the broker knows.
                    if self.ask(Order::IsAtEnd).await? && self.queue.is_empty() {
                        return Ok(None);
                    }
                    deadline = Instant::now() + LOOK_EVERY;
                }
            }
        }
    }

    async fn read_now(&mut self, limits: ReadLimits) -> Result<Vec<Record>, LogError> {
        self.go();
        drop(self.orders.send(Order::Go));
        let mut records = Vec::new();
        let Some(first) = self.first(limits.wait).await? else { return Ok(records) };
        let mut bytes = first.payload.len();
        records.push(first);
        while records.len() < limits.records
            && let Ok(queued) = self.queue.try_recv()
        {
            // An error stands behind the records: it comes again when asked for what follows them.
            let Ok(Some(record)) = self.take(queued) else { continue };
            bytes = bytes.saturating_add(record.payload.len());
            if bytes > limits.bytes {
                self.carried = Some(record);
                break;
            }
            records.push(record);
        }
        drop(self.orders.send(Order::Go));
        Ok(records)
    }
}

impl Source for PulsarSource {
    fn stream(&self) -> &StreamName {
        &self.stream
    }

    fn committed(&self) -> Option<Position> {
        self.committed
    }

    fn seek(&mut self, after: Option<Position>) {
        // A subscription that goes back holds again what it had let go.
        self.committed = self.committed.min(after);
        self.seek = Some(after);
    }

    fn read(&mut self, limits: ReadLimits) -> Pending<'_, Result<Vec<Record>, LogError>> {
        Box::pin(self.read_now(limits))
    }

    fn commit(&mut self, position: Position) -> Pending<'_, Result<(), LogError>> {
        Box::pin(async move {
            if !self.is_durable {
                return Err(LogError::NoSubscription);
            }
            if Some(position) <= self.committed {
                return Ok(());
            }
            self.go();
            self.ask(|reply| Order::Commit(Place::of(position), reply)).await?;
            self.committed = Some(position);
            Ok(())
        })
    }

    fn lag(&mut self) -> Pending<'_, Result<Lag, LogError>> {
        Box::pin(async move { self.ask(Order::Lag).await })
    }
}

fn gone_away() -> LogError {
    LogError::Unreachable { url: "pulsar".to_owned(), reason: "the log was closed".to_owned() }
}
