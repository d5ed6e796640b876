//! Lists that grow while readers scan them.
//!
//! A list is blocks of 32 rows. The numbers of its rows are written at once; the codes of a block are made when it is
//! full and never change, so a scan reads plain bytes. Rows of the last, unfilled block are compared exactly: there
//! are at most 31 of them a list. The list's count is stored last, with release; a reader takes it first.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use dvse_simd::{AlignedBuf, SCAN_ROWS, prefetch_read};

use crate::graph::adjacency::{EMPTY, Slot};
use crate::quant::pq::place;

/// Rows of a block.
pub(super) const ROWS: u32 = SCAN_ROWS as u32;

/// Blocks of the first segment; each next one has twice as many, and no block ever moves.
const FIRST_SEGMENT: u32 = 4;

/// Segments: together they hold 2³¹ rows.
const SEGMENTS: usize = 25;

/// Some blocks of one list that lie side by side.
pub(super) struct Run<'a, S> {
    pub(super) codes: &'a [u8],
    /// 32 a block; may hold [`EMPTY`] and rows past the reader's limit.
    pub(super) rows: &'a [S],
    /// 32 a block, or none at all.
    pub(super) terms: &'a [f32],
}

/// Read access to lists of coded rows.
pub(super) trait Lists: Sync {
    type Slot: Slot;

    /// Rows in a list now.
    fn count(&self, list: u32) -> u32;

