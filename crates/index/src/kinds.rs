//! The kinds of indexes behind one face: which there are, how one is made and how it is opened again.
//!
//! A graph with upper layers (HNSW), a flat graph (NSW) and inverted lists (IVF-PQ) are made over the rows of a segment
//! in the same way: rows are linked some at a time while others search, and the sections say what they are of.

use std::sync::Arc;

use dvse_simd::Level;
use dvse_types::Metric;

use crate::ann::{AnnIndex, Neighbor, SearchError, SearchParams, SearchStats};
use crate::hnsw::{GrowingHnsw, HnswParams, HnswParamsError, LinkError, LinkProgress, SealedHnsw};
use crate::ivf::{GrowingIvf, IvfParams, IvfParamsError, SealedIvf};
use crate::row_set::RowSet;
use crate::scratch::Scratch;
use crate::sections::{OpenIndexError, Placement, SectionSink, SectionSource};
use crate::sketch::growing::SketchBasis;
use crate::vectors::{MappedRows, Rows};

/// What an index other than a flat one is built with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum IndexParams {
    /// A graph, layered or flat.
    Graph(HnswParams),
    /// Inverted lists.
    Lists(IvfParams),
}

impl IndexParams {
    /// Whether an index built with the one serves who asks for the other: it is of the same kind and of the same shape.
    /// What only a search or a later version of the builder would do otherwise does not count.
    #[must_use]
    pub fn builds_same(&self, other: &IndexParams) -> bool {
        match (self, other) {
            (IndexParams::Graph(one), IndexParams::Graph(other)) => {
                let shape = |params: &HnswParams| {
                    (
                        params.m,
                        params.ef_construction,
                        params.layers,
                        params.sketches,
                        params.codes,
                        params.halves,
                    )
                };
                shape(one) == shape(other)
            }
            (IndexParams::Lists(one), IndexParams::Lists(other)) => {
                (one.lists, one.sub_dim) == (other.lists, other.sub_dim)
            }
            _ => false,
        }
    }
}

