//! The segment that takes writes: rows in memory, searchable as soon as a view shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dvse_index::{
    AnnIndex, FlatIndex, GrowingIndex, GrowingRows, Level, LinkError, Rows, RowsWriter, SketchBasis,
    padded_dim,
};
use dvse_types::{CollectionSchema, FieldKind, Payload, PayloadPath, PointId, VectorName};
use parking_lot::RwLock;

use crate::index_kind::{index_params, is_as_asked};
use crate::op_codec::parse_payload;
use crate::payload::{GrowingFieldIndex, PayloadStore, Postings, field_keys};
use crate::row_map::RowMap;
use crate::segment::{MapRef, SegmentFault, SegmentId, SegmentRead, VectorsRef};

/// Rows that can be appended, beyond those after which the segment is sealed: sealing happens between batches.
pub(crate) const ROWS_BEYOND: u32 = 1 << 16;

/// Rows that may stay unlinked until more come: at least a batch of the linker.
const LINK_BATCH_ROWS: u64 = 512;

/// Rows in memory. One writer appends; readers take short read locks on tables, and none on vectors and graphs.
///
/// Each table has a lock of its own, held for one push: a writer stands back behind searches, and what it holds when its
/// turn ends nobody can read until its next. A search takes `ids` and `payloads`, never the slower `lookup`.
#[derive(Debug)]
pub(crate) struct GrowingSegment {
    id: SegmentId,
    rows_max: u32,
    vectors: BTreeMap<VectorName, GrowingVectors>,
    ids: RwLock<Vec<PointId>>,
    lookup: RwLock<Lookup>,
    payloads: RwLock<PayloadStore>,
    indexes: RwLock<BTreeMap<PayloadPath, GrowingFieldIndex>>,
}

struct GrowingVectors {
    rows: Rows,
    flat: FlatIndex,
    graph: Option<GrowingIndex>,
    /// Rows from which inverted lists are of use: fewer are compared one by one anyway.
    lists_from: u32,
    map: RwLock<RowMap>,
    stride_bytes: u64,
}

/// From ids to rows.
#[derive(Debug, Default)]
struct Lookup {
    nums: BTreeSet<(u64, u32)>,
    uuids: BTreeSet<(u128, u32)>,
}

/// The one handle that appends.
#[derive(Debug)]
pub(crate) struct GrowingWriter {
    segment: Arc<GrowingSegment>,
    rows: BTreeMap<VectorName, RowsWriter>,
    len: u32,
}

/// A growing segment cannot be made or added to.
#[derive(Debug, thiserror::Error)]
pub enum GrowError {
    /// The shape of a vector field cannot be had in memory.
    #[error("vectors of field {name:?}: {source}")]
    Shape {
        /// The vector field.
        name: VectorName,
        /// What is wrong.
        source: dvse_index::GrowingRowsError,
    },
    /// An index parameter is out of range.
    #[error("index of vector field {name:?}: {source}")]
    Params {
        /// The vector field.
        name: VectorName,
        /// What is wrong.
        source: dvse_index::IndexParamsError,
    },
    /// There is no memory for another row.
    #[error("no room for another vector of field {name:?}: {source}")]
    Memory {
        /// The vector field.
        name: VectorName,
        /// What is wrong.
        source: dvse_index::RowsFull,
    },
}

impl GrowingWriter {
    /// An empty segment for about `rows_max` rows, whose vectors are coded as `basis` says of their field.
    pub(crate) fn create(
        id: SegmentId,
        schema: &CollectionSchema,
        rows_max: u32,
        level: Level,
        basis: &dyn Fn(&str) -> Option<SketchBasis>,
    ) -> Result<GrowingWriter, GrowError> {
        let rows_max = rows_max.saturating_add(ROWS_BEYOND).min(dvse_index::ROWS_MAX);
        let mut vectors = BTreeMap::new();
        let mut writers = BTreeMap::new();
        for (name, params) in &schema.vectors {
            let (writer, reader) = GrowingRows::with_capacity(params.dim, rows_max as usize)
                .map_err(|source| GrowError::Shape { name: name.clone(), source })?;
            let rows = Rows::Growing(reader);
            let graph = match index_params(&params.index, params.dim) {
                None => None,
                Some(index) => {
                    let graph = GrowingIndex::new(rows.clone(), rows_max, params.metric, index);
                    let graph = graph.map_err(|source| GrowError::Params { name: name.clone(), source })?;
                    let graph = graph.with_level(level);
                    Some(match basis(name) {
                        Some(basis) => graph.with_basis(&basis),
                        None => graph,
                    })
                }
            };
            let flat = FlatIndex::new(rows.clone(), params.metric).with_level(level);
            let stride_bytes = 4 * padded_dim(params.dim) as u64;
            let map = RwLock::new(RowMap::default());
            let lists_from = u32::try_from(params.index.full_scan_rows()).unwrap_or(u32::MAX);
            let field = GrowingVectors { rows, flat, graph, lists_from, map, stride_bytes };
            vectors.insert(name.clone(), field);
            writers.insert(name.clone(), writer);
        }
        let indexes = schema
            .payload_indexes
            .iter()
            .map(|(path, kind)| (path.clone(), GrowingFieldIndex::new(*kind)))
            .collect();
        let segment = Arc::new(GrowingSegment {
            id,
            rows_max,
            vectors,
            ids: RwLock::default(),
            lookup: RwLock::default(),
            payloads: RwLock::default(),
            indexes: RwLock::new(indexes),
        });
        Ok(GrowingWriter { segment, rows: writers, len: 0 })
    }

