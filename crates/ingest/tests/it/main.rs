//! What the crate promises, checked from outside.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a check that fails is to panic")]

mod conformance;
mod crash;
mod embedded;
mod memory_sink;
mod pipeline;
#[cfg(feature = "pulsar")]
mod pulsar;
mod rebuild;
mod steer;
