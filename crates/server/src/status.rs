//! The one table from kinds of errors to what a REST client sees.

use axum::http::StatusCode;
use dvse_types::ErrorKind;

/// The HTTP status of a kind of error.
#[must_use]
pub fn http_status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidInput | ErrorKind::TooLarge | ErrorKind::Unsupported => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::AlreadyExists | ErrorKind::Fenced => StatusCode::CONFLICT,
        ErrorKind::OutOfSpace => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// How the dialect begins the message of a kind of error. Programs in the field compare these texts.
#[must_use]
pub fn message_prefix(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidInput | ErrorKind::TooLarge => "Wrong input: ",
        ErrorKind::NotFound => "Not found: ",
        ErrorKind::AlreadyExists => "",
        ErrorKind::Fenced => "Conflict: ",
        ErrorKind::Unsupported => "Not available in this version: ",
        ErrorKind::OutOfSpace => "No space left on device: ",
        ErrorKind::Overloaded => "Too many requests: ",
        ErrorKind::Unavailable => "Service unavailable: ",
        ErrorKind::Corrupt | ErrorKind::Internal => "Service internal error: ",
    }
}
