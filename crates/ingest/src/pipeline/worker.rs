//! One partition: from its records to the collection.

use std::ops::Range;
use std::time::Duration;

use super::batch::{Item, Placed, State, last_of_each_point};
use super::partition::{FailureKind, PartitionProgress};
use super::progress::Progress;
use super::{Parts, PipelineConfig, PipelineError};
use crate::dead_letter::DeadLetter;
use crate::embedded::Clock;
use crate::event::{IndexedEvent, Operation};
use crate::log::{LogError, Producer, ReadLimits, Source, TopicLog};
use crate::raw_event::Poison;
use crate::sink::{Change, EmbedFailure, Embedder, Sink, SinkError, Written};
use dvse_types::{Position, SourceMark, SourceState, Vector};

/// How long events and letters may wait for room; their topics have no bound unless somebody gave them one.
const OUTPUT_WAIT: Duration = Duration::from_secs(3600);
/// Least time between two looks at how much is left.
pub(super) const LAG_EVERY: Duration = Duration::from_secs(1);

/// Why a worker ends.
pub(super) enum Halt {
    /// It was asked to.
    Stopped,
    Log(Box<LogError>),
    Sink(SinkError),
    Other(Box<PipelineError>),
}

impl From<LogError> for Halt {
    fn from(error: LogError) -> Halt {
        Halt::Log(Box::new(error))
    }
}

pub(super) struct Worker<'a> {
    pub(super) config: &'a PipelineConfig,
    pub(super) partition: u32,
    pub(super) source: Box<dyn Source>,
    pub(super) events: Box<dyn Producer>,
    pub(super) letters: Box<dyn Producer>,
    pub(super) sink: Box<dyn Sink>,
    embedder: Box<dyn Embedder>,
    pub(super) progress: &'a PartitionProgress,
    clock: Clock,
    pub(super) epoch: u64,
    lag_at: Option<tokio::time::Instant>,
}

