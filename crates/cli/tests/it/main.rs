//! The real binary, run as a person would.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;
mod dvse;
mod failures;
mod help;
mod role;
mod round_trip;
mod serve;
mod stream;
