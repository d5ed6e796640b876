//! How a collection is.

use std::collections::BTreeMap;
use std::sync::Arc;

use dvse_index::AnnIndex;
use dvse_types::{CollectionSchema, PayloadPath, SeqNo, VectorName};

use super::EmbeddedCollection;
use crate::build::GraphBuild;
use crate::live_rows::{LiveRows, count_ones, set_bit};
use crate::segment::{Segment, SegmentRead, SegmentState, VectorsRef};

/// Whether a collection works as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Everything is indexed.
    Green,
    /// Rows wait to be linked, or segments to be merged; answers are complete, some take longer.
    Yellow,
    /// A failure: it takes no writes.
    Red,
}

/// A collection in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionStatus {
    /// Whether it works as it should.
    pub health: Health,
    /// Why it is not green.
    pub reason: Option<String>,
    /// Points.
    pub points: usize,
    /// Vectors, those of rows that died and are not merged away yet included.
    pub vectors: usize,
    /// How many of the vectors an index covers.
    pub indexed_vectors: usize,
    /// Segments that have rows.
    pub segments: usize,
    /// Segments whose vectors are not yet indexed as the schema asks; searches use the index they have.
    pub segments_to_rebuild: usize,
    /// For each vector field the kinds of index (`flat` for none), and how many segments with rows have each.
    pub index_kinds: BTreeMap<VectorName, BTreeMap<&'static str, usize>>,
    /// Vectors of the index that is being built in the background, and how many of them are linked.
    pub building: Option<(u64, u64)>,
    /// Bytes of memory that indexes take beside the vectors, mapped ones included.
    pub index_bytes: u64,
    /// Bytes of the log.
    pub wal_bytes: u64,
    /// Bytes of segment files.
    pub disk_bytes: u64,
    /// The last log entry that is visible.
    pub applied: SeqNo,
    /// The last log entry that survives a power loss.
    pub durable: SeqNo,
    /// Rows that died and are not merged away yet.
    pub deleted_rows: usize,
    /// For each payload index how many points have a value.
    pub payload_index_points: BTreeMap<PayloadPath, usize>,
}

impl EmbeddedCollection {
    /// How the collection is.
    #[must_use]
    pub fn status(&self) -> CollectionStatus {
        let view = self.view();
        let segments = &view.state().segments;
        let (indexed, vectors) = self.indexed();
        let (health, reason) = self.health(segments);
        let disk_bytes = segments.iter().map(|state| match &state.segment {
            Segment::Sealed(segment) => segment.disk_bytes(),
            Segment::Growing(_) => 0,
        });
        let indexes = view.schema().payload_indexes.keys();
        CollectionStatus {
            health,
            reason,
            points: view.len(),
            vectors,
            indexed_vectors: indexed,
            segments: segments.iter().filter(|state| state.live.rows() > 0).count(),
            segments_to_rebuild: to_rebuild(segments, view.schema()),
            index_kinds: index_kinds(segments),
            building: self.shard.maintainer.try_lock().and_then(|maintainer| maintainer.progress()),
            index_bytes: segments.iter().map(index_bytes_of).sum(),
            wal_bytes: self.log_bytes(),
            disk_bytes: disk_bytes.sum(),
            applied: view.seq(),
            durable: self.wal.read().as_ref().map_or(view.seq(), dvse_storage::Wal::durable),
            deleted_rows: segments.iter().map(|state| state.live.dead() as usize).sum(),
            payload_index_points: indexes.map(|path| (path.clone(), points_with(segments, path))).collect(),
        }
    }

    /// Vectors that an index covers, and all.
    pub(super) fn indexed(&self) -> (usize, usize) {
        let view = self.view();
        let mut counts = (0, 0);
        for state in &view.state().segments {
            let (vectors, indexed) = indexed_of(state);
            counts.0 += indexed as usize;
            counts.1 += vectors as usize;
        }
        counts
    }

    fn health(&self, segments: &[SegmentState]) -> (Health, Option<String>) {
        if let Some(cause) = self.poison.lock().clone() {
            return (Health::Red, Some(cause.to_string()));
        }
        for state in segments {
            if let Err(fault) = state.segment.read().check() {
                return (Health::Red, Some(fault.to_string()));
            }
        }
        if let Some((_, cause)) = self.failure.lock().clone() {
            return (Health::Yellow, Some(format!("maintenance fails: {cause}")));
        }
        let reason = self.due(segments);
        (if reason.is_some() { Health::Yellow } else { Health::Green }, reason)
    }

