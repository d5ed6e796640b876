//! One segment's part of an answer.

use std::borrow::Cow;

use dvse_index::{AnnIndex, IndexParams, Neighbor, RowSet, Scratch, SearchParams, SearchStats};
use dvse_types::{Hit, Rescore, SearchResult};

use crate::filter::{CompiledFilter, FilterChoice, FilterPlan, Matcher, PlanFacts};
use crate::live_rows::count_ones;
use crate::segment::{SegmentState, VectorsRef};
use crate::view::SearchError;

/// What every segment is asked.
pub(crate) struct SegmentQuery<'a> {
    pub(crate) vector_name: &'a str,
    /// Normalised where the metric asks for it.
    pub(crate) query: &'a [f32],
    pub(crate) k: usize,
    pub(crate) ef: usize,
    pub(crate) exact: bool,
    pub(crate) full_scan_rows: usize,
    /// Inverted lists looked into, and rows of them compared exactly; 0: by `ef`.
    pub(crate) nprobe: usize,
    pub(crate) rerank: usize,
    /// Whole vectors are read, and which of those found by their codes are compared exactly.
    pub(crate) ignore_codes: bool,
    pub(crate) rescore: Rescore,
    pub(crate) filter: Option<&'a CompiledFilter>,
    pub(crate) choice: FilterChoice,
}

impl SegmentQuery<'_> {
    /// Adds the nearest rows of a segment to the hits.
    pub(crate) fn run(
        &self,
        state: &SegmentState,
        scratch: &mut Scratch,
        result: &mut SearchResult,
    ) -> Result<(), SearchError> {
        let segment = state.segment.read();
        let Some(vectors) = segment.vectors(self.vector_name) else { return Ok(()) };
        segment.check()?;
        // Vectors of rows this view can see; there may be more by now.
        let visible = vectors.map.read(|map| map.len_below(state.live.rows()));
        let bits = match self.filter {
            None if state.live.dead() == 0 => None,
            filter => {
                let live = state.live.words();
                let rows = match filter {
                    None => Cow::Borrowed(live),
                    Some(_) => Cow::Owned(Matcher::new(filter, segment, live)?.into_bits()?),
                };
                Some(vectors.map.read(|map| map.vector_bits(&rows)).map_or(rows, Cow::Owned))
            }
        };
        let set = bits.as_deref().map_or(RowSet::Below(visible), RowSet::Bitmap);
        let passing = bits.as_deref().map_or(visible, |bits| count_ones(bits).min(visible));
        if passing == 0 {
            return Ok(());
        }
        result.stats.segments += 1;
        let found = self.nearest(&vectors, visible, passing, set, scratch, result)?;
        // A vector has a row as long as the segment is what it was when it was written.
        let of_vectors = found.iter().map(|neighbor| neighbor.row);
        let rows = vectors
            .map
            .read(|map| of_vectors.map(|row| map.row(row).unwrap_or(u32::MAX)).collect::<Vec<_>>());
        let hits = segment.ids(&rows).into_iter().zip(&found);
        result.hits.reserve(found.len());
        result
            .hits
            .extend(hits.filter_map(|(id, neighbor)| id.map(|id| Hit { id, distance: neighbor.distance })));
        Ok(())
    }

    fn nearest(
        &self,
        vectors: &VectorsRef<'_>,
        visible: u32,
        passing: u32,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        result: &mut SearchResult,
    ) -> Result<Vec<Neighbor>, SearchError> {
        let k = self.k.min(passing as usize);
        let mut found = Vec::new();
        let graph = if self.exact { None } else { vectors.graph };
        if let Some(graph) = graph {
            let bound = self.bound(result);
            let (whole_rows, rescore) = (self.ignore_codes, self.rescore);
            let codes = graph.has_codes() && !whole_rows;
            let mut plan = self.plan(graph, passing, visible, bound);
            if let FilterPlan::InGraph { max_distances } = plan {
                let as_u32 = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                let (lists, rerank) = (as_u32(self.nprobe), as_u32(self.rerank));
                let params =
                    SearchParams { k, ef: self.ef, max_distances, bound, lists, rerank, whole_rows, rescore };
                let walked = graph.search(self.query, &params, set, scratch, &mut found)?;
                add(result, &walked);
                let forced = self.choice == FilterChoice::Graph;
                if !walked.stopped_early || forced {
                    self.add_tail(vectors, walked.covered..visible, k, set, scratch, &mut found, result)?;
                    // Fewer than there are, and not because others are nearer: some rows cannot be reached under this
                    // filter.
                    if found.len() >= k || bound < f32::INFINITY || forced {
                        return Ok(found);
                    }
                }
                plan = if codes { FilterPlan::Coded } else { FilterPlan::Exhaustive };
            }
            if plan == FilterPlan::Coded {
                let params = SearchParams { bound, rescore, ..SearchParams::new(k, self.ef) };
                if let Some(scanned) = graph.scan(self.query, &params, set, scratch, &mut found)? {
                    add(result, &scanned);
                    self.add_tail(vectors, scanned.covered..visible, k, set, scratch, &mut found, result)?;
                    return Ok(found);
                }
            }
        }
        result.stats.exact_segments += 1;
        let scanned = vectors.flat.scan(self.query, k, 0..visible, set, scratch, &mut found)?;
        add(result, &scanned);
        Ok(found)
    }

    /// The distance of the last row that the answer would have by what was found so far.
    fn bound(&self, result: &SearchResult) -> f32 {
        let mut distances: Vec<f32> = result.hits.iter().map(|hit| hit.distance).collect();
        match distances.len().checked_sub(self.k) {
            Some(_) if self.k > 0 => *distances.select_nth_unstable_by(self.k - 1, f32::total_cmp).1,
            _ => f32::INFINITY,
        }
    }

    fn plan(&self, index: &dyn AnnIndex, passing: u32, visible: u32, bound: f32) -> FilterPlan {
        match index.built_with() {
            // Lists know themselves when comparing all that pass is cheaper.
            Some(IndexParams::Lists(_)) if passing as usize >= self.full_scan_rows => {
                FilterPlan::InGraph { max_distances: u64::MAX }
            }
            Some(IndexParams::Lists(_)) => FilterPlan::Exhaustive,
            _ => {
                let facts = PlanFacts {
                    passing,
                    linked: index.covered().min(visible),
                    codes: index.has_codes(),
                    dim: self.query.len(),
                    ef: self.ef,
                    full_scan_rows: self.full_scan_rows,
                    bounded: bound < f32::INFINITY,
                };
                match self.choice {
                    FilterChoice::Planned => facts.plan(),
                    FilterChoice::Scan => facts.scan(),
                    FilterChoice::Graph => FilterPlan::InGraph { max_distances: u64::MAX },
                }
            }
        }
    }

    /// Rows that are not linked yet are compared one by one.
    #[expect(clippy::too_many_arguments, reason = "one step of `nearest`, cut out for reading")]
    fn add_tail(
        &self,
        vectors: &VectorsRef<'_>,
        tail: std::ops::Range<u32>,
        k: usize,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        found: &mut Vec<Neighbor>,
        result: &mut SearchResult,
    ) -> Result<(), SearchError> {
        if tail.is_empty() {
            return Ok(());
        }
        let mut nearest = Vec::new();
        let scanned = vectors.flat.scan(self.query, k, tail, set, scratch, &mut nearest)?;
        add(result, &scanned);
        found.append(&mut nearest);
        found.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
        found.truncate(k);
        Ok(())
    }
}

fn add(result: &mut SearchResult, stats: &SearchStats) {
    result.stats.distances += stats.distances;
    result.stats.hops += stats.hops;
}
