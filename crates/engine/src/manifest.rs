//! The body of a shard's manifest. `docs/format/shard.md` has the table.

use std::collections::BTreeMap;

use dvse_types::{CollectionSchema, FieldKind, Metric, PayloadPath, SeqNo, VectorParams};

use crate::op_codec::{
    decode_field_kind, decode_index, decode_path, decode_usize, encode_index, field_kind_tag,
};
use crate::segment::SegmentId;
use crate::sources::Sources;
use crate::wire::{DecodeError, FieldReader, FieldWriter};

/// A shard that no stream was ever written to.
const VERSION: u8 = 1;
/// With the states of sources. One without is written as earlier versions read it.
const VERSION_SOURCES: u8 = 2;
/// With sources, and vector fields that are left on the disk. One without such a field is written as earlier versions read it.
const VERSION_ON_DISK: u8 = 3;

/// What is durable in segments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) schema: CollectionSchema,
    /// The last log entry that the segments include; what follows is in the log.
    pub(crate) watermark: SeqNo,
    /// Numbers from here on were never given to a file.
    pub(crate) next_number: u64,
    pub(crate) segments: Vec<ManifestSegment>,
    /// How far into each stream the segments are.
    pub(crate) sources: Sources,
}

/// The files of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManifestSegment {
    pub(crate) id: SegmentId,
    pub(crate) rows: u32,
    /// Version of the graph file; 0 for none.
    pub(crate) graph: u64,
    /// Version of the file of live rows; 0 when all are alive.
    pub(crate) live: u64,
    /// Payload indexes in files of their own.
    pub(crate) fields: Vec<(PayloadPath, u64)>,
}

