//! What a batch does: deterministic, from one state to the next.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dvse_index::{AnnIndex, Level, SealedHnsw, SketchBasis};
use dvse_types::{
    CollectionSchema, Metric, NamedVectors, Payload, PayloadPath, Point, PointId, PointSelector, SeqNo,
    WriteBatch, WriteOp, turn,
};

use crate::config::EngineConfig;
use crate::filter::{CompiledFilter, InvalidFilter, Matcher};
use crate::growing::{GrowError, GrowingWriter};
use crate::index_kind::same_build;
use crate::live_rows::{LiveRows, ones};
use crate::op_codec::payload_json;
use crate::segment::{Segment, SegmentFault, SegmentId, SegmentRead, SegmentState};
use crate::sources::Refusal;
use crate::view::ViewState;

/// A batch could not be applied. What it changed is not visible, and the shard takes no more writes.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The rows have no room.
    #[error(transparent)]
    Grow(#[from] GrowError),
    /// A row that the batch changes cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentFault),
    /// A filter cannot be evaluated; it was not checked before it entered the log.
    #[error(transparent)]
    Filter(#[from] InvalidFilter),
    /// An earlier batch could not be applied.
    #[error("an earlier batch could not be applied ({cause}); open the collection again")]
    Poisoned {
        /// The earlier failure.
        cause: Arc<str>,
    },
}

/// What came of an entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It took effect: for each operation how many points it touched.
    Touched(Vec<usize>),
    /// It may not take effect, whoever applies it; it was passed over.
    Refused(Refusal),
}

/// The writing side of a shard: the newest state, not yet published, and the handle that appends.
#[derive(Debug)]
pub(crate) struct Applier {
    pub(crate) state: ViewState,
    /// States that are to become the durable base, oldest first. Each was taken between two batches.
    pub(crate) seal_points: Vec<ViewState>,
    writer: GrowingWriter,
    numbers: Arc<AtomicU64>,
    rows_max: u32,
    bytes_max: u64,
    level: Level,
    /// Whether a full segment was left in the middle of a batch.
    rolled: bool,
    /// Whether rows that come are to be indexed otherwise than the growing segment does it.
    reindexed: bool,
    poison: Option<Arc<str>>,
}

/// Gives out a number for a segment or a file that was never given out before.
pub(crate) fn next_number(numbers: &AtomicU64) -> u64 {
    numbers.fetch_add(1, Ordering::Relaxed)
}

/// Points applied between two offers ([`turn`]).
const POINTS_A_TURN: usize = 16;

/// What the largest segment codes the vectors of a field by.
fn basis_of(state: &ViewState, name: &str) -> Option<SketchBasis> {
    let graphs = state.segments.iter().filter_map(|state| match &state.segment {
        Segment::Sealed(segment) => segment.vectors(name)?.graph?.as_hnsw(),
        Segment::Growing(_) => None,
    });
    graphs.max_by_key(|graph| graph.covered()).and_then(SealedHnsw::basis)
}

impl Applier {
    /// Goes on from sealed segments.
    pub(crate) fn new(
        mut state: ViewState,
        numbers: Arc<AtomicU64>,
        config: &EngineConfig,
    ) -> Result<Applier, GrowError> {
        let rows_max =
            u32::try_from(config.growing_rows_max).unwrap_or(u32::MAX).clamp(1, dvse_index::ROWS_MAX);
        let id = SegmentId(next_number(&numbers));
        let basis = |name: &str| basis_of(&state, name);
        let writer = GrowingWriter::create(id, &state.schema, rows_max, config.level, &basis)?;
        push_growing(&mut state, &writer);
        let bytes_max = config.growing_bytes_max as u64;
        Ok(Applier {
            state,
            seal_points: Vec::new(),
            writer,
            numbers,
            rows_max,
            bytes_max,
            level: config.level,
            rolled: false,
            reindexed: false,
            poison: None,
        })
    }

    /// Applies a batch, or passes over it where its mark says so.
    pub(crate) fn apply(&mut self, seq: SeqNo, batch: &WriteBatch) -> Result<Applied, ApplyError> {
        if let Some(cause) = &self.poison {
            return Err(ApplyError::Poisoned { cause: Arc::clone(cause) });
        }
        let sources = match self.state.sources.after(seq, batch) {
            Ok(sources) => sources,
            Err(refusal) => {
                self.state.seq = seq;
                return Ok(Applied::Refused(refusal));
            }
        };
        let touched = batch.ops.iter().map(|op| self.apply_op(op)).collect::<Result<Vec<_>, _>>();
        if let Err(error) = &touched {
            self.poison = Some(error.to_string().into());
        }
        let touched = touched?;
        self.state.seq = seq;
        self.state.sources = sources;
        if self.rolled
            || self.reindexed
            || self.writer.len() >= self.rows_max
            || self.writer.segment().bytes() >= self.bytes_max
        {
            self.seal()?;
        }
        Ok(Applied::Touched(touched))
    }

