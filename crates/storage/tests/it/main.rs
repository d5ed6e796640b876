//! What the storage crate promises, checked from outside.

mod conformance;
mod manifest;
mod segment;
mod wal;
