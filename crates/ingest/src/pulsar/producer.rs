//! Writing a partition: a task that has the producer and sends again after every outage, and a handle for who appends.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::sender::{Order, Outgoing, Sender, Status};
use super::trouble::{Subject, Trouble};
use super::walk::Walk;
use crate::log::{LogError, Pending, Producer, Record};

/// Records go to the task in groups of so many, or so many bytes.
const GROUP_RECORDS: usize = 256;
const GROUP_BYTES: usize = 512 << 10;
/// Groups that may wait for the task.
const GROUPS: usize = 4;

/// A partition of a topic of Pulsar, being written.
#[derive(Debug)]
pub(super) struct PulsarProducer {
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<Status>,
    group: Vec<Outgoing>,
    group_bytes: usize,
    bytes_max: usize,
    subject: Subject,
    /// How long whoever appends would wait, which is how long flushing waits while producers are held.
    patience: Duration,
    walk: Arc<Walk>,
}

impl PulsarProducer {
    pub(super) fn start(sender: Sender, walk: Walk, runtime: &tokio::runtime::Handle) -> PulsarProducer {
        let (orders, inbox) = mpsc::channel(GROUPS);
        let (told, status) = watch::channel(Status::Well);
        let (bytes_max, subject) = (sender.record_bytes_max, sender.subject());
        runtime.spawn(sender.run(inbox, told));
        PulsarProducer {
            orders,
            status,
            group: Vec::new(),
            group_bytes: 0,
            bytes_max,
            subject,
            patience: Duration::ZERO,
            walk: Arc::new(walk),
        }
    }

    /// Why the task ended.
    fn ended(&self) -> LogError {
        match &*self.status.borrow() {
            Status::Failed(trouble) => self.subject.error(trouble.clone()),
            _ => self.subject.error(Trouble::Lost("the log was closed".to_owned())),
        }
    }

    /// Waits for something of the task; `None` if producers are held and the time to wait is over.
    async fn unless_held<T>(
        &self,
        wait: Duration,
        something: impl Future<Output = T>,
    ) -> Result<T, LogError> {
        let mut something = std::pin::pin!(something);
        loop {
            match tokio::time::timeout(wait.max(Duration::from_millis(1)), &mut something).await {
                Ok(done) => return Ok(done),
                // If it is only the broker that is away, it is waited for.
                Err(_) => {
                    if let Status::Held(trouble) = &*self.status.borrow() {
                        return Err(self.subject.error(trouble.clone()));
                    }
                }
            }
        }
    }

    /// Passes the group on.
    async fn pass_on(&mut self, wait: Duration) -> Result<(), LogError> {
        if self.group.is_empty() {
            return Ok(());
        }
        let permit = self.unless_held(wait, self.orders.reserve()).await?;
        let Ok(permit) = permit else { return Err(self.ended()) };
        permit.send(Order::Append(std::mem::take(&mut self.group)));
        self.group_bytes = 0;
        Ok(())
    }

    async fn append_now(&mut self, key: &[u8], payload: &[u8], wait: Duration) -> Result<(), LogError> {
        let (packed, unpacked_bytes) = self.pack(key.len(), payload)?;
        self.patience = wait;
        if self.group.len() >= GROUP_RECORDS || self.group_bytes >= GROUP_BYTES {
            self.pass_on(wait).await?;
        }
        self.group_bytes += key.len() + packed.len();
        self.group.push(Outgoing { key: key.to_vec(), payload: packed, unpacked_bytes });
        Ok(())
    }

    /// Packs what is too large for the broker as it is: an event or a letter may be larger than its record was.
    fn pack(&self, key_bytes: usize, payload: &[u8]) -> Result<(Vec<u8>, Option<u32>), LogError> {
        if key_bytes + payload.len() <= self.bytes_max {
            return Ok((payload.to_vec(), None));
        }
        let too_large = || LogError::TooLarge {
            bytes: (key_bytes + payload.len()) as u64,
            bytes_max: self.bytes_max as u64,
        };
        let size = u32::try_from(payload.len()).map_err(|_| too_large())?;
        match zstd::bulk::compress(payload, 1) {
            Ok(packed) if key_bytes + packed.len() <= self.bytes_max => Ok((packed, Some(size))),
            _ => Err(too_large()),
        }
    }

    async fn flush_now(&mut self) -> Result<(), LogError> {
        let wait = self.patience;
        self.pass_on(wait).await?;
        let (reply, answer) = oneshot::channel();
        let permit = self.unless_held(wait, self.orders.reserve()).await?;
        let Ok(permit) = permit else { return Err(self.ended()) };
        permit.send(Order::Flush(reply));
        self.unless_held(wait, answer).await?.map_err(|_| self.ended())
    }
}

impl Producer for PulsarProducer {
    fn append<'a>(
        &'a mut self,
        key: &'a [u8],
        payload: &'a [u8],
        wait: Duration,
    ) -> Pending<'a, Result<(), LogError>> {
        Box::pin(self.append_now(key, payload, wait))
    }

    fn flush(&mut self) -> Pending<'_, Result<(), LogError>> {
        Box::pin(self.flush_now())
    }

    fn visit_newest_first<'a>(
        &'a mut self,
        visit: &'a mut (dyn FnMut(Record) -> ControlFlow<()> + Send),
    ) -> Pending<'a, Result<(), LogError>> {
        Box::pin(async move { self.walk.newest_first(visit).await })
    }
}
