//! An HNSW index that is linked while it is searched.

use std::sync::{Mutex, OnceLock, PoisonError};

use dvse_simd::Level;
use dvse_types::Metric;

use super::batch::batch_end;
use super::link::{LinkSpace, Linker};
use super::params::{HnswParams, HnswParamsError};
use super::search::{SketchTarget, Target};
use super::sections;
use crate::ann::{AnnIndex, Neighbor, SearchError, SearchParams, SearchStats};
use crate::byte_rows::{ByteRows, RowCopies};
use crate::candidates::ROWS_MAX;
use crate::coded::sections::CodePlan;
use crate::computer::link_metric;
use crate::graph::adjacency::{Adjacency, Entry};
use crate::graph::growing::GrowingGraph;
use crate::half_rows::HalfRows;
use crate::kinds::IndexParams;
use crate::row_set::RowSet;
use crate::scratch::Scratch;
use crate::sections::SectionSink;
use crate::sketch::entries::Entries;
use crate::sketch::growing::{GrowingSketches, SketchBasis};
use crate::sketch::search::SketchParts;
use crate::sketch::sections::SketchFacts;
use crate::vectors::{Rows, VectorView, with_rows};

/// A graph over rows that are appended by someone else. Any number of threads search it while one links.
///
/// Rows are linked in batches whose ends depend on nothing but how many rows are linked (see
/// [`GrowingHnsw::link`]), so the graph is a function of the rows' order, the parameters and the instruction set's
/// rounding; not of threads or of when rows arrived. Rows not linked yet are the caller's to scan
/// ([`SearchStats::covered`] says from where).
///
/// A deleted row stays in the graph as a way to others and is hidden by the [`RowSet`]; it goes when the segment is
/// rebuilt.
pub struct GrowingHnsw {
    pub(super) rows: Rows,
    metric: Metric,
    params: HnswParams,
    level: Level,
    graph: GrowingGraph,
    /// Whether sketches were there from the start, with the transform of another index.
    inherited: bool,
    /// The transform of another index, to be taken if it is nearly as good as one learned.
    offered: Option<SketchBasis>,
    /// Learned when there are enough rows; a row is linked by its sketch once there are sketches.
    sketches: OnceLock<GrowingSketches>,
    /// Held while they are learned.
    learning: Mutex<()>,
    pub(super) linker: Mutex<Linker>,
}

/// Rows linked by full comparisons before a transform is learned from them. Where all rows are known from the start it
/// is learned at once.
const LEARN_ROWS: u32 = 2048;

/// Fewer rows than this are not worth a transform.
const SKETCH_ROWS_MIN: u32 = 512;

/// What a call of [`GrowingHnsw::link`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkProgress {
    /// Rows linked now.
    pub linked: u32,
    /// Whether there is nothing more to link up to the row asked for, but for an incomplete batch.
    pub done: bool,
}

/// Why rows could not be linked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Rows were to be linked that were not appended.
    #[error("cannot link up to row {upto}: there are {rows} rows")]
    NoSuchRows {
        /// The end asked for.
        upto: u32,
        /// Rows there are.
        rows: u32,
    },
    /// The graph was made for fewer rows.
    #[error("cannot link up to row {upto}: the graph was made for {rows_max} rows")]
    Full {
        /// The end asked for.
        upto: u32,
        /// Rows it was made for.
        rows_max: u32,
    },
    /// A graph was to be taken over that is of another kind or over other rows.
    #[error("the lists of that graph are of no use here")]
    Foreign,
    /// There is no memory for the sketch of another row.
    #[error("cannot make another sketch: {0}")]
    Memory(dvse_simd::Full),
    /// An earlier call panicked while it changed the graph.
    #[error("the graph was left half changed by a panic while linking")]
    Poisoned,
}

impl GrowingHnsw {
    /// An empty graph for at most `rows_max` of `rows` (cut to [`ROWS_MAX`]). Memory is taken as rows are linked,
    /// except for a directory of about `rows_max / 13` bytes.
    ///
    /// # Errors
    /// A parameter out of range.
    pub fn new(
        rows: Rows,
        rows_max: u32,
        metric: Metric,
        params: HnswParams,
    ) -> Result<GrowingHnsw, HnswParamsError> {
        params.check()?;
        let graph = GrowingGraph::new(usize::from(params.m), rows_max.min(ROWS_MAX));
        Ok(GrowingHnsw {
            rows,
            metric,
            params,
            level: dvse_simd::detect(),
            graph,
            inherited: false,
            offered: None,
            sketches: OnceLock::new(),
            learning: Mutex::new(()),
            linker: Mutex::new(Linker::default()),
        })
    }

