//! The segment that never changes: files, mapped and read in place.

mod meta;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use dvse_index::{
    AnnIndex, FlatIndex, Level, MappedRows, NormOrder, OpenIndexError, Placement, Rows, RowsError,
    open_index, padded_dim,
};
use dvse_storage::{Advice, Bytes, Directory, SectionTag, SegmentError, SegmentReader};
use dvse_types::{CollectionSchema, FieldKind, Payload, PayloadPath, PointId, VectorName};

pub(crate) use self::meta::META_VERSION;
use self::meta::{GraphMeta, Meta, VectorMeta};
use crate::index_kind::placement;
use crate::live_rows::bit;
use crate::op_codec::parse_payload;
use crate::payload::{FieldIndexError, Postings, SealedFieldIndex};
use crate::row_map::RowMap;
use crate::sections::{
    GraphSource, ID_KINDS, IDS_HIGH, IDS_LOW, META, NUM_ROWS, NUMS, PAYLOAD_ENDS, PAYLOADS, UUID_ROWS, UUIDS,
    data_file, field_file, field_index_tag, graph_file, norm_tags, shared, vector_map_tag, vectors_tag,
};
use crate::segment::{MapRef, SegmentFault, SegmentId, SegmentRead, VectorsRef};
use crate::wire::DecodeError;

/// A segment file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenSegmentError {
    /// The file is not a segment file, or is damaged.
    #[error(transparent)]
    File(#[from] SegmentError),
    /// A section cannot be read.
    #[error("segment {path}: section {section}: {source}")]
    Section {
        /// The file.
        path: String,
        /// The section.
        section: SectionTag,
        /// What is wrong with it.
        source: Box<DecodeError>,
    },
    /// A section has the wrong size.
    #[error("segment {path}: section {section} at offset {offset} has {got} bytes, expected {expected}")]
    Size {
        /// The file.
        path: String,
        /// The section.
        section: SectionTag,
        /// Where it begins in the file.
        offset: u64,
        /// Bytes found.
        got: u64,
        /// Bytes expected.
        expected: u64,
    },
    /// A section contradicts the collection's schema or the manifest.
    #[error("segment {path}: {what} is {got}, the collection has {expected}")]
    Mismatch {
        /// The file.
        path: String,
        /// What differs.
        what: &'static str,
        /// As the file says.
        got: String,
        /// As the collection says.
        expected: String,
    },
    /// The graph of a vector field cannot be opened.
    #[error("segment {path}: graph of vector field {name:?}: {source}")]
    Graph {
        /// The file.
        path: String,
        /// The vector field.
        name: VectorName,
        /// What is wrong with it.
        source: Box<OpenIndexError>,
    },
    /// The vectors of a field cannot be read.
    #[error("segment {path}: vector field {name:?}: {source}")]
    Vectors {
        /// The file.
        path: String,
        /// The vector field.
        name: VectorName,
        /// What is wrong with it.
        source: RowsError,
    },
    /// A payload index cannot be opened.
    #[error("segment {path}: index of payload field {field}: {source}")]
    FieldIndex {
        /// The file.
        path: String,
        /// The payload field.
        field: String,
        /// What is wrong with it.
        source: Box<FieldIndexError>,
    },
}

/// Rows on disk, with their graphs and payload indexes.
#[derive(Debug, Clone)]
pub(crate) struct SealedSegment {
    id: SegmentId,
    rows: u32,
    data: SegmentReader,
    ids: SealedIds,
    vectors: BTreeMap<VectorName, SealedVectors>,
    payloads: Bytes,
    payload_ends: Bytes,
    graph: Option<(u64, SegmentReader)>,
    level: Level,
    /// Indexes and the files they are in; version 0 is the data file.
    indexes: BTreeMap<PayloadPath, FieldEntry>,
    fault: Arc<OnceLock<SegmentFault>>,
}

#[derive(Debug, Clone)]
struct FieldEntry {
    version: u64,
    bytes: u64,
    index: SealedFieldIndex,
}

