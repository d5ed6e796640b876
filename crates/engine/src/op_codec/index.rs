//! The index of a vector field as bytes: part of log records and of manifests. `docs/format/shard.md` has the table.

use dvse_types::{HnswSpec, IndexSpec, IvfPqSpec, Quantization, Rerank};

use super::{decode_bool, decode_usize};
use crate::wire::{DecodeError, FieldReader, FieldWriter};

mod index_tag {
    pub(super) const FLAT: u8 = 1;
    /// HNSW with sketches.
    pub(super) const HNSW: u8 = 2;
    /// Any graph.
    pub(super) const GRAPH: u8 = 3;
    pub(super) const IVF_PQ: u8 = 4;
    /// Any graph, with half rows or left on the disk.
    pub(super) const PLACED_GRAPH: u8 = 5;

    /// Bits of the byte that says which.
    pub(super) const HALF_ROWS: u8 = 1;
    pub(super) const ON_DISK: u8 = 2;
}

/// Writes an index with its parameters, in a log record or a manifest.
pub(crate) fn encode_index(out: &mut FieldWriter, index: &IndexSpec) {
    match index {
        IndexSpec::Flat => out.u8(index_tag::FLAT),
        IndexSpec::Hnsw(spec) if *spec == as_before(spec) && spec.quantization == Quantization::Sketch => {
            out.u8(index_tag::HNSW);
            encode_hnsw(out, spec);
        }
        IndexSpec::Hnsw(spec) | IndexSpec::Nsw(spec) => {
            // What earlier versions can read is written as they read it.
            let is_placed = *spec != as_before(spec);
            out.u8(if is_placed { index_tag::PLACED_GRAPH } else { index_tag::GRAPH });
            if is_placed {
                let halves = if spec.rerank == Rerank::Half { index_tag::HALF_ROWS } else { 0 };
                out.u8(halves | if spec.on_disk { index_tag::ON_DISK } else { 0 });
            }
            out.u8(u8::from(matches!(index, IndexSpec::Nsw(_))));
            encode_hnsw(out, spec);
            out.u8(match spec.quantization {
                Quantization::None => 0,
                Quantization::Sketch => 1,
                Quantization::Scalar8 => 2,
                Quantization::RaBitQ { bits } => RABITQ_TAG + bits,
            });
        }
        IndexSpec::IvfPq(spec) => {
            out.u8(index_tag::IVF_PQ);
            let IvfPqSpec { lists, values_per_code, nprobe, rerank, full_scan_rows } = *spec;
            [lists, values_per_code, nprobe, rerank, full_scan_rows]
                .into_iter()
                .for_each(|value| out.u64(value as u64));
        }
    }
}

/// Reads an index with its parameters.
pub(crate) fn decode_index(from: &mut FieldReader<'_>) -> Result<IndexSpec, DecodeError> {
    let offset = from.offset();
    Ok(match from.u8("an index kind")? {
        index_tag::FLAT => IndexSpec::Flat,
        index_tag::HNSW => IndexSpec::Hnsw(decode_hnsw(from)?),
        tag @ (index_tag::GRAPH | index_tag::PLACED_GRAPH) => {
            let (rerank, on_disk) =
                if tag == index_tag::PLACED_GRAPH { decode_placed(from)? } else { Default::default() };
            let flat = decode_bool(from)?;
            let spec = decode_hnsw(from)?;
            let spec = HnswSpec { quantization: decode_quantization(from)?, rerank, on_disk, ..spec };
            if flat { IndexSpec::Nsw(spec) } else { IndexSpec::Hnsw(spec) }
        }
        index_tag::IVF_PQ => IndexSpec::IvfPq(IvfPqSpec {
            lists: decode_usize(from, "lists")?,
            values_per_code: decode_usize(from, "values_per_code")?,
            nprobe: decode_usize(from, "nprobe")?,
            rerank: decode_usize(from, "rerank")?,
            full_scan_rows: decode_usize(from, "full_scan_rows")?,
        }),
        got => return Err(DecodeError::Tag { what: "an index kind", offset, got: got.into() }),
    })
}

/// A graph without what only later versions know.
fn as_before(spec: &HnswSpec) -> HnswSpec {
    HnswSpec { rerank: Rerank::Single, on_disk: false, ..*spec }
}

fn decode_placed(from: &mut FieldReader<'_>) -> Result<(Rerank, bool), DecodeError> {
    let offset = from.offset();
    let bits = from.u8("how a graph is placed")?;
    if bits & !(index_tag::HALF_ROWS | index_tag::ON_DISK) != 0 {
        return Err(DecodeError::Tag { what: "how a graph is placed", offset, got: bits.into() });
    }
    let rerank = if bits & index_tag::HALF_ROWS == 0 { Rerank::Single } else { Rerank::Half };
    Ok((rerank, bits & index_tag::ON_DISK != 0))
}

/// What is added to the bits of `RaBitQ` codes.
const RABITQ_TAG: u8 = 16;

fn decode_quantization(from: &mut FieldReader<'_>) -> Result<Quantization, DecodeError> {
    let offset = from.offset();
    Ok(match from.u8("a quantization")? {
        0 => Quantization::None,
        1 => Quantization::Sketch,
        2 => Quantization::Scalar8,
        got if Quantization::RABITQ_BITS.contains(&got.wrapping_sub(RABITQ_TAG)) => {
            Quantization::RaBitQ { bits: got - RABITQ_TAG }
        }
        got => return Err(DecodeError::Tag { what: "a quantization", offset, got: got.into() }),
    })
}

pub(super) fn encode_hnsw(out: &mut FieldWriter, spec: &HnswSpec) {
    out.u64(spec.m as u64);
    out.u64(spec.ef_construction as u64);
    out.u64(spec.full_scan_rows as u64);
}

pub(super) fn decode_hnsw(from: &mut FieldReader<'_>) -> Result<HnswSpec, DecodeError> {
    Ok(HnswSpec {
        m: decode_usize(from, "m")?,
        ef_construction: decode_usize(from, "ef_construction")?,
        full_scan_rows: decode_usize(from, "full_scan_rows")?,
        quantization: Quantization::Sketch,
        rerank: Rerank::Single,
        on_disk: false,
    })
}
