//! What the two kinds of segments have in common.

use std::sync::Arc;

use dvse_index::{AnnIndex, FlatIndex, Rows};
use dvse_types::{Classify, ErrorKind, Payload, PayloadPath, PointId};
use parking_lot::RwLock;

use crate::growing::GrowingSegment;
use crate::live_rows::LiveRows;
use crate::payload::Postings;
use crate::row_map::RowMap;
use crate::sealed::SealedSegment;

/// The number of a segment, unique in its shard and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SegmentId(pub(crate) u64);

/// A segment cannot give what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentFault {
    /// A payload is not what was written.
    #[error("the payload of row {row} of segment {segment} is not a JSON object: {reason}")]
    Payload {
        /// The segment.
        segment: String,
        /// The row.
        row: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// The background check found damage.
    #[error("{cause}")]
    Damaged {
        /// File, offset and kind of the damage.
        cause: Arc<str>,
    },
}

impl Classify for SegmentFault {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Corrupt
    }

    fn help(&self) -> Option<String> {
        Some("Restore the collection's folder from a backup or load the collection again.".to_owned())
    }
}

/// Read access to a segment by rows. Rows of the past and of the future are all there: a caller looks only at those
/// that its view says are alive.
pub(crate) trait SegmentRead: Send + Sync {
    /// The id of a row.
    fn id(&self, row: u32) -> Option<PointId>;
    /// The ids of some rows. They lie apart, and together they are waited for once.
    fn ids(&self, rows: &[u32]) -> Vec<Option<PointId>> {
        rows.iter().map(|row| self.id(*row)).collect()
    }
    /// Visits every row that ever had an id, ascending.
    fn rows_of(&self, id: PointId, visit: &mut dyn FnMut(u32));
    /// Visits ids from one on, ascending, with their rows, until `visit` returns false.
    fn ids_from(&self, from: Option<PointId>, visit: &mut dyn FnMut(PointId, u32) -> bool);
    /// The payload of a row as it is stored.
    fn payload_bytes(&self, row: u32) -> Result<Vec<u8>, SegmentFault>;
    /// The payload of a row.
    fn payload(&self, row: u32) -> Result<Payload, SegmentFault>;
    /// Whether a row has a vector.
    fn has_vector(&self, name: &str, row: u32) -> bool;
    /// A vector of a row.
    fn vector(&self, name: &str, row: u32) -> Option<Vec<f32>>;
    /// The vectors of one name.
    fn vectors(&self, name: &str) -> Option<VectorsRef<'_>>;
    /// Calls `visit` with the index over a field, if there is one.
    fn with_field_index(&self, path: &PayloadPath, visit: &mut dyn FnMut(&dyn Postings));
    /// Whether the segment may be read.
    fn check(&self) -> Result<(), SegmentFault>;
}

/// The vectors of one name of a segment.
pub(crate) struct VectorsRef<'a> {
    pub(crate) rows: &'a Rows,
    pub(crate) flat: &'a FlatIndex,
    pub(crate) graph: Option<&'a dyn AnnIndex>,
    pub(crate) map: MapRef<'a>,
}

/// The map between rows and vectors, fixed or still growing.
#[derive(Clone, Copy)]
pub(crate) enum MapRef<'a> {
    Growing(&'a RwLock<RowMap>),
    Sealed(&'a RowMap),
}

impl MapRef<'_> {
    /// Reads the map. The lock of a growing one is held only while `read` runs: what a map says of rows that a view
    /// can see never changes.
    pub(crate) fn read<T>(self, read: impl FnOnce(&RowMap) -> T) -> T {
        match self {
            MapRef::Growing(map) => read(&map.read()),
            MapRef::Sealed(map) => read(map),
        }
    }
}

/// One of the two kinds.
#[derive(Debug, Clone)]
pub(crate) enum Segment {
    Growing(Arc<GrowingSegment>),
    Sealed(Arc<SealedSegment>),
}

impl Segment {
    pub(crate) fn id(&self) -> SegmentId {
        match self {
            Segment::Growing(segment) => segment.id(),
            Segment::Sealed(segment) => segment.id(),
        }
    }

    pub(crate) fn read(&self) -> &dyn SegmentRead {
        match self {
            Segment::Growing(segment) => &**segment,
            Segment::Sealed(segment) => &**segment,
        }
    }
}

/// A segment as a view sees it.
#[derive(Debug, Clone)]
pub(crate) struct SegmentState {
    pub(crate) segment: Segment,
    pub(crate) live: Arc<LiveRows>,
}

impl SegmentState {
    /// The row of a point, if it is alive here.
    pub(crate) fn find(&self, id: PointId) -> Option<u32> {
        let mut found = None;
        self.segment.read().rows_of(id, &mut |row| {
            if self.live.contains(row) {
                found = Some(row);
            }
        });
        found
    }
}