#[derive(Debug, Clone)]
struct SealedIds {
    nums: Bytes,
    num_rows: Bytes,
    uuids: Bytes,
    uuid_rows: Bytes,
    low: Bytes,
    high: Option<Bytes>,
    kinds: Option<Bytes>,
}

#[derive(Clone)]
struct SealedVectors {
    mapped: MappedRows,
    rows: Rows,
    flat: FlatIndex,
    graph: Option<Arc<dyn AnnIndex>>,
    map: RowMap,
    /// The section that the vectors are in.
    section: Bytes,
    placement: Placement,
}

impl std::fmt::Debug for SealedVectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedVectors").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

impl SealedSegment {
    /// Opens the data file of a segment; reads nothing but the small sections.
    pub(crate) fn open(
        dir: &dyn Directory,
        id: SegmentId,
        schema: &CollectionSchema,
        level: Level,
    ) -> Result<SealedSegment, OpenSegmentError> {
        let data = SegmentReader::open(dir, &data_file(id))?;
        data.verify(META)?;
        let file = OpenFile { reader: &data };
        let meta = Meta::decode(&data.required(META)?).map_err(|source| file.section_error(META, source))?;
        file.expect("the segment's number", meta.id.0, id.0)?;
        let ids = SealedIds::open(&file, meta.rows)?;
        let mut vectors = BTreeMap::new();
        for (field, vector) in meta.vectors.iter().enumerate() {
            let opened = SealedVectors::open(&file, field, vector, schema, level)?;
            vectors.insert(vector.name.clone(), opened);
        }
        let mut indexes = BTreeMap::new();
        for (field, (path, _)) in meta.fields.iter().enumerate() {
            data.verify(field_index_tag(field))?;
            let entry = file.field_index(field, path, 0)?;
            indexes.insert(path.clone(), entry);
        }
        let payload_ends = file.sized(PAYLOAD_ENDS, u64::from(meta.rows) * 8)?;
        Ok(SealedSegment {
            id,
            rows: meta.rows,
            ids,
            vectors,
            payloads: data.required(PAYLOADS)?,
            payload_ends,
            graph: None,
            level,
            indexes,
            fault: Arc::new(OnceLock::new()),
            data,
        })
    }

    /// The segment searched without indexes.
    pub(crate) fn without_graphs(&self) -> SealedSegment {
        let mut next = self.clone();
        next.vectors.values_mut().for_each(|field| field.graph = None);
        next.graph = None;
        next
    }

    /// The segment with the graphs of a graph file, each part read from where the schema says.
    pub(crate) fn with_graphs(
        &self,
        dir: &dyn Directory,
        version: u64,
        schema: &CollectionSchema,
    ) -> Result<SealedSegment, OpenSegmentError> {
        let reader = SegmentReader::open(dir, &graph_file(self.id, version))?;
        reader.verify(META)?;
        let file = OpenFile { reader: &reader };
        let meta =
            GraphMeta::decode(&reader.required(META)?).map_err(|source| file.section_error(META, source))?;
        file.expect("the segment's number", meta.id.0, self.id.0)?;
        let mut next = self.without_graphs();
        next.place(schema);
        for graph in &meta.graphs {
            let Some(field) = next.vectors.get_mut(&graph.name) else { continue };
            let prefix = graph_prefix(&graph.name);
            let source = GraphSource { reader: &reader, prefix, names: &meta.sections };
            let rows = field.prefix_rows(graph.linked).map_err(|source| OpenSegmentError::Vectors {
                path: file.path(),
                name: graph.name.clone(),
                source,
            })?;
            let opened = open_index(&source, rows, field.flat.metric(), self.level, field.placement);
            // Where the graph makes no sense the checksums say at which offset.
            if opened.is_err() {
                reader.verify_all()?;
            }
            let opened = opened.map_err(|source| OpenSegmentError::Graph {
                path: file.path(),
                name: graph.name.clone(),
                source: Box::new(source),
            })?;
            field.graph = Some(opened);
            if field.placement.index_on_disk {
                source.advise(Advice::Random);
            }
        }
        next.graph = Some((version, reader));
        Ok(next)
    }

