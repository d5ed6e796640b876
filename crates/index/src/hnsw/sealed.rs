//! An HNSW index that never changes, read in place from its sections.

use dvse_simd::Level;
use dvse_types::Metric;

use super::params::HnswParams;
use super::sealed_codes::CodedTarget;
use super::search::{SketchTarget, Target};
use super::sections::{GraphSections, SealedGraph};
use crate::ann::{AnnIndex, Neighbor, SearchError, SearchParams, SearchStats};
use crate::byte_rows::{ByteRows, RowCopies};
use crate::coded::sections::CodedRows;
use crate::graph::adjacency::{Adjacency, EMPTY};
use crate::graph::beam_search::Traversal;
use crate::graph::reach::count_reachable;
use crate::half_rows::HalfRows;
use crate::kinds::IndexParams;
use crate::row_set::RowSet;
use crate::scratch::Scratch;
use crate::sections::{OpenIndexError, Placement, SectionSink, SectionSource};
use crate::sketch::codes::SealedCodes;
use crate::sketch::growing::{SketchBasis, space_of};
use crate::sketch::search::SketchParts;
use crate::sketch::sections::SketchSections;
use crate::vectors::{MappedRows, MatrixView, VectorView};

/// A sealed graph over sealed rows. Rows stay where they are mapped, and so does all else where the [`Placement`] says so.
#[derive(Debug)]
pub struct SealedHnsw {
    rows: MappedRows,
    metric: Metric,
    level: Level,
    traversal: Traversal,
    sections: GraphSections,
    sketches: Option<SketchSections>,
    /// The rows once more, where they are whole numbers of a byte.
    bytes: Option<ByteRows>,
    /// The rows once more in half precision, where that was asked for.
    halves: Option<HalfRows>,
    codes: Option<Box<CodedRows>>,
}

impl SealedHnsw {
    /// Opens what [`AnnIndex::persist`] wrote, over the rows it was built from.
    ///
    /// Every id, level and offset is checked against the sizes (about a nanosecond each), so that a search cannot
    /// leave the arrays.
    ///
    /// # Errors
    /// [`OpenIndexError`] naming the section and the element that is wrong.
    pub fn open(
        source: &dyn SectionSource,
        rows: MappedRows,
        metric: Metric,
    ) -> Result<SealedHnsw, OpenIndexError> {
        SealedHnsw::open_placed(source, rows, metric, Placement::default())
    }

    /// The same, with a say in what is read where it is mapped.
    ///
    /// # Errors
    /// As [`SealedHnsw::open`].
    pub fn open_placed(
        source: &dyn SectionSource,
        rows: MappedRows,
        metric: Metric,
        placement: Placement,
    ) -> Result<SealedHnsw, OpenIndexError> {
        let sections = GraphSections::open(source, metric, placement)?;
        let view = rows.view();
        let facts = [
            ("the number of rows", u64::from(sections.meta.rows), u64::from(view.len())),
            ("the dimension", u64::from(sections.meta.dim), view.dim() as u64),
        ];
        for (what, got, expected) in facts {
            if got != expected {
                let expected = format!("{expected} as the rows have");
                return Err(OpenIndexError::Damaged {
                    section: "hnsw.meta",
                    element: 0,
                    what,
                    got,
                    expected,
                });
            }
        }
        let sketches = SketchSections::open(source, view.dim(), view.len(), placement)?;
        let bytes = ByteRows::open(source, view.dim(), view.len())?;
        let codes = CodedRows::open(source, metric, view.dim(), view.len(), placement)?.map(Box::new);
        let halves = HalfRows::open(source, view.dim(), view.len(), placement)?;
        let (level, traversal) = (dvse_simd::detect(), Traversal::default());
        Ok(SealedHnsw { rows, metric, level, traversal, sections, sketches, codes, bytes, halves })
    }

    /// Uses the kernels of another instruction set (or the best available one below it).
    #[must_use]
    pub fn with_level(self, level: Level) -> SealedHnsw {
        SealedHnsw { level, ..self }
    }

    /// Feeds the machine otherwise.
    #[must_use]
    pub fn with_traversal(self, traversal: Traversal) -> SealedHnsw {
        SealedHnsw { traversal, ..self }
    }

    /// The rows it is over.
    #[must_use]
    pub fn rows(&self) -> &MappedRows {
        &self.rows
    }

    /// What it was built with.
    #[must_use]
    pub fn params(&self) -> HnswParams {
        let codes = self.codes.as_deref().map(|codes| codes.coder().codes());
        HnswParams { codes, halves: self.halves.is_some(), ..self.sections.params() }
    }

    /// What its rows are coded by, if they are.
    #[must_use]
    pub fn basis(&self) -> Option<SketchBasis> {
        let sketches = self.sketches.as_ref()?;
        Some(SketchBasis { transform: sketches.transform().clone(), tuning: sketches.tuning() })
    }

