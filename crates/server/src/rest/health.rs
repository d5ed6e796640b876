//! What a node says about itself.

use serde_json::json;

use crate::app::App;
use crate::error::RestError;
use crate::ingest::exposition;
use crate::rest::call::Call;
use crate::rest::reply::Reply;

/// Our own OpenAPI document.
const OPENAPI: &str = include_str!("../../openapi.json");

/// GET `/`: clients look at the version before anything else.
pub fn root(app: &App, _: &Call) -> Result<Reply, RestError> {
    let body = json!({
        "title": app.config.title,
        "version": app.config.version,
        "commit": concat!("dvse-", env!("CARGO_PKG_VERSION")),
    });
    Ok(Reply::Bare(body.to_string().into_bytes()))
}

/// GET `/healthz`, `/livez` and `/readyz`. The node serves only once its collections are open, so it is ready
/// whenever it answers.
pub fn probe(_: &App, _: &Call) -> Result<Reply, RestError> {
    Ok(Reply::Text("ok".to_owned()))
}

/// GET `/metrics`.
pub fn metrics(app: &App, _: &Call) -> Result<Reply, RestError> {
    let mut text = app.telemetry.render(&app.database);
    text.push_str(&exposition(&app.pipelines));
    Ok(Reply::Metrics(text))
}

/// GET `/openapi.json`.
pub fn openapi(_: &App, _: &Call) -> Result<Reply, RestError> {
    Ok(Reply::Bare(OPENAPI.as_bytes().to_vec()))
}

/// Everything the dialect has and this version does not.
pub fn unsupported(_: &App, _: &Call) -> Result<Reply, RestError> {
    Err(RestError::unsupported("this operation"))
}
