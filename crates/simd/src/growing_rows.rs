//! A matrix that grows by whole rows while others read it: one writer, any number of readers, no locks.
//!
//! This is the only memory in DVSE that is written while it is shared. What makes it sound, in one place; the
//! safety comments below refer to the numbers:
//!
//! 1. *One writer.* [`RowsWriter`] is neither `Clone` nor otherwise copied, exactly one is made per matrix, and
//!    `append` takes `&mut self`. So at any time at most one thread is inside `append`.
//! 2. *Rows are written once.* `append` writes the row whose number is the current length, and no other; the length
//!    only grows. So a row is written in one call of `append` and never again.
//! 3. *Published by the length.* The length is stored with `Release` after the row is written. A reader forms a
//!    reference to row `i` only after it saw, by an `Acquire` load, a length above `i`. So the write of a row happens
//!    before every reference to it, and no reference to a row exists while it is written.
//! 4. *References do not stray.* A reader's slice covers whole rows of `stride` floats, all of them below a length as in
//!    (3); rows are disjoint, and no slice over a whole chunk is ever formed after the chunk is shared (not even to ask
//!    for its length). So the write of row `n` touches no byte that a live slice covers.
//! 5. *Rows do not move.* Chunks are allocated once, behind a `OnceLock`, and freed when the last handle is dropped;
//!    a slice borrows a handle.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::aligned::{AlignedBuf, HugePages, OutOfMemory, padded_dim};
use crate::prefetch::prefetch_read;

/// Aimed size of a chunk in bytes. Rows are a power of two a chunk, so a chunk is between half of this and this; it is
/// rounded up to whole huge pages, and at 4 MiB that rounding alone cost a third of the memory at 384 dimensions (3 MiB
/// of rows in two huge pages). Pages are taken from the system as rows are written, not when the chunk is made.
/// (Tiny under Miri, which could not get to a second chunk otherwise.)
const CHUNK_BYTES: usize = if cfg!(miri) { 4096 } else { 32 * 1024 * 1024 };

/// The largest number of chunks, which bounds the table made at the start to 4 MiB or so.
const MAX_CHUNKS: usize = 128 * 1024;

/// The shape asked for cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowsError {
    /// A matrix of no columns.
    NoColumns,
    /// So many rows of so many floats are more than the matrix can address.
    TooLarge {
        /// Floats in a row.
        dim: usize,
        /// Rows asked for.
        capacity: usize,
        /// Rows that would be possible at this dimension.
        max_capacity: usize,
    },
}

impl fmt::Display for RowsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RowsError::NoColumns => write!(f, "rows of dimension 0 were asked for, at least 1 is needed"),
            RowsError::TooLarge { dim, capacity, max_capacity } => {
                write!(
                    f,
                    "{capacity} rows of dimension {dim} were asked for, at most {max_capacity} are possible"
                )
            }
        }
    }
}

impl std::error::Error for RowsError {}

