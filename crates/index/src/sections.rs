//! How an index keeps itself without knowing files: named byte sections in, named byte sections out.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use dvse_simd::AlignedBuf;
use dvse_types::Metric;

// Sections are arrays of little-endian integers, read in place.
const _: () = assert!(cfg!(target_endian = "little"), "sections are read in place and are little-endian");

/// Where an index writes its sections.
pub trait SectionSink {
    /// Begins the section `name`; everything appended until the next call belongs to it. Names do not repeat.
    ///
    /// # Errors
    /// What the receiver could not do (a full disk, a closed file).
    fn begin(&mut self, name: &str) -> std::io::Result<()>;

    /// Appends bytes to the current section.
    ///
    /// # Errors
    /// What the receiver could not do.
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()>;
}

/// Where an index finds its sections again.
pub trait SectionSource {
    /// The bytes of a section, aligned to at least four bytes, or `None` when there is none of this name.
    fn section(&self, name: &str) -> Option<SectionBytes>;
}

/// Where the parts of an index are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placement {
    /// Whole rows are on a disk and few of them in memory: what spares one is worth more.
    pub rows_on_disk: bool,
    /// Lists, codes and half rows are read where they are mapped. Else they are copied into memory of large pages when
    /// the index is opened.
    pub index_on_disk: bool,
}

/// What keeps a section's memory alive: a mapping or a buffer whose bytes never change.
pub type BytesOwner = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Bytes of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// A piece of shared immutable memory: a part of a mapped file, or a buffer.
#[derive(Clone)]
pub struct SectionBytes {
    owner: BytesOwner,
    range: Range<usize>,
}

impl SectionBytes {
    /// The part `range` of `owner`, or `None` when it reaches past the end.
    #[must_use]
    pub fn new(owner: BytesOwner, range: Range<usize>) -> Option<SectionBytes> {
        let len = (*owner).as_ref().len();
        (range.start <= range.end && range.end <= len).then_some(SectionBytes { owner, range })
    }

    /// All of a buffer.
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> SectionBytes {
        let range = 0..bytes.len();
        SectionBytes { owner: Arc::new(bytes), range }
    }

    /// The bytes; empty should the owner have shrunk, which an owner must not do.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        (*self.owner).as_ref().get(self.range.clone()).unwrap_or(&[])
    }

    /// The same bytes in memory of large pages, where there are enough of them to fill one and they are not to stay where
    /// they are.
    ///
    /// A walk jumps about in such a section, and a file is mapped in pages of 4 KiB: looking their addresses up took
    /// an eighth to a sixth of a search over 60 000 rows.
    pub(crate) fn placed(self, placement: Placement) -> SectionBytes {
        let len = self.as_slice().len();
        if len < LARGE_PAGE || placement.index_on_disk {
            return self;
        }
        let owner: BytesOwner = Arc::new(AlignedBytes(AlignedBuf::copy_of(self.as_slice())));
        SectionBytes { owner, range: 0..len }
    }

    /// The bytes as an array of plain numbers, or `None` when they are misaligned or not a whole number of them.
    pub(crate) fn cast<T: bytemuck::AnyBitPattern>(&self) -> Option<&[T]> {
        let bytes = self.as_slice();
        // No bytes may lie anywhere.
        if bytes.is_empty() { Some(&[]) } else { bytemuck::try_cast_slice(bytes).ok() }
    }
}

impl fmt::Debug for SectionBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SectionBytes").field("range", &self.range).finish_non_exhaustive()
    }
}

/// Appends `count` items in pieces of some size, so that the sink is not called for each.
pub(crate) fn write_items(
    count: u32,
    sink: &mut dyn SectionSink,
    put: impl Fn(u32, &mut Vec<u8>),
) -> std::io::Result<()> {
    const PIECE: usize = 64 * 1024;
    let mut bytes = Vec::with_capacity(PIECE + 1024);
    for item in 0..count {
        put(item, &mut bytes);
        if bytes.len() >= PIECE {
            sink.append(&bytes)?;
            bytes.clear();
        }
    }
    sink.append(&bytes)
}

