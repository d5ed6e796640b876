//! Building the graphs of a segment whose rows are sealed.

use std::sync::Arc;

use dvse_index::{AnnIndex, GrowingHnsw};
use dvse_types::{CollectionSchema, IndexSpec, VectorName};

use crate::apply::next_number;
use crate::growing::GrowError;
use crate::maintenance::{Goal, LINK_STEP_ROWS, MaintenanceError, StepContext, wants_graph};
use crate::merge::{Reuse, merge_dir};
use crate::seal::write_graphs;
use crate::sealed::{SealedSegment, hnsw_params};
use crate::shard::Shard;

/// Graphs being built over mapped rows, some rows at a time.
pub(crate) struct GraphBuild {
    segment: Arc<SealedSegment>,
    graphs: Vec<(VectorName, GrowingHnsw)>,
    /// Graphs of which the first rows are taken over.
    reuse: Option<Reuse>,
}

impl GraphBuild {
    /// Whether a field of the segment lacks a graph, or has one that does not reach all rows.
    pub(crate) fn is_due(segment: &SealedSegment, schema: &CollectionSchema) -> bool {
        segment.vector_fields().any(|(name, field)| {
            let vectors = field.rows.len();
            let covered = field.graph.map_or(0, AnnIndex::covered);
            schema
                .vectors
                .get(name)
                .is_some_and(|params| wants_graph(&params.index, vectors) && covered < vectors)
        })
    }

    /// Begins; a field whose graph is complete keeps it.
    pub(crate) fn start(
        segment: Arc<SealedSegment>,
        schema: &CollectionSchema,
    ) -> Result<GraphBuild, MaintenanceError> {
        let mut graphs = Vec::new();
        for (name, field) in segment.vector_fields() {
            let vectors = field.rows.len();
            let Some(params) = schema.vectors.get(name) else { continue };
            let IndexSpec::Hnsw(spec) = params.index else { continue };
            let covered = field.graph.map_or(0, AnnIndex::covered);
            if covered >= vectors || !wants_graph(&params.index, vectors) {
                continue;
            }
            let graph = GrowingHnsw::new(field.rows.clone(), vectors, params.metric, hnsw_params(&spec));
            let graph = graph.map_err(|source| GrowError::Params { name: name.clone(), source })?;
            graphs.push((name.clone(), graph.with_level(segment.level())));
        }
        Ok(GraphBuild { segment, graphs, reuse: None })
    }

    /// Takes over the lists of the first rows from other graphs, as far as these are of use.
    pub(crate) fn reuse(&mut self, reuse: Reuse) {
        self.reuse = Some(reuse);
    }

    pub(crate) fn segment(&self) -> &Arc<SealedSegment> {
        &self.segment
    }

    /// Links some rows; whether there were any to link.
    pub(crate) fn link(&mut self, context: &StepContext<'_>) -> Result<bool, MaintenanceError> {
        for (name, graph) in &self.graphs {
            if let Some(reuse) = &self.reuse
                && reuse.step(name, graph, context.pool)?
            {
                return Ok(true);
            }
            let (before, rows) = (graph.linked(), graph.rows().len());
            if before < rows {
                let upto = rows.min(before.saturating_add(LINK_STEP_ROWS));
                graph.link(upto, upto == rows, context.pool, context.stop)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Rows linked and rows to be linked.
    pub(crate) fn progress(&self) -> (u64, u64) {
        self.graphs.iter().fold((0, 0), |(linked, rows), (_, graph)| {
            (linked + u64::from(graph.linked()), rows + u64::from(graph.rows().len()))
        })
    }

    /// Writes the graphs, those that were complete before included, and returns the segment with them.
    pub(crate) fn finish(&self, shard: &Shard, goal: Goal) -> Result<SealedSegment, MaintenanceError> {
        if self.graphs.is_empty() {
            return Ok((*self.segment).clone());
        }
        let version = next_number(&shard.numbers);
        let mut graphs: Vec<(VectorName, &dyn AnnIndex)> =
            self.graphs.iter().map(|(name, graph)| (name.clone(), graph as &dyn AnnIndex)).collect();
        for (name, field) in self.segment.vector_fields() {
            if let Some(graph) = field.graph
                && !graphs.iter().any(|(built, _)| built == name)
            {
                graphs.push((name.clone(), graph));
            }
        }
        write_graphs(&merge_dir(shard, goal), self.segment.id(), version, &graphs)?;
        Ok(self.segment.with_graphs(&*shard.dir, version)?)
    }
}

impl std::fmt::Debug for GraphBuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GraphBuild").field("segment", &self.segment.id()).finish_non_exhaustive()
    }
}
