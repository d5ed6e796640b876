//! Pipelines: streams of records into collections, as a role of the node or beside one.
//!
//! The pipeline itself is `dvse_ingest`'s. Here is what it needs of a node ([`EngineSink`]) and of a model ([`TextModel`]), who
//! runs it inside a node ([`PipelineSpec`]), and how it is seen and steered, whichever process it runs in: the list of
//! [`Pipelines`] answers `/ingest` and `/metrics` of a node, and of `dvse ingest` through [`Admin`].

mod admin;
mod metrics;
mod model;
mod pipelines;
mod role;
mod sink;
mod target;

pub use admin::{Admin, AdminError};
pub use metrics::exposition;
pub use model::{NoModel, TextModel};
pub use pipelines::{Pipeline, Pipelines, TwoPipelines};
pub use role::PipelineSpec;
pub(crate) use role::{Role, Surroundings, log_changes};
pub use sink::EngineSink;
pub use target::{Target, Unfit, choose, fit, schema_for};
