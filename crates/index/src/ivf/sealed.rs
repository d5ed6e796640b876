//! An IVF-PQ index that never changes, read in place from its sections.

use dvse_simd::Level;
use dvse_types::Metric;

use super::params::{IvfParams, Probing};
use super::search::Target;
use super::sections::IvfSections;
use crate::ann::{AnnIndex, Neighbor, SearchError, SearchParams, SearchStats};
use crate::flat::FlatIndex;
use crate::kinds::IndexParams;
use crate::row_set::RowSet;
use crate::scratch::Scratch;
use crate::sections::{OpenIndexError, SectionSink, SectionSource};
use crate::vectors::{MappedRows, Rows, VectorView};

/// Sealed lists over sealed rows. Nothing is copied but the norms of centroids: all stays where it is mapped.
#[derive(Debug)]
pub struct SealedIvf {
    rows: MappedRows,
    flat: FlatIndex,
    metric: Metric,
    level: Level,
    probing: Probing,
    sections: IvfSections,
}

impl SealedIvf {
    /// Opens what [`AnnIndex::persist`] wrote, over the rows it was built from.
    ///
    /// Every count and row number is checked (each row stands in exactly one list), and that numbers are finite, so
    /// that a search cannot leave the arrays. Wrong codes cannot be seen; checksums around the sections are for that.
    ///
    /// # Errors
    /// [`OpenIndexError`] naming the section and the element that is wrong.
    pub fn open(
        source: &dyn SectionSource,
        rows: MappedRows,
        metric: Metric,
    ) -> Result<SealedIvf, OpenIndexError> {
        let sections = IvfSections::open(source, metric)?;
        let view = rows.view();
        let facts = [
            ("the number of rows", u64::from(sections.meta.rows), u64::from(view.len())),
            ("the dimension", u64::from(sections.meta.dim), view.dim() as u64),
        ];
        for (what, got, expected) in facts {
            if got != expected {
                let expected = format!("{expected} as the rows have");
                return Err(OpenIndexError::Damaged { section: "ivf.meta", element: 0, what, got, expected });
            }
        }
        let flat = FlatIndex::new(Rows::Sealed(rows.clone()), metric);
        Ok(SealedIvf {
            rows,
            flat,
            metric,
            level: dvse_simd::detect(),
            probing: Probing::default(),
            sections,
        })
    }

    /// Whether sections are those of inverted lists.
    #[must_use]
    pub fn is_in(source: &dyn SectionSource) -> bool {
        super::sections::are_in(source)
    }

    /// Uses the kernels of another instruction set (or the best available one below it).
    #[must_use]
    pub fn with_level(self, level: Level) -> SealedIvf {
        SealedIvf { level, flat: self.flat.with_level(level), ..self }
    }

    /// Looks otherwise far.
    #[must_use]
    pub fn with_probing(self, probing: Probing) -> SealedIvf {
        SealedIvf { probing, ..self }
    }

    /// The rows it is over.
    #[must_use]
    pub fn rows(&self) -> &MappedRows {
        &self.rows
    }

    /// What it was built with, and the probing of now.
    #[must_use]
    pub fn params(&self) -> IvfParams {
        IvfParams { probing: self.probing, ..self.sections.params() }
    }

    /// The number of lists.
    #[must_use]
    pub fn lists(&self) -> u32 {
        self.sections.meta.lists
    }
}

impl AnnIndex for SealedIvf {
    fn kind(&self) -> &'static str {
        "ivf_pq"
    }

    fn built_with(&self) -> Option<IndexParams> {
        Some(IndexParams::Lists(self.params()))
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
        let rows = self.rows.view();
        let target = Target {
            model: self.sections.model(self.metric),
            lists: &self.sections.lists(),
            limit: self.sections.meta.rows,
            rows: &rows,
            flat: &self.flat,
            level: self.level,
            probing: self.probing,
        };
        target.search(query, params, set, scratch, out)
    }

    /// Copies the sections as they are.
    fn persist_on(&self, _: Option<&rayon::ThreadPool>, sink: &mut dyn SectionSink) -> std::io::Result<()> {
        self.sections.copy_to(sink)
    }

    fn index_bytes(&self) -> u64 {
        self.sections.bytes()
    }
}
