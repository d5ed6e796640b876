//! One query over a sealed graph whose rows have codes in place of sketches.

use dvse_simd::{Level, dispatch};
use dvse_types::Metric;

use super::search::SCAN_K_MAX;
use super::sections::SealedGraph;
use crate::ann::{Neighbor, SearchError, SearchParams, SearchStats};
use crate::byte_rows::{QueryCopies, RowCopies};
use crate::coded::CodedQuery;
use crate::coded::search::{CodedScan, CodedSearch, CodedWalk};
use crate::coded::sections::CodedRows;
use crate::computer::{Kernel, with_kernel};
use crate::flat::collect;
use crate::graph::adjacency::Adjacency;
use crate::graph::beam_search::{LayerQuery, Traversal};
use crate::row_set::RowSet;
use crate::scratch::{Beam, Scratch};
use crate::vectors::{MatrixView, VectorView};

/// What a query is run against.
pub(super) struct CodedTarget<'a> {
    pub(super) graph: &'a SealedGraph<'a>,
    pub(super) rows: &'a MatrixView<'a>,
    pub(super) coded: &'a CodedRows,
    pub(super) copies: RowCopies<'a>,
    pub(super) metric: Metric,
    pub(super) level: Level,
    pub(super) traversal: Traversal,
}

impl<'a> CodedTarget<'a> {
    /// What a walk and a scan are asked alike.
    #[expect(clippy::too_many_arguments, reason = "facts of a search and pieces of its memory")]
    fn request<'b, K: Kernel>(
        &self,
        kernel: K,
        query: &'b [f32],
        params: &SearchParams,
        set: RowSet<'b>,
        beam: &'b mut Beam,
        scratch: &'b mut CodedQuery,
        forms: &'b mut QueryCopies,
    ) -> CodedSearch<'b, MatrixView<'a>, K>
    where
        'a: 'b,
    {
        let (rows, coded, copies) = (self.rows, self.coded, self.copies);
        let SearchParams { k, ef, rescore, .. } = *params;
        CodedSearch { rows, kernel, coded, copies, query, k, ef, rescore, set, beam, scratch, forms }
    }

    /// Walks over the graph by codes.
    pub(super) fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<SearchStats, SearchError> {
        out.clear();
        let (query, beam, memory) = scratch.prepare(query, self.rows.dim(), self.rows.stride())?;
        let covered = self.coded.len();
        let Some(entry) = self.graph.entry().filter(|_| params.k > 0) else {
            return Ok(SearchStats { covered, ..SearchStats::default() });
        };
        let (limit, max_distances, traversal) = (entry.limit, params.max_distances, self.traversal);
        let layer = LayerQuery { layer: 0, limit, ef: params.ef, max_distances, traversal };
        let counters = with_kernel!(self.metric, kernel => dispatch(self.level, CodedWalk {
            search: self.request(kernel, query, params, set, beam, &mut memory.coded, &mut memory.copies),
            graph: self.graph,
            entry: entry.row,
            layer,
            adaptive: &mut memory.adaptive,
        }));
        collect(beam, params.k, out);
        Ok(SearchStats {
            distances: counters.distances,
            hops: counters.hops,
            covered,
            stopped_early: counters.stopped_early,
        })
    }

    /// Compares the codes of all rows of a set, and in full what is near.
    pub(super) fn scan(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<Option<SearchStats>, SearchError> {
        out.clear();
        let (query, beam, memory) = scratch.prepare(query, self.rows.dim(), self.rows.stride())?;
        if params.k == 0 || params.k > SCAN_K_MAX || params.whole_rows {
            return Ok(None);
        }
        let distances = with_kernel!(self.metric, kernel => dispatch(self.level, CodedScan(
            self.request(kernel, query, params, set, beam, &mut memory.coded, &mut memory.copies)
        )));
        collect(beam, params.k, out);
        Ok(Some(SearchStats { distances, covered: self.coded.len(), ..SearchStats::default() }))
    }
}
