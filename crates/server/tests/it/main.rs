//! Tests of a real node over a loopback connection, and of the documents it stands by.

mod bad_input;
mod collections;
mod configuration;
mod harness;
mod ingest_text;
mod limits;
mod node;
mod openapi;
mod points;
mod schema;
mod search;
mod writes;