    /// Uses the kernels of another instruction set (or the best available one below it).
    #[must_use]
    pub fn with_level(self, level: Level) -> GrowingHnsw {
        GrowingHnsw { level, ..self }
    }

    /// Codes rows as another index does, from the first on, instead of learning how when there are enough of them: a
    /// search then compares codes however few rows there are, and a query is made ready once for both. To be
    /// called before anything is linked; without effect where rows have no codes or are of another dimension.
    ///
    /// Where all rows are there from the start, learning takes place as always, and the other index's way is taken
    /// unless what was learned is better by more than chance: rows drift away from what they once were.
    #[must_use]
    pub fn with_basis(mut self, basis: &SketchBasis) -> GrowingHnsw {
        if self.params.sketches && basis.transform.dim() == self.rows.dim() {
            if matches!(self.rows, Rows::Sealed(_)) {
                self.offered = Some(basis.clone());
                return self;
            }
            let rows_max = self.graph.rows_max();
            let sketches = GrowingSketches::with_basis(basis, rows_max, self.metric, self.level);
            if let Some(sketches) = sketches {
                self.inherited = self.sketches.set(sketches).is_ok();
            }
        }
        self
    }

    /// The rows it is over.
    #[must_use]
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// What it is built with.
    #[must_use]
    pub fn params(&self) -> &HnswParams {
        &self.params
    }

    /// Rows linked: `0..linked()`. It only grows.
    #[must_use]
    pub fn linked(&self) -> u32 {
        self.graph.linked()
    }

    /// Links the rows below `upto` in whole batches, on the threads of `pool`, until done or until `stop` (asked
    /// before each batch) says so. A second linker waits for the first.
    ///
    /// Without `flush` the rows of the last, incomplete batch are left for later: then the graph is the same
    /// however the calls are cut. With `flush` they are linked as a shorter batch and every row is made reachable:
    /// this is for a graph that is about to be sealed or that will not grow for long. The graph is still a function
    /// of the rows and of the places flushed at, so flush at row counts that repeat.
    ///
    /// # Errors
    /// [`LinkError`]; what was linked before stays linked.
    pub fn link(
        &self,
        upto: u32,
        flush: bool,
        pool: &rayon::ThreadPool,
        stop: &dyn Fn() -> bool,
    ) -> Result<LinkProgress, LinkError> {
        if upto > self.graph.rows_max() {
            return Err(LinkError::Full { upto, rows_max: self.graph.rows_max() });
        }
        let mut linker = self.linker.lock().map_err(|_| LinkError::Poisoned)?;
        with_rows!(&self.rows, rows => {
            let available = VectorView::len(rows);
            if upto > available {
                return Err(LinkError::NoSuchRows { upto, rows: available });
            }
            loop {
                let linked = self.graph.linked();
                let sketches = self.link_sketches(linked, pool)?;
                let space = self.link_space(rows, pool, sketches);
                let mut end = batch_end(linked, self.params.batch_max);
                if end > upto {
                    if !flush || linked >= upto {
                        if flush {
                            space.repair(&mut linker);
                        }
                        break;
                    }
                    end = upto;
                }
                if stop() {
                    return Ok(LinkProgress { linked, done: false });
                }
                space
                    .link_batch(&mut linker, linked..end)
                    .map_err(|_| LinkError::Full { upto, rows_max: self.graph.rows_max() })?;
            }
        });
        Ok(LinkProgress { linked: self.graph.linked(), done: true })
    }

