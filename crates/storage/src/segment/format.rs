//! The bytes of a segment file; `docs/format/segment.md` has the table.

use std::fmt;

use crate::codec::{put, u32_at, u64_at};

pub(super) const MAGIC: [u8; 8] = *b"DVSESEG1";
pub(super) const FOOTER_MAGIC: [u8; 8] = *b"DVSEEND1";
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_BYTES: u64 = 64;
pub(super) const FOOTER_BYTES: u64 = 64;
pub(super) const ENTRY_BYTES: u64 = 64;
/// Sections larger than this carry a checksum for each block of this size.
pub(super) const BLOCK_BYTES: u64 = 64 << 10;

/// The name of a section: four characters and an index, for sections that exist several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SectionTag {
    /// Four characters that say what the section holds.
    pub name: [u8; 4],
    /// Which one of several; 0 if there is only one.
    pub index: u32,
}

impl SectionTag {
    /// Makes the tag of a section that exists once.
    #[must_use]
    pub const fn new(name: [u8; 4]) -> SectionTag {
        SectionTag { name, index: 0 }
    }

    /// Makes the tag of one of several sections.
    #[must_use]
    pub const fn with_index(name: [u8; 4], index: u32) -> SectionTag {
        SectionTag { name, index }
    }
}

impl fmt::Display for SectionTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name.escape_ascii())?;
        if self.index > 0 { write!(f, "[{}]", self.index) } else { Ok(()) }
    }
}

/// Where a section may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// At a multiple of 64 bytes, a cache line: for sections that are read as a whole.
    Line,
    /// At a multiple of 4096 bytes, a page: for large sections of which parts are read.
    Page,
}

impl Alignment {
    pub(super) fn bytes(self) -> u64 {
        match self {
            Alignment::Line => 64,
            Alignment::Page => 4096,
        }
    }
}

/// One line of the table of contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub tag: SectionTag,
    pub offset: u64,
    pub bytes: u64,
    pub crc: u32,
    /// Number of block checksums; 0 for a section of at most one block.
    pub blocks: u32,
    /// Offset of the block checksums in the file.
    pub blocks_offset: u64,
    /// Checksum over the block checksums.
    pub blocks_crc: u32,
}

impl Entry {
    pub(super) fn encode(&self) -> [u8; ENTRY_BYTES as usize] {
        let mut out = [0; ENTRY_BYTES as usize];
        put(&mut out, 0, &self.tag.name);
        put(&mut out, 4, &self.tag.index.to_le_bytes());
        put(&mut out, 8, &self.offset.to_le_bytes());
        put(&mut out, 16, &self.bytes.to_le_bytes());
        put(&mut out, 24, &self.blocks_offset.to_le_bytes());
        put(&mut out, 32, &self.crc.to_le_bytes());
        put(&mut out, 36, &self.blocks.to_le_bytes());
        put(&mut out, 40, &self.blocks_crc.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Entry {
        let mut name = [0; 4];
        name.copy_from_slice(&bytes[..4]);
        Entry {
            tag: SectionTag { name, index: u32_at(bytes, 4) },
            offset: u64_at(bytes, 8),
            bytes: u64_at(bytes, 16),
            blocks_offset: u64_at(bytes, 24),
            crc: u32_at(bytes, 32),
            blocks: u32_at(bytes, 36),
            blocks_crc: u32_at(bytes, 40),
        }
    }
}

/// Returns how many block checksums a section of this size carries.
pub(super) fn block_count(bytes: u64) -> u64 {
    if bytes > BLOCK_BYTES { bytes.div_ceil(BLOCK_BYTES) } else { 0 }
}

pub(super) fn encode_header() -> [u8; HEADER_BYTES as usize] {
    let mut out = [0; HEADER_BYTES as usize];
    put(&mut out, 0, &MAGIC);
    put(&mut out, 8, &VERSION.to_le_bytes());
    seal(&mut out);
    out
}

/// The last 64 bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub contents_offset: u64,
    pub file_bytes: u64,
    pub sections: u32,
    pub contents_crc: u32,
}

impl Footer {
    pub(super) fn encode(&self) -> [u8; FOOTER_BYTES as usize] {
        let mut out = [0; FOOTER_BYTES as usize];
        put(&mut out, 0, &FOOTER_MAGIC);
        put(&mut out, 8, &self.contents_offset.to_le_bytes());
        put(&mut out, 16, &self.file_bytes.to_le_bytes());
        put(&mut out, 24, &self.sections.to_le_bytes());
        put(&mut out, 28, &self.contents_crc.to_le_bytes());
        seal(&mut out);
        out
    }

    /// Reads 64 bytes that passed [`is_sealed`].
    pub(super) fn decode(bytes: &[u8]) -> Footer {
        Footer {
            contents_offset: u64_at(bytes, 8),
            file_bytes: u64_at(bytes, 16),
            sections: u32_at(bytes, 24),
            contents_crc: u32_at(bytes, 28),
        }
    }
}

/// Writes the checksum of the first 60 bytes into the last 4.
fn seal(block: &mut [u8; 64]) {
    let crc = crc32c::crc32c(&block[..60]);
    put(block, 60, &crc.to_le_bytes());
}

/// Whether a block of 64 bytes begins with `magic` and passes its checksum.
pub(super) fn is_sealed(block: &[u8], magic: [u8; 8]) -> bool {
    block.len() == 64 && block[..8] == magic && crc32c::crc32c(&block[..60]) == u32_at(block, 60)
}