    /// Whether the parts of every field are read from where the schema says.
    pub(crate) fn is_placed(&self, schema: &CollectionSchema) -> bool {
        self.vectors.iter().all(|(name, field)| {
            schema.vectors.get(name).is_none_or(|params| placement(params) == field.placement)
        })
    }

    /// The segment with its parts read from where the schema says.
    pub(crate) fn placed(
        &self,
        dir: &dyn Directory,
        schema: &CollectionSchema,
    ) -> Result<SealedSegment, OpenSegmentError> {
        match self.graph_version() {
            0 => {
                let mut next = self.clone();
                next.place(schema);
                Ok(next)
            }
            version => self.with_graphs(dir, version, schema),
        }
    }

    /// Tells the system how vectors are going to be read. Segments that share the file are read so from now on too.
    fn place(&mut self, schema: &CollectionSchema) {
        for (name, field) in &mut self.vectors {
            let Some(params) = schema.vectors.get(name) else { continue };
            field.placement = placement(params);
            field.advise();
        }
    }

    /// The segment with the payload index of a field file.
    pub(crate) fn with_field_file(
        &self,
        dir: &dyn Directory,
        path: &PayloadPath,
        version: u64,
    ) -> Result<SealedSegment, OpenSegmentError> {
        let reader = SegmentReader::open(dir, &field_file(self.id, version))?;
        reader.verify(field_index_tag(0))?;
        let entry = OpenFile { reader: &reader }.field_index(0, path, version)?;
        let mut next = self.clone();
        next.indexes.insert(path.clone(), entry);
        Ok(next)
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// The version of the graph file; 0 when there is none.
    pub(crate) fn graph_version(&self) -> u64 {
        self.graph.as_ref().map_or(0, |(version, _)| *version)
    }

    /// Payload indexes: field, kind, version of the file.
    pub(crate) fn field_indexes(&self) -> impl Iterator<Item = (&PayloadPath, FieldKind, u64)> {
        self.indexes.iter().map(|(path, entry)| (path, entry.index.kind(), entry.version))
    }

    /// Bytes of all files but the live rows.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let graph = self.graph.as_ref().map_or(0, |(_, reader)| reader.file_bytes());
        let fields: u64 =
            self.indexes.values().filter(|entry| entry.version > 0).map(|entry| entry.bytes).sum();
        self.data.file_bytes() + graph + fields
    }

    /// Vectors, and how many of them an index covers.
    pub(crate) fn indexed(&self) -> (u64, u64) {
        let mut counts = (0, 0);
        for field in self.vectors.values() {
            let vectors = u64::from(field.map.len());
            counts.0 += vectors;
            counts.1 += field.graph.as_ref().map_or(0, |graph| u64::from(graph.covered()));
        }
        counts
    }

    /// Bytes of memory its indexes take beside the vectors.
    pub(crate) fn index_bytes(&self) -> u64 {
        self.vectors.values().filter_map(|field| field.graph.as_ref()).map(|graph| graph.index_bytes()).sum()
    }

    pub(crate) fn vector_fields(&self) -> impl Iterator<Item = (&VectorName, VectorsRef<'_>)> {
        self.vectors.iter().map(|(name, field)| (name, field.as_ref()))
    }

    /// Checks every byte of every file.
    pub(crate) fn verify_all(&self) -> Result<(), SegmentError> {
        let on_disk = || self.vectors.values().filter(|field| field.placement.rows_on_disk);
        on_disk().for_each(|field| field.section.advise(Advice::Sequential));
        let data = self.data.verify_all();
        // What is left on the disk does not stay in memory for having been checked.
        on_disk().for_each(SealedVectors::advise);
        data?;
        self.graph.as_ref().map_or(Ok(()), |(_, reader)| reader.verify_all())
    }

    /// Checks the sections that are small beside the vectors, payloads and graphs.
    pub(crate) fn verify_small(&self) -> Result<(), SegmentError> {
        let large = [vectors_tag(0).name, PAYLOADS.name];
        for (tag, _) in self.data.sections().filter(|(tag, _)| !large.contains(&tag.name)) {
            self.data.verify(tag)?;
        }
        Ok(())
    }

