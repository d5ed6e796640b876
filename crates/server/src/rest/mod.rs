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
mod points;
mod projection;
mod reply;
mod routes;
mod search;
mod sources;
mod vectors;
mod write;

pub use dispatch::router;
pub use filter::{FilterLimits, filter_from_json};
pub use points::measure_upsert;
pub use routes::{Access, ROUTES, Route};
