//! What a reader holds: a collection at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use dvse_types::{
    Classify, CollectionSchema, ErrorKind, FacetCount, FieldKind, Filter, InvalidVector, MatchValue,
    NamedVectors, PayloadPath, PayloadSelector, PointId, Projection, Record, SearchRequest, SearchResult,
    SeqNo, SourceState, StreamName, VectorSelector,
};

use crate::filter::{CompiledFilter, FilterChoice, InvalidFilter, Matcher};
use crate::live_rows::{bit, count_ones, ones};
use crate::payload::{field_keys, i64_of_code};
use crate::search::{ScratchPool, project_payload, search};
use crate::segment::{SegmentFault, SegmentRead, SegmentState};
use crate::sources::Sources;

/// A collection that cannot answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SearchError {
    /// The query vector does not fit the collection.
    #[error(transparent)]
    Vector(#[from] InvalidVector),
    /// The filter cannot be evaluated.
    #[error(transparent)]
    Filter(#[from] InvalidFilter),
    /// Values can be counted only for a field with a payload index.
    #[error(
        "no payload index for field {key}: create one of kind keyword, integer, bool or uuid to count its values"
    )]
    NoFieldIndex {
        /// The field.
        key: PayloadPath,
    },
    /// The field's index is of a kind whose values are not counted one by one.
    #[error("field {key} is indexed as {}: values can be counted for keyword, integer, bool and uuid", kind.name())]
    NotCountable {
        /// The field.
        key: PayloadPath,
        /// The kind of its index.
        kind: FieldKind,
    },
    /// The query does not fit the index. A defect of the engine: the vector was checked before.
    #[error("the index refused the query: {0}")]
    Index(#[from] dvse_index::SearchError),
    /// A segment cannot give what it holds.
    #[error(transparent)]
    Segment(#[from] SegmentFault),
}

impl Classify for SearchError {
    fn kind(&self) -> ErrorKind {
        match self {
            SearchError::Vector(_)
            | SearchError::Filter(_)
            | SearchError::NoFieldIndex { .. }
            | SearchError::NotCountable { .. } => ErrorKind::InvalidInput,
            SearchError::Index(_) => ErrorKind::Internal,
            SearchError::Segment(fault) => fault.kind(),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            SearchError::Segment(fault) => fault.help(),
            _ => None,
        }
    }
}

/// Ids in order, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScrollPage {
    /// The ids, ascending.
    pub ids: Vec<PointId>,
    /// The first id after them; `None` at the end.
    pub next: Option<PointId>,
}

/// The segments of a collection and the rows that are alive, at one position of the log.
#[derive(Debug, Clone)]
pub(crate) struct ViewState {
    pub(crate) seq: SeqNo,
    pub(crate) schema: Arc<CollectionSchema>,
    /// The last one takes the writes; it and those that wait to be sealed are growing.
    pub(crate) segments: Vec<SegmentState>,
    /// How far into each stream it is.
    pub(crate) sources: Sources,
}

impl ViewState {
    /// Finds the segment and the row of a point.
    pub(crate) fn find(&self, id: PointId) -> Option<(usize, u32)> {
        // The newest segments first: a point written lately is most likely written again.
        let mut newest_first = self.segments.iter().enumerate().rev();
        newest_first.find_map(|(at, state)| state.find(id).map(|row| (at, row)))
    }
}

/// An immutable, consistent state of a collection. It costs nothing to keep, but what it shows takes memory and
/// disk until it is dropped.
#[derive(Debug, Clone)]
pub struct CollectionView {
    state: Arc<ViewState>,
    scratches: Arc<ScratchPool>,
}

impl CollectionView {
    pub(crate) fn new(state: Arc<ViewState>, scratches: Arc<ScratchPool>) -> CollectionView {
        CollectionView { state, scratches }
    }

    pub(crate) fn state(&self) -> &ViewState {
        &self.state
    }

    /// The schema at this moment.
    #[must_use]
    pub fn schema(&self) -> &Arc<CollectionSchema> {
        &self.state.schema
    }

    /// The last log entry this state includes.
    #[must_use]
    pub fn seq(&self) -> SeqNo {
        self.state.seq
    }

