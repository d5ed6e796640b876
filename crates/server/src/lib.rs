//! The DVSE node: REST in the dialect existing clients speak, configuration, telemetry, and the composition root.
//!
//! It translates and bounds; it knows no algorithm and has no `if` about search. Read [`config`], then [`Node`], then
//! the table [`rest::ROUTES`].
//!
//! ```no_run
//! use dvse_server::{Node, config::RawConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut raw = RawConfig::default();
//! raw.set("server.http", "127.0.0.1:0")?;
//! raw.set("storage.data", "/tmp/vectors")?;
//! let node = Node::start(raw.check()?)?;
//! println!("http://{}", node.address());
//! node.stop()?;
//! # Ok(())
//! # }
//! ```

mod app;
mod auth;
mod body_buffers;
pub mod config;
mod embedding;
mod error;
pub mod ingest;
mod node;
mod pace;
mod priority;
pub mod rest;
mod status;
mod telemetry;

pub use error::RestError;
pub use node::{IngestError, Node, RunError, StartError, StopError, run, start_logging};
