//! What a merge takes over from the graphs it merges.

use std::collections::BTreeMap;
use std::sync::Arc;

use dvse_index::{GrowingHnsw, LinkError, SealedHnsw, SketchBasis};
use dvse_types::VectorName;

use crate::sealed::SealedSegment;
use crate::segment::SegmentRead;

/// Rows taken over in one step: a tenth of the work of linking them.
const STEP_ROWS: u32 = 8_192;

/// The graphs of the input whose rows come first in the output. They are read from where they lie; the segment stays
/// until the merge is done.
#[derive(Debug)]
pub(crate) struct Reuse {
    from: Arc<SealedSegment>,
    /// For each vector field the rows of the graph that stay, ascending.
    kept: BTreeMap<VectorName, Vec<u32>>,
}

impl Reuse {
    /// Prepares for taking over what there is of `rows`, which are the first of the output in this order.
    pub(crate) fn new(from: Arc<SealedSegment>, rows: &[u32]) -> Reuse {
        let mut kept = BTreeMap::new();
        for (name, field) in from.vector_fields() {
            let Some(graph) = field.graph.and_then(|graph| graph.as_hnsw()) else { continue };
            let covered = dvse_index::AnnIndex::covered(graph);
            let vectors = field.map.read(|map| {
                rows.iter().filter_map(|row| map.vector_row(*row)).filter(|row| *row < covered).collect()
            });
            kept.insert(name.clone(), vectors);
        }
        Reuse { from, kept }
    }

    /// Takes over some more rows of a field; whether there were any.
    pub(crate) fn step(
        &self,
        name: &str,
        graph: &GrowingHnsw,
        pool: &rayon::ThreadPool,
    ) -> Result<bool, LinkError> {
        let (Some(kept), Some(from)) = (self.kept.get(name), self.graph(name)) else { return Ok(false) };
        let linked = graph.linked();
        if linked as usize >= kept.len() || !graph.can_adopt(from, kept.len() as u32) {
            return Ok(false);
        }
        graph.adopt(from, kept, linked.saturating_add(STEP_ROWS), pool)?;
        Ok(true)
    }

    /// What the rows of a field are coded by.
    pub(crate) fn basis(&self, name: &str) -> Option<SketchBasis> {
        self.graph(name)?.basis()
    }

    fn graph(&self, name: &str) -> Option<&SealedHnsw> {
        self.from.vectors(name)?.graph?.as_hnsw()
    }
}
