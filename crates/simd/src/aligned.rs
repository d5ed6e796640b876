//! Zeroed memory that starts on a cache line and goes back to the system when it is freed.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use bytemuck::Pod;
use memmap2::MmapMut;

/// Alignment of every buffer in bytes: a cache line, and the width of the widest register.
pub const ALIGNMENT: usize = 64;

/// From this size on a buffer is a memory map of its own, so that freeing it returns the memory to the system
/// instead of leaving a hole in the heap.
const MAP_FROM: usize = 256 * 1024;

/// The size of a huge page on x86-64 and on most AArch64 kernels. Larger buffers start on such a boundary.
const HUGE_PAGE: usize = 2 * 1024 * 1024;

/// The number of floats from one row to the next in row-major memory: `dim` rounded up to 16 floats (64 bytes), so
/// that every row starts on a cache line.
#[must_use]
pub const fn padded_dim(dim: usize) -> usize {
    dim.next_multiple_of(ALIGNMENT / size_of::<f32>())
}

/// The system refused memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory {
    /// How many bytes were asked for.
    pub bytes: usize,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the system refused {} bytes of memory", self.bytes)
    }
}

impl std::error::Error for OutOfMemory {}

/// Whether a large buffer asks for huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HugePages {
    /// Ask; the system may decline.
    Ask,
    /// Take small pages: memory is committed 4 KiB at a time as it is touched.
    Avoid,
}

/// A fixed number of plain values in zeroed memory whose first byte is aligned to 64.
///
/// Buffers of 256 KiB and more are anonymous memory maps: untouched pages cost nothing, and dropping the buffer
/// gives the memory back at once. From 2 MiB on huge pages are asked for where the system grants them.
///
/// Dereferences to a slice. Clone copies.
pub struct AlignedBuf<T: Pod = f32> {
    data: NonNull<T>,
    len: usize,
    memory: Memory,
}

/// What the bytes of a buffer belong to.
enum Memory {
    /// No bytes at all.
    Nothing,
    /// The heap, with this layout.
    Heap(Layout),
    /// An anonymous map; dropped, it unmaps.
    Map { _owner: MmapMut },
}

// SAFETY: the buffer owns its memory like a `Vec<T>` does: the pointer is reached through `&self` for reading and
// `&mut self` for writing only (`GrowingRows` writes through it under a proof of its own), and `T: Pod` has no
// ties to a thread of its own beyond what the bound asks.
unsafe impl<T: Pod + Send> Send for AlignedBuf<T> {}
// SAFETY: as above; a shared buffer gives out shared slices only.
unsafe impl<T: Pod + Sync> Sync for AlignedBuf<T> {}

impl<T: Pod> AlignedBuf<T> {
    /// A buffer of `len` zeros. Ends the process, as `Vec` does, if the system refuses the memory.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        match Self::try_zeroed(len) {
            Ok(buffer) => buffer,
            Err(OutOfMemory { bytes }) => {
                handle_alloc_error(Layout::from_size_align(bytes, 1).unwrap_or(Layout::new::<T>()))
            }
        }
    }

    /// A buffer of `len` zeros, or the size that could not be had.
    pub fn try_zeroed(len: usize) -> Result<Self, OutOfMemory> {
        Self::with_pages(len, HugePages::Ask)
    }

    /// A buffer with a copy of a slice. Ends the process, as `Vec` does, if the system refuses the memory.
    #[must_use]
    pub fn copy_of(values: &[T]) -> Self {
        let mut buffer = Self::zeroed(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// The number of values.
    // Not left to the slice's own method: this one forms no slice, so it may be asked while `GrowingRows` writes into
    // the buffer through `as_raw` on another thread.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no values.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn with_pages(len: usize, pages: HugePages) -> Result<Self, OutOfMemory> {
        const { assert!(align_of::<T>() <= ALIGNMENT) };
        let refused = OutOfMemory { bytes: len.saturating_mul(size_of::<T>()) };
        let layout =
            Layout::array::<T>(len).and_then(|layout| layout.align_to(ALIGNMENT)).map_err(|_| refused)?;
        let bytes = layout.size();
        let (data, memory) = if bytes == 0 {
            // Aligned for `T`, which a pointer that dangles for bytes is not.
            (NonNull::<T>::dangling().cast(), Memory::Nothing)
        } else if bytes < MAP_FROM || cfg!(miri) {
            // SAFETY: the layout has a size above 0.
            let data = unsafe { alloc_zeroed(layout) };
            (NonNull::new(data).ok_or(refused)?, Memory::Heap(layout))
        } else {
            let (data, owner) = map(bytes, pages).ok_or(refused)?;
            (data, Memory::Map { _owner: owner })
        };
        Ok(AlignedBuf { data: data.cast(), len, memory })
    }

    /// The first element. Valid for reads and writes of the whole buffer as far as the rules of `&` and `&mut`
    /// allow: slices given out by this buffer must not be live where it is written.
    pub(crate) fn as_raw(&self) -> *mut T {
        self.data.as_ptr()
    }
}

/// An anonymous map of at least `bytes` bytes, and where in it a buffer of that size is best begun.
fn map(bytes: usize, pages: HugePages) -> Option<(NonNull<u8>, MmapMut)> {
    // A huge page must start on its own boundary; the bytes before it are never touched and cost address space only.
    let slack = if bytes >= HUGE_PAGE && pages == HugePages::Ask { HUGE_PAGE } else { 0 };
    let mut owner = MmapMut::map_anon(bytes.checked_add(slack)?).ok()?;
    let base = owner.as_mut_ptr();
    // A map starts on a page, so its base is aligned to 64 already; with slack, at most HUGE_PAGE − 1 is skipped.
    let skip = if slack > 0 { base.addr().next_multiple_of(HUGE_PAGE) - base.addr() } else { 0 };
    #[cfg(target_os = "linux")]
    if slack > 0 {
        // Declined advice changes nothing but speed. A last page that is mostly empty is left to small pages: rows come in many
        // buffers of some dozen pages, and half a page of each was 5 % of a collection.
        let large = (bytes + HUGE_PAGE / 4) / HUGE_PAGE * HUGE_PAGE;
        let _ = owner.advise_range(memmap2::Advice::HugePage, skip, large.min(owner.len() - skip));
    }
    debug_assert!(base.addr().is_multiple_of(ALIGNMENT) && skip <= slack);
    NonNull::new(base.wrapping_add(skip)).map(|data| (data, owner))
}

impl<T: Pod> Drop for AlignedBuf<T> {
    fn drop(&mut self) {
        if let Memory::Heap(layout) = self.memory {
            // SAFETY: `data` came from `alloc_zeroed` with this very layout, and this is the only place that frees.
            unsafe { dealloc(self.data.as_ptr().cast(), layout) }
        }
    }
}

impl<T: Pod> Deref for AlignedBuf<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `data` is aligned (to 64, or dangling but aligned for `T` when there are no bytes) and points to
        // `len` values inside one allocation that lives as long as `self`; they were zeroed, and zero is a value of
        // every `Pod`.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl<T: Pod> DerefMut for AlignedBuf<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `&mut self` makes this the only way to the memory.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }
}

impl<T: Pod> Clone for AlignedBuf<T> {
    fn clone(&self) -> Self {
        Self::copy_of(self)
    }
}

impl<T: Pod> Default for AlignedBuf<T> {
    fn default() -> Self {
        AlignedBuf { data: NonNull::dangling(), len: 0, memory: Memory::Nothing }
    }
}

impl<T: Pod> fmt::Debug for AlignedBuf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf").field("len", &self.len).finish_non_exhaustive()
    }
}
