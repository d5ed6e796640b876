//! Filters: their JSON, read into the conditions the engine tests.

mod body;
mod read;

pub use body::FilterBody;
pub use read::{FilterLimits, filter_from_json, read_filter};
