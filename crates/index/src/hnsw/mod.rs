//! Hierarchical navigable small world graphs (Malkov & Yashunin 2018), built in deterministic batches.
//!
//! [`GrowingHnsw`] links rows while others search; [`SealedHnsw`] is the same arrays, read in place from sections.

mod adopt;
mod batch;
mod copies;
mod growing;
mod levels;
mod link;
mod link_sketch;
mod narrow;
mod params;
mod sealed;
mod sealed_codes;
mod search;
mod sections;

pub use growing::{GrowingHnsw, LinkError, LinkProgress};
pub use params::{HnswParams, HnswParamsError};
pub use sealed::SealedHnsw;
