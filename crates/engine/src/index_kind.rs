//! From the index a collection asks for to the one that is built, and whether a segment has it.

use dvse_index::{AnnIndex, HnswParams, IndexParams, IvfParams, Placement, RowCodes};
use dvse_types::{HnswSpec, IndexSpec, IvfPqSpec, Quantization, Rerank, VectorParams};

use crate::segment::VectorsRef;

/// The parameters of an index over vectors of `dim` values as `index` takes them; `None` for none at all.
pub(crate) fn index_params(spec: &IndexSpec, dim: usize) -> Option<IndexParams> {
    match spec {
        IndexSpec::Flat => None,
        IndexSpec::Hnsw(spec) => Some(IndexParams::Graph(graph_params(spec, true))),
        IndexSpec::Nsw(spec) => Some(IndexParams::Graph(graph_params(spec, false))),
        IndexSpec::IvfPq(spec) => Some(IndexParams::Lists(list_params(spec, dim))),
    }
}

fn graph_params(spec: &HnswSpec, layers: bool) -> HnswParams {
    // Graphs of fewer than four links a layer fall apart; the schema allows two for compatibility.
    let m = u16::try_from(spec.m.clamp(4, 128)).unwrap_or(128);
    let ef_construction = u16::try_from(spec.ef_construction.clamp(1, 4096)).unwrap_or(4096);
    // Rows that get other codes when they are sealed are linked by sketches all the same.
    let sketches = spec.quantization != Quantization::None;
    let codes = match spec.quantization {
        Quantization::None | Quantization::Sketch => None,
        Quantization::Scalar8 => Some(RowCodes::Scalar8),
        Quantization::RaBitQ { bits } => Some(RowCodes::RaBitQ { bits }),
    };
    let halves = spec.rerank == Rerank::Half;
    HnswParams { m, ef_construction, layers, sketches, codes, halves, ..HnswParams::default() }
}

fn list_params(spec: &IvfPqSpec, dim: usize) -> IvfParams {
    let lists = u32::try_from(spec.lists).unwrap_or(u32::MAX);
    let sub_dim = u16::try_from(spec.values_per_code_of(dim)).unwrap_or(u16::MAX);
    IvfParams { lists, sub_dim, ..IvfParams::default() }
}

/// Where the parts of a field are to be read from once they are sealed.
pub(crate) fn placement(params: &VectorParams) -> Placement {
    let index_on_disk = match params.index {
        IndexSpec::Hnsw(spec) | IndexSpec::Nsw(spec) => spec.on_disk,
        // Lists are read where they are mapped, whatever is said.
        IndexSpec::Flat | IndexSpec::IvfPq(_) => false,
    };
    Placement { rows_on_disk: params.on_disk, index_on_disk }
}

/// Whether one specification asks for the same index as another, but for how it is searched.
pub(crate) fn same_build(one: &IndexSpec, other: &IndexSpec, dim: usize) -> bool {
    match (index_params(one, dim), index_params(other, dim)) {
        (None, None) => true,
        (Some(one), Some(other)) => one.builds_same(&other),
        _ => false,
    }
}

/// Whether the index that the vectors of a segment have, if any, is of the kind asked for.
pub(crate) fn is_as_asked(vectors: &VectorsRef<'_>, spec: &IndexSpec) -> bool {
    let Some(built) = vectors.graph.and_then(AnnIndex::built_with) else { return true };
    index_params(spec, vectors.rows.dim()).is_some_and(|asked| built.builds_same(&asked))
}

/// Whether a vector field of so many vectors is to have an index.
pub(crate) fn wants_index(spec: &IndexSpec, vectors: u32) -> bool {
    vectors as usize >= spec.full_scan_rows()
}
