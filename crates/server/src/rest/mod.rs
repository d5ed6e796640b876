//! REST in the dialect that existing clients of vector databases speak.
//!
//! [`routes::ROUTES`] lists every operation; the router, the metrics and the test of the OpenAPI document come from
//! it. [`dispatch`] is the asynchronous half of every request: key, origin, admission, body. The handlers are the
//! synchronous half, each a thin translation to calls of the engine, run on a thread that may block.

mod aliases;
mod call;
mod collections;
mod dispatch;
mod fields;
mod filter;
mod health;
pub(crate) mod ingest;
mod points;
mod projection;
mod reply;
mod routes;
mod search;
mod sources;
mod vectors;
mod write;

pub(crate) use call::QueryParameters;
pub use dispatch::{router, skip_body};
pub use filter::{FilterLimits, filter_from_json};
pub(crate) use ingest::Ask;
pub use points::measure_upsert;
pub(crate) use reply::{Reply, error_response};
pub use routes::{Access, ROUTES, Route};