    pub(super) fn graph(&self) -> SealedGraph<'_> {
        self.sections.graph()
    }

    /// How many rows the entry leads to on layer 0.
    #[must_use]
    pub fn reachable(&self) -> u32 {
        count_reachable(&self.sections.graph())
    }

    /// Neighbours a row has on layer 0, in the mean.
    #[must_use]
    pub fn mean_degree(&self) -> f64 {
        let (graph, rows) = (self.sections.graph(), self.covered());
        let degree = |row| graph.slots(0, row).iter().filter(|id| **id != EMPTY).count();
        (0..rows).map(degree).sum::<usize>() as f64 / f64::from(rows.max(1))
    }
}

impl SealedHnsw {
    fn sketched<'a>(
        &'a self,
        codes: Option<&'a SealedCodes<'a>>,
    ) -> Option<SketchTarget<'a, SealedCodes<'a>>> {
        self.sketches.as_ref().zip(codes).map(|(sketches, codes)| SketchTarget {
            codes,
            parts: SketchParts {
                transform: sketches.transform(),
                entries: sketches.entries(),
                tuning: sketches.tuning(),
                space: space_of(self.metric, sketches.norm_max()),
                copies: self.copies(),
            },
            encoded: self.sections.meta.rows,
        })
    }

    fn copies(&self) -> RowCopies<'_> {
        let bytes = self.bytes.as_ref().map(ByteRows::view);
        RowCopies { bytes, halves: self.halves.as_ref().and_then(HalfRows::view) }
    }

    fn coded<'a>(&'a self, graph: &'a SealedGraph<'a>, rows: &'a MatrixView<'a>) -> Option<CodedTarget<'a>> {
        let (metric, level, traversal) = (self.metric, self.level, self.traversal);
        let copies = self.copies();
        self.codes.as_deref().map(|coded| CodedTarget {
            graph,
            rows,
            coded,
            copies,
            metric,
            level,
            traversal,
        })
    }

    fn target<'a>(
        &self,
        graph: &'a SealedGraph<'a>,
        rows: &'a MatrixView<'a>,
    ) -> Target<'a, SealedGraph<'a>, MatrixView<'a>> {
        let (metric, level, traversal) = (self.metric, self.level, self.traversal);
        Target { graph, entry: graph.entry(), rows, metric, level, traversal }
    }
}

impl AnnIndex for SealedHnsw {
    fn kind(&self) -> &'static str {
        if self.params().layers { "hnsw" } else { "nsw" }
    }

    fn built_with(&self) -> Option<IndexParams> {
        Some(IndexParams::Graph(self.params()))
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn dim(&self) -> usize {
        self.rows.view().dim()
    }

    fn covered(&self) -> u32 {
        self.sections.meta.rows
    }

    fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<SearchStats, SearchError> {
        let graph = self.sections.graph();
        let rows = self.rows.view();
        if let Some(coded) = self.coded(&graph, &rows).filter(|_| !params.whole_rows) {
            return coded.search(query, params, set, scratch, out);
        }
        let codes = self.sketches.as_ref().map(SketchSections::codes).filter(|_| !params.whole_rows);
        let sketched = self.sketched(codes.as_ref()).map(|sketched| sketched.rescoring(params.rescore));
        self.target(&graph, &rows).search(query, params, set, sketched.as_ref(), scratch, out)
    }

    fn has_codes(&self) -> bool {
        self.sketches.is_some() || self.codes.is_some()
    }

    fn as_hnsw(&self) -> Option<&SealedHnsw> {
        Some(self)
    }

    fn scan(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<Option<SearchStats>, SearchError> {
        let graph = self.sections.graph();
        let rows = self.rows.view();
        if let Some(coded) = self.coded(&graph, &rows) {
            return coded.scan(query, params, set, scratch, out);
        }
        let codes = self.sketches.as_ref().map(SketchSections::codes);
        match self.sketched(codes.as_ref()) {
            Some(sketched) => self.target(&graph, &rows).scan(query, params, set, &sketched, scratch, out),
            None => Ok(None),
        }
    }

    /// Copies the sections as they are.
    fn persist_on(&self, _: Option<&rayon::ThreadPool>, sink: &mut dyn SectionSink) -> std::io::Result<()> {
        self.sections.copy_to(sink)?;
        self.sketches.as_ref().map_or(Ok(()), |sketches| sketches.copy_to(sink))?;
        self.codes.as_deref().map_or(Ok(()), |codes| codes.copy_to(sink))?;
        self.bytes.as_ref().map_or(Ok(()), |bytes| bytes.copy_to(sink))?;
        self.halves.as_ref().map_or(Ok(()), |halves| halves.copy_to(sink))
    }

    fn index_bytes(&self) -> u64 {
        let sketches = self.sketches.as_ref().map_or(0, SketchSections::bytes);
        let codes = self.codes.as_deref().map_or(0, CodedRows::bytes);
        // Rows as bytes are mapped as the rows are, and count with them.
        let halves = self.halves.as_ref().map_or(0, HalfRows::bytes);
        self.sections.bytes() + sketches + codes + halves
    }
}
