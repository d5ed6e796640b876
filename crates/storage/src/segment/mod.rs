//! Segment files: immutable, made of named sections, each with its checksums; see `docs/format/segment.md`.

mod error;
mod format;
mod reader;
mod writer;

pub use error::{SegmentDamage, SegmentError};
pub use format::{Alignment, SectionTag};
pub use reader::SegmentReader;
pub use writer::SegmentWriter;