    /// The work that is due, in words.
    fn due(&self, segments: &[SegmentState]) -> Option<String> {
        let schema = self.schema();
        let mut unlinked = 0;
        for state in segments {
            let (vectors, indexed) = indexed_of(state);
            unlinked += match &state.segment {
                Segment::Growing(segment) => segment.waiting(),
                Segment::Sealed(segment) if GraphBuild::is_due(segment, &schema) => vectors - indexed,
                Segment::Sealed(_) => 0,
            };
        }
        if unlinked > 0 {
            return Some(format!("{unlinked} vectors are not indexed yet"));
        }
        let outdated = to_rebuild(segments, &schema);
        if outdated > 0 {
            return Some(format!("{outdated} segments are still to be indexed as asked"));
        }
        let growing = segments.iter().filter(|state| matches!(state.segment, Segment::Growing(_))).count();
        if growing > 1 {
            return Some(format!("{} segments wait to be sealed", growing - 1));
        }
        // While a step runs there is work; nobody waits for it to tell which.
        let Some(maintainer) = self.shard.maintainer.try_lock() else {
            return Some("maintenance is at work".to_owned());
        };
        if let Some((linked, rows)) = maintainer.progress() {
            return Some(format!("an index is being built: {linked} of {rows} vectors are linked"));
        }
        if maintainer.merge_due(&self.shard, false).is_some() {
            return Some("segments are due to be merged".to_owned());
        }
        maintainer
            .missing_field_index(&self.shard)
            .map(|(_, path, _)| format!("the index over payload field {path} is not built everywhere yet"))
    }
}

/// Vectors of a segment, and how many of them an index covers.
fn indexed_of(state: &SegmentState) -> (u64, u64) {
    match &state.segment {
        Segment::Growing(segment) => segment.indexed(state.live.rows()),
        Segment::Sealed(segment) => segment.indexed(),
    }
}

/// Segments with rows that lack an index, or have another than the schema asks for.
fn to_rebuild(segments: &[SegmentState], schema: &CollectionSchema) -> usize {
    let outdated = |state: &&SegmentState| match &state.segment {
        Segment::Growing(segment) => state.live.rows() > 0 && !segment.is_as_asked(schema),
        Segment::Sealed(segment) => GraphBuild::is_due(segment, schema),
    };
    segments.iter().filter(outdated).count()
}

fn index_kinds(segments: &[SegmentState]) -> BTreeMap<VectorName, BTreeMap<&'static str, usize>> {
    let mut kinds: BTreeMap<VectorName, BTreeMap<&'static str, usize>> = BTreeMap::new();
    let mut count = |name: &VectorName, field: &VectorsRef<'_>| {
        let kind = field.graph.map_or("flat", AnnIndex::kind);
        *kinds.entry(name.clone()).or_default().entry(kind).or_default() += 1;
    };
    for state in segments.iter().filter(|state| state.live.rows() > 0) {
        match &state.segment {
            Segment::Growing(segment) => {
                segment.vector_fields().for_each(|(name, field)| count(name, &field))
            }
            Segment::Sealed(segment) => segment.vector_fields().for_each(|(name, field)| count(name, &field)),
        }
    }
    kinds
}

fn index_bytes_of(state: &SegmentState) -> u64 {
    match &state.segment {
        Segment::Growing(segment) => segment.index_bytes(),
        Segment::Sealed(segment) => segment.index_bytes(),
    }
}

/// How many points have a value under an indexed field, as far as indexes know.
fn points_with(segments: &[SegmentState], path: &PayloadPath) -> usize {
    segments.iter().map(|state| points_of(state.segment.read(), &state.live, path)).sum()
}

fn points_of(segment: &dyn SegmentRead, live: &Arc<LiveRows>, path: &PayloadPath) -> usize {
    let mut with = vec![0; live.words().len()];
    segment.with_field_index(path, &mut |index| {
        index.each_text(&mut |_, rows| rows.iter().for_each(|row| set_bit(&mut with, *row)));
        index.codes(0..=u64::MAX, &mut |_, row| {
            set_bit(&mut with, row);
            true
        });
    });
    let alive: Vec<u64> = with.iter().zip(live.words()).map(|(with, live)| with & live).collect();
    count_ones(&alive) as usize
}
