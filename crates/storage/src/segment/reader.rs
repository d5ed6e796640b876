//! Opening a segment file and checking what is in it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::error::{SegmentDamage, SegmentError};
use super::format::{
    BLOCK_BYTES, ENTRY_BYTES, Entry, FOOTER_BYTES, FOOTER_MAGIC, Footer, HEADER_BYTES, MAGIC, SectionTag,
    VERSION, block_count, is_sealed,
};
use crate::bytes::Bytes;
use crate::codec::{align_up, u32_at};
use crate::directory::Directory;

/// An open segment file.
///
/// Opening checks header, footer and table of contents, so every section lies inside the file; it does not read the
/// sections, so it takes the same short time for any size. Their bytes are checked by [`verify`](Self::verify) and its
/// relatives, when and as far as the owner wants.
#[derive(Debug, Clone)]
pub struct SegmentReader {
    path: PathBuf,
    bytes: Bytes,
    entries: BTreeMap<SectionTag, Entry>,
    contents_offset: u64,
}

impl SegmentReader {
    /// Opens the file `name`.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`] if header, footer or table of contents are not those of a whole segment file;
    /// [`SegmentError::Directory`] if it cannot be opened.
    pub fn open(dir: &dyn Directory, name: &str) -> Result<SegmentReader, SegmentError> {
        let bytes = dir.open_bytes(name)?;
        let path = dir.path().join(name);
        match read_contents(&bytes) {
            Ok((entries, contents_offset)) => Ok(SegmentReader { path, bytes, entries, contents_offset }),
            Err((offset, what)) => Err(SegmentError::Damaged { path, offset, what }),
        }
    }

    /// Returns the bytes of a section, unchecked; `None` if there is none of this tag.
    #[must_use]
    pub fn section(&self, tag: SectionTag) -> Option<Bytes> {
        let entry = self.entries.get(&tag)?;
        self.bytes.slice(place(entry)).ok()
    }

    /// Returns the bytes of a section that must be there, unchecked.
    ///
    /// # Errors
    /// [`SegmentError::NoSection`] if there is none of this tag.
    pub fn required(&self, tag: SectionTag) -> Result<Bytes, SegmentError> {
        self.section(tag).ok_or_else(|| SegmentError::NoSection { path: self.path.clone(), section: tag })
    }

