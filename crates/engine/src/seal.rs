//! Writing the files of a sealed segment.

use std::sync::Arc;

use dvse_index::{AnnIndex, NormLists, norm, padded_dim};
use dvse_storage::{Alignment, Directory, SegmentError, SegmentWriter};
use dvse_types::{CollectionSchema, FieldKind, Metric, PayloadPath, PointId, VectorParams};

use crate::live_rows::set_bit;
use crate::op_codec::field_kind_tag;
use crate::payload::{GrowingFieldIndex, Postings, encode_field_index, field_keys};
use crate::sealed::{META_VERSION, graph_prefix, split_uuid};
use crate::sections::{
    GraphSink, ID_KINDS, IDS_HIGH, IDS_LOW, META, NUM_ROWS, NUMS, PAYLOAD_ENDS, PAYLOADS, UUID_ROWS, UUIDS,
    data_file, field_file, field_index_tag, graph_file, norm_tags, vector_map_tag, vectors_tag,
};
use crate::segment::{SegmentFault, SegmentId, SegmentRead};
use crate::wire::FieldWriter;

/// The files of a segment cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] SegmentError),
    /// A row cannot be read.
    #[error(transparent)]
    Read(#[from] SegmentFault),
    /// A graph cannot be written, for another reason than the disk.
    #[error("a graph cannot be written: {0}")]
    Graph(#[source] std::io::Error),
}

/// Rows of a segment, in the order in which they are to be written.
pub(crate) struct RowPick<'a> {
    pub(crate) segment: &'a dyn SegmentRead,
    pub(crate) rows: Vec<u32>,
}

