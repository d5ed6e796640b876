//! What precedes a walk: the query made ready, and the entries nearest to it.

use dvse_simd::{Isa, Op};

use super::entries::Entries;
use super::query::{SketchQuery, Space};
use super::transform::Transform;

/// Makes a vector ready and finds where to begin, compiled for one instruction set; gives the number of entries compared.
///
/// Not a closure: those are not always compiled into the function that has the instruction set.
pub(crate) struct Prepare<'a> {
    pub(crate) query: &'a mut SketchQuery,
    pub(crate) transform: &'a Transform,
    pub(crate) space: Space,
    pub(crate) vector: &'a [f32],
    pub(crate) entries: &'a Entries,
    pub(crate) starts: &'a mut Vec<(u32, f32)>,
}

impl Op for Prepare<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> u64 {
        self.query.prepare_once(isa, self.transform, self.space, self.vector);
        self.entries.nearest(isa, self.query, self.starts)
    }
}
