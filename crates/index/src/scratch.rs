//! Memory that searches reuse.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use dvse_simd::AlignedBuf;

use crate::ann::SearchError;
use crate::candidates::CandidatePool;
use crate::sketch::search::SketchScratch;
use crate::visited::VisitedSet;

/// The working memory of one search at a time. It grows to what the largest search needed and is never shrunk.
///
/// A scratch is not tied to an index: keep one per thread.
#[derive(Default)]
pub struct Scratch {
    /// The query, padded to the row stride.
    pub(crate) query: AlignedBuf<f32>,
    pub(crate) beam: Beam,
    pub(crate) sketch: SketchScratch,
    /// What searches over inverted lists need besides.
    pub(crate) ivf: crate::ivf::Workspace,
}

/// The state of one traversal.
#[derive(Default)]
pub(crate) struct Beam {
    pub(crate) visited: VisitedSet,
    pub(crate) pool: CandidatePool,
    /// Rows gathered and not yet scored.
    pub(crate) batch: Vec<u32>,
    /// Keys of the scored batch that beat the bound.
    pub(crate) fresh: Vec<u64>,
    /// Candidates of a masked search: unlike `pool` it must keep more than the beam.
    pub(crate) frontier: BinaryHeap<Reverse<u64>>,
}

impl Scratch {
    /// An empty scratch.
    #[must_use]
    pub fn new() -> Scratch {
        Scratch::default()
    }

    /// Copies a query into aligned memory, padded with zeros to `stride`, and lends it beside the rest.
    pub(crate) fn prepare(
        &mut self,
        query: &[f32],
        dim: usize,
        stride: usize,
    ) -> Result<(&[f32], &mut Beam, &mut SketchScratch), SearchError> {
        if query.len() != dim {
            return Err(SearchError::Dimension { expected: dim, got: query.len() });
        }
        if self.query.len() != stride {
            self.query = AlignedBuf::zeroed(stride);
        }
        let (values, padding) = self.query.split_at_mut(dim);
        values.copy_from_slice(query);
        // The last query may have had a larger dimension and the same stride.
        padding.fill(0.0);
        Ok((&self.query, &mut self.beam, &mut self.sketch))
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}
