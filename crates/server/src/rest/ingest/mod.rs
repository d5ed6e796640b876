//! Pipelines seen and steered. This is ours, not the dialect's.

mod body;

use std::time::Duration;

use serde_json::json;

use self::body::PipelineBody;
use crate::app::App;
use crate::error::RestError;
use crate::ingest::Pipelines;
use crate::rest::call::Call;
use crate::rest::reply::Reply;

/// How long a change is waited for where the request does not say.
const PATIENCE_S: u64 = 10;
/// How long it is waited for at most: a connection should not be taken for a job.
const PATIENCE_S_MAX: u64 = 3_600;

/// What a pipeline is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Begin no batch.
    Pause,
    /// Go on until nothing is left.
    Drain,
    /// Take what comes.
    Resume,
}

/// GET `/ingest`.
pub fn list(app: &App, _: &Call) -> Result<Reply, RestError> {
    show_all(&app.pipelines)
}

/// GET `/ingest/{collection}`.
pub fn get(app: &App, call: &Call) -> Result<Reply, RestError> {
    show(&app.pipelines, call.collection()?)
}

/// POST `/ingest/{collection}/pause`.
pub fn pause(app: &App, call: &Call) -> Result<Reply, RestError> {
    ask(&app.pipelines, call.collection()?, Ask::Pause)
}

/// POST `/ingest/{collection}/drain`.
pub fn drain(app: &App, call: &Call) -> Result<Reply, RestError> {
    ask(&app.pipelines, call.collection()?, Ask::Drain)
}

/// POST `/ingest/{collection}/resume`.
pub fn resume(app: &App, call: &Call) -> Result<Reply, RestError> {
    ask(&app.pipelines, call.collection()?, Ask::Resume)
}

/// Describes all pipelines.
///
/// # Errors
/// See [`Reply::result`].
pub fn show_all(pipelines: &Pipelines) -> Result<Reply, RestError> {
    let all: Vec<PipelineBody> = pipelines.all().iter().map(|one| PipelineBody::of(one)).collect();
    Reply::result(&json!({ "pipelines": all }))
}

/// Describes the pipeline into a collection.
///
/// # Errors
/// There is none.
pub fn show(pipelines: &Pipelines, collection: &str) -> Result<Reply, RestError> {
    let pipeline = pipelines.get(collection);
    let pipeline = pipeline.ok_or_else(|| RestError::NoPipeline(collection.to_owned()))?;
    Reply::result(&PipelineBody::of(&pipeline))
}

/// Asks the pipeline into a collection to do something, and describes it. It takes effect a moment later; see [`settled`].
///
/// # Errors
/// There is none, or it has stopped.
pub fn ask(pipelines: &Pipelines, collection: &str, ask: Ask) -> Result<Reply, RestError> {
    let pipeline = pipelines.get(collection);
    let pipeline = pipeline.ok_or_else(|| RestError::NoPipeline(collection.to_owned()))?;
    let progress = pipeline.progress();
    let is_asked = match ask {
        Ask::Pause => progress.pause(),
        Ask::Drain => progress.drain(),
        Ask::Resume => progress.resume(),
    };
    if !is_asked {
        let reason = pipeline.status().reason.unwrap_or_else(|| "it is ending".to_owned());
        return Err(RestError::PipelineStopped { collection: collection.to_owned(), reason });
    }
    show(pipelines, collection)
}

/// Waits until the pipeline into a collection does what it was asked, at most as long as the request says.
pub async fn settled(pipelines: &Pipelines, collection: &str, timeout_s: Option<u64>) {
    let seconds = timeout_s.unwrap_or(PATIENCE_S).min(PATIENCE_S_MAX);
    if let Some(pipeline) = pipelines.get(collection) {
        pipeline.settled(Duration::from_secs(seconds)).await;
    }
}