impl Manifest {
    fn version(&self) -> u8 {
        if self.schema.vectors.values().any(|params| params.on_disk) {
            VERSION_ON_DISK
        } else if self.sources.is_empty() {
            VERSION
        } else {
            VERSION_SOURCES
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::default();
        let version = self.version();
        out.u8(version);
        encode_schema(&mut out, &self.schema);
        out.u64(self.watermark.0);
        out.u64(self.next_number);
        out.count(self.segments.len());
        for segment in &self.segments {
            out.u64(segment.id.0);
            out.u32(segment.rows);
            out.u64(segment.graph);
            out.u64(segment.live);
            out.count(segment.fields.len());
            for (path, version) in &segment.fields {
                out.str(path.as_str());
                out.u64(*version);
            }
        }
        if version >= VERSION_SOURCES {
            self.sources.encode(&mut out);
        }
        if version >= VERSION_ON_DISK {
            let fields = self.schema.vectors.values().enumerate().filter(|(_, params)| params.on_disk);
            let fields: Vec<u32> = fields.map(|(field, _)| field as u32).collect();
            out.count(fields.len());
            fields.into_iter().for_each(|field| out.u32(field));
        }
        out.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, DecodeError> {
        let mut from = FieldReader::new(bytes);
        let version = from.u8("the version")?;
        if !(VERSION..=VERSION_ON_DISK).contains(&version) {
            return Err(DecodeError::Version { got: version.into(), supported: VERSION_ON_DISK.into() });
        }
        let mut schema = decode_schema(&mut from)?;
        let watermark = SeqNo(from.u64("the watermark")?);
        let next_number = from.u64("the next number")?;
        let mut segments = Vec::new();
        for _ in 0..from.count(32, "the number of segments")? {
            let id = SegmentId(from.u64("a segment's number")?);
            let rows = from.u32("the number of rows")?;
            let graph = from.u64("a graph's version")?;
            let live = from.u64("the version of the live rows")?;
            let mut fields = Vec::new();
            for _ in 0..from.count(13, "the number of payload indexes")? {
                fields.push((decode_path(&mut from)?, from.u64("a payload index's version")?));
            }
            segments.push(ManifestSegment { id, rows, graph, live, fields });
        }
        let sources =
            if version >= VERSION_SOURCES { Sources::decode(&mut from)? } else { Sources::default() };
        if version >= VERSION_ON_DISK {
            decode_on_disk(&mut from, &mut schema)?;
        }
        from.finish()?;
        Ok(Manifest { schema, watermark, next_number, segments, sources })
    }
}

fn decode_on_disk(from: &mut FieldReader<'_>, schema: &mut CollectionSchema) -> Result<(), DecodeError> {
    for _ in 0..from.count(4, "the number of vector fields on the disk")? {
        let offset = from.offset();
        let got = from.u32("a vector field on the disk")?;
        match schema.vectors.values_mut().nth(got as usize) {
            Some(params) => params.on_disk = true,
            None => {
                return Err(DecodeError::Tag { what: "a vector field on the disk", offset, got: got.into() });
            }
        }
    }
    Ok(())
}

fn encode_schema(out: &mut FieldWriter, schema: &CollectionSchema) {
    out.count(schema.vectors.len());
    for (name, params) in &schema.vectors {
        out.str(name);
        out.u64(params.dim as u64);
        out.u8(match params.metric {
            Metric::L2 => 1,
            Metric::InnerProduct => 2,
            Metric::Cosine => 3,
        });
        encode_index(out, &params.index);
        out.u8(u8::from(params.model.is_some()));
        if let Some(model) = &params.model {
            out.str(model);
        }
    }
    out.count(schema.payload_indexes.len());
    for (path, kind) in &schema.payload_indexes {
        out.str(path.as_str());
        out.u8(field_kind_tag(*kind));
    }
}

fn decode_schema(from: &mut FieldReader<'_>) -> Result<CollectionSchema, DecodeError> {
    let mut vectors = BTreeMap::new();
    for _ in 0..from.count(15, "the number of vector fields")? {
        let name = from.str("a vector's name")?.to_owned();
        let dim = decode_usize(from, "a dimension")?;
        let offset = from.offset();
        let metric = match from.u8("a metric")? {
            1 => Metric::L2,
            2 => Metric::InnerProduct,
            3 => Metric::Cosine,
            got => return Err(DecodeError::Tag { what: "a metric", offset, got: got.into() }),
        };
        let index = decode_index(from)?;
        let model = match from.u8("whether there is a model")? {
            0 => None,
            _ => Some(from.str("a model")?.to_owned()),
        };
        vectors.insert(name, VectorParams { dim, metric, index, on_disk: false, model });
    }
    let mut payload_indexes: BTreeMap<PayloadPath, FieldKind> = BTreeMap::new();
    for _ in 0..from.count(6, "the number of payload indexes")? {
        payload_indexes.insert(decode_path(from)?, decode_field_kind(from)?);
    }
    Ok(CollectionSchema { vectors, payload_indexes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dvse_types::{IndexSpec, StreamName, WriteBatch, WriteOp};

    #[test]
    fn a_manifest_comes_back_and_every_cut_is_refused() {
        let mut schema = CollectionSchema::single(3, Metric::Cosine);
        schema.vectors.insert(
            "image".to_owned(),
            VectorParams {
                dim: 7,
                metric: Metric::L2,
                index: IndexSpec::Flat,
                on_disk: false,
                model: Some("m".to_owned()),
            },
        );
        schema.payload_indexes.insert("a.b[]".parse().unwrap(), FieldKind::Datetime);
        let fields = vec![("a.b[]".parse().unwrap(), 9)];
        let segment = ManifestSegment { id: SegmentId(4), rows: 5, graph: 6, live: 0, fields };
        let manifest = Manifest {
            schema,
            watermark: SeqNo(77),
            next_number: 10,
            segments: vec![segment],
            sources: Sources::default(),
        };
        let stream: StreamName = "s".parse().unwrap();
        let taken = WriteBatch::new(vec![WriteOp::TakeOver { stream, partition: 2 }]);
        let sources = manifest.sources.after(SeqNo(1), &taken).unwrap();
        let with_sources = Manifest { sources, ..manifest.clone() };
        // What no stream was written to is read by earlier versions.
        let on_disk = |manifest: &Manifest| {
            let mut manifest = manifest.clone();
            manifest.schema.vectors.values_mut().for_each(|params| params.on_disk = true);
            manifest
        };
        let placed = [on_disk(&manifest), on_disk(&with_sources)].map(|manifest| (manifest, VERSION_ON_DISK));
        for (manifest, version) in
            [(manifest, VERSION), (with_sources, VERSION_SOURCES)].into_iter().chain(placed)
        {
            let bytes = manifest.encode();
            assert_eq!(bytes[0], version);
            assert_eq!(Manifest::decode(&bytes), Ok(manifest));
            for len in 0..bytes.len() {
                assert!(Manifest::decode(&bytes[..len]).is_err(), "{version} {len}");
            }
        }
    }
}
