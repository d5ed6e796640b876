//! What every index can do.

use dvse_types::{Metric, Rescore};

use crate::hnsw::SealedHnsw;
use crate::kinds::IndexParams;
use crate::row_set::RowSet;
use crate::scratch::Scratch;
use crate::sections::SectionSink;

/// A row and how far it is from the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbor {
    /// The row.
    pub row: u32,
    /// Its distance, as [`Metric`] defines it: smaller is closer.
    pub distance: f32,
}

/// What a search is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchParams {
    /// How many neighbours to return.
    pub k: usize,
    /// How many candidates the traversal keeps (`ef_search`). Below `k` a search through sketches stops early, any
    /// other takes `k`. An exact index ignores it.
    pub ef: usize,
    /// The traversal stops after about this many distance computations (it finishes the batch in hand) and says so
    /// in [`SearchStats::stopped_early`]. What is held by then is returned; the caller may scan instead. An exact
    /// index ignores it.
    pub max_distances: u64,
    /// Rows farther than this are of no use to the caller, who has enough that are nearer: an index may leave them out
    /// and come back with fewer than `k`.
    pub bound: f32,
    /// Inverted lists looked into (`nprobe`); 0: as the index does, by `ef`. A graph ignores it.
    pub lists: u32,
    /// Rows of inverted lists compared exactly; 0: as the index does, by `ef`. A graph ignores it.
    pub rerank: u32,
    /// Read whole rows where there are codes of them: inverted lists, which have nothing else, scan all rows then.
    pub whole_rows: bool,
    /// Which of the rows found by their codes are compared exactly.
    pub rescore: Rescore,
}

impl SearchParams {
    /// Asks for `k` neighbours with a beam of `ef` and no bound on the work.
    #[must_use]
    pub fn new(k: usize, ef: usize) -> SearchParams {
        SearchParams {
            k,
            ef,
            max_distances: u64::MAX,
            bound: f32::INFINITY,
            lists: 0,
            rerank: 0,
            whole_rows: false,
            rescore: Rescore::Usual,
        }
    }
}

/// What a search did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SearchStats {
    /// Distances computed.
    pub distances: u64,
    /// Rows whose neighbours were looked at.
    pub hops: u64,
    /// The rows `0..covered` were searched; rows past it are not linked yet and are the caller's to scan.
    pub covered: u32,
    /// Whether `max_distances` ended the search before it was done.
    pub stopped_early: bool,
}

/// Why a search could not be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The query is not as long as the vectors.
    #[error("the query has dimension {got}, the index has {expected}")]
    Dimension {
        /// The index's dimension.
        expected: usize,
        /// The query's length.
        got: usize,
    },
}

/// An index over the rows of one segment, exact or approximate.
///
/// Rows and queries of the metric [`Metric::Cosine`] are of unit length already.
pub trait AnnIndex: Send + Sync {
    /// The name used in configuration: `flat`, `hnsw`, `nsw` or `ivf_pq`.
    fn kind(&self) -> &'static str;

    /// What it was built with; `None` for a flat index, which is not built.
    fn built_with(&self) -> Option<IndexParams>;

    /// How vectors are compared.
    fn metric(&self) -> Metric;

    /// Values a vector has.
    fn dim(&self) -> usize;

    /// How many rows the index covers now: the rows `0..covered()`.
    fn covered(&self) -> u32;

    /// Finds the nearest rows of `set` among those covered, best first, ties by smaller row, and replaces `out`
    /// with them. Fewer than `k` come back only when fewer were found.
    ///
    /// # Errors
    /// [`SearchError`] when the query does not fit the index; `out` is empty then.
    fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<SearchStats, SearchError>;

    /// The index as a sealed graph, if it is one: another graph can take over its lists.
    fn as_hnsw(&self) -> Option<&SealedHnsw> {
        None
    }

    /// Whether [`AnnIndex::scan`] has compact codes to compare.
    fn has_codes(&self) -> bool {
        false
    }

    /// Finds the nearest rows of `set` among those covered by comparing compact codes of all of them, and what is near
    /// in full; like [`AnnIndex::search`] otherwise, but `max_distances` is not looked at. `None` where the index has no
    /// such codes, or not for so many neighbours.
    ///
    /// # Errors
    /// [`SearchError`] when the query does not fit the index; `out` is empty then.
    fn scan(
        &self,
        _query: &[f32],
        _params: &SearchParams,
        _set: RowSet<'_>,
        _scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<Option<SearchStats>, SearchError> {
        out.clear();
        Ok(None)
    }

    /// Writes the index (not the rows) as sections.
    ///
    /// # Errors
    /// What the sink could not do.
    fn persist(&self, sink: &mut dyn SectionSink) -> std::io::Result<()> {
        self.persist_on(None, sink)
    }

    /// The same; what is made only now, codes of rows, is made on the threads of `pool`. What is written does not depend
    /// on them.
    ///
    /// # Errors
    /// What the sink could not do.
    fn persist_on(&self, pool: Option<&rayon::ThreadPool>, sink: &mut dyn SectionSink)
    -> std::io::Result<()>;

    /// Bytes of memory the index takes beside the rows, mapped ones included.
    fn index_bytes(&self) -> u64;
}
