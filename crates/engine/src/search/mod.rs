//! The nearest points: each segment's nearest, merged.

mod per_segment;
mod project;
mod scratch_pool;

use dvse_types::{Hit, IndexSpec, IvfPqSpec, Metric, PointId, Rescore, SearchRequest, SearchResult};

use crate::filter::{CompiledFilter, FilterChoice, Node};
use crate::view::{SearchError, ViewState};

pub(crate) use per_segment::SegmentQuery;
pub(crate) use project::project_payload;
pub(crate) use scratch_pool::ScratchPool;

/// Candidates that the search of an index keeps where the request does not say.
pub(crate) const EF_SEARCH_DEFAULT: usize = 64;

/// Up to so many points to leave out, so many more are asked of a segment; beyond it they are filtered out, which
/// takes a bitmap.
const EXCLUDE_BY_ASKING_MAX: usize = 16;

/// Answers a request on a state of `points` points.
pub(crate) fn search(
    state: &ViewState,
    scratches: &ScratchPool,
    request: &SearchRequest,
    points: usize,
    choice: FilterChoice,
) -> Result<SearchResult, SearchError> {
    let params = state.schema.check_vector(&request.vector_name, &request.query)?;
    let mut query = request.query.clone();
    if params.metric == Metric::Cosine {
        dvse_index::normalize(&mut query);
    }
    let filter = request.filter.as_ref().filter(|filter| !filter.is_empty());
    let mut filter = filter.map(|filter| CompiledFilter::new(filter, &state.schema)).transpose()?;
    let mut exclude: Vec<PointId> = request.exclude.clone();
    exclude.sort_unstable();
    exclude.dedup();
    if exclude.len() > EXCLUDE_BY_ASKING_MAX {
        let others = std::mem::take(&mut exclude);
        filter.get_or_insert_default().must_not.push(Node::HasId(others));
    }
    // The limit comes from outside: nothing is taken by it before it is cut to what is there.
    let limit = request.limit.min(points);
    let mut result = SearchResult::default();
    if limit == 0 {
        return Ok(result);
    }
    let lists = match params.index {
        IndexSpec::IvfPq(spec) => spec,
        _ => IvfPqSpec::default(),
    };
    let segment_query = SegmentQuery {
        vector_name: &request.vector_name,
        query: &query,
        k: limit.saturating_add(exclude.len()),
        // A width that was asked for may be below the limit: the walk then stops early, and the answer is no shorter.
        ef: match request.params.rescore {
            Rescore::AtLeast(rows) => rows,
            Rescore::Usual | Rescore::Chosen => 0,
        }
        .max(request.params.ef_search.unwrap_or(EF_SEARCH_DEFAULT.max(limit)))
        .clamp(1, points),
        exact: request.params.exact,
        full_scan_rows: params.index.full_scan_rows(),
        nprobe: request.params.nprobe.unwrap_or(lists.nprobe),
        rerank: lists.rerank,
        ignore_codes: request.params.ignore_codes,
        rescore: request.params.rescore,
        filter: filter.as_ref(),
        choice,
    };
    let mut scratch = scratches.take();
    // The largest first: it says best how near the others have to come.
    let mut segments: Vec<_> = state.segments.iter().filter(|segment| segment.live.live() > 0).collect();
    segments.sort_by_key(|segment| std::cmp::Reverse(segment.live.live()));
    let outcome =
        segments.into_iter().try_for_each(|segment| segment_query.run(segment, &mut scratch, &mut result));
    scratches.give_back(scratch);
    outcome?;

    let within = |hit: &Hit| request.distance_max.is_none_or(|max| hit.distance <= max);
    result.hits.retain(|hit| within(hit) && exclude.binary_search(&hit.id).is_err());
    result.hits.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| a.id.cmp(&b.id)));
    result.hits.truncate(limit);
    Ok(result)
}