/// Sections kept in memory: what an index wrote, ready to be opened again.
#[derive(Debug, Clone, Default)]
pub struct MemorySections {
    sections: BTreeMap<String, Vec<u8>>,
    current: String,
}

impl MemorySections {
    /// No sections yet.
    #[must_use]
    pub fn new() -> MemorySections {
        MemorySections::default()
    }

    /// The sections by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.sections.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// The bytes of a section, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Vec<u8>> {
        self.sections.get_mut(name)
    }
}

impl SectionSink for MemorySections {
    fn begin(&mut self, name: &str) -> std::io::Result<()> {
        self.current = name.to_owned();
        match self.sections.insert(name.to_owned(), Vec::new()) {
            None => Ok(()),
            Some(_) => Err(std::io::Error::other(format!("section {name} was begun twice"))),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self.sections.get_mut(&self.current) {
            Some(section) => {
                section.extend_from_slice(bytes);
                Ok(())
            }
            None => Err(std::io::Error::other("bytes were appended before a section was begun")),
        }
    }
}

impl SectionSource for MemorySections {
    fn section(&self, name: &str) -> Option<SectionBytes> {
        let bytes = self.sections.get(name)?;
        if bytes.is_empty() {
            return Some(SectionBytes::from_vec(Vec::new()));
        }
        let owner: BytesOwner = Arc::new(AlignedBytes(AlignedBuf::copy_of(bytes)));
        SectionBytes::new(owner, 0..bytes.len())
    }
}

struct AlignedBytes(AlignedBuf<u8>);

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Why sections could not be opened as an index.
#[derive(Debug, thiserror::Error)]
pub enum OpenIndexError {
    /// A section is not there.
    #[error("section {section} is missing")]
    Missing {
        /// The section's name.
        section: &'static str,
    },
    /// A section has the wrong size, or its memory is not aligned to four bytes.
    #[error("section {section} has {got} bytes, expected {expected} (or its memory is not 4-byte aligned)")]
    Size {
        /// The section's name.
        section: &'static str,
        /// Bytes that the header asks for.
        expected: u64,
        /// Bytes found.
        got: u64,
    },
    /// A number in a section contradicts the others.
    #[error("section {section} is damaged at element {element}: {what} is {got}, expected {expected}")]
    Damaged {
        /// The section's name.
        section: &'static str,
        /// Position in elements (not bytes) of that section.
        element: u64,
        /// What is wrong.
        what: &'static str,
        /// The value found.
        got: u64,
        /// The values that would be right.
        expected: String,
    },
    /// The section was written by a later version.
    #[error("section {section} has format version {got}, this build reads up to {newest}")]
    Version {
        /// The section's name.
        section: &'static str,
        /// The version found.
        got: u32,
        /// The newest version known.
        newest: u32,
    },
}

/// A section of `expected` bytes, aligned for elements of 4 bytes where `element` says so.
pub(crate) fn sized(
    source: &dyn SectionSource,
    section: &'static str,
    expected: u64,
    element: usize,
) -> Result<SectionBytes, OpenIndexError> {
    let bytes = source.section(section).ok_or(OpenIndexError::Missing { section })?;
    let got = bytes.as_slice().len() as u64;
    if got != expected || (element == 4 && bytes.cast::<u32>().is_none()) {
        return Err(OpenIndexError::Size { section, expected, got });
    }
    Ok(bytes)
}

/// That a number in a section contradicts the others.
pub(crate) fn damaged(
    section: &'static str,
    element: usize,
    what: &'static str,
    got: impl Into<u64>,
    expected: impl Into<String>,
) -> OpenIndexError {
    let (element, got, expected) = (element as u64, got.into(), expected.into());
    OpenIndexError::Damaged { section, element, what, got, expected }
}

/// How the headers of all indexes name a metric.
pub(crate) fn metric_code(metric: Metric) -> u32 {
    match metric {
        Metric::L2 => 0,
        Metric::InnerProduct => 1,
        Metric::Cosine => 2,
    }
}
