//! Answers: the envelope of results and errors.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use dvse_types::Classify;
use serde::Serialize;
use serde_json::json;

use crate::error::RestError;

/// What a handler answers with.
#[derive(Debug)]
pub enum Reply {
    /// The JSON text that goes into `result` of the envelope.
    Result(Vec<u8>),
    /// A JSON text without an envelope.
    Bare(Vec<u8>),
    /// Plain text.
    Text(String),
    /// Metrics in the text format of Prometheus.
    Metrics(String),
}

impl Reply {
    /// Answers with a value as the envelope's `result`.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn result(value: &impl Serialize) -> Result<Reply, RestError> {
        Ok(Reply::Result(serde_json::to_vec(value)?))
    }

    /// Makes the HTTP response; `seconds` is how long the answer took.
    #[must_use]
    pub fn into_response(self, seconds: f64) -> Response<Body> {
        match self {
            Reply::Result(result) => {
                let mut body = Vec::with_capacity(result.len() + 64);
                body.extend_from_slice(br#"{"result":"#);
                body.extend_from_slice(&result);
                body.extend_from_slice(format!(r#","status":"ok","time":{seconds:.6}}}"#).as_bytes());
                respond(StatusCode::OK, "application/json", body)
            }
            Reply::Bare(body) => respond(StatusCode::OK, "application/json", body),
            Reply::Text(text) => respond(StatusCode::OK, "text/plain; charset=utf-8", text.into_bytes()),
            // Scrapers of today insist on a type that they know.
            Reply::Metrics(text) => {
                respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into_bytes())
            }
        }
    }
}

/// Makes the HTTP response of an error.
#[must_use]
pub fn error_response(error: &RestError, seconds: f64) -> Response<Body> {
    let status = error.status();
    if matches!(error, RestError::Unauthorized) {
        return respond(status, "text/plain; charset=utf-8", error.message().into_bytes());
    }
    let mut detail = json!({ "error": error.message(), "code": error.code() });
    if let (Some(help), Some(detail)) = (error.help(), detail.as_object_mut()) {
        detail.insert("help".to_owned(), help.into());
    }
    let body = json!({ "result": null, "status": detail, "time": (seconds * 1e6).round() / 1e6 });
    let mut response = respond(status, "application/json", body.to_string().into_bytes());
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