    /// What linking works on.
    pub(super) fn link_space<'a, V>(
        &'a self,
        rows: &'a V,
        pool: &'a rayon::ThreadPool,
        sketches: Option<&'a GrowingSketches>,
    ) -> LinkSpace<'a, V> {
        // Products are linked by where they are lifted to no sphere: where rows are their own nearest by them.
        let by_product = sketches.is_some_and(|sketches| sketches.transform().lift().is_none());
        let metric = if by_product { self.metric } else { link_metric(self.metric) };
        let (level, params) = (self.level, &self.params);
        LinkSpace { graph: &self.graph, rows, metric, level, params, pool, sketches }
    }

    /// Makes sketches of the rows that have none, on the calling thread, so that searches compare them by sketch before
    /// they are linked. Cheap (about a microsecond a row), but for the one call in a graph's life that learns the
    /// transform: some ten milliseconds at 384 dimensions. For whoever appends rows; linking does the same.
    ///
    /// # Errors
    /// [`LinkError::Memory`]; rows without a sketch are left to the caller to scan, as before.
    pub fn encode(&self) -> Result<(), LinkError> {
        with_rows!(&self.rows, rows => self.sketch(rows, None)).map(|_| ())
    }

    /// The sketches, up to date with the rows there are: learned first where it is time for it.
    pub(super) fn sketch<V: VectorView>(
        &self,
        rows: &V,
        pool: Option<&rayon::ThreadPool>,
    ) -> Result<Option<&GrowingSketches>, LinkError> {
        if !self.params.sketches {
            return Ok(None);
        }
        if self.sketches.get().is_none() {
            // Rows that still come are learned from once there is a number of them that repeats.
            let (known, pool) = match &self.rows {
                Rows::Growing(_) if VectorView::len(rows) < LEARN_ROWS => return Ok(None),
                Rows::Growing(_) => (LEARN_ROWS, None),
                Rows::Sealed(_) => (VectorView::len(rows), pool),
            };
            if known < SKETCH_ROWS_MIN {
                return Ok(None);
            }
            let _learning = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
            if self.sketches.get().is_none() {
                let (seed, rows_max) = (self.params.seed, self.graph.rows_max());
                let (metric, level, offered) = (self.metric, self.level, self.offered.as_ref());
                let learned =
                    GrowingSketches::learn(rows, known, rows_max, metric, seed, level, pool, offered);
                let Some(learned) = learned else { return Ok(None) };
                // Nobody else sets it while this lock is held.
                drop(self.sketches.set(learned));
            }
        }
        let Some(sketches) = self.sketches.get() else { return Ok(None) };
        sketches.encode(rows, pool).map_err(LinkError::Memory)?;
        Ok(Some(sketches))
    }

    /// The sketches to link with from row `linked` on.
    fn link_sketches(
        &self,
        linked: u32,
        pool: &rayon::ThreadPool,
    ) -> Result<Option<&GrowingSketches>, LinkError> {
        // Rows that came since the call for linking began are encoded too: searches compare them by sketch at once.
        let sketches = with_rows!(&self.rows, newest => self.sketch(newest, Some(pool))?);
        let Some(sketches) = sketches.filter(|_| linked > 0) else { return Ok(None) };
        sketches.refresh_entries(linked);
        if linked >= LEARN_ROWS {
            with_rows!(&self.rows, rows => sketches.settle_tuning(rows, LEARN_ROWS));
        }
        // Whether a row is linked by sketch must not depend on when sketches came to be.
        let settled = self.inherited || matches!(self.rows, Rows::Sealed(_)) || linked >= LEARN_ROWS;
        Ok(settled.then_some(sketches))
    }

    /// How many of the linked rows the entry leads to on layer 0: all of them after a flush.
    #[must_use]
    pub fn reachable(&self) -> u32 {
        crate::graph::reach::count_reachable(&self.graph)
    }
}

impl GrowingHnsw {
    fn target<'a, V: VectorView>(&'a self, entry: Option<Entry>, rows: &'a V) -> Target<'a, GrowingGraph, V> {
        let (metric, level, traversal) = (self.metric, self.level, self.params.traversal);
        Target { graph: &self.graph, entry, rows, metric, level, traversal }
    }
}

impl GrowingHnsw {
    fn persist_halves(&self, rows: u32, useful: bool, sink: &mut dyn SectionSink) -> std::io::Result<()> {
        if !self.params.halves {
            return Ok(());
        }
        with_rows!(&self.rows, view => HalfRows::write(view, rows, useful, sink))
    }
}