/// Writes the data file of a segment: the rows picked, one after the other, and the payload indexes asked for.
pub(crate) fn write_data(
    dir: &Arc<dyn Directory>,
    id: SegmentId,
    schema: &CollectionSchema,
    picks: &[RowPick<'_>],
    fields: &[(PayloadPath, FieldKind)],
) -> Result<(), SealError> {
    let mut writer = SegmentWriter::create(Arc::clone(dir), &data_file(id))?;
    let rows: usize = picks.iter().map(|pick| pick.rows.len()).sum();
    write_ids(&mut writer, picks, rows)?;
    let mut meta = FieldWriter::default();
    meta.u32(META_VERSION);
    meta.u64(id.0);
    meta.count(rows);
    meta.count(schema.vectors.len());
    for (field, (name, params)) in schema.vectors.iter().enumerate() {
        let map = write_vectors(&mut writer, picks, field, name, params)?;
        meta.str(name);
        meta.count(params.dim);
        meta.count(map.len());
        let sparse = map.len() < rows;
        meta.u8(u8::from(sparse));
        if sparse {
            writer.section(vector_map_tag(field), bytemuck::cast_slice(&map))?;
        }
    }
    meta.count(fields.len());
    let indexes = write_payloads(&mut writer, picks, fields)?;
    for (field, ((path, kind), index)) in fields.iter().zip(indexes).enumerate() {
        meta.str(path.as_str());
        meta.u8(field_kind_tag(*kind));
        writer.section(field_index_tag(field), &encode_field_index(&index))?;
    }
    writer.section(META, &meta.into_bytes())?;
    writer.finish()?;
    Ok(())
}

fn write_ids(writer: &mut SegmentWriter, picks: &[RowPick<'_>], rows: usize) -> Result<(), SealError> {
    let mut nums: Vec<(u64, u32)> = Vec::new();
    let mut uuids: Vec<([u64; 2], u32)> = Vec::new();
    let mut low: Vec<u64> = Vec::with_capacity(rows);
    let mut high: Vec<u64> = vec![0; rows];
    let mut kinds: Vec<u64> = vec![0; rows.div_ceil(64)];
    for pick in picks {
        for from in &pick.rows {
            let row = low.len() as u32;
            match pick.segment.id(*from).unwrap_or(PointId::Num(0)) {
                PointId::Num(number) => {
                    nums.push((number, row));
                    low.push(number);
                }
                PointId::Uuid(uuid) => {
                    let words = split_uuid(uuid);
                    uuids.push((words, row));
                    low.push(words[1]);
                    high[row as usize] = words[0];
                    set_bit(&mut kinds, row);
                }
            }
        }
    }
    nums.sort_unstable();
    uuids.sort_unstable();
    let (num_ids, num_rows): (Vec<u64>, Vec<u32>) = nums.into_iter().unzip();
    let (uuid_ids, uuid_rows): (Vec<[u64; 2]>, Vec<u32>) = uuids.into_iter().unzip();
    writer.section(NUMS, bytemuck::cast_slice(&num_ids))?;
    writer.section(NUM_ROWS, bytemuck::cast_slice(&num_rows))?;
    writer.section(UUIDS, bytemuck::cast_slice(&uuid_ids))?;
    writer.section(UUID_ROWS, bytemuck::cast_slice(&uuid_rows))?;
    writer.section(IDS_LOW, bytemuck::cast_slice(&low))?;
    if !uuid_ids.is_empty() {
        writer.section(IDS_HIGH, bytemuck::cast_slice(&high))?;
        writer.section(ID_KINDS, bytemuck::cast_slice(&kinds))?;
    }
    Ok(())
}

/// Writes the vectors of one name, and their order by length if there is a use for it; returns the rows that have one.
fn write_vectors(
    writer: &mut SegmentWriter,
    picks: &[RowPick<'_>],
    field: usize,
    name: &str,
    params: &VectorParams,
) -> Result<Vec<u32>, SealError> {
    let padding = vec![0.0_f32; padded_dim(params.dim) - params.dim];
    let (mut map, mut norms) = (Vec::new(), Vec::new());
    let mut row = 0;
    writer.begin(vectors_tag(field), Alignment::Page)?;
    for pick in picks {
        for from in &pick.rows {
            if let Some(vector) = pick.segment.vector(name, *from) {
                writer.write(bytemuck::cast_slice(&vector))?;
                writer.write(bytemuck::cast_slice(&padding))?;
                map.push(row);
                if params.metric != Metric::Cosine {
                    norms.push(norm(&vector) as f32);
                }
            }
            row += 1;
        }
    }
    if let Some(order) = NormLists::sort(&norms) {
        let [lengths, vectors] = norm_tags(field);
        writer.section(lengths, bytemuck::cast_slice(&order.norms))?;
        writer.section(vectors, bytemuck::cast_slice(&order.rows))?;
    }
    Ok(map)
}

/// Writes the payloads and collects their indexes on the way.
fn write_payloads(
    writer: &mut SegmentWriter,
    picks: &[RowPick<'_>],
    fields: &[(PayloadPath, FieldKind)],
) -> Result<Vec<GrowingFieldIndex>, SealError> {
    let mut indexes: Vec<_> = fields.iter().map(|(_, kind)| GrowingFieldIndex::new(*kind)).collect();
    let mut ends: Vec<u64> = Vec::new();
    let mut end = 0_u64;
    writer.begin(PAYLOADS, Alignment::Page)?;
    for pick in picks {
        for from in &pick.rows {
            let bytes = pick.segment.payload_bytes(*from)?;
            writer.write(&bytes)?;
            let row = ends.len() as u32;
            end += bytes.len() as u64;
            ends.push(end);
            if !indexes.is_empty() && !bytes.is_empty() {
                let payload = pick.segment.payload(*from)?;
                for (index, (path, kind)) in indexes.iter_mut().zip(fields) {
                    index.add(row, field_keys(*kind, path, &payload));
                }
            }
        }
    }
    writer.section(PAYLOAD_ENDS, bytemuck::cast_slice(&ends))?;
    Ok(indexes)
}

/// Writes a graph file; codes of rows are made on the threads of `pool`. Graphs may cover fewer rows than there are: the
/// rest is scanned.
pub(crate) fn write_graphs(
    dir: &Arc<dyn Directory>,
    id: SegmentId,
    version: u64,
    graphs: &[(String, &dyn AnnIndex)],
    pool: &rayon::ThreadPool,
) -> Result<(), SealError> {
    let mut writer = SegmentWriter::create(Arc::clone(dir), &graph_file(id, version))?;
    let mut names = Vec::new();
    let mut meta = FieldWriter::default();
    meta.u32(META_VERSION);
    meta.u64(id.0);
    meta.count(graphs.len());
    for (name, graph) in graphs {
        // Nothing links meanwhile, so this is what is written.
        meta.str(name);
        meta.u32(graph.covered());
        let mut sink = GraphSink::new(&mut writer, graph_prefix(name), &mut names);
        let outcome = graph.persist_on(Some(pool), &mut sink);
        match (outcome, sink.failure.take()) {
            (_, Some(failure)) => return Err(failure.into()),
            (Err(error), None) => return Err(SealError::Graph(error)),
            (Ok(()), None) => {}
        }
    }
    meta.count(names.len());
    names.iter().for_each(|name| meta.str(name));
    writer.section(META, &meta.into_bytes())?;
    writer.finish()?;
    Ok(())
}

/// Builds the index over a payload field of a segment and writes it as a file of its own.
pub(crate) fn write_field_index(
    dir: &Arc<dyn Directory>,
    id: SegmentId,
    version: u64,
    segment: &dyn SegmentRead,
    rows: u32,
    field: (&PayloadPath, FieldKind),
) -> Result<(), SealError> {
    let (path, kind) = field;
    let mut index = GrowingFieldIndex::new(kind);
    for row in 0..rows {
        index.add(row, field_keys(kind, path, &segment.payload(row)?));
    }
    debug_assert_eq!(index.kind(), kind);
    let mut writer = SegmentWriter::create(Arc::clone(dir), &field_file(id, version))?;
    writer.section(field_index_tag(0), &encode_field_index(&index))?;
    writer.finish()?;
    Ok(())
}
