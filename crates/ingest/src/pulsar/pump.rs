//! The task behind a source: it has the consumer, passes on what comes, and makes another consumer after every outage.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::consumer::{Consumer, Delivery, Ends, Reading};
use super::place::Place;
use super::trouble::{Patience, Trouble};
use crate::log::{Lag, LogError, Record};
use crate::topic::TopicName;
use dvse_types::Position;

/// A record that is there and does not come for so long is asked for with a new consumer.
const STUCK: Duration = Duration::from_secs(10);
/// After so many new consumers the newest id is taken for something that is never delivered, such as a marker.
const STUCK_TIMES: u32 = 2;

type Reply<T> = oneshot::Sender<Result<T, LogError>>;

/// What the handle asks for.
pub(super) enum Order {
    /// Records may come; after an error, try again.
    Go,
    /// The queue has room again.
    Room,
    /// Go behind a record.
    Seek { after: Option<Position>, generation: u64 },
    /// Acknowledge everything up to a place.
    Commit(Place, Reply<()>),
    /// Count what is not acknowledged.
    Lag(Reply<Lag>),
    /// Whether there is nothing behind what was passed on.
    IsAtEnd(Reply<bool>),
}

/// A record on its way to the handle.
pub(super) struct Queued {
    pub generation: u64,
    pub record: Result<Record, LogError>,
}

/// See the module's documentation.
pub(super) struct Pump {
    reading: Reading,
    topic: TopicName,
    partition: u32,
    patience: Patience,
    consumer: Option<Consumer>,
    ends: Ends,
    /// The record passed on last, or behind which reading began.
    after: Option<Position>,
    /// Whether the subscription has to be moved back before anything is read.
    is_behind: bool,
    /// The first entry that comes has to be this one, or records are missing.
    expected: Option<Place>,
    /// Whether this consumer was sent anything.
    has_delivered: bool,
    /// The last place of each entry that was passed on and is not acknowledged.
    entries: VecDeque<Place>,
    /// A place that was committed before its entry came: what is missing is acknowledged when it does.
    owed: Option<Place>,
    generation: u64,
    /// Whether records were asked for, and whether an error stands before them.
    is_going: bool,
    is_stalled: bool,
    progress_at: Instant,
    stuck_times: u32,
}

impl Pump {
    /// Subscribes, and waits for a broker as long as the log's patience says.
    ///
    /// # Errors
    /// There is no such topic, or no waiting helps.
    pub(super) async fn open(
        reading: Reading,
        topic: TopicName,
        partition: u32,
        patience: Patience,
    ) -> Result<Pump, LogError> {
        let nothing = Place { ledger: 0, entry: -1, index: 0 };
        let mut pump = Pump {
            reading,
            topic,
            partition,
            patience,
            consumer: None,
            ends: Ends { last: nothing, acknowledged: nothing },
            after: None,
            is_behind: false,
            expected: None,
            has_delivered: false,
            entries: VecDeque::new(),
            owed: None,
            generation: 0,
            is_going: false,
            is_stalled: false,
            progress_at: Instant::now(),
            stuck_times: 0,
        };
        pump.connect().await?;
        Ok(pump)
    }

    pub(super) fn is_durable(&self) -> bool {
        self.reading.subscription.is_some()
    }

    pub(super) fn committed(&self) -> Option<Position> {
        if self.is_durable() { self.ends.acknowledged.position() } else { None }
    }

    async fn connect(&mut self) -> Result<(), LogError> {
        let mut outage = self.patience.outage(Some(&self.topic), self.partition);
        loop {
            match self.establish().await {
                Ok(checked) => return checked,
                Err(trouble) => outage.after(trouble).await.map_err(|trouble| outage.error(trouble))?,
            }
        }
    }

