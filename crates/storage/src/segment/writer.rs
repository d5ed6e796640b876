//! Writing a segment file front to back.

use std::fmt;
use std::mem;
use std::sync::Arc;

use super::error::SegmentError;
use super::format::{
    Alignment, BLOCK_BYTES, Entry, FOOTER_BYTES, Footer, HEADER_BYTES, SectionTag, block_count, encode_header,
};
use crate::checked_file::TEMPORARY_SUFFIX;
use crate::codec::align_up;
use crate::directory::{Directory, DirectoryError, FileHandle};

/// Bytes gathered before they are written to the file.
const BUFFER_BYTES: usize = 1 << 20;

/// Writes one segment file, section after section, each in as many pieces as its owner likes.
///
/// The file has a temporary name until [`finish`](SegmentWriter::finish) has synced it; dropping the writer before
/// that removes it. Memory use is a fixed buffer and 4 bytes for each 64 KiB written.
///
/// ```
/// use dvse_storage::{Alignment, MemDirectory, SectionTag, SegmentReader, SegmentWriter};
/// use std::sync::Arc;
///
/// let dir = Arc::new(MemDirectory::new());
/// let ids = SectionTag::new(*b"PIDS");
/// let mut writer = SegmentWriter::create(dir.clone(), "seg-1")?;
/// writer.begin(ids, Alignment::Line)?;
/// writer.write(&7u64.to_le_bytes())?;
/// writer.write(&9u64.to_le_bytes())?;
/// writer.finish()?;
///
/// let reader = SegmentReader::open(&*dir, "seg-1")?;
/// assert_eq!(reader.required(ids)?.as_slice_of::<u64>().unwrap(), [7, 9]);
/// # Ok::<(), dvse_storage::SegmentError>(())
/// ```
pub struct SegmentWriter {
    dir: Arc<dyn Directory>,
    name: String,
    file: Arc<dyn FileHandle>,
    /// Bytes that follow `flushed` in the file.
    buffer: Vec<u8>,
    flushed: u64,
    finished_sections: Vec<FinishedSection>,
    open_section: Option<OpenSection>,
    finished: bool,
}

struct FinishedSection {
    entry: Entry,
    block_crcs: Vec<u32>,
}

struct OpenSection {
    tag: SectionTag,
    offset: u64,
    crc: u32,
    block_crc: u32,
    block_filled: u64,
    block_crcs: Vec<u32>,
}

impl SegmentWriter {
    /// Begins a file that will be called `name`.
    ///
    /// # Errors
    /// [`SegmentError::Directory`] if the file cannot be made.
    pub fn create(dir: Arc<dyn Directory>, name: &str) -> Result<SegmentWriter, SegmentError> {
        let file = dir.create(&temporary(name))?;
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        buffer.extend_from_slice(&encode_header());
        Ok(SegmentWriter {
            dir,
            name: name.to_owned(),
            file,
            buffer,
            flushed: 0,
            finished_sections: Vec::new(),
            open_section: None,
            finished: false,
        })
    }

    /// Begins a section; the one before it ends here. A section may stay empty.
    ///
    /// # Errors
    /// [`SegmentError::DuplicateSection`] if there is one of this tag; [`SegmentError::Directory`] if writing fails.
    pub fn begin(&mut self, tag: SectionTag, alignment: Alignment) -> Result<(), SegmentError> {
        self.end_section();
        if self.finished_sections.iter().any(|section| section.entry.tag == tag) {
            return Err(SegmentError::DuplicateSection { section: tag });
        }
        self.pad_to(alignment.bytes())?;
        let offset = self.position();
        self.open_section =
            Some(OpenSection { tag, offset, crc: 0, block_crc: 0, block_filled: 0, block_crcs: Vec::new() });
        Ok(())
    }

