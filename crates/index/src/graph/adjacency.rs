//! Read access to a layered graph with fixed neighbour slots.

use std::sync::atomic::{AtomicU32, Ordering};

use dvse_simd::Isa;

use crate::visited::VisitedSet;

/// A slot that holds no neighbour. It is above every row, so "below the limit" tests for both at once.
pub(crate) const EMPTY: u32 = u32::MAX;

/// Slots read before they are tested together.
const READ_TOGETHER: usize = 32;

/// One neighbour slot: plain in a sealed graph, atomic in a growing one.
pub(crate) trait Slot {
    fn get(&self) -> u32;
}

impl Slot for u32 {
    #[inline(always)]
    fn get(&self) -> u32 {
        *self
    }
}

impl Slot for AtomicU32 {
    #[inline(always)]
    fn get(&self) -> u32 {
        // Relaxed is enough: a reader ignores rows that were not published when its search began, and publication
        // (release) comes after everything such a row needs.
        AtomicU32::load(self, Ordering::Relaxed)
    }
}

/// Where a traversal begins, and which rows it may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The row to begin at; below `limit`.
    pub(crate) row: u32,
    /// The top layer of that row, and of the graph.
    pub(crate) level: u8,
    /// Rows from here on are not part of the graph yet.
    pub(crate) limit: u32,
}

/// A layered graph: layer 0 holds every row, layer `l` the rows whose level is at least `l`.
pub(crate) trait Adjacency: Sync {
    type Slot: Slot;

    /// The entry as of now, or `None` while the graph is empty.
    fn entry(&self) -> Option<Entry>;

    /// Slots a row has on layer 0.
    fn width(&self) -> usize;

    /// The slots of a row on a layer. Slots may be [`EMPTY`] or hold rows past the limit; both are to be skipped.
    /// A row or layer that is not there has no slots.
    fn slots(&self, layer: u8, row: u32) -> &[Self::Slot];

    /// Writes the neighbours of a row on layer 0 that are below `limit` and not visited to the front of `out`, marks them
    /// visited and returns how many there are. `out` has room for all slots of a row and 16 more.
    #[inline(always)]
    fn gather<I: Isa>(
        &self,
        isa: I,
        row: u32,
        visited: &mut VisitedSet,
        limit: u32,
        out: &mut [u32],
    ) -> usize {
        let mut fresh = 0;
        for slots in self.slots(0, row).chunks(READ_TOGETHER) {
            let mut ids = [EMPTY; READ_TOGETHER];
            for (id, slot) in ids.iter_mut().zip(slots) {
                *id = slot.get();
            }
            fresh += isa.gather_unvisited(&ids[..slots.len()], visited.words32(), limit, &mut out[fresh..]);
        }
        // A list that names a row twice (while it is written, or damaged) names it once here.
        visited.insert_all(&mut out[..fresh])
    }

    /// Asks for the layer 0 slots of a row.
    #[inline(always)]
    fn prefetch(&self, row: u32) {
        dvse_simd::prefetch_read(self.slots(0, row), 2);
    }
}