    /// How far into each partition of each stream this state is: those that were ever taken over, by stream and
    /// partition.
    #[must_use]
    pub fn sources(&self) -> Vec<(StreamName, u32, SourceState)> {
        self.state.sources.sorted()
    }

    /// How far into a partition of a stream this state is; `None` if it was never taken over.
    #[must_use]
    pub fn source(&self, stream: &StreamName, partition: u32) -> Option<SourceState> {
        self.state.sources.get(stream, partition)
    }

    /// How many points there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.segments.iter().map(|state| state.live.live() as usize).sum()
    }

    /// Whether there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds the points nearest to a vector.
    ///
    /// # Errors
    /// [`SearchError`] when the query or the filter does not fit the collection, or a segment is damaged.
    pub fn search(&self, request: &SearchRequest) -> Result<SearchResult, SearchError> {
        self.search_by(request, FilterChoice::Planned)
    }

    /// As [`CollectionView::search`], with another way to search the rows that pass than the planned one: for comparing
    /// the plan with what it chooses from.
    ///
    /// # Errors
    /// As there.
    pub fn search_by(
        &self,
        request: &SearchRequest,
        choice: FilterChoice,
    ) -> Result<SearchResult, SearchError> {
        search(&self.state, &self.scratches, request, self.len(), choice)
    }

    /// Reads points in the order asked; ids that do not exist are left out.
    ///
    /// # Errors
    /// [`SearchError::Segment`] when a segment is damaged.
    pub fn retrieve(&self, ids: &[PointId], projection: &Projection) -> Result<Vec<Record>, SearchError> {
        let mut records = Vec::new();
        for id in ids {
            let Some((at, row)) = self.state.find(*id) else { continue };
            let segment = self.state.segments[at].segment.read();
            segment.check()?;
            let payload = match &projection.payload {
                PayloadSelector::None => None,
                selector => Some(project_payload(segment.payload(row)?, selector)),
            };
            let vectors = match &projection.vectors {
                VectorSelector::None => None,
                VectorSelector::All => {
                    Some(self.read_vectors(segment, row, self.state.schema.vectors.keys()))
                }
                VectorSelector::Named(names) => Some(self.read_vectors(segment, row, names.iter())),
            };
            records.push(Record { id: *id, payload, vectors });
        }
        Ok(records)
    }

    fn read_vectors<'n>(
        &self,
        segment: &dyn SegmentRead,
        row: u32,
        names: impl Iterator<Item = &'n String>,
    ) -> NamedVectors {
        names
            .filter_map(|name| segment.vector(name, row).map(|vector| (name.clone(), vector.into())))
            .collect()
    }

    /// The stored vector of a point (for cosine: of unit length); `None` when the point or its vector is not there.
    ///
    /// # Errors
    /// [`SearchError::Vector`] when the collection has no vector field of this name; [`SearchError::Segment`] when
    /// a segment is damaged.
    pub fn vector(&self, id: PointId, name: &str) -> Result<Option<Vec<f32>>, SearchError> {
        if !self.state.schema.vectors.contains_key(name) {
            let known = self.state.schema.vectors.keys().cloned().collect();
            return Err(InvalidVector::UnknownName { name: name.to_owned(), known }.into());
        }
        let Some((at, row)) = self.state.find(id) else { return Ok(None) };
        let segment = self.state.segments[at].segment.read();
        segment.check()?;
        Ok(segment.vector(name, row))
    }

    /// Whether a point exists.
    #[must_use]
    pub fn contains(&self, id: PointId) -> bool {
        self.state.find(id).is_some()
    }

    /// Lists the ids of points in order, from one on (inclusive), at most `limit`.
    ///
    /// # Errors
    /// [`SearchError`] when the filter cannot be evaluated or a segment is damaged.
    pub fn scroll(
        &self,
        from: Option<PointId>,
        limit: usize,
        filter: Option<&Filter>,
    ) -> Result<ScrollPage, SearchError> {
        let filter = self.compile(filter)?;
        let limit = limit.min(self.len());
        if limit == 0 {
            return Ok(ScrollPage::default());
        }
        let mut ids = Vec::new();
        for state in &self.state.segments {
            let segment = state.segment.read();
            segment.check()?;
            let matcher = Matcher::new(filter.as_ref(), segment, state.live.words())?;
            let mut outcome = Ok(());
            let mut taken = 0;
            segment.ids_from(from, &mut |id, row| {
                match matcher.passes(row) {
                    Ok(true) => {
                        ids.push(id);
                        taken += 1;
                    }
                    Ok(false) => {}
                    Err(fault) => outcome = Err(fault),
                }
                // One more than asked for tells where the next page begins.
                taken <= limit && outcome.is_ok()
            });
            outcome?;
        }
        ids.sort_unstable();
        let next = ids.get(limit).copied();
        ids.truncate(limit);
        Ok(ScrollPage { ids, next })
    }

    /// Counts points, exactly.
    ///
    /// # Errors
    /// [`SearchError`] when the filter cannot be evaluated or a segment is damaged.
    pub fn count(&self, filter: Option<&Filter>) -> Result<usize, SearchError> {
        let Some(filter) = self.compile(filter)? else { return Ok(self.len()) };
        let mut count = 0;
        for state in &self.state.segments {
            let segment = state.segment.read();
            segment.check()?;
            let bits = Matcher::new(Some(&filter), segment, state.live.words())?.into_bits()?;
            count += count_ones(&bits) as usize;
        }
        Ok(count)
    }

    /// Counts the points that have each value of a field: by count descending, then by value; at most `limit`
    /// values. The field must have a payload index of kind keyword, integer, bool or UUID.
    ///
    /// # Errors
    /// [`SearchError::NoFieldIndex`] and [`SearchError::NotCountable`] when it has not; else as
    /// [`CollectionView::count`].
    pub fn facet(
        &self,
        key: &PayloadPath,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<FacetCount>, SearchError> {
        let Some(kind) = self.state.schema.payload_indexes.get(key).copied() else {
            return Err(SearchError::NoFieldIndex { key: key.clone() });
        };
        if matches!(kind, FieldKind::Float | FieldKind::Datetime) {
            return Err(SearchError::NotCountable { key: key.clone(), kind });
        }
        let filter = self.compile(filter)?;
        let mut counts: HashMap<MatchValue, usize> = HashMap::new();
        for state in &self.state.segments {
            let segment = state.segment.read();
            segment.check()?;
            let bits = Matcher::new(filter.as_ref(), segment, state.live.words())?.into_bits()?;
            count_values(segment, key, kind, &bits, &mut counts)?;
        }
        let mut counts: Vec<_> =
            counts.into_iter().map(|(value, count)| FacetCount { value, count }).collect();
        counts.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
        counts.truncate(limit);
        Ok(counts)
    }

    fn compile(&self, filter: Option<&Filter>) -> Result<Option<CompiledFilter>, InvalidFilter> {
        let filter = filter.filter(|filter| !filter.is_empty());
        filter.map(|filter| CompiledFilter::new(filter, &self.state.schema)).transpose()
    }
}

