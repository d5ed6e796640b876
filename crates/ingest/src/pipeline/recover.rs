//! What a worker does first: finish the batch that the one before it had committed and may not have published.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Duration;

use super::batch::{Item, Placed, State, last_of_each_point};
use super::progress::Progress;
use super::worker::{Halt, Worker};
use crate::dead_letter::DeadLetter;
use crate::event::IndexedEvent;
use crate::raw_event::Poison;
use crate::sink::Change;
use dvse_types::{Position, SourceState};

impl Worker<'_> {
    /// Publishes what is missing of the last batch, and acknowledges it.
    ///
    /// The batch is the records behind what is acknowledged, up to the mark: nothing else can lie there, because a batch is
    /// acknowledged before the next is read. Its events were published in the order of the records, so that what is missing
    /// is what comes behind the newest event. Which record counts follows from the records alone; what was refused or could
    /// not be embedded has a dead letter, as those are written before the commit.
    pub(super) async fn recover(&mut self, state: SourceState) -> Result<(), Halt> {
        let Some(mark) = state.position else { return Ok(()) };
        let acknowledged = self.source.committed();
        if Some(mark) <= acknowledged {
            return Ok(());
        }
        let newest = self.newest_event().await?;
        let published = newest.as_ref().and_then(IndexedEvent::position);
        let after = acknowledged.max(published);
        // The batch began before its first event; of the points that come later, later events tell.
        let first_ordinal = match &newest {
            Some(event) if event.log_position == state.seq.0 && published >= acknowledged => {
                event.ordinal + 1
            }
            _ => 0,
        };
        if after < Some(mark) {
            let items = self.read_again(after, mark).await?;
            self.publish_again(items, first_ordinal, state.seq.0).await?;
        }
        self.source.commit(mark).await?;
        Ok(())
    }

    /// Returns the newest event of this collection and stream.
    async fn newest_event(&mut self) -> Result<Option<IndexedEvent>, Halt> {
        let mut newest = None;
        let (stream, collection) = (self.source.stream().to_string(), &self.config.collection);
        self.events
            .visit_newest_first(&mut |record| match IndexedEvent::decode(&record.payload) {
                Ok(event) if event.source_stream == stream && event.collection == *collection => {
                    newest = Some(event);
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            })
            .await?;
        Ok(newest)
    }

    /// Returns the places behind `after` that have dead letters.
    async fn letters_behind(&mut self, after: Option<Position>) -> Result<HashSet<Position>, Halt> {
        let mut places = HashSet::new();
        let (stream, collection) = (self.source.stream().to_string(), &self.config.collection);
        self.letters
            .visit_newest_first(&mut |record| {
                let Ok(letter) = DeadLetter::from_json(&record.payload) else {
                    return ControlFlow::Continue(());
                };
                if letter.stream != stream || letter.collection != *collection {
                    return ControlFlow::Continue(());
                }
                if Some(letter.position) <= after {
                    return ControlFlow::Break(());
                }
                places.insert(letter.position);
                ControlFlow::Continue(())
            })
            .await?;
        Ok(places)
    }

    /// Reads the records behind `after` up to the mark.
    async fn read_again(&mut self, after: Option<Position>, mark: Position) -> Result<Vec<Item>, Halt> {
        let dead = self.letters_behind(after).await?;
        let mut items: Vec<Item> = Vec::new();
        self.source.seek(after);
        while items.last().is_none_or(|item| item.record.position < mark) {
            let records = self.source.read(self.limits(Duration::ZERO)).await?;
            if records.is_empty() {
                // The mark is of a record that is not in the log: asking for what follows it says so.
                break;
            }
            for record in records {
                if record.position <= mark {
                    let mut item = Item::decode(record, &*self.sink);
                    if dead.contains(&item.record.position) {
                        item.state = State::Poison(Poison::Refused("it has a dead letter".to_owned()));
                    }
                    items.push(item);
                } else {
                    return Ok(items);
                }
            }
        }
        Ok(items)
    }

    async fn publish_again(
        &mut self,
        mut items: Vec<Item>,
        first_ordinal: u32,
        seq: u64,
    ) -> Result<(), Halt> {
        let kept = last_of_each_point(&items);
        let mut kept_items = Vec::with_capacity(kept.len());
        for (index, item) in items.drain(..).enumerate() {
            if kept.binary_search(&index).is_ok() {
                kept_items.push(item);
            }
        }
        // The vector that was committed is in the collection; a model may give another one today.
        let texts = || kept_items.iter().filter(|item| matches!(item.state, State::Text { .. }));
        let ids: Vec<_> = texts().filter_map(Item::id).collect();
        let mut vectors = if ids.is_empty() { Vec::new() } else { self.vectors(&ids).await? }.into_iter();
        for item in &mut kept_items {
            if matches!(item.state, State::Text { .. })
                && let Some(Some(vector)) = vectors.next()
            {
                item.complete(vector.into());
            }
        }
        // Deleted or replaced by somebody else since: what is left is to make it again.
        self.embed(&mut kept_items).await?;
        let mut changes: Vec<Change> = Vec::with_capacity(kept_items.len());
        let mut places = Vec::with_capacity(kept_items.len());
        for (ordinal, item) in (first_ordinal..).zip(kept_items) {
            let State::Ready(change) = item.state else { continue };
            changes.push(change);
            places.push(Placed { position: item.record.position, ordinal });
        }
        self.publish(&changes, &places, seq).await?;
        Progress::add(&self.progress.recovered, changes.len());
        Ok(())
    }
}
