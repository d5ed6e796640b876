//! The pipelines of this process, to be seen and steered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dvse_ingest::Clock;
use dvse_ingest::pipeline::{Mode, PipelineStatus, Progress, WorkerState};

/// A pipeline of this process.
#[derive(Debug)]
pub struct Pipeline {
    collection: String,
    source: String,
    topic: String,
    /// Known once the collection is.
    model: Mutex<Option<String>>,
    progress: Arc<Progress>,
}

impl Pipeline {
    /// A pipeline from a topic of a log, as it is shown, into a collection.
    #[must_use]
    pub fn new(collection: &str, source: &str, topic: &str, progress: Arc<Progress>) -> Pipeline {
        Pipeline {
            collection: collection.to_owned(),
            source: source.to_owned(),
            topic: topic.to_owned(),
            model: Mutex::default(),
            progress,
        }
    }

    /// The collection, which names the pipeline.
    #[must_use]
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// The log.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What makes vectors of texts; `None` if nothing does, or it is not known yet.
    #[must_use]
    pub fn model(&self) -> Option<String> {
        lock(&self.model).clone()
    }

    /// Notes what makes vectors of texts.
    pub fn set_model(&self, model: Option<String>) {
        *lock(&self.model) = model;
    }

    /// How it goes.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// How it is now.
    #[must_use]
    pub fn status(&self) -> PipelineStatus {
        self.progress.status((Clock::system().0)())
    }

    /// Waits until it does what it was asked, or has ended, or the time is over.
    pub async fn settled(&self, patience: Duration) {
        let mut changes = self.progress.watch();
        let settle = async {
            while !is_settled(&self.status()) {
                // The sender is the progress's own.
                let _ = changes.changed().await;
            }
        };
        let _ = tokio::time::timeout(patience, settle).await;
    }
}

/// Whether a pipeline does what it was asked, or never will.
fn is_settled(status: &PipelineStatus) -> bool {
    let held = matches!(status.state, WorkerState::Paused | WorkerState::Drained);
    match status.mode {
        Mode::Run => !held,
        Mode::Pause => status.state == WorkerState::Paused || status.state == WorkerState::Stopped,
        Mode::Drain { .. } => status.state == WorkerState::Drained || status.state == WorkerState::Stopped,
        // Why it ended is known once all its workers have.
        Mode::Halt => status.state == WorkerState::Stopped && status.reason.is_some(),
        Mode::Stop => status.state == WorkerState::Stopped,
    }
}

/// Two pipelines into one collection would have one name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("collection {collection} has a pipeline in this process already")]
pub struct TwoPipelines {
    /// The collection.
    pub collection: String,
}

/// The pipelines of this process, in the order in which they were begun.
#[derive(Debug, Default)]
pub struct Pipelines(Mutex<Vec<Arc<Pipeline>>>);

impl Pipelines {
    /// Adds one.
    ///
    /// # Errors
    /// There is one into that collection.
    pub fn add(&self, pipeline: Arc<Pipeline>) -> Result<(), TwoPipelines> {
        let mut all = lock(&self.0);
        if all.iter().any(|one| one.collection == pipeline.collection) {
            return Err(TwoPipelines { collection: pipeline.collection.clone() });
        }
        all.push(pipeline);
        Ok(())
    }

    /// All.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Pipeline>> {
        lock(&self.0).clone()
    }

    /// The one into a collection.
    #[must_use]
    pub fn get(&self, collection: &str) -> Option<Arc<Pipeline>> {
        lock(&self.0).iter().find(|one| one.collection == collection).cloned()
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