    pub(crate) fn segment(&self) -> &Arc<GrowingSegment> {
        &self.segment
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len >= self.segment.rows_max
    }

    /// Appends a point and returns its row. The vectors fit the schema and are normalised where that is asked for.
    pub(crate) fn append<'v>(
        &mut self,
        id: PointId,
        vectors: impl Iterator<Item = (&'v str, &'v [f32])>,
        payload: &Payload,
        payload_bytes: &[u8],
    ) -> Result<u32, GrowError> {
        let row = self.len;
        for (name, vector) in vectors {
            let (Some(writer), Some(field)) = (self.rows.get_mut(name), self.segment.vectors.get(name))
            else {
                continue;
            };
            writer.append(vector).map_err(|source| GrowError::Memory { name: name.to_owned(), source })?;
            field.map.write().push(row);
        }
        self.segment.ids.write().push(id);
        self.segment.payloads.write().push(payload_bytes);
        let mut lookup = self.segment.lookup.write();
        match id {
            PointId::Num(number) => lookup.nums.insert((number, row)),
            PointId::Uuid(uuid) => lookup.uuids.insert((uuid, row)),
        };
        drop(lookup);
        let mut indexes = self.segment.indexes.write();
        for (path, index) in indexes.iter_mut() {
            index.add(row, field_keys(index.kind(), path, payload));
        }
        drop(indexes);
        self.len += 1;
        Ok(row)
    }
}

impl GrowingSegment {
    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    /// Bytes of vectors and payloads.
    pub(crate) fn bytes(&self) -> u64 {
        let vectors: u64 =
            self.vectors.values().map(|field| u64::from(field.rows.len()) * field.stride_bytes).sum();
        vectors + self.payloads.read().bytes()
    }

    /// Bytes of vectors that wait to be linked. An incomplete batch waits for more rows and does not count.
    pub(crate) fn tail_bytes(&self) -> u64 {
        let waiting =
            |field: &GrowingVectors| field.waiting().saturating_sub(LINK_BATCH_ROWS) * field.stride_bytes;
        self.vectors.values().map(waiting).sum()
    }

    /// Vectors that could be linked now; an incomplete batch waits for more and does not count.
    pub(crate) fn waiting(&self) -> u64 {
        self.vectors.values().map(GrowingVectors::waiting).filter(|waiting| *waiting >= LINK_BATCH_ROWS).sum()
    }

    /// Bytes of memory its indexes take beside the vectors.
    pub(crate) fn index_bytes(&self) -> u64 {
        self.vectors.values().filter_map(|field| field.graph.as_ref()).map(AnnIndex::index_bytes).sum()
    }

    /// Vectors, and how many of them an index covers.
    pub(crate) fn indexed(&self, rows: u32) -> (u64, u64) {
        let mut counts = (0, 0);
        for field in self.vectors.values() {
            let vectors = u64::from(field.map.read().len_below(rows));
            let linked = field.graph.as_ref().map_or(vectors, |graph| u64::from(graph.linked()));
            counts.0 += vectors;
            counts.1 += linked.min(vectors);
        }
        counts
    }

