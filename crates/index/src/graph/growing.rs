//! A graph that one linker grows while readers search it.
//!
//! All arrays are fixed slots of atomics in chunks that never move. The linker writes the lists of rows that no
//! reader has been told of, changes lists of rows that readers know (a reader then sees some mixture of the old and
//! the new list: every id in either is a valid row), and at last publishes the new rows with one release store.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::adjacency::{Adjacency, EMPTY, Entry};
use super::chunked::Chunked;

/// The highest level a row can have.
pub(crate) const LEVEL_MAX: u8 = 15;

/// Neighbour slots of a growing graph.
#[derive(Debug)]
pub(crate) struct GrowingGraph {
    rows_max: u32,
    levels: Chunked<AtomicU8>,
    layer0: Chunked<AtomicU32>,
    /// First upper block of a row; meaningless for rows of level 0.
    upper_offsets: Chunked<AtomicU32>,
    /// Blocks of `m` slots (layer 0 has twice as many): layers 1, 2, … of one row follow each other.
    upper: Chunked<AtomicU32>,
    upper_used: AtomicU32,
    linked: AtomicU32,
    /// `1 << 63 | level << 32 | row`, or 0 while empty.
    entry: AtomicU64,
}

/// The graph holds as many rows as it was made for.
#[derive(Debug)]
pub(crate) struct Full;

impl GrowingGraph {
    /// An empty graph with `m` slots a row on each upper layer and `2 m` on layer 0.
    pub(crate) fn new(m: usize, rows_max: u32) -> GrowingGraph {
        // A row has 1/(m-1) upper blocks in the mean and m is at least 4; the constant covers small graphs.
        let upper_max = rows_max.saturating_add(4 * 1024);
        GrowingGraph {
            rows_max,
            levels: Chunked::new(rows_max, 1),
            layer0: Chunked::new(rows_max, 2 * m),
            upper_offsets: Chunked::new(rows_max, 1),
            upper: Chunked::new(upper_max, m),
            upper_used: AtomicU32::new(0),
            linked: AtomicU32::new(0),
            entry: AtomicU64::new(0),
        }
    }

    pub(crate) fn rows_max(&self) -> u32 {
        self.rows_max
    }

    /// Rows published: `0..linked()`.
    pub(crate) fn linked(&self) -> u32 {
        self.linked.load(Ordering::Acquire)
    }

    pub(crate) fn level(&self, row: u32) -> u8 {
        self.levels.get(row, 1).first().map_or(0, |level| level.load(Ordering::Relaxed))
    }

    pub(crate) fn upper_offset(&self, row: u32) -> u32 {
        self.upper_offsets.get(row, 1).first().map_or(0, |offset| offset.load(Ordering::Relaxed))
    }

    /// The slots of one upper block.
    pub(crate) fn upper_block(&self, block: u32) -> &[AtomicU32] {
        self.upper.get(block, 1)
    }

    pub(crate) fn upper_used(&self) -> u32 {
        self.upper_used.load(Ordering::Relaxed)
    }

    /// Makes room for a row and sets its level. Called by the linker, rows in order, before their lists are written.
    pub(crate) fn add_row(&self, row: u32, level: u8) -> Result<(), Full> {
        let end = row + 1;
        let room = self.levels.grow(end, || AtomicU8::new(0))
            && self.upper_offsets.grow(end, || AtomicU32::new(0))
            && self.layer0.grow(end, || AtomicU32::new(EMPTY));
        if !room {
            return Err(Full);
        }
        if level > 0 {
            let blocks = u32::from(level);
            let mut offset = self.upper_used.load(Ordering::Relaxed);
            if Chunked::<AtomicU32>::left_in_chunk(offset) < blocks {
                // The blocks of a row lie in one chunk.
                offset += Chunked::<AtomicU32>::left_in_chunk(offset);
            }
            if !self.upper.grow(offset + blocks, || AtomicU32::new(EMPTY)) {
                return Err(Full);
            }
            self.upper_used.store(offset + blocks, Ordering::Relaxed);
            self.set_first(&self.upper_offsets, row, offset);
        }
        if let Some(slot) = self.levels.get(row, 1).first() {
            slot.store(level, Ordering::Relaxed);
        }
        Ok(())
    }

    fn set_first(&self, array: &Chunked<AtomicU32>, item: u32, value: u32) {
        if let Some(slot) = array.get(item, 1).first() {
            slot.store(value, Ordering::Relaxed);
        }
    }

    /// Replaces a list. `neighbours` is no longer than the row has slots (what is over is left out).
    pub(crate) fn set_list(&self, layer: u8, row: u32, neighbours: impl Iterator<Item = u32>) {
        let mut rest = neighbours;
        for slot in self.slots(layer, row) {
            let value = rest.next().unwrap_or(EMPTY);
            if slot.load(Ordering::Relaxed) != value {
                slot.store(value, Ordering::Relaxed);
            }
        }
    }

    /// Publishes the rows below `end`, and the entry if a higher one was found.
    pub(crate) fn publish(&self, end: u32, entry: Option<(u32, u8)>) {
        // The count goes first: a reader takes the entry first, so it never holds an entry past its count.
        self.linked.store(end, Ordering::Release);
        if let Some((row, level)) = entry {
            let packed = 1 << 63 | u64::from(level) << 32 | u64::from(row);
            self.entry.store(packed, Ordering::Release);
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.levels.bytes() + self.layer0.bytes() + self.upper_offsets.bytes() + self.upper.bytes()
    }
}

impl Adjacency for GrowingGraph {
    type Slot = AtomicU32;

    fn entry(&self) -> Option<Entry> {
        let packed = self.entry.load(Ordering::Acquire);
        let limit = self.linked.load(Ordering::Acquire);
        (packed != 0).then_some(Entry { row: packed as u32, level: (packed >> 32) as u8, limit })
    }

    fn width(&self) -> usize {
        self.layer0.width()
    }

    #[inline(always)]
    fn slots(&self, layer: u8, row: u32) -> &[AtomicU32] {
        if layer == 0 {
            self.layer0.get(row, 1)
        } else if layer <= self.level(row) {
            self.upper.get(self.upper_offset(row) + u32::from(layer) - 1, 1)
        } else {
            &[]
        }
    }
}