/// Adds how many rows of `bits` have each value.
fn count_values(
    segment: &dyn SegmentRead,
    key: &PayloadPath,
    kind: FieldKind,
    bits: &[u64],
    counts: &mut HashMap<MatchValue, usize>,
) -> Result<(), SegmentFault> {
    let mut by_index = false;
    segment.with_field_index(key, &mut |index| {
        if index.kind() != kind {
            return;
        }
        by_index = true;
        index.each_text(&mut |text, rows| {
            let count = rows.iter().filter(|row| bit(bits, **row)).count();
            if count > 0 {
                *counts.entry(MatchValue::Keyword(text.to_owned())).or_default() += count;
            }
        });
        index.codes(0..=u64::MAX, &mut |code, row| {
            if bit(bits, row) {
                *counts.entry(value_of_code(kind, code)).or_default() += 1;
            }
            true
        });
    });
    if by_index {
        return Ok(());
    }
    // The index of this segment is still to be built.
    for row in ones(bits) {
        let keys = field_keys(kind, key, &segment.payload(row)?);
        let texts = keys.texts.into_iter().map(MatchValue::Keyword);
        let codes = keys.codes.into_iter().map(|code| value_of_code(kind, code));
        texts.chain(codes).for_each(|value| *counts.entry(value).or_default() += 1);
    }
    Ok(())
}

fn value_of_code(kind: FieldKind, code: u64) -> MatchValue {
    match kind {
        FieldKind::Bool => MatchValue::Bool(code != 0),
        _ => MatchValue::Integer(i64_of_code(code)),
    }
}
