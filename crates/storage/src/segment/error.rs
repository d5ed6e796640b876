//! What a segment file can answer instead of its sections.

use std::path::PathBuf;

use thiserror::Error;

use super::format::SectionTag;
use crate::directory::DirectoryError;
use crate::error::StorageErrorKind;

/// An operation on a segment file failed.
#[derive(Debug, Error)]
pub enum SegmentError {
    /// The file does not hold what was written.
    #[error("segment {path} is damaged at offset {offset}: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Byte offset of the damage, or of the block that contains it.
        offset: u64,
        /// What is wrong.
        what: SegmentDamage,
    },
    /// A section that must be there is not.
    #[error("segment {path} has no section {section}", path = path.display())]
    NoSection {
        /// The file.
        path: PathBuf,
        /// The section asked for.
        section: SectionTag,
    },
    /// A section was written twice.
    #[error("section {section} is already in the segment")]
    DuplicateSection {
        /// The section.
        section: SectionTag,
    },
    /// The calls of the writer came in an order that makes no file.
    #[error("segment writer: {0}")]
    OutOfOrder(&'static str),
    /// The directory refused.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// What is wrong with a segment file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SegmentDamage {
    /// The file is too short to be a segment.
    #[error("the file has only {0} bytes")]
    Short(u64),
    /// The first 64 bytes are not a segment header.
    #[error("the header is not valid")]
    Header,
    /// The file is of a version this build does not read.
    #[error("format version {found} is not supported, this build reads up to {supported}")]
    Version {
        /// Version in the file.
        found: u32,
        /// Newest version this build reads.
        supported: u32,
    },
    /// The last 64 bytes are not a segment footer: the file was cut, or grew, or is damaged there.
    #[error("the footer is not valid")]
    Footer,
    /// The footer speaks of a file of another size.
    #[error("the footer says {expected} bytes, the file has {found}")]
    Length {
        /// Size as the footer says.
        expected: u64,
        /// Size of the file.
        found: u64,
    },
    /// The table of contents is not where the footer says, or fails its checksum.
    #[error("the table of contents is not valid")]
    Contents,
    /// An entry of the table of contents points out of the file, overlaps, or is there twice.
    #[error("the table of contents has an impossible entry for section {0}")]
    Entry(SectionTag),
    /// The bytes of a section fail their checksum.
    #[error("section {0} fails its checksum")]
    Section(SectionTag),
    /// The block checksums of a section fail their own checksum.
    #[error("the block checksums of section {0} fail their checksum")]
    Blocks(SectionTag),
    /// A byte between sections is not zero.
    #[error("the padding is not zero")]
    Padding,
}

impl SegmentError {
    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> StorageErrorKind {
        match self {
            SegmentError::Damaged { .. } | SegmentError::NoSection { .. } => StorageErrorKind::Corrupt,
            SegmentError::DuplicateSection { .. } | SegmentError::OutOfOrder(_) => StorageErrorKind::Invalid,
            SegmentError::Directory(error) => error.kind(),
        }
    }
}