    /// Links up to `rows_step` more rows of the first field that has rows to link. Without `flush` rows of an
    /// incomplete batch are left. Whether anything was linked.
    pub(crate) fn link(
        &self,
        rows_step: u32,
        flush: bool,
        pool: &rayon::ThreadPool,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, LinkError> {
        for field in self.vectors.values() {
            let Some(graph) = &field.graph else { continue };
            if matches!(graph, GrowingIndex::Lists(_)) && field.rows.len() < field.lists_from {
                continue;
            }
            let before = graph.linked();
            let progress = graph.link_step(rows_step, flush, pool, stop)?;
            if progress.is_some_and(|progress| progress.linked > before) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether every field is indexed as a schema asks.
    pub(crate) fn is_as_asked(&self, schema: &CollectionSchema) -> bool {
        self.vectors.iter().all(|(name, field)| {
            schema.vectors.get(name).is_none_or(|params| {
                let lacks = field.graph.is_none() && index_params(&params.index, params.dim).is_some();
                !lacks && is_as_asked(&field.as_ref(), &params.index)
            })
        })
    }

    /// Makes compact codes of new rows, so that searches need not read them whole until they are linked. Called by the
    /// writer. Should there be no memory for them, rows are read whole, and linking says so.
    pub(crate) fn encode(&self) {
        for graph in self.vectors.values().filter_map(|field| field.graph.as_ref()) {
            drop(graph.encode());
        }
    }

    /// Starts or replaces an index over the rows there are. Called by the writer.
    pub(crate) fn create_field_index(&self, path: &PayloadPath, kind: FieldKind) -> Result<(), SegmentFault> {
        let mut index = GrowingFieldIndex::new(kind);
        let rows = self.ids.read().len() as u32;
        for row in 0..rows {
            index.add(row, field_keys(kind, path, &self.payload(row)?));
        }
        self.indexes.write().insert(path.clone(), index);
        Ok(())
    }

    pub(crate) fn delete_field_index(&self, path: &PayloadPath) {
        self.indexes.write().remove(path);
    }

    pub(crate) fn vector_fields(&self) -> impl Iterator<Item = (&VectorName, VectorsRef<'_>)> {
        self.vectors.iter().map(|(name, field)| (name, field.as_ref()))
    }
}

impl GrowingVectors {
    /// Vectors that could be linked now.
    fn waiting(&self) -> u64 {
        self.graph.as_ref().map_or(0, |graph| u64::from(graph.waiting()))
    }

    fn as_ref(&self) -> VectorsRef<'_> {
        VectorsRef {
            rows: &self.rows,
            flat: &self.flat,
            graph: self.graph.as_ref().map(|graph| graph as &dyn AnnIndex),
            map: MapRef::Growing(&self.map),
        }
    }
}

impl SegmentRead for GrowingSegment {
    fn id(&self, row: u32) -> Option<PointId> {
        self.ids.read().get(row as usize).copied()
    }

    fn rows_of(&self, id: PointId, visit: &mut dyn FnMut(u32)) {
        let lookup = self.lookup.read();
        match id {
            PointId::Num(number) => {
                lookup.nums.range((number, 0)..=(number, u32::MAX)).for_each(|(_, row)| visit(*row));
            }
            PointId::Uuid(uuid) => {
                lookup.uuids.range((uuid, 0)..=(uuid, u32::MAX)).for_each(|(_, row)| visit(*row));
            }
        }
    }

    fn ids_from(&self, from: Option<PointId>, visit: &mut dyn FnMut(PointId, u32) -> bool) {
        // The lock is let go between runs, so that a long scroll does not hold the writer up; and `visit` may read
        // payloads, which takes the same lock.
        let mut next = (from.unwrap_or(PointId::Num(0)), 0);
        loop {
            let run = self.lookup.read().run_from(next);
            let Some(last) = run.last().copied() else { return };
            if !run.iter().all(|(id, row)| visit(*id, *row)) {
                return;
            }
            next = match last {
                (id, row) if row < u32::MAX => (id, row + 1),
                _ => return,
            };
        }
    }

    fn payload_bytes(&self, row: u32) -> Result<Vec<u8>, SegmentFault> {
        Ok(self.payloads.read().get(row).unwrap_or(&[]).to_vec())
    }

    fn payload(&self, row: u32) -> Result<Payload, SegmentFault> {
        parse_payload(&self.payload_bytes(row)?).map_err(|error| SegmentFault::Payload {
            segment: format!("{} (growing)", self.id.0),
            row,
            reason: error.to_string(),
        })
    }

    fn has_vector(&self, name: &str, row: u32) -> bool {
        self.vectors.get(name).is_some_and(|field| field.map.read().vector_row(row).is_some())
    }

    fn vector(&self, name: &str, row: u32) -> Option<Vec<f32>> {
        let field = self.vectors.get(name)?;
        let vector_row = field.map.read().vector_row(row)?;
        field.rows.get(vector_row)
    }

    fn vectors(&self, name: &str) -> Option<VectorsRef<'_>> {
        self.vectors.get(name).map(GrowingVectors::as_ref)
    }

    fn with_field_index(&self, path: &PayloadPath, visit: &mut dyn FnMut(&dyn Postings)) {
        if let Some(index) = self.indexes.read().get(path) {
            visit(index);
        }
    }

    fn check(&self) -> Result<(), SegmentFault> {
        Ok(())
    }
}

/// Ids that [`SegmentRead::ids_from`] takes under one lock.
const RUN: usize = 256;

impl Lookup {
    fn run_from(&self, from: (PointId, u32)) -> Vec<(PointId, u32)> {
        let mut run = Vec::with_capacity(RUN);
        let first_uuid = match from {
            (PointId::Num(number), row) => {
                let nums = self.nums.range((number, row)..).take(RUN);
                run.extend(nums.map(|(number, row)| (PointId::Num(*number), *row)));
                (0, 0)
            }
            (PointId::Uuid(uuid), row) => (uuid, row),
        };
        let uuids = self.uuids.range(first_uuid..).take(RUN - run.len());
        run.extend(uuids.map(|(uuid, row)| (PointId::Uuid(*uuid), *row)));
        run
    }
}

impl std::fmt::Debug for GrowingVectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrowingVectors").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}