    /// Adds bytes to the section that was begun last.
    ///
    /// # Errors
    /// [`SegmentError::OutOfOrder`] if none was begun; [`SegmentError::Directory`] if writing fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SegmentError> {
        let Some(section) = &mut self.open_section else {
            return Err(SegmentError::OutOfOrder("bytes were written before a section was begun"));
        };
        section.add(bytes);
        self.put(bytes)?;
        Ok(())
    }

    /// Writes a section of which all bytes are at hand.
    ///
    /// # Errors
    /// As [`begin`](SegmentWriter::begin) and [`write`](SegmentWriter::write).
    pub fn section(&mut self, tag: SectionTag, bytes: &[u8]) -> Result<(), SegmentError> {
        let alignment = if bytes.len() as u64 > BLOCK_BYTES { Alignment::Page } else { Alignment::Line };
        self.begin(tag, alignment)?;
        self.write(bytes)
    }

    /// Returns the bytes written to the section that was begun last.
    #[must_use]
    pub fn section_bytes(&self) -> u64 {
        self.open_section.as_ref().map_or(0, |section| self.position() - section.offset)
    }

    /// Writes the table of contents, syncs, gives the file its name and makes the name durable. Returns the size of the
    /// file in bytes.
    ///
    /// # Errors
    /// [`SegmentError::Directory`] if writing fails; there is then no file of this name, or one that is whole.
    pub fn finish(mut self) -> Result<u64, SegmentError> {
        self.end_section();
        let mut sections = mem::take(&mut self.finished_sections);
        self.pad_to(Alignment::Line.bytes())?;
        for section in sections.iter_mut().filter(|section| !section.block_crcs.is_empty()) {
            section.entry.blocks_offset = self.position();
            let crcs: &[u8] = bytemuck::cast_slice(&section.block_crcs);
            section.entry.blocks_crc = crc32c::crc32c(crcs);
            self.put(crcs)?;
        }
        self.pad_to(Alignment::Line.bytes())?;
        let contents_offset = self.position();
        let contents: Vec<u8> = sections.iter().flat_map(|section| section.entry.encode()).collect();
        self.put(&contents)?;
        let footer = Footer {
            contents_offset,
            file_bytes: self.position() + FOOTER_BYTES,
            // Tags are unique and each section has an entry in memory, so there are never 2³² of them.
            sections: sections.len() as u32,
            contents_crc: crc32c::crc32c(&contents),
        };
        self.put(&footer.encode())?;
        self.flush()?;
        self.file.sync_data()?;
        self.dir.rename(&temporary(&self.name), &self.name)?;
        self.finished = true;
        self.dir.sync_dir()?;
        Ok(footer.file_bytes)
    }

    fn position(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    fn end_section(&mut self) {
        let Some(mut section) = self.open_section.take() else { return };
        if section.block_filled > 0 {
            section.end_block();
        }
        let bytes = self.position() - section.offset;
        if block_count(bytes) == 0 {
            section.block_crcs.clear();
        }
        let entry = Entry {
            tag: section.tag,
            offset: section.offset,
            bytes,
            crc: section.crc,
            blocks: section.block_crcs.len() as u32,
            blocks_offset: 0,
            blocks_crc: 0,
        };
        self.finished_sections.push(FinishedSection { entry, block_crcs: section.block_crcs });
    }

    fn pad_to(&mut self, alignment: u64) -> Result<(), DirectoryError> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let padding = align_up(self.position(), alignment) - self.position();
        self.put(&ZEROS[..padding as usize])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), DirectoryError> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.file.write_at(self.flushed, bytes)?;
            self.flushed += bytes.len() as u64;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DirectoryError> {
        self.file.write_at(self.flushed, &self.buffer)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl OpenSection {
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = (BLOCK_BYTES - self.block_filled) as usize;
            let (part, rest) = bytes.split_at(bytes.len().min(room));
            self.block_crc = crc32c::crc32c_append(self.block_crc, part);
            self.block_filled += part.len() as u64;
            if self.block_filled == BLOCK_BYTES {
                self.end_block();
            }
            bytes = rest;
        }
    }

    /// The checksum of the section is put together from those of its blocks, so no byte is summed twice.
    fn end_block(&mut self) {
        self.crc = crc32c::crc32c_combine(self.crc, self.block_crc, self.block_filled as usize);
        self.block_crcs.push(self.block_crc);
        self.block_crc = 0;
        self.block_filled = 0;
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        if !self.finished {
            // The file has no name that anybody looks for; what this leaves, the next opening removes.
            drop(self.dir.remove(&temporary(&self.name)));
        }
    }
}

impl fmt::Debug for SegmentWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentWriter")
            .field("name", &self.name)
            .field("bytes", &self.position())
            .finish_non_exhaustive()
    }
}

fn temporary(name: &str) -> String {
    format!("{name}{TEMPORARY_SUFFIX}")
}

const _: () = assert!(HEADER_BYTES == 64, "sections are aligned to lines from the front of the file");
