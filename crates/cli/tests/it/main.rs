//! The real binary, run as a person would.

mod bench;
mod dvse;
mod failures;
mod help;
mod round_trip;
mod serve;
