//! Building the indexes of a segment whose rows are sealed, beside those it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use dvse_index::{AnnIndex, GrowingIndex};
use dvse_types::{CollectionSchema, IndexSpec, VectorName};

use crate::apply::next_number;
use crate::growing::GrowError;
use crate::index_kind::{index_params, is_as_asked, same_build, wants_index};
use crate::maintenance::{LINK_STEP_ROWS, MaintenanceError, StepContext};
use crate::merge::{Reuse, merge_dir};
use crate::seal::write_graphs;
use crate::sealed::SealedSegment;
use crate::segment::VectorsRef;
use crate::shard::Shard;

/// Indexes being built over mapped rows, some rows at a time. Searches use those the segment has until the segment
/// with the new ones takes its place.
pub(crate) struct GraphBuild {
    segment: Arc<SealedSegment>,
    /// What is built, and what was asked for when that began.
    graphs: Vec<(VectorName, GrowingIndex)>,
    asked: BTreeMap<VectorName, IndexSpec>,
    /// Fields whose index goes without another taking its place.
    dropped: Vec<VectorName>,
    /// Graphs of which the first rows are taken over.
    reuse: Option<Reuse>,
}

/// What is to become of the index of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays, or there is none and none is wanted.
    Keep,
    /// Another is built.
    Build,
    /// It goes.
    Drop,
}

impl Fate {
    fn of(field: &VectorsRef<'_>, spec: &IndexSpec) -> Fate {
        let vectors = field.rows.len();
        let wants = wants_index(spec, vectors);
        let covered = field.graph.map_or(0, AnnIndex::covered);
        match (is_as_asked(field, spec), wants) {
            (true, true) if covered >= vectors => Fate::Keep,
            (_, true) => Fate::Build,
            (true, false) => Fate::Keep,
            (false, false) => Fate::Drop,
        }
    }
}

impl GraphBuild {
    /// Whether a field of the segment lacks an index, or has one that does not reach all rows, is not as asked, or is not
    /// read from where it should be.
    pub(crate) fn is_due(segment: &SealedSegment, schema: &CollectionSchema) -> bool {
        segment.vector_fields().any(|(name, field)| {
            schema.vectors.get(name).is_some_and(|params| Fate::of(&field, &params.index) != Fate::Keep)
        }) || !segment.is_placed(schema)
    }

    /// Begins; a field whose index is complete and as asked keeps it.
    pub(crate) fn start(
        segment: Arc<SealedSegment>,
        schema: &CollectionSchema,
    ) -> Result<GraphBuild, MaintenanceError> {
        let (mut graphs, mut asked, mut dropped) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (name, field) in segment.vector_fields() {
            let Some(params) = schema.vectors.get(name) else { continue };
            asked.insert(name.clone(), params.index);
            match (Fate::of(&field, &params.index), index_params(&params.index, params.dim)) {
                (Fate::Build, Some(index)) => {
                    let vectors = field.rows.len();
                    let graph = GrowingIndex::new(field.rows.clone(), vectors, params.metric, index);
                    let graph = graph.map_err(|source| GrowError::Params { name: name.clone(), source })?;
                    graphs.push((name.clone(), graph.with_level(segment.level())));
                }
                (Fate::Drop, _) => dropped.push(name.clone()),
                _ => {}
            }
        }
        Ok(GraphBuild { segment, graphs, asked, dropped, reuse: None })
    }

    /// Takes over the lists of the first rows from other graphs, as far as these are of use, and how their rows are
    /// coded while that is good for the rows there are now. A segment that grows meanwhile has its codes from there.
    pub(crate) fn reuse(&mut self, reuse: Reuse) {
        let graphs = std::mem::take(&mut self.graphs).into_iter();
        let coded = graphs.map(|(name, graph)| match reuse.basis(&name) {
            Some(basis) => (name, graph.with_basis(&basis)),
            None => (name, graph),
        });
        self.graphs = coded.collect();
        self.reuse = Some(reuse);
    }

    pub(crate) fn segment(&self) -> &Arc<SealedSegment> {
        &self.segment
    }

    /// Begins again when something else is asked for by now.
    pub(crate) fn keep_up(&mut self, schema: &CollectionSchema) -> Result<(), MaintenanceError> {
        let same = self.asked.iter().all(|(name, asked)| {
            schema.vectors.get(name).is_none_or(|params| {
                same_build(asked, &params.index, params.dim)
                    && asked.full_scan_rows() == params.index.full_scan_rows()
            })
        });
        if !same {
            *self = GraphBuild::start(Arc::clone(&self.segment), schema)?;
        }
        Ok(())
    }

    /// Links some rows; whether there were any to link.
    pub(crate) fn link(&mut self, context: &StepContext<'_>) -> Result<bool, MaintenanceError> {
        for (name, graph) in &self.graphs {
            if let (Some(reuse), GrowingIndex::Graph(graph)) = (&self.reuse, graph)
                && reuse.step(name, graph, context.pool)?
            {
                return Ok(true);
            }
            if graph.link_step(LINK_STEP_ROWS, true, context.pool, context.stop)?.is_some() {
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

    /// Writes the indexes, those that stay included, and returns the segment with them.
    pub(crate) fn finish(
        &self,
        shard: &Shard,
        context: &StepContext<'_>,
    ) -> Result<SealedSegment, MaintenanceError> {
        let schema = &Arc::clone(&shard.view().state().schema);
        if self.graphs.is_empty() && self.dropped.is_empty() {
            return Ok(self.segment.placed(&*shard.dir, schema)?);
        }
        let mut graphs: Vec<(VectorName, &dyn AnnIndex)> =
            self.graphs.iter().map(|(name, graph)| (name.clone(), graph as &dyn AnnIndex)).collect();
        for (name, field) in self.segment.vector_fields() {
            if let Some(graph) = field.graph
                && !self.dropped.contains(name)
                && !graphs.iter().any(|(built, _)| built == name)
            {
                graphs.push((name.clone(), graph));
            }
        }
        if graphs.is_empty() {
            return Ok(self.segment.without_graphs().placed(&*shard.dir, schema)?);
        }
        let version = next_number(&shard.numbers);
        let dir = merge_dir(shard, context.goal);
        write_graphs(&dir, self.segment.id(), version, &graphs, context.pool)?;
        Ok(self.segment.with_graphs(&*shard.dir, version, schema)?)
    }
}

impl std::fmt::Debug for GraphBuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GraphBuild").field("segment", &self.segment.id()).finish_non_exhaustive()
    }
}