impl<'a> Worker<'a> {
    /// Opens the partition's topics. The outputs first: who has them is the only worker on this log.
    pub(super) async fn open(
        log: &dyn TopicLog,
        config: &'a PipelineConfig,
        partition: u32,
        parts: &dyn Parts,
        progress: &'a PartitionProgress,
    ) -> Result<Worker<'a>, Halt> {
        let events = log.producer(&config.vector_indexed, partition).await?;
        let letters = log.producer(&config.dead_letters, partition).await?;
        let source = log.source(&config.raw_events, partition, Some(&config.subscription)).await?;
        let (sink, embedder, clock) = (parts.sink(), parts.embedder(), Clock::system());
        Ok(Worker {
            config,
            partition,
            source,
            events,
            letters,
            sink,
            embedder,
            progress,
            clock,
            epoch: 0,
            lag_at: None,
        })
    }

    /// Works until asked to stop, or until nothing is left if configured so.
    pub(super) async fn run(&mut self) -> Result<(), Halt> {
        // Before anything that may have to wait, so that what waits is seen.
        self.tell_lag(true).await?;
        let state = self.take_over().await?;
        self.epoch = state.epoch;
        self.progress.began(state.epoch);
        self.recover(state).await?;
        // A collection without a mark has nothing of this stream, whatever an earlier one of its name acknowledged.
        self.source.seek(state.position);
        while !self.progress.is_stopping() {
            let limits = self.limits(self.config.idle_wait);
            let (asked, looked_ms) = (self.progress.mode(), (self.clock.0)());
            let records = self.source.read(limits).await?;
            self.progress.found(&records, looked_ms);
            self.tell_lag(records.is_empty()).await?;
            if records.is_empty() && self.config.until_empty {
                return Ok(());
            }
            self.wait_for_leave(records.is_empty(), asked).await?;
            if records.is_empty() {
                continue;
            }
            let mut items: Vec<Item> =
                records.into_iter().map(|record| Item::decode(record, &*self.sink)).collect();
            self.embed(&mut items).await?;
            self.commit_all(&mut items).await?;
        }
        Err(Halt::Stopped)
    }

    pub(super) fn limits(&self, wait: Duration) -> ReadLimits {
        ReadLimits { records: self.config.batch_records.get(), bytes: self.config.batch_bytes, wait }
    }

    pub(super) async fn tell_lag(&mut self, is_idle: bool) -> Result<(), Halt> {
        let now = tokio::time::Instant::now();
        if is_idle || self.lag_at.is_none_or(|at| now.duration_since(at) >= LAG_EVERY) {
            self.lag_at = Some(now);
            let lag = self.source.lag().await?;
            self.progress.set_lag(lag);
        }
        Ok(())
    }

    async fn take_over(&mut self) -> Result<SourceState, Halt> {
        let stream = self.source.stream().clone();
        let mut retry = Retry::of(FailureKind::Collection, self.config);
        loop {
            match self.sink.take_over(&stream, self.partition).await {
                Ok(state) => {
                    retry.passed(self.progress);
                    return Ok(state);
                }
                Err(error) => {
                    retry.after(error, self.progress).await?;
                    self.tell_lag(false).await?;
                }
            }
        }
    }

    /// Gives vectors to the records that have only text. A text that has none makes its record poison.
    pub(super) async fn embed(&mut self, items: &mut [Item]) -> Result<(), Halt> {
        let mut retry = Retry::of(FailureKind::Model, self.config);
        loop {
            let texts = items.iter().enumerate().filter_map(|(index, item)| match &item.state {
                State::Text { text, .. } => Some((index, text.as_str())),
                _ => None,
            });
            let (indexes, texts): (Vec<usize>, Vec<&str>) = texts.take(self.config.embed_texts.get()).unzip();
            if texts.is_empty() {
                return Ok(());
            }
            match self.embedder.embed(&texts) {
                Ok(vectors) => {
                    self.check_vectors(&vectors, texts.len())?;
                    retry.passed(self.progress);
                    for (index, vector) in indexes.into_iter().zip(vectors) {
                        if let Some(item) = items.get_mut(index) {
                            item.complete(vector);
                        }
                    }
                }
                Err(EmbedFailure::Text { index, reason }) => {
                    let item = indexes.get(index).and_then(|index| items.get_mut(*index));
                    let Some(item) = item else {
                        return Err(self
                            .model_error(format!("an error for text {index}"), "one of those it was given"));
                    };
                    item.state = State::Poison(Poison::Text(reason));
                }
                Err(EmbedFailure::Model(reason)) => {
                    retry
                        .after(SinkError::Unavailable(format!("the model failed: {reason}")), self.progress)
                        .await?;
                }
            }
        }
    }

    fn check_vectors(&self, vectors: &[Vector], texts: usize) -> Result<(), Halt> {
        let dim = self.sink.dim();
        if vectors.len() != texts {
            return Err(self.model_error(format!("{} vectors", vectors.len()), &format!("{texts}")));
        }
        match vectors
            .iter()
            .find(|vector| vector.len() != dim || vector.iter().any(|value| !value.is_finite()))
        {
            Some(vector) => Err(self
                .model_error(format!("a vector of {} numbers", vector.len()), &format!("{dim} finite ones"))),
            None => Ok(()),
        }
    }

    fn model_error(&self, got: String, expected: &str) -> Halt {
        let expected = expected.to_owned();
        Halt::Other(Box::new(PipelineError::Model { partition: self.partition, got, expected }))
    }

    /// Commits the records as one batch, or, where the collection refuses that, as halves of it, down to the one that is
    /// refused, which becomes poison.
    async fn commit_all(&mut self, items: &mut [Item]) -> Result<(), Halt> {
        let mut ranges: Vec<Range<usize>> = std::iter::once(0..items.len()).collect();
        while let Some(range) = ranges.pop() {
            let Some(part) = items.get_mut(range.clone()) else { continue };
            match self.commit(part).await {
                Ok(()) => {}
                Err(Halt::Sink(SinkError::Refused(reason))) => match part {
                    [item] if matches!(item.state, State::Poison(_)) => {
                        let text = format!("an empty batch is refused: {reason}");
                        return Err(Halt::Sink(SinkError::Hopeless(text)));
                    }
                    [item] => {
                        item.state = State::Poison(Poison::Refused(reason));
                        ranges.push(range);
                    }
                    _ => {
                        let middle = range.start + range.len() / 2;
                        ranges.push(middle..range.end);
                        ranges.push(range.start..middle);
                    }
                },
                Err(halt) => return Err(halt),
            }
        }
        Ok(())
    }

    /// Steps 2 to 5 for some records in a row.
    async fn commit(&mut self, items: &mut [Item]) -> Result<(), Halt> {
        let Some(position) = items.last().map(|item| item.record.position) else { return Ok(()) };
        self.write_letters(items).await?;
        let kept = last_of_each_point(items);
        let mut changes = Vec::with_capacity(kept.len());
        let mut places = Vec::with_capacity(kept.len());
        for (ordinal, index) in (0..).zip(&kept) {
            let Some(Item { record, state: State::Ready(change), .. }) = items.get(*index) else { continue };
            changes.push(change.clone());
            places.push(Placed { position: record.position, ordinal });
        }
        let seq = self.write(&changes, position).await?;
        self.publish(&changes, &places, seq).await?;
        self.source.commit(position).await?;
        Progress::add(&self.progress.records, items.len());
        Progress::add(&self.progress.changes, changes.len());
        Progress::add(&self.progress.batches, 1);
        Ok(())
    }

    async fn write_letters(&mut self, items: &mut [Item]) -> Result<(), Halt> {
        let mut written = 0;
        for item in items.iter_mut() {
            let State::Poison(poison) = &item.state else { continue };
            if item.lettered {
                continue;
            }
            let letter = DeadLetter::of(
                &self.config.raw_events,
                self.source.stream().as_str(),
                self.partition,
                &self.config.collection,
                &item.record,
                poison,
                (self.clock.0)(),
            );
            let key = &item.record.key;
            match self.letters.append(key, letter.to_json().as_bytes(), OUTPUT_WAIT).await {
                // As text of JSON it may be larger than it came. The record itself is where the letter says.
                Err(LogError::TooLarge { bytes, .. }) => {
                    let letter = letter.without_record(bytes);
                    self.letters.append(key, letter.to_json().as_bytes(), OUTPUT_WAIT).await?;
                }
                appended => appended?,
            }
            item.lettered = true;
            written += 1;
        }
        if written > 0 {
            self.letters.flush().await?;
            Progress::add(&self.progress.dead, written);
        }
        Ok(())
    }

    /// Commits the changes with their mark and returns the number of the entry.
    async fn write(&mut self, changes: &[Change], position: Position) -> Result<u64, Halt> {
        let stream = self.source.stream().clone();
        let mark = SourceMark { stream, partition: self.partition, epoch: self.epoch, position };
        let mut retry = Retry::of(FailureKind::Collection, self.config);
        loop {
            let written = self.sink.write(changes, &mark).await;
            match written {
                Ok(Written::Applied { seq }) => {
                    retry.passed(self.progress);
                    return Ok(seq);
                }
                // The answer to an earlier try was lost.
                Ok(Written::Duplicate { position: there, seq }) if there == position => {
                    retry.passed(self.progress);
                    return Ok(seq);
                }
                Ok(Written::Duplicate { position: there, .. }) => {
                    let partition = self.partition;
                    let ahead = PipelineError::MarkAhead { partition, there, here: position };
                    return Err(Halt::Other(Box::new(ahead)));
                }
                Err(refused @ SinkError::Refused(_)) => return Err(Halt::Sink(refused)),
                Err(error) => {
                    retry.after(error, self.progress).await?;
                    self.tell_lag(false).await?;
                }
            }
        }
    }

    /// Publishes the event of each change, durably.
    pub(super) async fn publish(
        &mut self,
        changes: &[Change],
        places: &[Placed],
        seq: u64,
    ) -> Result<(), Halt> {
        for (change, place) in changes.iter().zip(places) {
            let mut event = IndexedEvent {
                vector_id: change.id().to_string(),
                commit_ts: (self.clock.0)(),
                collection: self.config.collection.clone(),
                log_position: seq,
                source_stream: self.source.stream().to_string(),
                source_partition: self.partition,
                source_position: place.position.to_string(),
                ordinal: place.ordinal,
                ..IndexedEvent::default()
            };
            match change {
                Change::Upsert { vector, payload, .. } => {
                    event.embedding.clone_from(vector);
                    // A map of JSON values: nothing that JSON could refuse.
                    event.payload = serde_json::to_vec(payload).unwrap_or_default();
                }
                Change::Delete { .. } => event.operation = Operation::Delete,
            }
            self.events.append_gathered(event.vector_id.as_bytes(), event.gather(), OUTPUT_WAIT).await?;
        }
        if !changes.is_empty() {
            self.events.flush().await?;
            Progress::add(&self.progress.events, changes.len());
        }
        Ok(())
    }

    /// Reads vectors back from the collection.
    pub(super) async fn vectors(
        &mut self,
        ids: &[dvse_types::PointId],
    ) -> Result<Vec<Option<Vec<f32>>>, Halt> {
        let mut retry = Retry::of(FailureKind::Collection, self.config);
        loop {
            match self.sink.vectors(ids).await {
                Ok(vectors) => {
                    retry.passed(self.progress);
                    return Ok(vectors);
                }
                Err(error) => retry.after(error, self.progress).await?,
            }
        }
    }
}