    /// Makes the state between two batches one that is to become durable, and goes on in a new growing segment.
    pub(crate) fn seal(&mut self) -> Result<(), GrowError> {
        self.seal_points.push(self.state.clone());
        self.rolled = false;
        let reindexed = std::mem::take(&mut self.reindexed);
        if self.writer.len() == 0 {
            if !reindexed {
                return Ok(());
            }
            // An empty segment has nothing to be sealed and is made anew.
            self.state.segments.pop();
        }
        self.roll()
    }

    fn roll(&mut self) -> Result<(), GrowError> {
        let id = SegmentId(next_number(&self.numbers));
        let basis = |name: &str| basis_of(&self.state, name);
        self.writer = GrowingWriter::create(id, &self.state.schema, self.rows_max, self.level, &basis)?;
        push_growing(&mut self.state, &self.writer);
        Ok(())
    }

    /// All states that name segments: the newest and those waiting to be sealed.
    pub(crate) fn states_mut(&mut self) -> impl Iterator<Item = &mut ViewState> {
        self.seal_points.iter_mut().chain(std::iter::once(&mut self.state))
    }

    /// Makes compact codes of the rows that were appended.
    pub(crate) fn encode(&self) {
        self.writer.segment().encode();
    }

    fn apply_op(&mut self, op: &WriteOp) -> Result<usize, ApplyError> {
        match op {
            WriteOp::Upsert(points) => {
                for points in points.chunks(POINTS_A_TURN) {
                    points.iter().try_for_each(|point| self.upsert(point))?;
                    turn::offer();
                }
                Ok(points.len())
            }
            WriteOp::Delete(points) => {
                let rows = self.select(points)?;
                rows.iter().for_each(|(at, row)| self.kill(*at, *row));
                Ok(rows.len())
            }
            WriteOp::UpdateVectors(points) => {
                let mut touched = 0;
                for point in points {
                    let Some((at, row)) = self.state.find(point.id) else { continue };
                    touched += 1;
                    self.rewrite(at, row, |draft, schema| {
                        for (name, vector) in &point.vectors {
                            let stored = match stored_vector(schema, name, vector) {
                                Cow::Borrowed(_) => vector.clone(),
                                Cow::Owned(unit) => unit.into(),
                            };
                            draft.vectors.insert(name.clone(), stored);
                        }
                    })?;
                }
                Ok(touched)
            }
            WriteOp::DeleteVectors { points, names } => self.rewrite_all(points, |draft, _| {
                names.iter().for_each(|name| drop(draft.vectors.remove(name)));
            }),
            WriteOp::SetPayload { points, payload, key } => self.rewrite_all(points, |draft, _| match key {
                Some(key) => key.merge(&mut draft.payload, payload),
                None => draft.payload.extend(payload.iter().map(|(key, value)| (key.clone(), value.clone()))),
            }),
            WriteOp::OverwritePayload { points, payload } => {
                self.rewrite_all(points, |draft, _| draft.payload.clone_from(payload))
            }
            WriteOp::DeletePayload { points, keys } => self.rewrite_all(points, |draft, _| {
                keys.iter().for_each(|key| key.remove(&mut draft.payload));
            }),
            WriteOp::ClearPayload(points) => self.rewrite_all(points, |draft, _| draft.payload.clear()),
            WriteOp::CreateFieldIndex { field, kind } => {
                self.change_schema(|schema| {
                    schema.payload_indexes.insert(field.clone(), *kind);
                });
                for state in &self.state.segments {
                    // Sealed segments get theirs in the background; until then payloads are looked at.
                    if let Segment::Growing(segment) = &state.segment {
                        segment.create_field_index(field, *kind)?;
                    }
                }
                Ok(0)
            }
            WriteOp::DeleteFieldIndex(field) => {
                self.delete_field_index(field);
                Ok(0)
            }
            WriteOp::SetIndex { vector, index } => {
                if let Some(params) = self.state.schema.vectors.get(vector) {
                    let same = same_build(&params.index, index, params.dim);
                    self.reindexed |= !same;
                }
                self.change_schema(|schema| {
                    if let Some(params) = schema.vectors.get_mut(vector) {
                        params.index = *index;
                    }
                });
                Ok(0)
            }
            // Segments are told in the background.
            WriteOp::SetOnDisk { vector, on_disk } => {
                self.change_schema(|schema| {
                    if let Some(params) = schema.vectors.get_mut(vector) {
                        params.on_disk = *on_disk;
                    }
                });
                Ok(0)
            }
            // The states of all sources change with the batch as a whole.
            WriteOp::TakeOver { .. } => Ok(0),
        }
    }

    fn change_schema(&mut self, change: impl FnOnce(&mut CollectionSchema)) {
        change(Arc::make_mut(&mut self.state.schema));
    }