    /// Refuses every later read with what was found.
    pub(crate) fn condemn(&self, error: &SegmentError) {
        drop(self.fault.set(SegmentFault::Damaged { cause: error.to_string().into() }));
    }

    fn payload_slice(&self, row: u32) -> &[u8] {
        let ends: &[u64] = self.payload_ends.as_slice_of().unwrap_or(&[]);
        let end = ends.get(row as usize).copied().unwrap_or(0);
        let start = if row == 0 { 0 } else { ends.get(row as usize - 1).copied().unwrap_or(0) };
        self.payloads.get(start as usize..end as usize).unwrap_or(&[])
    }
}

/// Sections of one vector field are told from those of another by this.
pub(crate) fn graph_prefix(name: &str) -> String {
    format!("{name}/")
}

impl SealedVectors {
    fn open(
        file: &OpenFile<'_>,
        field: usize,
        meta: &VectorMeta,
        schema: &CollectionSchema,
        level: Level,
    ) -> Result<SealedVectors, OpenSegmentError> {
        let Some(params) = schema.vectors.get(&meta.name) else {
            return Err(file.mismatch(
                "a vector field",
                meta.name.clone(),
                "no field of this name".to_owned(),
            ));
        };
        file.expect("the dimension of a vector field", u64::from(meta.dim), params.dim as u64)?;
        let section = file.reader.required(vectors_tag(field))?;
        let mapped =
            MappedRows::new(shared(section.clone()), params.dim, padded_dim(params.dim), meta.len).map_err(
                |source| OpenSegmentError::Vectors { path: file.path(), name: meta.name.clone(), source },
            )?;
        let map = if meta.sparse {
            let section = file.sized(vector_map_tag(field), u64::from(meta.len) * 4)?;
            file.reader.verify(vector_map_tag(field))?;
            RowMap::Sparse(section.as_slice_of().unwrap_or(&[]).to_vec())
        } else {
            RowMap::Identity(meta.len)
        };
        let rows = Rows::Sealed(mapped.clone());
        let flat = FlatIndex::new(rows.clone(), params.metric).with_level(level);
        let flat = match file.norms(field, meta.len)? {
            Some(norms) => flat.with_norms(norms),
            None => flat,
        };
        let opened =
            SealedVectors { mapped, flat, rows, graph: None, map, section, placement: placement(params) };
        opened.advise();
        Ok(opened)
    }

    /// Tells the system how the vectors are going to be read.
    fn advise(&self) {
        if self.placement.rows_on_disk {
            self.section.advise(Advice::Random);
            self.section.advise(Advice::NotSoon);
        } else {
            self.section.advise(Advice::Normal);
        }
    }

    /// The first rows, as far as a graph reaches.
    fn prefix_rows(&self, len: u32) -> Result<MappedRows, RowsError> {
        let dim = self.rows.dim();
        let stride = padded_dim(dim);
        if len == self.rows.len() {
            return Ok(self.mapped.clone());
        }
        let bytes = len as usize * stride * 4;
        let owner: dvse_index::BytesOwner = Arc::new(OwnedRows(self.mapped.clone()));
        let prefix = dvse_index::SectionBytes::new(owner, 0..bytes);
        let prefix =
            prefix.ok_or(RowsError::Size { got: self.mapped.as_bytes().len(), rows: len, stride })?;
        MappedRows::new(prefix, dim, stride, len)
    }

    fn as_ref(&self) -> VectorsRef<'_> {
        VectorsRef {
            rows: &self.rows,
            flat: &self.flat,
            graph: self.graph.as_deref(),
            map: MapRef::Sealed(&self.map),
        }
    }
}

struct OwnedRows(MappedRows);

