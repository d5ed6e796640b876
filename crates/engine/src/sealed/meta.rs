//! The `META` sections of the files of a segment.

use dvse_types::{FieldKind, PayloadPath, VectorName};

use crate::op_codec::{decode_field_kind, decode_path};
use crate::segment::SegmentId;
use crate::wire::{DecodeError, FieldReader};

/// The version of these sections.
pub(crate) const META_VERSION: u32 = 1;

/// The `META` section of a data file.
pub(crate) struct Meta {
    pub(crate) id: SegmentId,
    pub(crate) rows: u32,
    pub(crate) vectors: Vec<VectorMeta>,
    pub(crate) fields: Vec<(PayloadPath, FieldKind)>,
}

/// One vector field of a data file.
pub(crate) struct VectorMeta {
    pub(crate) name: VectorName,
    pub(crate) dim: u32,
    pub(crate) len: u32,
    pub(crate) sparse: bool,
}

impl Meta {
    pub(super) fn decode(bytes: &[u8]) -> Result<Meta, DecodeError> {
        let mut from = FieldReader::new(bytes);
        check_version(&mut from)?;
        let id = SegmentId(from.u64("the segment's number")?);
        let rows = from.u32("the number of rows")?;
        let mut vectors = Vec::new();
        for _ in 0..from.count(13, "the number of vector fields")? {
            vectors.push(VectorMeta {
                name: from.str("a vector's name")?.to_owned(),
                dim: from.u32("a dimension")?,
                len: from.u32("the number of vectors")?,
                sparse: from.u8("whether vectors are missing")? != 0,
            });
        }
        let mut fields = Vec::new();
        for _ in 0..from.count(6, "the number of payload indexes")? {
            let path = decode_path(&mut from)?;
            fields.push((path, decode_field_kind(&mut from)?));
        }
        from.finish()?;
        Ok(Meta { id, rows, vectors, fields })
    }
}

/// The `META` section of a graph file.
pub(crate) struct GraphMeta {
    pub(crate) id: SegmentId,
    pub(crate) graphs: Vec<GraphEntry>,
    pub(crate) sections: Vec<String>,
}

/// One graph of a graph file.
pub(crate) struct GraphEntry {
    pub(crate) name: VectorName,
    pub(crate) linked: u32,
}

impl GraphMeta {
    pub(super) fn decode(bytes: &[u8]) -> Result<GraphMeta, DecodeError> {
        let mut from = FieldReader::new(bytes);
        check_version(&mut from)?;
        let id = SegmentId(from.u64("the segment's number")?);
        let mut graphs = Vec::new();
        for _ in 0..from.count(8, "the number of graphs")? {
            let name = from.str("a vector's name")?.to_owned();
            graphs.push(GraphEntry { name, linked: from.u32("the number of rows")? });
        }
        let count = from.count(4, "the number of sections")?;
        let sections = (0..count).map(|_| from.str("a section's name").map(str::to_owned));
        let sections = sections.collect::<Result<_, _>>()?;
        from.finish()?;
        Ok(GraphMeta { id, graphs, sections })
    }
}

fn check_version(from: &mut FieldReader<'_>) -> Result<(), DecodeError> {
    let got = from.u32("the version")?;
    if got == META_VERSION {
        return Ok(());
    }
    Err(DecodeError::Version { got: got.into(), supported: META_VERSION.into() })
}