    fn delete_field_index(&mut self, field: &PayloadPath) {
        self.change_schema(|schema| {
            schema.payload_indexes.remove(field);
        });
        for state in &self.state.segments {
            if let Segment::Growing(segment) = &state.segment {
                segment.delete_field_index(field);
            }
        }
    }

    fn upsert(&mut self, point: &Point) -> Result<(), ApplyError> {
        if let Some((at, row)) = self.state.find(point.id) {
            self.kill(at, row);
        }
        let schema = Arc::clone(&self.state.schema);
        let stored: Vec<_> = point
            .vectors
            .iter()
            .map(|(name, vector)| (name.as_str(), stored_vector(&schema, name, vector)))
            .collect();
        let vectors = stored.iter().map(|(name, vector)| (*name, &**vector));
        self.append(point.id, vectors, &point.payload)
    }

    fn append<'v>(
        &mut self,
        id: PointId,
        vectors: impl Iterator<Item = (&'v str, &'v [f32])>,
        payload: &Payload,
    ) -> Result<(), ApplyError> {
        if self.writer.is_full() {
            // A segment is sealed between two batches, so that the log can be replayed from there; this one waits.
            self.roll()?;
            self.rolled = true;
        }
        let mut bytes = Vec::new();
        payload_json(payload, &mut bytes);
        self.writer.append(id, vectors, payload, &bytes)?;
        if let Some(growing) = self.state.segments.last_mut() {
            Arc::make_mut(&mut growing.live).push();
        }
        Ok(())
    }

    fn kill(&mut self, at: usize, row: u32) {
        Arc::make_mut(&mut self.state.segments[at].live).kill(row);
    }

    /// The rows of the points selected, each once.
    fn select(&self, points: &PointSelector) -> Result<Vec<(usize, u32)>, ApplyError> {
        let filter = match points {
            PointSelector::Ids(ids) => {
                let mut rows: Vec<_> = ids.iter().filter_map(|id| self.state.find(*id)).collect();
                rows.sort_unstable();
                rows.dedup();
                return Ok(rows);
            }
            PointSelector::Filter(filter) => CompiledFilter::new(filter, &self.state.schema)?,
        };
        let mut rows = Vec::new();
        for (at, state) in self.state.segments.iter().enumerate() {
            let segment = state.segment.read();
            segment.check()?;
            let bits = Matcher::new(Some(&filter), segment, state.live.words())?.into_bits()?;
            rows.extend(ones(&bits).map(|row| (at, row)));
        }
        Ok(rows)
    }

    fn rewrite_all(
        &mut self,
        points: &PointSelector,
        change: impl Fn(&mut Draft, &CollectionSchema),
    ) -> Result<usize, ApplyError> {
        let rows = self.select(points)?;
        rows.iter().try_for_each(|(at, row)| self.rewrite(*at, *row, &change))?;
        Ok(rows.len())
    }

    /// Writes a changed copy of a row and marks the row dead. A change that changes nothing leaves the row.
    fn rewrite(
        &mut self,
        at: usize,
        row: u32,
        change: impl FnOnce(&mut Draft, &CollectionSchema),
    ) -> Result<(), ApplyError> {
        let segment = self.state.segments[at].segment.read();
        segment.check()?;
        let Some(id) = segment.id(row) else { return Ok(()) };
        let names = self.state.schema.vectors.keys();
        let vectors =
            names.filter_map(|name| segment.vector(name, row).map(|vector| (name.clone(), vector.into())));
        let old = Draft { vectors: vectors.collect(), payload: segment.payload(row)? };
        let mut new = old.clone();
        change(&mut new, &self.state.schema);
        if new == old {
            return Ok(());
        }
        self.kill(at, row);
        let vectors = new.vectors.iter().map(|(name, vector)| (name.as_str(), &vector[..]));
        self.append(id, vectors, &new.payload)
    }
}

/// A point being changed; vectors as they are stored.
#[derive(Debug, Clone, PartialEq)]
struct Draft {
    vectors: NamedVectors,
    payload: Payload,
}

fn push_growing(state: &mut ViewState, writer: &GrowingWriter) {
    let segment = Segment::Growing(Arc::clone(writer.segment()));
    state.segments.push(SegmentState { segment, live: Arc::new(LiveRows::default()) });
}

/// The vector as it is stored: of unit length where the metric asks for it.
fn stored_vector<'v>(schema: &CollectionSchema, name: &str, vector: &'v [f32]) -> Cow<'v, [f32]> {
    let metric = schema.vectors.get(name).map(|params| params.metric);
    if metric != Some(Metric::Cosine) {
        return Cow::Borrowed(vector);
    }
    let mut unit = vector.to_vec();
    dvse_index::normalize(&mut unit);
    Cow::Owned(unit)
}
