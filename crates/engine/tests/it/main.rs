//! The engine as its users see it: one collection, many ways to hurt it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by panicking")]

mod oracle;
mod support;

mod churn;
mod collection;
mod concurrent;
mod crash;
mod damage;
mod model;
mod pace;
mod placement;
mod reindex;
mod sources;
