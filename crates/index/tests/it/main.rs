//! Tests of the indexes against brute force.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod adopt;
mod churn;
mod coded;
mod copies;
mod data;
mod exact;
mod graph;
mod halves;
mod ivf;
mod ivf_sections;
mod kinds;
mod odd;
mod sections;
mod sketch;
mod work;