/// What a search reads of the sketches.
fn sketched<'a>(
    entry: Option<Entry>,
    sketches: Option<&'a GrowingSketches>,
    entries: Option<&'a Entries>,
    codes: Option<&'a dvse_simd::Rows<'a>>,
) -> Option<SketchTarget<'a, dvse_simd::Rows<'a>>> {
    let (sketches, entries, codes) = (sketches?, entries?, codes?);
    let encoded = codes.len() as u32;
    // Sketches that were learned a moment ago may not reach the rows that are linked.
    (encoded >= entry.map_or(0, |entry| entry.limit)).then(|| SketchTarget {
        codes,
        parts: SketchParts {
            transform: sketches.transform(),
            entries,
            tuning: sketches.tuning(),
            space: sketches.space(),
            copies: RowCopies::default(),
        },
        encoded,
    })
}

impl AnnIndex for GrowingHnsw {
    fn kind(&self) -> &'static str {
        if self.params.layers { "hnsw" } else { "nsw" }
    }

    fn built_with(&self) -> Option<IndexParams> {
        Some(IndexParams::Graph(self.params))
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn dim(&self) -> usize {
        self.rows.dim()
    }

    fn covered(&self) -> u32 {
        self.graph.linked()
    }

    fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<SearchStats, SearchError> {
        // The entry first, the rows after it: then there is a row for everything below the entry's limit.
        // And the sketches in between: rows are encoded before they are linked, and appended before they are encoded.
        let entry = self.graph.entry();
        let sketches = self.sketches.get();
        let entries = sketches.map(GrowingSketches::entries);
        let codes = sketches.map(GrowingSketches::codes);
        let sketched = sketched(entry, sketches, entries.as_deref(), codes.as_ref());
        let sketched =
            sketched.filter(|_| !params.whole_rows).map(|sketched| sketched.rescoring(params.rescore));
        with_rows!(&self.rows, rows => {
            self.target(entry, rows).search(query, params, set, sketched.as_ref(), scratch, out)
        })
    }

    fn has_codes(&self) -> bool {
        self.sketches.get().is_some()
    }

    fn scan(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<Option<SearchStats>, SearchError> {
        // In the order of a search.
        let entry = self.graph.entry();
        let sketches = self.sketches.get();
        let entries = sketches.map(GrowingSketches::entries);
        let codes = sketches.map(GrowingSketches::codes);
        let Some(sketched) = sketched(entry, sketches, entries.as_deref(), codes.as_ref()) else {
            out.clear();
            return Ok(None);
        };
        with_rows!(&self.rows, rows => {
            self.target(entry, rows).scan(query, params, set, &sketched, scratch, out)
        })
    }

    /// Writes the rows linked; link with `flush` first. No linking may go on meanwhile: a second linker waits.
    fn persist_on(
        &self,
        pool: Option<&rayon::ThreadPool>,
        sink: &mut dyn SectionSink,
    ) -> std::io::Result<()> {
        let linker = self.linker.lock();
        if linker.is_err() {
            return Err(std::io::Error::other(LinkError::Poisoned));
        }
        sections::write(&self.graph, self.metric, self.rows.dim(), &self.params, sink)?;
        let linked = self.graph.linked();
        if let Some(codes) = self.params.codes {
            let slope = self.sketches.get().map_or(0.0, |sketches| sketches.tuning().slope);
            let (metric, seed, level) = (self.metric, self.params.seed, self.level);
            let plan = CodePlan { codes, metric, seed, slope, level };
            with_rows!(&self.rows, rows => {
                crate::coded::sections::write(&plan, rows, linked, pool, sink)
            })?;
            return self.persist_halves(linked, true, sink);
        }
        let Some(sketches) = self.sketches.get().filter(|_| linked > 0) else {
            // What is walked over whole rows has no use for halves.
            return self.persist_halves(linked, false, sink);
        };
        with_rows!(&self.rows, rows => sketches.raise_linked_norm(rows, linked));
        // Those that searches begin at now, so that the index answers the same when it is opened again.
        let (entries, spread) = (sketches.entries(), Entries::spread(linked));
        let facts = SketchFacts {
            transform: sketches.transform(),
            entries: if entries.rows().is_empty() { &spread } else { entries.rows() },
            tuning: sketches.tuning(),
            norm_max: sketches.linked_norm_max(),
        };
        crate::sketch::sections::write(&facts, &sketches.codes(), linked, sink)?;
        let has_bytes = with_rows!(&self.rows, rows => ByteRows::write(rows, linked, self.metric, sink))?;
        self.persist_halves(linked, !has_bytes, sink)
    }

    fn index_bytes(&self) -> u64 {
        self.graph.bytes() + self.sketches.get().map_or(0, GrowingSketches::bytes)
    }
}