/// A parameter out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum IndexParamsError {
    /// One of a graph.
    #[error(transparent)]
    Graph(#[from] HnswParamsError),
    /// One of inverted lists.
    #[error(transparent)]
    Lists(#[from] IvfParamsError),
}

/// An index that is linked while it is searched, of any kind.
pub enum GrowingIndex {
    /// A graph, layered or flat.
    Graph(Box<GrowingHnsw>),
    /// Inverted lists.
    Lists(Box<GrowingIvf>),
}

impl GrowingIndex {
    /// An empty index for at most `rows_max` of `rows`.
    ///
    /// # Errors
    /// A parameter out of range.
    pub fn new(
        rows: Rows,
        rows_max: u32,
        metric: Metric,
        params: IndexParams,
    ) -> Result<GrowingIndex, IndexParamsError> {
        Ok(match params {
            IndexParams::Graph(params) => {
                GrowingIndex::Graph(Box::new(GrowingHnsw::new(rows, rows_max, metric, params)?))
            }
            IndexParams::Lists(params) => {
                GrowingIndex::Lists(Box::new(GrowingIvf::new(rows, rows_max, metric, params)?))
            }
        })
    }

    /// Uses the kernels of another instruction set (or the best available one below it).
    #[must_use]
    pub fn with_level(self, level: Level) -> GrowingIndex {
        match self {
            GrowingIndex::Graph(graph) => GrowingIndex::Graph(Box::new(graph.with_level(level))),
            GrowingIndex::Lists(lists) => GrowingIndex::Lists(Box::new(lists.with_level(level))),
        }
    }

    /// Codes rows as an index over similar rows does: see [`GrowingHnsw::with_basis`]. Lists have codes of their own.
    #[must_use]
    pub fn with_basis(self, basis: &SketchBasis) -> GrowingIndex {
        match self {
            GrowingIndex::Graph(graph) => GrowingIndex::Graph(Box::new(graph.with_basis(basis))),
            lists @ GrowingIndex::Lists(_) => lists,
        }
    }

    /// The rows it is over.
    #[must_use]
    pub fn rows(&self) -> &Rows {
        match self {
            GrowingIndex::Graph(graph) => graph.rows(),
            GrowingIndex::Lists(lists) => lists.rows(),
        }
    }

    /// Rows linked: `0..linked()`. It only grows.
    #[must_use]
    pub fn linked(&self) -> u32 {
        self.covered()
    }

    /// Rows that [`GrowingIndex::link_step`] would take without a flush, an incomplete batch included. Lists take none
    /// before there are enough rows to train them on.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        let rows = self.rows().len();
        match self {
            GrowingIndex::Lists(lists) if !lists.can_link(rows) => 0,
            _ => rows.saturating_sub(self.linked()),
        }
    }

    /// Links about `step` more of the rows there are: see [`GrowingHnsw::link`] and [`GrowingIvf::link`]. Lists that are
    /// not trained yet take all rows at once: with `flush` they are trained on a sample of all. `None` when there was
    /// nothing to link, else how far it came.
    ///
    /// # Errors
    /// [`LinkError`]; what was linked before stays linked.
    pub fn link_step(
        &self,
        step: u32,
        flush: bool,
        pool: &rayon::ThreadPool,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<LinkProgress>, LinkError> {
        let (before, rows) = (self.linked(), self.rows().len());
        if before >= rows {
            return Ok(None);
        }
        let stepped = rows.min(before.saturating_add(step));
        // Flushing cuts a batch short, which belongs at the end of the rows and nowhere else.
        let progress = match self {
            GrowingIndex::Graph(graph) => graph.link(stepped, flush && stepped == rows, pool, stop),
            GrowingIndex::Lists(lists) if lists.lists() == 0 => lists.link(rows, flush, pool, stop),
            GrowingIndex::Lists(lists) => lists.link(stepped, flush, pool, stop),
        };
        progress.map(Some)
    }

    /// Makes codes of rows that have none, where they are of use before a row is linked: see [`GrowingHnsw::encode`].
    ///
    /// # Errors
    /// [`LinkError::Memory`].
    pub fn encode(&self) -> Result<(), LinkError> {
        match self {
            GrowingIndex::Graph(graph) => graph.encode(),
            GrowingIndex::Lists(_) => Ok(()),
        }
    }

    fn index(&self) -> &dyn AnnIndex {
        match self {
            GrowingIndex::Graph(graph) => &**graph,
            GrowingIndex::Lists(lists) => &**lists,
        }
    }
}

impl AnnIndex for GrowingIndex {
    fn kind(&self) -> &'static str {
        self.index().kind()
    }

    fn built_with(&self) -> Option<IndexParams> {
        self.index().built_with()
    }

    fn metric(&self) -> Metric {
        self.index().metric()
    }

    fn dim(&self) -> usize {
        self.index().dim()
    }

    fn covered(&self) -> u32 {
        self.index().covered()
    }

    fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<SearchStats, SearchError> {
        self.index().search(query, params, set, scratch, out)
    }

    fn as_hnsw(&self) -> Option<&SealedHnsw> {
        self.index().as_hnsw()
    }

    fn has_codes(&self) -> bool {
        self.index().has_codes()
    }

    fn scan(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<Option<SearchStats>, SearchError> {
        self.index().scan(query, params, set, scratch, out)
    }

    fn persist_on(
        &self,
        pool: Option<&rayon::ThreadPool>,
        sink: &mut dyn SectionSink,
    ) -> std::io::Result<()> {
        self.index().persist_on(pool, sink)
    }

    fn index_bytes(&self) -> u64 {
        self.index().index_bytes()
    }
}

/// Opens what [`AnnIndex::persist`] wrote, over the rows it was built from; the sections say which kind it is. Inverted lists
/// are always read where they are mapped.
///
/// # Errors
/// [`OpenIndexError`] naming the section and the element that is wrong.
pub fn open_index(
    source: &dyn SectionSource,
    rows: MappedRows,
    metric: Metric,
    level: Level,
    placement: Placement,
) -> Result<Arc<dyn AnnIndex>, OpenIndexError> {
    Ok(if SealedIvf::is_in(source) {
        Arc::new(SealedIvf::open(source, rows, metric)?.with_level(level))
    } else {
        Arc::new(SealedHnsw::open_placed(source, rows, metric, placement)?.with_level(level))
    })
}
