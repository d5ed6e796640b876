//! An HNSW index that is linked while it is searched.

use std::sync::Mutex;

use dvse_simd::Level;
use dvse_types::Metric;

use super::batch::batch_end;
use super::link::{LinkSpace, Linker};
use super::params::{HnswParams, HnswParamsError};
use super::search::Target;
use super::sections;
use crate::ann::{AnnIndex, Neighbor, SearchError, SearchParams, SearchStats};
use crate::candidates::ROWS_MAX;
use crate::graph::adjacency::Adjacency;
use crate::graph::growing::GrowingGraph;
use crate::row_set::RowSet;
use crate::scratch::Scratch;
use crate::sections::SectionSink;
use crate::vectors::{Rows, with_rows};

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
    rows: Rows,
    metric: Metric,
    params: HnswParams,
    level: Level,
    graph: GrowingGraph,
    linker: Mutex<Linker>,
}

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
            linker: Mutex::new(Linker::default()),
        })
    }

    /// Uses the kernels of another instruction set (or the best available one below it).
    #[must_use]
    pub fn with_level(self, level: Level) -> GrowingHnsw {
        GrowingHnsw { level, ..self }
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
            let available = crate::vectors::VectorView::len(rows);
            if upto > available {
                return Err(LinkError::NoSuchRows { upto, rows: available });
            }
            let space = LinkSpace {
                graph: &self.graph,
                rows,
                metric: self.metric,
                level: self.level,
                params: &self.params,
                pool,
            };
            loop {
                let linked = self.graph.linked();
                let mut end = batch_end(linked, self.params.batch_max);
                if end > upto {
                    if !flush || linked >= upto {
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
            if flush {
                space.repair(&mut linker);
            }
        });
        Ok(LinkProgress { linked: self.graph.linked(), done: true })
    }

    /// How many of the linked rows the entry leads to on layer 0: all of them after a flush.
    #[must_use]
    pub fn reachable(&self) -> u32 {
        crate::graph::reach::count_reachable(&self.graph)
    }
}

impl AnnIndex for GrowingHnsw {
    fn kind(&self) -> &'static str {
        "hnsw"
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
        let entry = self.graph.entry();
        with_rows!(&self.rows, rows => {
            let target = Target {
                graph: &self.graph,
                entry,
                rows,
                metric: self.metric,
                level: self.level,
                traversal: self.params.traversal,
            };
            target.search(query, params, set, scratch, out)
        })
    }

    /// Writes the rows linked; link with `flush` first. No linking may go on meanwhile: a second linker waits.
    fn persist(&self, sink: &mut dyn SectionSink) -> std::io::Result<()> {
        let linker = self.linker.lock();
        if linker.is_err() {
            return Err(std::io::Error::other(LinkError::Poisoned));
        }
        sections::write(&self.graph, self.metric, self.rows.dim(), &self.params, sink)
    }

    fn index_bytes(&self) -> u64 {
        self.graph.bytes()
    }
}
