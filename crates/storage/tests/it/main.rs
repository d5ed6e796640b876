//! What the storage crate promises, checked from outside.

mod conformance;
mod crash;
mod formats;
mod manifest;
mod segment;
mod wal;
mod wal_crash;
mod wal_damage;
mod wal_model;
mod wal_threads;
