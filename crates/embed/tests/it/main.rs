//! Tests of the crate through its public face.

#![expect(clippy::unwrap_used, reason = "a failed helper of a test is a failed test")]

mod reverse_dictionary;
mod table;
mod tokens;
mod vectors;
mod wordnet;