    /// Returns the tags and sizes in bytes of all sections, sorted by tag.
    pub fn sections(&self) -> impl Iterator<Item = (SectionTag, u64)> + '_ {
        self.entries.values().map(|entry| (entry.tag, entry.bytes))
    }

    /// Returns the byte offset of a section in the file, for messages; `None` if there is none of this tag.
    #[must_use]
    pub fn offset(&self, tag: SectionTag) -> Option<u64> {
        self.entries.get(&tag).map(|entry| entry.offset)
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size of the file in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Checks all bytes of a section against their checksum.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`] with the offset of the first bad block; [`SegmentError::NoSection`] if there is none.
    pub fn verify(&self, tag: SectionTag) -> Result<(), SegmentError> {
        let entry = self.entry(tag)?;
        let bytes = &self.bytes[place(entry)];
        if entry.blocks > 0 {
            return self.verify_blocks(entry, 0..u64::from(entry.blocks));
        }
        if crc32c::crc32c(bytes) == entry.crc {
            return Ok(());
        }
        Err(self.damaged(entry.offset, SegmentDamage::Section(tag)))
    }

    /// Checks the blocks of 64 KiB of a section that `range`, in bytes from its start, touches. A section without
    /// block checksums is checked as a whole.
    ///
    /// # Errors
    /// As [`verify`](Self::verify). A range that is not inside the section is checked as far as it is.
    pub fn verify_range(&self, tag: SectionTag, range: Range<u64>) -> Result<(), SegmentError> {
        let entry = self.entry(tag)?;
        if entry.blocks == 0 {
            return self.verify(tag);
        }
        let last = range.end.min(entry.bytes).div_ceil(BLOCK_BYTES);
        self.verify_blocks(entry, range.start / BLOCK_BYTES..last)
    }

    /// Checks every byte of the file.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), for the first damage found.
    pub fn verify_all(&self) -> Result<(), SegmentError> {
        let mut covered: Vec<Range<usize>> = Vec::new();
        for entry in self.entries.values() {
            self.verify(entry.tag)?;
            covered.push(place(entry));
            covered.push(blocks_place(entry));
        }
        covered.sort_by_key(|range| (range.start, range.end));
        // What is between header, sections, block checksums and contents was written as zeros.
        let mut at = HEADER_BYTES as usize;
        covered.push(self.contents_offset as usize..self.bytes.len());
        for range in covered.into_iter().filter(|range| !range.is_empty()) {
            let gap = self.bytes.get(at..range.start).unwrap_or_default();
            if let Some(bad) = gap.iter().position(|byte| *byte != 0) {
                return Err(self.damaged((at + bad) as u64, SegmentDamage::Padding));
            }
            at = range.end;
        }
        Ok(())
    }

    fn entry(&self, tag: SectionTag) -> Result<&Entry, SegmentError> {
        self.entries
            .get(&tag)
            .ok_or_else(|| SegmentError::NoSection { path: self.path.clone(), section: tag })
    }

    fn verify_blocks(&self, entry: &Entry, blocks: Range<u64>) -> Result<(), SegmentError> {
        let crcs = &self.bytes[blocks_place(entry)];
        if crc32c::crc32c(crcs) != entry.blocks_crc {
            return Err(self.damaged(entry.blocks_offset, SegmentDamage::Blocks(entry.tag)));
        }
        let section = &self.bytes[place(entry)];
        let all_blocks = blocks == (0..u64::from(entry.blocks));
        let mut whole = 0;
        for block in blocks {
            let start = (block * BLOCK_BYTES) as usize;
            let bytes = &section[start..section.len().min(start + BLOCK_BYTES as usize)];
            let crc = crc32c::crc32c(bytes);
            if crc != u32_at(crcs, block as usize * 4) {
                return Err(self.damaged(entry.offset + start as u64, SegmentDamage::Section(entry.tag)));
            }
            whole = crc32c::crc32c_combine(whole, crc, bytes.len());
        }
        if all_blocks && whole != entry.crc {
            return Err(self.damaged(entry.offset, SegmentDamage::Section(entry.tag)));
        }
        Ok(())
    }

    fn damaged(&self, offset: u64, what: SegmentDamage) -> SegmentError {
        SegmentError::Damaged { path: self.path.clone(), offset, what }
    }
}

/// Place of a section. Inside the file: opening has checked it.
fn place(entry: &Entry) -> Range<usize> {
    entry.offset as usize..(entry.offset + entry.bytes) as usize
}

/// Place of the block checksums of a section. Inside the file: opening has checked it.
fn blocks_place(entry: &Entry) -> Range<usize> {
    entry.blocks_offset as usize..entry.blocks_offset as usize + entry.blocks as usize * 4
}

type Contents = (BTreeMap<SectionTag, Entry>, u64);

/// Reads everything that says where things are, and checks that they can be there.
fn read_contents(bytes: &[u8]) -> Result<Contents, (u64, SegmentDamage)> {
    let file_bytes = bytes.len() as u64;
    if file_bytes < HEADER_BYTES + FOOTER_BYTES {
        return Err((file_bytes, SegmentDamage::Short(file_bytes)));
    }
    let header = &bytes[..HEADER_BYTES as usize];
    if !is_sealed(header, MAGIC) {
        return Err((0, SegmentDamage::Header));
    }
    let version = u32_at(header, 8);
    if version != VERSION {
        return Err((8, SegmentDamage::Version { found: version, supported: VERSION }));
    }
    let footer_offset = file_bytes - FOOTER_BYTES;
    let footer = &bytes[footer_offset as usize..];
    if !is_sealed(footer, FOOTER_MAGIC) {
        return Err((footer_offset, SegmentDamage::Footer));
    }
    let footer = Footer::decode(footer);
    if footer.file_bytes != file_bytes {
        return Err((
            footer_offset,
            SegmentDamage::Length { expected: footer.file_bytes, found: file_bytes },
        ));
    }
    let contents_bytes = u64::from(footer.sections) * ENTRY_BYTES;
    if footer.contents_offset < HEADER_BYTES
        || footer.contents_offset.checked_add(contents_bytes) != Some(footer_offset)
    {
        return Err((footer_offset, SegmentDamage::Contents));
    }
    let contents = &bytes[footer.contents_offset as usize..footer_offset as usize];
    if crc32c::crc32c(contents) != footer.contents_crc {
        return Err((footer.contents_offset, SegmentDamage::Contents));
    }
    let mut entries = BTreeMap::new();
    let mut sections_end = HEADER_BYTES;
    for (index, raw) in contents.chunks_exact(ENTRY_BYTES as usize).enumerate() {
        let entry = Entry::decode(raw);
        let impossible =
            || (footer.contents_offset + index as u64 * ENTRY_BYTES, SegmentDamage::Entry(entry.tag));
        sections_end = check_entry(&entry, sections_end, footer.contents_offset).ok_or_else(impossible)?;
        if entries.insert(entry.tag, entry).is_some() {
            return Err(impossible());
        }
    }
    Ok((entries, footer.contents_offset))
}

/// Checks that a section lies behind the one before it and in front of the contents, where it can be viewed as any
/// number type, and has the block checksums that its size asks for. Returns its end.
fn check_entry(entry: &Entry, sections_end: u64, contents_offset: u64) -> Option<u64> {
    let end = entry.offset.checked_add(entry.bytes)?;
    let in_order = entry.offset >= sections_end && end <= contents_offset;
    let aligned = align_up(entry.offset, 64) == entry.offset;
    let blocks = u64::from(entry.blocks);
    let blocks_end = entry.blocks_offset.checked_add(blocks * 4)?;
    let blocks_fit = blocks == block_count(entry.bytes)
        && blocks_end <= contents_offset
        && (blocks == 0 || entry.blocks_offset >= end);
    (in_order && aligned && blocks_fit).then_some(end)
}