/// No room for another row. The matrix is as it was; readers are not affected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// All rows the matrix was made for are taken.
    Capacity {
        /// How many that is.
        rows: usize,
    },
    /// The system refused the memory of the next chunk; a later try may succeed.
    Memory(OutOfMemory),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::Capacity { rows } => write!(f, "all {rows} rows are taken"),
            Full::Memory(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for Full {}

/// An append-only row-major `f32` matrix: a constructor for its two kinds of handles.
#[derive(Debug)]
pub struct GrowingRows;

impl GrowingRows {
    /// Makes an empty matrix of rows of `dim` floats with room for at most `capacity` rows.
    ///
    /// Memory is taken as rows come, a chunk of 16 to 32 MiB of address space at a time (one row if rows are larger);
    /// up front only a table of the chunks is made.
    pub fn with_capacity(dim: usize, capacity: usize) -> Result<(RowsWriter, RowsReader), RowsError> {
        if dim == 0 {
            return Err(RowsError::NoColumns);
        }
        // A row number is a `u32`, and a chunk of one row must still be an allocation.
        let stride = if dim <= isize::MAX as usize / 8 { padded_dim(dim) } else { usize::MAX };
        let row_bytes = stride.saturating_mul(size_of::<f32>());
        let shift = (CHUNK_BYTES / row_bytes).max(1).ilog2();
        let max_capacity = if row_bytes > isize::MAX as usize {
            0
        } else {
            (MAX_CHUNKS << shift).min(u32::MAX as usize).min(isize::MAX as usize / row_bytes)
        };
        if capacity > max_capacity {
            return Err(RowsError::TooLarge { dim, capacity, max_capacity });
        }
        let chunks = (0..capacity.div_ceil(1 << shift)).map(|_| OnceLock::new()).collect();
        let shared =
            Arc::new(Shared { len: Length(AtomicUsize::new(0)), dim, stride, capacity, shift, chunks });
        Ok((RowsWriter { shared: Arc::clone(&shared) }, RowsReader { shared }))
    }
}

/// The length on a cache line of its own: it changes with every row, what lies around it never does.
#[repr(align(64))]
struct Length(AtomicUsize);

struct Shared {
    len: Length,
    dim: usize,
    /// Floats from one row to the next.
    stride: usize,
    /// Rows.
    capacity: usize,
    /// log₂ of the rows in a chunk.
    shift: u32,
    /// Chunks of stride << shift floats (the last one holds only the rows it needs), the first of them filled.
    chunks: Box<[OnceLock<AlignedBuf<f32>>]>,
}

impl Shared {
    /// Rows in a chunk: a power of two, except for the last chunk.
    fn rows_in_chunk(&self, chunk: usize) -> usize {
        (self.capacity - (chunk << self.shift)).min(1 << self.shift)
    }

    /// Splits a row number into a chunk and a float offset in it.
    #[inline(always)]
    fn locate(&self, row: usize) -> (usize, usize) {
        (row >> self.shift, (row & ((1 << self.shift) - 1)) * self.stride)
    }

    /// A row, padding included, if it is below `len`.
    ///
    /// # Safety
    /// `len` must have been read from `self.len` by an `Acquire` load.
    #[inline(always)]
    unsafe fn row(&self, row: usize, len: usize) -> Option<&[f32]> {
        // SAFETY: as this function asks.
        unsafe { self.run(row, 1, len) }
    }

    /// Up to `count` rows from `row` on that lie in one piece, padding included, if `row` is below `len` and `count` is
    /// not 0; none of them is at or past `len`.
    ///
    /// # Safety
    /// `len` must have been read from `self.len` by an `Acquire` load, or be less than such a value.
    #[inline(always)]
    unsafe fn run(&self, row: usize, count: usize, len: usize) -> Option<&[f32]> {
        if row >= len || count == 0 {
            return None;
        }
        let (chunk, offset) = self.locate(row);
        let chunk = self.chunks.get(chunk)?.get()?;
        let count = count.min(len - row).min((1 << self.shift) - (row & ((1 << self.shift) - 1)));
        debug_assert!(offset + count * self.stride <= chunk.len());
        // SAFETY: `row + count ≤ len ≤ capacity` and no more than its chunk has from `row` on, so `chunk` holds
        // `rows_in_chunk` rows of `stride` floats of which these are some: in bounds, aligned, initialised (zeroed, then
        // written). The rows were published before `len` was stored (3), are never written again (2, 4), and live as
        // long as `self` (5).
        Some(unsafe {
            std::slice::from_raw_parts(chunk.as_raw().add(offset).cast_const(), count * self.stride)
        })
    }
}

/// The one handle that appends. See [`GrowingRows`].
pub struct RowsWriter {
    shared: Arc<Shared>,
}

impl RowsWriter {
    /// Appends a row and makes it visible to readers; returns its number.
    ///
    /// Panics if `row` is not of the matrix's dimension: dimensions are checked where vectors enter.
    pub fn append(&mut self, row: &[f32]) -> Result<u32, Full> {
        let shared = &*self.shared;
        assert!(
            row.len() == shared.dim,
            "a row of {} floats was appended to rows of {}",
            row.len(),
            shared.dim
        );
        // Relaxed: only this writer stores the length (1).
        let number = shared.len.0.load(Ordering::Relaxed);
        if number >= shared.capacity {
            return Err(Full::Capacity { rows: shared.capacity });
        }
        let (index, offset) = shared.locate(number);
        let chunk = match shared.chunks[index].get() {
            Some(chunk) => chunk,
            None => {
                // Many matrices stay small: only those that outgrow a chunk pay for huge pages.
                let pages = if index == 0 { HugePages::Avoid } else { HugePages::Ask };
                let floats = shared.rows_in_chunk(index) * shared.stride;
                let fresh = AlignedBuf::with_pages(floats, pages).map_err(Full::Memory)?;
                shared.chunks[index].get_or_init(|| fresh)
            }
        };
        assert!(offset + shared.stride <= chunk.len());
        // SAFETY: in bounds by the assertion above. `number` is not below any length ever stored, so no reader has a
        // slice over this row (3) or over a part of it (4), and no other writer exists (1). `row` cannot overlap it:
        // nobody has a slice of it. The padding behind the row keeps its zeros.
        unsafe { std::ptr::copy_nonoverlapping(row.as_ptr(), chunk.as_raw().add(offset), shared.dim) };
        shared.len.0.store(number + 1, Ordering::Release);
        Ok(number as u32)
    }

    /// A handle for reading.
    #[must_use]
    pub fn reader(&self) -> RowsReader {
        RowsReader { shared: Arc::clone(&self.shared) }
    }

    /// Rows appended so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len.0.load(Ordering::Relaxed)
    }

    /// Whether no row was appended yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Floats in a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.shared.dim
    }

    /// The number of rows the matrix was made for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// Bytes taken for rows so far (address space: untouched pages of the newest chunk are not resident).
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.shared.chunks.iter().map_while(OnceLock::get).map(|chunk| chunk.len() * size_of::<f32>()).sum()
    }
}