    /// Calls `f` with the coded blocks of a list that had `count` rows.
    fn for_each_run(&self, list: u32, count: u32, f: impl FnMut(Run<'_, Self::Slot>));

    /// The rows of a list of `count` rows that are not coded yet.
    fn uncoded(&self, list: u32, count: u32) -> &[Self::Slot];

    /// Asks for the beginning of a list.
    fn prefetch(&self, list: u32);
}

/// Codes and terms of a full block.
#[derive(Debug)]
struct BlockCodes {
    codes: AlignedBuf<u8>,
    terms: Vec<f32>,
}

#[derive(Debug)]
struct Block {
    rows: [AtomicU32; SCAN_ROWS],
    codes: OnceLock<BlockCodes>,
}

#[derive(Debug)]
struct List {
    count: AtomicU32,
    segments: [OnceLock<Box<[Block]>>; SEGMENTS],
}

/// Lists one linker fills.
#[derive(Debug)]
pub(super) struct GrowingLists {
    lists: Box<[List]>,
}

/// Rows of each list that wait for their block to be full. Kept by the linker.
#[derive(Debug, Default)]
pub(super) struct Pending {
    lists: Vec<PendingList>,
}

#[derive(Debug, Default, Clone)]
struct PendingList {
    codes: Vec<u8>,
    terms: Vec<f32>,
}

/// The segment of a block and its place there.
fn segment_of(block: u32) -> (usize, usize) {
    let segment = (block / FIRST_SEGMENT + 1).ilog2();
    (segment as usize, (block - FIRST_SEGMENT * ((1 << segment) - 1)) as usize)
}

impl List {
    fn block(&self, block: u32) -> Option<&Block> {
        let (segment, place) = segment_of(block);
        self.segments.get(segment)?.get()?.get(place)
    }

    /// A block, made if it is not there. Called by the linker alone.
    fn make_block(&self, block: u32) -> Option<&Block> {
        let (segment, place) = segment_of(block);
        let make = || {
            let empty =
                || Block { rows: [const { AtomicU32::new(EMPTY) }; SCAN_ROWS], codes: OnceLock::new() };
            (0..FIRST_SEGMENT << segment).map(|_| empty()).collect()
        };
        self.segments.get(segment)?.get_or_init(make).get(place)
    }
}

impl GrowingLists {
    pub(super) fn new(lists: u32) -> GrowingLists {
        let list = || List { count: AtomicU32::new(0), segments: [const { OnceLock::new() }; SEGMENTS] };
        GrowingLists { lists: (0..lists).map(|_| list()).collect() }
    }

    /// Appends a row to a list; `codes` are one number below 16 a column. Called by the linker alone.
    pub(super) fn append(
        &self,
        pending: &mut Pending,
        block_bytes: usize,
        list: u32,
        row: u32,
        term: f32,
        codes: &[u8],
    ) {
        pending.lists.resize(self.lists.len(), PendingList::default());
        let (Some(list), Some(pending)) =
            (self.lists.get(list as usize), pending.lists.get_mut(list as usize))
        else {
            return;
        };
        let count = list.count.load(Ordering::Relaxed);
        let Some(block) = list.make_block(count / ROWS) else { return };
        block.rows[(count % ROWS) as usize].store(row, Ordering::Relaxed);
        pending.codes.extend_from_slice(codes);
        pending.terms.push(term);
        if (count + 1).is_multiple_of(ROWS) {
            let codes = pending.block(block_bytes);
            block.codes.get_or_init(|| BlockCodes { codes, terms: pending.terms.clone() });
            pending.codes.clear();
            pending.terms.clear();
        }
        list.count.store(count + 1, Ordering::Release);
    }

    /// The blocks of a list in order as (rows, terms, codes), the unfilled one padded. Called while no linker is at
    /// work.
    pub(super) fn for_each_block(
        &self,
        pending: &Pending,
        block_bytes: usize,
        list: u32,
        mut f: impl FnMut(&[u32; SCAN_ROWS], &[f32; SCAN_ROWS], &[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let Some(from) = self.lists.get(list as usize) else { return Ok(()) };
        for number in 0..self.count(list).div_ceil(ROWS) {
            let Some(block) = from.block(number) else { continue };
            let rows = block.rows.each_ref().map(Slot::get);
            let mut terms = [0.0; SCAN_ROWS];
            let mut fill = |of: &[f32]| terms.iter_mut().zip(of).for_each(|(to, term)| *to = *term);
            match (block.codes.get(), pending.lists.get(list as usize)) {
                (Some(full), _) => {
                    fill(&full.terms);
                    f(&rows, &terms, &full.codes)?;
                }
                (None, Some(pending)) => {
                    fill(&pending.terms);
                    f(&rows, &terms, &pending.block(block_bytes))?;
                }
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// Bytes of memory taken, but for what the linker holds.
    pub(super) fn bytes(&self, block_bytes: usize) -> u64 {
        let of_list = |list: &List| {
            let made: usize =
                list.segments.iter().filter_map(OnceLock::get).map(|blocks| size_of_val(&**blocks)).sum();
            let full = (list.count.load(Ordering::Acquire) / ROWS) as usize;
            (made + full * (block_bytes + SCAN_ROWS * size_of::<f32>()) + size_of::<List>()) as u64
        };
        self.lists.iter().map(of_list).sum()
    }
}

impl PendingList {
    fn block(&self, block_bytes: usize) -> AlignedBuf<u8> {
        let mut block = AlignedBuf::zeroed(block_bytes);
        let columns = self.codes.len() / self.terms.len().max(1);
        for (row, codes) in self.codes.chunks_exact(columns.max(1)).enumerate() {
            place(&mut block, row, codes);
        }
        block
    }
}

impl Lists for GrowingLists {
    type Slot = AtomicU32;

    fn count(&self, list: u32) -> u32 {
        self.lists.get(list as usize).map_or(0, |list| list.count.load(Ordering::Acquire))
    }

    #[inline(always)]
    fn for_each_run(&self, list: u32, count: u32, mut f: impl FnMut(Run<'_, AtomicU32>)) {
        let Some(list) = self.lists.get(list as usize) else { return };
        for number in 0..count / ROWS {
            if let Some(block) = list.block(number)
                && let Some(full) = block.codes.get()
            {
                f(Run { codes: &full.codes, rows: &block.rows, terms: &full.terms });
            }
        }
    }

    #[inline(always)]
    fn uncoded(&self, list: u32, count: u32) -> &[AtomicU32] {
        let block = self.lists.get(list as usize).and_then(|list| list.block(count / ROWS));
        block.and_then(|block| block.rows.get(..(count % ROWS) as usize)).unwrap_or(&[])
    }

    #[inline(always)]
    fn prefetch(&self, list: u32) {
        let first = self.lists.get(list as usize).and_then(|list| list.block(0));
        if let Some(codes) = first.and_then(|block| block.codes.get()) {
            prefetch_read(&codes.codes, 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_hold_every_block_once() {
        let mut next = (0, 0);
        for block in 0..100_000 {
            assert_eq!(segment_of(block), next, "block {block}");
            next.1 += 1;
            if next.1 == (FIRST_SEGMENT as usize) << next.0 {
                next = (next.0 + 1, 0);
            }
        }
        let (segment, _) = segment_of((1 << 31) / ROWS - 1);
        assert!(segment < SEGMENTS);
    }
}
