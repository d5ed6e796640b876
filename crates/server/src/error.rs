//! What can go wrong between a request and its answer.

use axum::http::StatusCode;
use dvse_embed::{EmbedError, ModelError};
use dvse_types::{
    Classify, ErrorKind, InvalidSchema, InvalidVector, ParsePathError, ParsePointIdError, PointId,
};

use crate::embedding::Wanted;
use crate::status::{http_status, message_prefix};

/// A request that is answered with an error.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// The body is not JSON, or not of the shape asked for.
    #[error("Format error in JSON body: {0}")]
    Format(#[from] serde_json::Error),
    /// A value is out of its range.
    #[error("Validation error in JSON body: [{field}: value {got} invalid, must be {rule}]")]
    OutOfRange {
        /// The field of the body.
        field: &'static str,
        /// What it is.
        got: String,
        /// What it must be.
        rule: String,
    },
    /// A part of the URL is not what it must be.
    #[error("{part} {name:?} is {got:?}; it must be {rule}")]
    BadUrl {
        /// `path parameter` or `query parameter`.
        part: &'static str,
        /// Its name.
        name: String,
        /// Its value.
        got: String,
        /// What it must be.
        rule: &'static str,
    },
    /// The shape is right, but the parts do not fit together.
    #[error("{field}: {problem}")]
    Misfit {
        /// The field of the body.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A vector does not fit its field.
    #[error(transparent)]
    Vector(#[from] InvalidVector),
    /// A payload key is none.
    #[error(transparent)]
    Path(#[from] ParsePathError),
    /// An id is none.
    #[error(transparent)]
    Id(#[from] ParsePointIdError),
    /// A collection cannot be made like this.
    #[error(transparent)]
    Schema(#[from] InvalidSchema),
    /// A number is above a limit of this node.
    #[error("{what}: {got} is above this node's limit of {max}")]
    AboveLimit {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        got: usize,
        /// How much there may be.
        max: usize,
        /// The setting that can be raised, if there is one.
        setting: Option<&'static str>,
    },
    /// The body is larger than this node takes.
    #[error("the request body is larger than this node's limit of {max} bytes")]
    BodyTooLarge {
        /// The limit.
        max: usize,
    },
    /// The body did not come in time.
    #[error("the request body did not arrive within {seconds} seconds")]
    BodyTooSlow {
        /// The deadline.
        seconds: u64,
    },
    /// The connection broke while the body came.
    #[error("the request body broke off: {0}")]
    BodyBroken(#[source] axum::Error),
    /// The dialect has it, this version does not.
    #[error("{what}")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// There is no such point.
    #[error("No point with id {0} found")]
    NoPoint(PointId),
    /// No pipeline of this process fills the collection.
    #[error("no pipeline of this process fills collection {0:?}")]
    NoPipeline(String),
    /// The pipeline does nothing any more.
    #[error("ingest into collection {collection:?} has stopped: {reason}")]
    PipelineStopped {
        /// The collection.
        collection: String,
        /// Why.
        reason: String,
    },
    /// There is no such place.
    #[error("there is nothing at {0:?}")]
    NoRoute(String),
    /// The place is there but not for this method.
    #[error("{path:?} does not take {method}")]
    NoMethod {
        /// The path.
        path: String,
        /// The method.
        method: String,
    },
    /// The key is missing or wrong. Answered in plain text, as clients expect.
    #[error("Must provide an API key or an Authorization bearer token")]
    Unauthorized,
    /// A web page from a place that may not call.
    #[error("pages from {0:?} may not call this node")]
    ForeignOrigin(String),
    /// More is asked at once than this node takes.
    #[error("{requests_max} requests are being worked on, which is this node's limit")]
    Overloaded {
        /// The limit.
        requests_max: usize,
    },
    /// The answer did not come within the time the request gave.
    #[error("the answer took longer than the {seconds} seconds asked for")]
    Timeout {
        /// The time given.
        seconds: u64,
    },
    /// The node is going down.
    #[error("this node is stopping")]
    Stopping,
    /// An error of the engine.
    #[error("{message}")]
    Engine {
        /// What it means.
        kind: ErrorKind,
        /// What happened, sources included.
        message: String,
        /// What to do about it.
        help: Option<String>,
    },
    /// A handler panicked: a defect.
    #[error("the request failed inside this node; the log says more")]
    Panicked,
    /// Not an error: texts that a model has to embed before the handler can go on.
    #[error("texts wait for their model")]
    Texts(Wanted),
    /// The text could not be embedded.
    #[error(transparent)]
    Embedding(#[from] EmbedError),
}

impl RestError {
    /// Takes over an error of the engine, with the messages of its sources.
    pub fn engine(error: &(impl Classify + 'static)) -> RestError {
        let mut message = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            let text = inner.to_string();
            // Wrapping errors often say what their source says.
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = inner.source();
        }
        RestError::Engine { kind: error.kind(), message, help: error.help() }
    }

    /// The error of something this version does not do.
    #[must_use]
    pub fn unsupported(what: impl Into<String>) -> RestError {
        RestError::Unsupported { what: what.into() }
    }

    /// The error of parts that do not fit together.
    #[must_use]
    pub fn misfit(field: &'static str, problem: impl Into<String>) -> RestError {
        RestError::Misfit { field, problem: problem.into() }
    }

    /// The HTTP status it is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            RestError::OutOfRange { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            RestError::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            RestError::BodyTooSlow { .. } | RestError::Timeout { .. } => StatusCode::REQUEST_TIMEOUT,
            RestError::NoMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            RestError::PipelineStopped { .. } => StatusCode::CONFLICT,
            RestError::Unauthorized => StatusCode::UNAUTHORIZED,
            RestError::ForeignOrigin(_) => StatusCode::FORBIDDEN,
            other => http_status(other.kind()),
        }
    }

    /// The stable name of the error: that of its kind, or a narrower one.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            RestError::Unauthorized => "unauthorized",
            RestError::ForeignOrigin(_) => "foreign_origin",
            RestError::NoMethod { .. } => "method_not_allowed",
            RestError::PipelineStopped { .. } => "ingest_stopped",
            RestError::BodyTooSlow { .. } | RestError::Timeout { .. } => "timeout",
            other => other.kind().name(),
        }
    }

    /// The message in the dialect's wording.
    #[must_use]
    pub fn message(&self) -> String {
        let text = self.to_string();
        match self {
            RestError::Format(_) | RestError::OutOfRange { .. } | RestError::Unauthorized => text,
            RestError::PipelineStopped { .. } => capitalised(&text),
            other => format!("{}{}", message_prefix(other.kind()), capitalised(&text)),
        }
    }
}

/// Our own messages begin in lower case; those of the dialect begin with a capital.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

impl Classify for RestError {
    fn kind(&self) -> ErrorKind {
        match self {
            RestError::Format(_)
            | RestError::OutOfRange { .. }
            | RestError::BadUrl { .. }
            | RestError::Misfit { .. }
            | RestError::Vector(_)
            | RestError::Path(_)
            | RestError::Id(_)
            | RestError::Schema(_)
            | RestError::BodyTooSlow { .. }
            | RestError::BodyBroken(_)
            | RestError::NoMethod { .. }
            | RestError::PipelineStopped { .. }
            | RestError::Embedding(EmbedError::EmptyText { .. } | EmbedError::NoDirection { .. })
            | RestError::Unauthorized
            | RestError::ForeignOrigin(_) => ErrorKind::InvalidInput,
            RestError::AboveLimit { .. } | RestError::BodyTooLarge { .. } => ErrorKind::TooLarge,
            RestError::Unsupported { .. } => ErrorKind::Unsupported,
            RestError::NoPoint(_) | RestError::NoPipeline(_) | RestError::NoRoute(_) => ErrorKind::NotFound,
            RestError::Overloaded { .. } => ErrorKind::Overloaded,
            RestError::Timeout { .. }
            | RestError::Stopping
            | RestError::Embedding(EmbedError::Model(
                ModelError::Late { .. } | ModelError::Busy { .. } | ModelError::Gone,
            )) => ErrorKind::Unavailable,
            RestError::Engine { kind, .. } => *kind,
            RestError::Panicked | RestError::Texts(_) | RestError::Embedding(_) => ErrorKind::Internal,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            RestError::AboveLimit { setting: Some(setting), .. } => {
                Some(format!("Send less at once, or raise the setting {setting} of the node."))
            }
            RestError::BodyTooLarge { .. } => Some(
                "Send fewer points at once, or raise the setting limits.body_bytes_max of the node.".to_owned(),
            ),
            RestError::Overloaded { .. } => Some(
                "Try again after the time in Retry-After, or raise the setting limits.requests_max of the node."
                    .to_owned(),
            ),
            RestError::ForeignOrigin(_) => {
                Some("Add the origin to the setting server.cors_origins of the node.".to_owned())
            }
            RestError::NoPipeline(_) => {
                Some("GET /ingest lists the pipelines; dvse serve --ingest SOURCE --collection NAME begins one.".to_owned())
            }
            RestError::PipelineStopped { .. } => {
                Some("POST /ingest/{collection}/resume starts it again where it stopped.".to_owned())
            }
            RestError::NoRoute(_) | RestError::NoMethod { .. } => {
                Some("GET /openapi.json lists what this node answers.".to_owned())
            }
            RestError::Vector(InvalidVector::Dimension { expected, .. }) => {
                Some(format!("Send {expected} numbers, or make a collection with another size."))
            }
            RestError::Vector(InvalidVector::UnknownName { .. }) => {
                Some("GET /collections/{collection} shows the vectors of the collection.".to_owned())
            }
            RestError::Engine { help, .. } => help.clone(),
            _ => None,
        }
    }
}
