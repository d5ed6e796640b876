//! The shared vocabulary of DVSE: plain data, all fields meaningful, no behaviour beyond validation.

mod id;
mod metric;

pub use id::{ParsePointIdError, PointId, RowId, SeqNo};
pub use metric::Metric;
