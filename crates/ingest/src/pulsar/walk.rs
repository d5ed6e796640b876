//! Walking through a partition from the newest record to the oldest.
//!
//! A broker reads forwards only, and says which entry is the newest but not which ledgers there are. So the newest ledger is read in
//! windows that grow, each of them turned round. Where the visitor wants more, one pass over the rest notes the ledgers and
//! how many entries each has, and they are read in windows, too: memory is bounded by a window, whatever the topic holds.

use std::ops::ControlFlow;

use super::consumer::{Consumer, Delivery, Reading};
use super::place::Place;
use super::trouble::{Patience, Trouble};
use crate::log::{LogError, Record};
use crate::topic::TopicName;

/// Entries of the first and of the largest window.
const WINDOW_FIRST: i64 = 16;
const WINDOW_MAX: i64 = 1024;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    pub reading: Reading,
    pub topic: TopicName,
    pub partition: u32,
    pub patience: Patience,
    pub runtime: tokio::runtime::Handle,
}

impl Walk {
    pub(super) async fn newest_first(
        &self,
        visit: &mut (dyn FnMut(Record) -> ControlFlow<()> + Send),
    ) -> Result<(), LogError> {
        let last = self.on_runtime(|walk| async move { walk.newest().await }).await?;
        if self.walk_ledger(last, visit).await?.is_break() {
            return Ok(());
        }
        let before = Place { entry: 0, index: 0, ..last };
        let ledgers = self.on_runtime(move |walk| async move { walk.ledgers(before).await }).await?;
        for end in ledgers.into_iter().rev() {
            if self.walk_ledger(end, visit).await?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Visits the records of a ledger up to an entry.
    async fn walk_ledger(
        &self,
        last: Place,
        visit: &mut (dyn FnMut(Record) -> ControlFlow<()> + Send),
    ) -> Result<ControlFlow<()>, LogError> {
        let (mut end, mut window) = (last, WINDOW_FIRST);
        while end.entry >= 0 {
            let from = Place { entry: (end.entry + 1 - window).max(0), index: 0, ..end };
            let records = self.on_runtime(move |walk| async move { walk.window(from, end).await }).await?;
            for record in records.into_iter().rev() {
                if visit(record).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            end = Place { entry: from.entry - 1, index: 0, ..end };
            window = (window * 2).min(WINDOW_MAX);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Tries on the runtime of the log until it works.
    async fn on_runtime<T, F>(&self, job: impl Fn(Walk) -> F + Send + 'static) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send,
    {
        let walk = self.clone();
        let work = async move {
            let mut outage = walk.patience.outage(Some(&walk.topic), walk.partition);
            loop {
                match job(walk.clone()).await {
                    Ok(done) => return Ok(done),
                    Err(trouble) => {
                        outage.after(trouble).await.map_err(|trouble| outage.error(trouble))?;
                    }
                }
            }
        };
        super::joined(self.runtime.spawn(work)).await
    }

    async fn newest(&self) -> Result<Place, Trouble> {
        let mut consumer = Consumer::open(&self.reading, None).await?;
        let last = consumer.ends().await?.last;
        consumer.close().await;
        Ok(last)
    }

    /// Reads the records of the entries from one to another of the same ledger.
    async fn window(&self, from: Place, end: Place) -> Result<Vec<Record>, Trouble> {
        let mut all = Vec::new();
        self.forwards(Some(from), |place, records| {
            if (place.ledger, place.entry) <= (end.ledger, end.entry) {
                all.extend(records);
            }
            place.reaches(end)
        })
        .await?;
        // What was dropped meanwhile is not visited.
        all.retain(|record| Place::of(record.position).reaches(from));
        Ok(all)
    }

    /// Returns the newest entry of each ledger before an entry.
    async fn ledgers(&self, before: Place) -> Result<Vec<Place>, Trouble> {
        let mut ledgers: Vec<Place> = Vec::new();
        self.forwards(None, |place, _| {
            if place.ledger < before.ledger {
                match ledgers.last_mut() {
                    Some(last) if last.ledger == place.ledger => *last = place,
                    _ => ledgers.push(place),
                }
            }
            place.reaches(before)
        })
        .await?;
        Ok(ledgers)
    }

    /// Reads until the visitor is done, or there is nothing more.
    async fn forwards(
        &self,
        from: Option<Place>,
        mut is_done: impl FnMut(Place, Vec<Record>) -> bool,
    ) -> Result<(), Trouble> {
        let mut consumer = Consumer::open(&self.reading, from).await?;
        let last = consumer.ends().await?.last;
        if last.entry < 0 || from.is_some_and(|from| !last.reaches(from)) {
            return Ok(());
        }
        loop {
            consumer.allow(0).await?;
            match consumer.next(true).await? {
                Delivery::Entry(place, records) => {
                    if is_done(place, records) || place.reaches(last) {
                        consumer.close().await;
                        return Ok(());
                    }
                }
                Delivery::Other => {}
            }
        }
    }
}