/// Tries a call again for ever, with longer and longer pauses.
struct Retry {
    kind: FailureKind,
    pause: Duration,
    longest: Duration,
    is_waiting: bool,
}

impl Retry {
    fn of(kind: FailureKind, config: &PipelineConfig) -> Retry {
        Retry { kind, pause: config.retry_first, longest: config.retry_longest, is_waiting: false }
    }

    /// Waits before the next try; ends the worker if there is no point in one, or it is to stop.
    async fn after(&mut self, error: SinkError, progress: &PartitionProgress) -> Result<(), Halt> {
        if !matches!(error, SinkError::Unavailable(_)) {
            return Err(Halt::Sink(error));
        }
        self.is_waiting = true;
        progress.failed(self.kind);
        progress.set_trouble(Some(error.to_string()));
        Progress::add(&progress.retries, 1);
        let mut left = self.pause;
        while !left.is_zero() {
            if progress.is_stopping() {
                return Err(Halt::Stopped);
            }
            let step = left.min(Duration::from_millis(50));
            tokio::time::sleep(step).await;
            left -= step;
        }
        self.pause = (self.pause * 2).min(self.longest);
        Ok(())
    }

    fn passed(&mut self, progress: &PartitionProgress) {
        if std::mem::take(&mut self.is_waiting) {
            progress.set_trouble(None);
        }
    }
}
