//! How far a collection is into the streams that it is written from, and who may write. This is ours, not the dialect's.

mod body;

use dvse_engine::MarkOutcome;
use dvse_fault::passed;
use dvse_types::{Position, SourceMark, SourceState, StreamName};
use serde_json::Value;

pub use self::body::{MarkBody, MarkedReply};
use self::body::{SourceReply, TakeOverBody};
use crate::app::App;
use crate::error::RestError;
use crate::rest::call::Call;
use crate::rest::reply::Reply;

/// GET `/collections/{collection}/sources`.
pub fn list(app: &App, call: &Call) -> Result<Reply, RestError> {
    let collection = app.collection(call.collection()?)?;
    let sources = collection.view().sources().into_iter();
    let sources: Vec<_> = sources.map(|(stream, partition, state)| show(&stream, partition, state)).collect();
    Reply::result(&sources)
}

/// POST `/collections/{collection}/sources/take-over`. Answered when it is durable.
pub fn take_over(app: &App, call: &Call) -> Result<Reply, RestError> {
    let TakeOverBody { stream, partition } = call.body()?;
    let stream = read_stream("stream", &stream)?;
    let partition = read_partition("partition", &partition)?;
    let collection = app.collection(call.collection()?)?;
    let state = collection.take_over(&stream, partition).map_err(|error| RestError::engine(&error))?;
    passed("granted");
    tracing::info!(
        collection = collection.name(),
        stream = stream.as_str(),
        partition,
        epoch = state.epoch,
        "partition taken over"
    );
    Reply::result(&show(&stream, partition, state))
}

fn show(stream: &StreamName, partition: u32, state: SourceState) -> SourceReply {
    SourceReply {
        stream: stream.to_string(),
        partition,
        epoch: state.epoch,
        position: state.position.map(|position| position.to_string()),
        seq: state.seq.0,
    }
}

/// The name of an outcome in answers.
#[must_use]
pub fn outcome_name(outcome: MarkOutcome) -> &'static str {
    match outcome {
        MarkOutcome::Applied { .. } => "applied",
        MarkOutcome::Duplicate { .. } => "duplicate",
    }
}

/// Reads the source of a batch.
///
/// # Errors
/// A field is not what it must be.
pub fn read_mark(body: &MarkBody) -> Result<SourceMark, RestError> {
    Ok(SourceMark {
        stream: read_stream("source.stream", &body.stream)?,
        partition: read_partition("source.partition", &body.partition)?,
        epoch: read_epoch("source.epoch", &body.epoch)?,
        position: read_position("source.position", &body.position)?,
    })
}

fn read_stream(field: &'static str, value: &Value) -> Result<StreamName, RestError> {
    let Some(text) = value.as_str() else {
        return Err(RestError::misfit(field, format!("{value} is not a string")));
    };
    text.parse::<StreamName>().map_err(|error| RestError::misfit(field, error.to_string()))
}

fn read_partition(field: &'static str, value: &Value) -> Result<u32, RestError> {
    let partition = value.as_u64().and_then(|number| u32::try_from(number).ok());
    let problem = || format!("{value} is not a whole number from 0 to {}", u32::MAX);
    partition.ok_or_else(|| RestError::misfit(field, problem()))
}

fn read_epoch(field: &'static str, value: &Value) -> Result<u64, RestError> {
    let problem = || format!("{value} is not a whole number from 0 to {}", u64::MAX);
    value.as_u64().ok_or_else(|| RestError::misfit(field, problem()))
}

fn read_position(field: &'static str, value: &Value) -> Result<Position, RestError> {
    let Some(text) = value.as_str() else {
        let problem = format!("{value} is not a string: a decimal number in quotes, from 0 to 2¹²⁸ − 1");
        return Err(RestError::misfit(field, problem));
    };
    text.parse::<Position>().map_err(|error| RestError::misfit(field, error.to_string()))
}
