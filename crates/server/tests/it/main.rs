//! Tests of a real node over a loopback connection, and of the documents it stands by.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by panicking")]

mod bad_input;
mod collections;
mod configuration;
mod harness;
mod ingest;
mod ingest_text;
mod limits;
mod models;
mod node;
mod openapi;
mod points;
mod schema;
mod search;
mod sources;
mod writes;