impl AsRef<[u8]> for OwnedRows {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl SealedIds {
    fn open(file: &OpenFile<'_>, rows: u32) -> Result<SealedIds, OpenSegmentError> {
        let nums = file.reader.required(NUMS)?;
        let uuids = file.reader.required(UUIDS)?;
        let words = u64::from(rows.div_ceil(64));
        let wide = !uuids.is_empty();
        Ok(SealedIds {
            num_rows: file.sized(NUM_ROWS, nums.len() as u64 / 2)?,
            uuid_rows: file.sized(UUID_ROWS, uuids.len() as u64 / 4)?,
            nums,
            uuids,
            low: file.sized(IDS_LOW, u64::from(rows) * 8)?,
            high: wide.then(|| file.sized(IDS_HIGH, u64::from(rows) * 8)).transpose()?,
            kinds: wide.then(|| file.sized(ID_KINDS, words * 8)).transpose()?,
        })
    }

    fn nums(&self) -> (&[u64], &[u32]) {
        (self.nums.as_slice_of().unwrap_or(&[]), self.num_rows.as_slice_of().unwrap_or(&[]))
    }

    fn uuids(&self) -> (&[[u64; 2]], &[u32]) {
        (self.uuids.as_slice_of().unwrap_or(&[]), self.uuid_rows.as_slice_of().unwrap_or(&[]))
    }

    fn of(&self, rows: &[u32]) -> Vec<Option<PointId>> {
        if self.kinds.is_some() {
            return rows.iter().map(|row| self.id(*row)).collect();
        }
        // A loop so short that the processor has several of its reads under way.
        let low: &[u64] = self.low.as_slice_of().unwrap_or(&[]);
        rows.iter().map(|row| low.get(*row as usize).map(|number| PointId::Num(*number))).collect()
    }

    fn id(&self, row: u32) -> Option<PointId> {
        let low = *self.low.as_slice_of::<u64>().ok()?.get(row as usize)?;
        let is_uuid = self.kinds.as_ref().is_some_and(|kinds| bit(kinds.as_slice_of().unwrap_or(&[]), row));
        if !is_uuid {
            return Some(PointId::Num(low));
        }
        let high = *self.high.as_ref()?.as_slice_of::<u64>().ok()?.get(row as usize)?;
        Some(PointId::Uuid(join_uuid([high, low])))
    }
}

/// A UUID is kept as two words, high one first, so that the table's order is that of the numbers.
pub(crate) fn split_uuid(uuid: u128) -> [u64; 2] {
    [(uuid >> 64) as u64, uuid as u64]
}

fn join_uuid(words: [u64; 2]) -> u128 {
    u128::from(words[0]) << 64 | u128::from(words[1])
}

impl SegmentRead for SealedSegment {
    fn id(&self, row: u32) -> Option<PointId> {
        self.ids.id(row)
    }

    fn ids(&self, rows: &[u32]) -> Vec<Option<PointId>> {
        self.ids.of(rows)
    }

    fn rows_of(&self, id: PointId, visit: &mut dyn FnMut(u32)) {
        match id {
            PointId::Num(number) => {
                let (nums, rows) = self.ids.nums();
                let first = nums.partition_point(|known| *known < number);
                let same = nums.iter().zip(rows).skip(first).take_while(|(known, _)| **known == number);
                same.for_each(|(_, row)| visit(*row));
            }
            PointId::Uuid(uuid) => {
                let (uuids, rows) = self.ids.uuids();
                let uuid = split_uuid(uuid);
                let first = uuids.partition_point(|known| *known < uuid);
                let same = uuids.iter().zip(rows).skip(first).take_while(|(known, _)| **known == uuid);
                same.for_each(|(_, row)| visit(*row));
            }
        }
    }

    fn ids_from(&self, from: Option<PointId>, visit: &mut dyn FnMut(PointId, u32) -> bool) {
        let (nums, num_rows) = self.ids.nums();
        let (uuids, uuid_rows) = self.ids.uuids();
        let (first_num, first_uuid) = match from {
            None => (0, 0),
            Some(PointId::Num(number)) => (nums.partition_point(|known| *known < number), 0),
            Some(PointId::Uuid(uuid)) => {
                let uuid = split_uuid(uuid);
                (nums.len(), uuids.partition_point(|known| *known < uuid))
            }
        };
        for (number, row) in nums.iter().zip(num_rows).skip(first_num) {
            if !visit(PointId::Num(*number), *row) {
                return;
            }
        }
        for (uuid, row) in uuids.iter().zip(uuid_rows).skip(first_uuid) {
            if !visit(PointId::Uuid(join_uuid(*uuid)), *row) {
                return;
            }
        }
    }

