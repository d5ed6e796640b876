//! A read-only run of bytes that outlives the file handle it came from.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::{AnyBitPattern, Pod, Zeroable};
use memmap2::Mmap;

use crate::error::FormatError;
use crate::mmap::forget;

/// A file or a part of one, mapped or in memory; cheap to clone, and immutable.
///
/// The start of a whole file is aligned to 64 bytes at least, so a part at a multiple of 64 can be viewed as any
/// number type.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<Owner>,
    start: usize,
    len: usize,
}

enum Owner {
    Map(Mmap),
    Memory(AlignedMemory),
}

/// How a mapped range is going to be read; a hint for the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Single reads all over the range: do not read ahead.
    Random,
    /// Front to back, once.
    Sequential,
    /// Soon: start reading it now.
    WillNeed,
    /// No particular order.
    Normal,
    /// Not soon: the process gives the memory back to the system. What is needed again is found or read again.
    NotSoon,
}

impl Bytes {
    /// Takes a mapped file.
    pub(crate) fn from_map(map: Mmap) -> Bytes {
        let len = map.len();
        Bytes { owner: Arc::new(Owner::Map(map)), start: 0, len }
    }

    /// Copies bytes into memory that is aligned to 64 bytes.
    #[must_use]
    pub fn copy_of(content: &[u8]) -> Bytes {
        let len = content.len();
        Bytes { owner: Arc::new(Owner::Memory(AlignedMemory::copy_of(content))), start: 0, len }
    }

    /// Returns a part; it shares the memory.
    ///
    /// # Errors
    /// [`FormatError::OutOfRange`] if the range is not inside.
    pub fn slice(&self, range: Range<usize>) -> Result<Bytes, FormatError> {
        if range.start > range.end || range.end > self.len {
            return Err(FormatError::OutOfRange { start: range.start, end: range.end, len: self.len });
        }
        Ok(Bytes { owner: Arc::clone(&self.owner), start: self.start + range.start, len: range.len() })
    }

    /// Views the bytes as values of `T`, in place.
    ///
    /// # Errors
    /// [`FormatError`] if the start is not aligned for `T` or the length is not a multiple of its size.
    pub fn as_slice_of<T: AnyBitPattern>(&self) -> Result<&[T], FormatError> {
        let bytes: &[u8] = self;
        bytemuck::try_cast_slice(bytes).map_err(|_| {
            let alignment = align_of::<T>();
            match bytes.as_ptr().addr() % alignment {
                0 => FormatError::PartialValue { len: bytes.len(), size: size_of::<T>() },
                misalignment => FormatError::Misaligned { alignment, misalignment },
            }
        })
    }

    /// Tells the kernel how this range will be read. A hint: failures have no consequence and are not reported.
    pub fn advise(&self, advice: Advice) {
        let Owner::Map(map) = &*self.owner else { return };
        let advice = match advice {
            Advice::Random => memmap2::Advice::Random,
            Advice::Sequential => memmap2::Advice::Sequential,
            Advice::WillNeed => memmap2::Advice::WillNeed,
            Advice::Normal => memmap2::Advice::Normal,
            Advice::NotSoon => return forget(map, self.start, self.len),
        };
        if self.len > 0 {
            drop(map.advise_range(advice, self.start, self.len));
        }
    }

    /// Whether the bytes are a map of a file (and so are the kernel's to keep or drop) rather than memory of ours.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        matches!(&*self.owner, Owner::Map(_))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let whole: &[u8] = match &*self.owner {
            Owner::Map(map) => map,
            Owner::Memory(memory) => memory.bytes(),
        };
        &whole[self.start..self.start + self.len]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bytes").field("len", &self.len).field("mapped", &self.is_mapped()).finish()
    }
}

/// Bytes whose first one lies at a multiple of 64.
struct AlignedMemory {
    lines: Vec<CacheLine>,
    len: usize,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct CacheLine([u8; 64]);

impl AlignedMemory {
    fn copy_of(content: &[u8]) -> AlignedMemory {
        let mut lines = vec![CacheLine([0; 64]); content.len().div_ceil(64)];
        bytemuck::cast_slice_mut::<CacheLine, u8>(&mut lines)[..content.len()].copy_from_slice(content);
        AlignedMemory { lines, len: content.len() }
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice::<CacheLine, u8>(&self.lines)[..self.len]
    }
}
