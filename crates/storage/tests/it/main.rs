//! What the storage crate promises, checked from outside.
#![expect(clippy::unwrap_used, reason = "a check that fails is to panic")]

mod conformance;
mod crash;
mod formats;
mod manifest;
mod segment;
mod wal;
mod wal_crash;
mod wal_damage;
mod wal_follow;
mod wal_model;
mod wal_threads;