    /// One try. The inner error is about the records.
    async fn establish(&mut self) -> Result<Result<(), LogError>, Trouble> {
        let after = self.after.map(Place::of);
        self.expected = if self.is_durable() { None } else { after };
        if self.is_behind {
            let consumer = Consumer::open(&self.reading, None).await?;
            consumer.seek(after).await?;
            self.is_behind = false;
            self.expected = after;
        }
        let mut consumer = Consumer::open(&self.reading, after).await?;
        self.ends = consumer.ends().await?;
        if let Some(after) = after
            && !self.ends.last.reaches(after)
        {
            return Ok(Err(self.gone(self.ends.acknowledged)));
        }
        self.consumer = Some(consumer);
        self.has_delivered = false;
        self.progress_at = Instant::now();
        Ok(Ok(()))
    }

    fn gone(&self, oldest: Place) -> LogError {
        let position = |place: Place| place.position().unwrap_or(Position(0));
        LogError::Gone {
            topic: self.topic.clone(),
            partition: self.partition,
            position: self.after.unwrap_or(Position(0)),
            oldest: position(oldest),
            newest: position(self.ends.last),
        }
    }

    /// Works until the handle is dropped.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Order>,
        queue: mpsc::UnboundedSender<Queued>,
        queued_bytes: Arc<AtomicUsize>,
    ) {
        let passing = Passing { queue, queued_bytes };
        loop {
            if self.consumer.is_none()
                && !self.is_stalled
                && let Err(error) = self.connect().await
            {
                self.stall(error, &passing);
            }
            let delivered = match &mut self.consumer {
                Some(consumer) if !self.is_stalled => tokio::select! {
                    biased;
                    order = orders.recv() => Err(order),
                    delivery = consumer.next(passing.has_room()) => Ok(delivery),
                },
                _ => Err(orders.recv().await),
            };
            match delivered {
                Err(None) => break,
                Err(Some(order)) => self.obey(order).await,
                Ok(Ok(delivery)) => {
                    self.deliver(delivery, &passing);
                    self.pay().await;
                }
                Ok(Err(_)) => self.consumer = None,
            }
            self.allow(&passing).await;
        }
        if let Some(consumer) = self.consumer {
            consumer.close().await;
        }
    }

    async fn allow(&mut self, passing: &Passing) {
        let (true, Some(consumer)) = (self.is_going && !self.is_stalled, &mut self.consumer) else { return };
        if consumer.allow(passing.queued_bytes.load(Ordering::Relaxed)).await.is_err() {
            self.consumer = None;
        }
    }

    fn stall(&mut self, error: LogError, passing: &Passing) {
        self.is_stalled = true;
        self.consumer = None;
        // Where the handle is gone, so is the next order.
        drop(passing.queue.send(Queued { generation: self.generation, record: Err(error) }));
    }

    fn deliver(&mut self, delivery: Delivery, passing: &Passing) {
        let (place, records) = match delivery {
            Delivery::Entry(place, records) => (place, records),
            Delivery::Other => return,
        };
        (self.has_delivered, self.progress_at, self.stuck_times) = (true, Instant::now(), 0);
        if let Some(expected) = self.expected.take()
            && !place.is_same_entry(expected)
        {
            // A subscription that went back to a record that is gone must go back again when asked again.
            self.is_behind = self.is_durable();
            return self.stall(self.gone(place), passing);
        }
        if let Some(last) = records.last()
            && self.is_durable()
            && self.entries.back().is_none_or(|before| *before < Place::of(last.position))
        {
            self.entries.push_back(Place::of(last.position));
        }
        for record in records {
            if Some(record.position) > self.after {
                self.after = Some(record.position);
                passing.queued_bytes.fetch_add(queued_bytes(&record), Ordering::Relaxed);
                drop(passing.queue.send(Queued { generation: self.generation, record: Ok(record) }));
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Go => {
                self.is_going = true;
                self.is_stalled = false;
            }
            // What follows was held back, and is not late.
            Order::Room => self.progress_at = Instant::now(),
            Order::Seek { after, generation } => self.seek(after, generation),
            Order::Commit(place, reply) => drop(reply.send(self.commit(place).await)),
            Order::Lag(reply) => drop(reply.send(self.lag().await)),
            Order::IsAtEnd(reply) => drop(reply.send(self.is_at_end().await)),
        }
    }

    fn seek(&mut self, after: Option<Position>, generation: u64) {
        self.generation = generation;
        self.is_stalled = false;
        self.entries.clear();
        // The subscription holds everything behind what it has acknowledged.
        let is_held = after.is_some_and(|after| Place::of(after).reaches(self.ends.acknowledged));
        self.is_behind = self.is_durable() && !is_held;
        let is_ahead =
            is_held && !self.has_delivered && self.ends.last.reaches(after.map_or(self.ends.last, Place::of));
        self.after = after;
        if !(self.is_durable() && is_ahead) {
            self.consumer = None;
        }
    }

    /// Runs a request with whatever consumer there is, and again with the next one where that fails.
    async fn commit(&mut self, place: Place) -> Result<(), LogError> {
        // Only whole entries are acknowledged.
        // One that was not read here may be a batch.
        let read = self.entries.iter().find(|last| last.is_same_entry(place));
        let is_whole = read.is_some_and(|last| place.index >= last.index);
        self.owed = read.is_none().then_some(place);
        let place = if is_whole { place } else { place.entry_before() };
        if self.ends.acknowledged.reaches(place) || place.entry < 0 {
            return Ok(());
        }
        let mut outage = self.patience.outage(Some(&self.topic), self.partition);
        loop {
            let trouble = match &mut self.consumer {
                Some(consumer) => match consumer.acknowledge(place).await {
                    Ok(()) => break,
                    Err(trouble) => trouble,
                },
                None => {
                    self.connect().await?;
                    continue;
                }
            };
            self.consumer = None;
            outage.after(trouble).await.map_err(|trouble| outage.error(trouble))?;
        }
        self.ends.acknowledged = place;
        self.entries.retain(|last| !place.reaches(*last));
        Ok(())
    }

    async fn pay(&mut self) {
        if let Some(place) = self.owed
            && self.entries.iter().any(|last| last.is_same_entry(place))
        {
            // Whoever committed was answered; a broker that is away has it acknowledged with what comes later.
            drop(self.commit(place).await);
        }
    }

    async fn lag(&mut self) -> Result<Lag, LogError> {
        let mut outage = self.patience.outage(Some(&self.topic), self.partition);
        loop {
            let trouble = match &mut self.consumer {
                Some(consumer) => match consumer.backlog().await {
                    Ok((records, bytes)) => return Ok(Lag { records, bytes }),
                    Err(trouble) => trouble,
                },
                None => {
                    self.connect().await?;
                    continue;
                }
            };
            self.consumer = None;
            outage.after(trouble).await.map_err(|trouble| outage.error(trouble))?;
        }
    }

    async fn is_at_end(&mut self) -> Result<bool, LogError> {
        let Some(consumer) = &mut self.consumer else { return Ok(false) };
        let Ok(ends) = consumer.ends().await else {
            self.consumer = None;
            return Ok(false);
        };
        self.ends.last = ends.last;
        let last = ends.last.position();
        // Nothing has come where all of it was acknowledged before this source was opened.
        let is_acknowledged = self.is_durable() && ends.acknowledged.reaches(ends.last);
        if last.is_none() || last <= self.after || is_acknowledged || self.stuck_times >= STUCK_TIMES {
            return Ok(true);
        }
        if self.progress_at.elapsed() > STUCK {
            self.stuck_times += 1;
            self.consumer = None;
        }
        Ok(false)
    }
}

/// The way to the handle.
struct Passing {
    queue: mpsc::UnboundedSender<Queued>,
    queued_bytes: Arc<AtomicUsize>,
}

impl Passing {
    fn has_room(&self) -> bool {
        Consumer::has_room(self.queued_bytes.load(Ordering::Relaxed))
    }
}

/// What a record in the queue counts for.
pub(super) fn queued_bytes(record: &Record) -> usize {
    size_of::<Queued>() + record.key.len() + record.payload.len()
}