    fn payload_bytes(&self, row: u32) -> Result<Vec<u8>, SegmentFault> {
        Ok(self.payload_slice(row).to_vec())
    }

    fn payload(&self, row: u32) -> Result<Payload, SegmentFault> {
        parse_payload(self.payload_slice(row)).map_err(|error| SegmentFault::Payload {
            segment: self.data.path().display().to_string(),
            row,
            reason: error.to_string(),
        })
    }

    fn has_vector(&self, name: &str, row: u32) -> bool {
        self.vectors.get(name).is_some_and(|field| field.map.vector_row(row).is_some())
    }

    fn vector(&self, name: &str, row: u32) -> Option<Vec<f32>> {
        let field = self.vectors.get(name)?;
        field.rows.get(field.map.vector_row(row)?)
    }

    fn vectors(&self, name: &str) -> Option<VectorsRef<'_>> {
        self.vectors.get(name).map(SealedVectors::as_ref)
    }

    fn with_field_index(&self, path: &PayloadPath, visit: &mut dyn FnMut(&dyn Postings)) {
        if let Some(entry) = self.indexes.get(path) {
            visit(&entry.index);
        }
    }

    fn check(&self) -> Result<(), SegmentFault> {
        self.fault.get().map_or(Ok(()), |fault| Err(fault.clone()))
    }
}

/// A file being opened, for messages.
struct OpenFile<'a> {
    reader: &'a SegmentReader,
}

impl OpenFile<'_> {
    fn path(&self) -> String {
        self.reader.path().display().to_string()
    }

    fn section_error(&self, section: SectionTag, source: DecodeError) -> OpenSegmentError {
        OpenSegmentError::Section { path: self.path(), section, source: Box::new(source) }
    }

    fn mismatch(&self, what: &'static str, got: String, expected: String) -> OpenSegmentError {
        OpenSegmentError::Mismatch { path: self.path(), what, got, expected }
    }

    fn expect(&self, what: &'static str, got: u64, expected: u64) -> Result<(), OpenSegmentError> {
        if got == expected { Ok(()) } else { Err(self.mismatch(what, got.to_string(), expected.to_string())) }
    }

    fn sized(&self, section: SectionTag, expected: u64) -> Result<Bytes, OpenSegmentError> {
        let bytes = self.reader.required(section)?;
        let got = bytes.len() as u64;
        if got == expected {
            return Ok(bytes);
        }
        let offset = self.reader.offset(section).unwrap_or(0);
        Err(OpenSegmentError::Size { path: self.path(), section, offset, got, expected })
    }

    /// The order of a field's vectors by length, where there is one.
    fn norms(&self, field: usize, vectors: u32) -> Result<Option<NormOrder>, OpenSegmentError> {
        let [lengths, numbers] = norm_tags(field);
        if self.reader.section(lengths).is_none() {
            return Ok(None);
        }
        let bytes = u64::from(vectors) * 4;
        let (lengths, numbers) = (self.sized(lengths, bytes)?, self.sized(numbers, bytes)?);
        Ok(NormOrder::open(shared(lengths), shared(numbers), vectors))
    }

    fn field_index(
        &self,
        field: usize,
        path: &PayloadPath,
        version: u64,
    ) -> Result<FieldEntry, OpenSegmentError> {
        let section = self.reader.required(field_index_tag(field))?;
        let index = SealedFieldIndex::open(&section);
        let index = index.map_err(|source| OpenSegmentError::FieldIndex {
            path: self.path(),
            field: path.to_string(),
            source: Box::new(source),
        })?;
        Ok(FieldEntry { version, bytes: self.reader.file_bytes(), index })
    }
}