impl fmt::Debug for RowsWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowsWriter")
            .field("len", &self.len())
            .field("dim", &self.dim())
            .finish_non_exhaustive()
    }
}

/// A handle that reads; clones are cheap and may be sent to any thread. See [`GrowingRows`].
#[derive(Clone)]
pub struct RowsReader {
    shared: Arc<Shared>,
}

impl RowsReader {
    /// Rows that can be read now. Grows while the writer appends.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len.0.load(Ordering::Acquire)
    }

    /// Whether there is no row yet.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Floats in a row.
    #[inline]
    #[must_use]
    pub fn dim(&self) -> usize {
        self.shared.dim
    }

    /// The number of rows the matrix was made for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// Row `i`, `dim` floats. Panics if `i` is not below [`RowsReader::len`].
    #[inline]
    #[must_use]
    pub fn row(&self, i: u32) -> &[f32] {
        self.rows().row(i)
    }

    /// Row `i`, or nothing if `i` is not below [`RowsReader::len`].
    #[inline]
    #[must_use]
    pub fn get(&self, i: u32) -> Option<&[f32]> {
        self.rows().get(i)
    }

    /// The rows there are now, with the length read once: what a search holds.
    #[inline]
    #[must_use]
    pub fn rows(&self) -> Rows<'_> {
        Rows { len: self.len(), shared: &self.shared }
    }
}

impl fmt::Debug for RowsReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowsReader")
            .field("len", &self.len())
            .field("dim", &self.dim())
            .finish_non_exhaustive()
    }
}

/// The first `len` rows of a growing matrix, fixed when it was made. Rows appended later are not seen.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Read from `shared.len` by an `Acquire` load, or less than such a value.
    len: usize,
    shared: &'a Shared,
}

impl<'a> Rows<'a> {
    /// Rows.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Floats in a row.
    #[inline]
    #[must_use]
    pub fn dim(&self) -> usize {
        self.shared.dim
    }

    /// Row `i`, `dim` floats. Panics if `i` is not below [`Rows::len`].
    #[inline(always)]
    #[must_use]
    pub fn row(&self, i: u32) -> &'a [f32] {
        &self.padded_row(i)[..self.shared.dim]
    }

    /// Row `i` with the zeros behind it, [`padded_dim`] floats: a kernel over it and a query padded the same way has
    /// no tail to handle. Panics if `i` is not below [`Rows::len`].
    #[inline(always)]
    #[must_use]
    pub fn padded_row(&self, i: u32) -> &'a [f32] {
        // SAFETY: `len` came from an `Acquire` load, see the field.
        match unsafe { self.shared.row(i as usize, self.len) } {
            Some(row) => row,
            None => no_such_row(i, self.len),
        }
    }

    /// Rows from `i` on as they lie, [`padded_dim`] floats each: at least one, at most `count`, and as many as are in one
    /// piece. Panics if `i` is not below [`Rows::len`] or `count` is 0.
    #[inline(always)]
    #[must_use]
    pub fn padded_run(&self, i: u32, count: usize) -> &'a [f32] {
        // SAFETY: `len` came from an `Acquire` load, see the field.
        match unsafe { self.shared.run(i as usize, count, self.len) } {
            Some(rows) => rows,
            None => no_such_row(i, self.len),
        }
    }

    /// Row `i`, or nothing if `i` is not below [`Rows::len`].
    #[inline]
    #[must_use]
    pub fn get(&self, i: u32) -> Option<&'a [f32]> {
        // SAFETY: `len` came from an `Acquire` load, see the field.
        let row = unsafe { self.shared.row(i as usize, self.len) }?;
        row.get(..self.shared.dim)
    }

    /// Asks the CPU for the first `lines` cache lines of row `i`; does nothing if there is no such row.
    #[inline(always)]
    pub fn prefetch(&self, i: u32, lines: usize) {
        if let Some(row) = self.get(i) {
            prefetch_read(row, lines);
        }
    }
}

impl fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("len", &self.len).field("dim", &self.shared.dim).finish_non_exhaustive()
    }
}

#[cold]
#[inline(never)]
#[expect(clippy::panic, reason = "a row number that was never handed out is an error of the calling code")]
fn no_such_row(row: u32, len: usize) -> ! {
    panic!("row {row} was asked for, there are {len}")
}
