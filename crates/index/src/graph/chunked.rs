//! A growing array that readers walk while it grows: fixed chunks, each made once and never moved.

use std::sync::OnceLock;

/// Items a chunk holds; each item is `width` elements.
const CHUNK_ITEMS: u32 = 1 << 10;

/// Items of `width` elements each, addressed by number.
///
/// Elements are atomics: one thread grows the array, any thread may read, and what readers see of a value is up to
/// the orderings the elements are used with.
#[derive(Debug)]
pub(crate) struct Chunked<T> {
    chunks: Box<[OnceLock<Box<[T]>>]>,
    width: usize,
}

impl<T> Chunked<T> {
    /// An empty array that can grow to `items_max` items.
    pub(crate) fn new(items_max: u32, width: usize) -> Chunked<T> {
        let chunks = (items_max as usize).div_ceil(CHUNK_ITEMS as usize);
        Chunked { chunks: (0..chunks).map(|_| OnceLock::new()).collect(), width }
    }

    /// Elements of an item.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The elements of `count` items from `item` on, all within one chunk; empty when the array has not grown so
    /// far (or the items cross a chunk, which the callers rule out).
    #[inline(always)]
    pub(crate) fn get(&self, item: u32, count: usize) -> &[T] {
        let chunk = self.chunks.get((item / CHUNK_ITEMS) as usize).and_then(OnceLock::get);
        let start = (item % CHUNK_ITEMS) as usize * self.width;
        chunk.and_then(|chunk| chunk.get(start..start + count * self.width)).unwrap_or(&[])
    }

    /// Makes room for items below `items`; returns `false` when that is above the maximum.
    pub(crate) fn grow(&self, items: u32, fill: impl Fn() -> T) -> bool {
        let wanted = (items as usize).div_ceil(CHUNK_ITEMS as usize);
        let Some(chunks) = self.chunks.get(..wanted) else {
            return false;
        };
        // Chunks are made in order, so only the last few can be missing.
        for chunk in chunks.iter().rev().take_while(|chunk| chunk.get().is_none()) {
            chunk.get_or_init(|| (0..CHUNK_ITEMS as usize * self.width).map(|_| fill()).collect());
        }
        true
    }

    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> u64 {
        let made = self.chunks.iter().take_while(|chunk| chunk.get().is_some()).count();
        (made * CHUNK_ITEMS as usize * self.width * size_of::<T>() + size_of_val(&*self.chunks)) as u64
    }

    /// Items that share a chunk with `item` and come after it, itself included.
    pub(crate) fn left_in_chunk(item: u32) -> u32 {
        CHUNK_ITEMS - item % CHUNK_ITEMS
    }
}
