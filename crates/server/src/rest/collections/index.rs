//! The index of a vector field: from its JSON parts to the specification, and back.
//!
//! The dialect knows one kind, a graph, which `hnsw_config` describes and `m: 0` leaves out. `index` and `ivf_pq_config`
//! are ours. Each part can stand beside the vectors, for all of them, or within those of one field, which goes before.

use dvse_types::{HnswSpec, IndexSpec, IvfPqSpec, Quantization, Rerank};
use serde_json::{Value, json};

use super::body::{HnswBody, IvfPqBody, ShownHnswBody};
use super::quantization::{self, QuantizationBody};
use crate::error::RestError;

/// The parts of a request that are about the index, at one of the two places.
#[derive(Debug, Clone, Copy)]
pub struct IndexDiff<'a> {
    /// The kind.
    pub index: Option<&'a str>,
    /// What candidates are compared by.
    pub rerank: Option<&'a str>,
    /// Parameters of a graph.
    pub hnsw: Option<&'a HnswBody>,
    /// Parameters of inverted lists.
    pub ivf_pq: Option<&'a IvfPqBody>,
    /// What walks read.
    pub quantization: Option<&'a QuantizationBody>,
}

impl IndexDiff<'_> {
    /// The index after a change. Parameters of a kind that the index is not are those of other fields where the change is
    /// for all (`common`), and refused where it is for this field.
    ///
    /// # Errors
    /// There is no such kind, the parts contradict each other, or a part is not available.
    pub fn change(self, index: IndexSpec, dim: usize, common: bool) -> Result<IndexSpec, RestError> {
        let mut index = self.kind_after(index)?;
        match (&mut index, self.hnsw) {
            (IndexSpec::Hnsw(spec) | IndexSpec::Nsw(spec), Some(diff)) => change_graph(spec, diff, dim),
            (IndexSpec::IvfPq(_), Some(diff))
                if !common && (diff.m, diff.ef_construct, diff.on_disk) != (None, None, None) =>
            {
                let reason = "inverted lists have no links; ivf_pq_config has their parameters".to_owned();
                return Err(RestError::misfit("hnsw_config", reason));
            }
            _ => {}
        }
        match (&mut index, self.ivf_pq) {
            (IndexSpec::IvfPq(spec), Some(diff)) => change_lists(spec, diff, dim),
            (_, Some(_)) if !common => {
                let reason = format!("the index is {}; say index: ivf_pq for inverted lists", index.name());
                return Err(RestError::misfit("ivf_pq_config", reason));
            }
            _ => {}
        }
        self.change_rerank(&mut index, common)?;
        self.change_quantization(&mut index, common)?;
        self.check_graph(index)?;
        Ok(index)
    }

    /// The kind that is asked for, with the parameters there are as far as they fit. In the dialect `m: 0` means no graph, and
    /// another `m` brings one back.
    fn kind_after(self, index: IndexSpec) -> Result<IndexSpec, RestError> {
        let m = self.hnsw.and_then(|hnsw| hnsw.m);
        let graph = match index {
            IndexSpec::Hnsw(spec) | IndexSpec::Nsw(spec) => spec,
            _ => HnswSpec::default(),
        };
        let kind = match (self.index, m) {
            (None, Some(0)) => return Ok(IndexSpec::Flat),
            (None, Some(_)) if index == IndexSpec::Flat => return Ok(IndexSpec::Hnsw(graph)),
            (None, _) => return Ok(index),
            (Some(kind), _) => kind,
        };
        let contradiction = |reason: &str| Err(RestError::misfit("index", format!("{kind:?}, but {reason}")));
        match (kind, m) {
            ("flat", Some(1..)) => contradiction("hnsw_config.m asks for a graph"),
            ("hnsw" | "nsw", Some(0)) => contradiction("hnsw_config.m is 0, which means no graph"),
            ("flat", _) => Ok(IndexSpec::Flat),
            ("hnsw", _) => Ok(IndexSpec::Hnsw(graph)),
            ("nsw", _) => Ok(IndexSpec::Nsw(graph)),
            ("ivf_pq", _) => Ok(match index {
                IndexSpec::IvfPq(_) => index,
                _ => IndexSpec::IvfPq(IvfPqSpec::default()),
            }),
            _ => Err(RestError::misfit("index", format!("{kind:?} is none of flat, hnsw, nsw and ivf_pq"))),
        }
    }

    fn change_rerank(self, index: &mut IndexSpec, common: bool) -> Result<(), RestError> {
        let Some(name) = self.rerank else { return Ok(()) };
        let rerank = Rerank::from_name(name)
            .ok_or_else(|| RestError::misfit("rerank", format!("{name:?} is none of f32 and f16")))?;
        match index {
            IndexSpec::Hnsw(spec) | IndexSpec::Nsw(spec) => spec.rerank = rerank,
            IndexSpec::Flat | IndexSpec::IvfPq(_) if common => {}
            IndexSpec::Flat | IndexSpec::IvfPq(_) => {
                let reason = format!("it is for graphs, and the index is {}", index.name());
                return Err(RestError::misfit("rerank", reason));
            }
        }
        Ok(())
    }

    /// What would be without effect is refused.
    fn check_graph(self, index: IndexSpec) -> Result<(), RestError> {
        let (IndexSpec::Hnsw(spec) | IndexSpec::Nsw(spec)) = index else { return Ok(()) };
        if (spec.rerank, spec.quantization) == (Rerank::Half, Quantization::None) {
            let reason = "f16 is for what codes chose, and quantization_config is none: say f32, or another \
                quantization";
            return Err(RestError::misfit("rerank", reason.to_owned()));
        }
        match self.quantization {
            Some(QuantizationBody::As { always_ram: Some(always_ram), .. })
                if *always_ram == spec.on_disk =>
            {
                let reason = format!(
                    "always_ram is {always_ram}, but codes are where the graph is, and hnsw_config.on_disk is {}: \
                     leave always_ram out, or change on_disk",
                    spec.on_disk
                );
                Err(RestError::misfit("quantization_config", reason))
            }
            _ => Ok(()),
        }
    }

    fn change_quantization(self, index: &mut IndexSpec, common: bool) -> Result<(), RestError> {
        let quantization = match self.quantization {
            None | Some(QuantizationBody::Usual) => return Ok(()),
            Some(QuantizationBody::As { quantization, .. }) => *quantization,
            Some(QuantizationBody::Refused(reason)) => return Err(RestError::unsupported(reason.clone())),
        };
        match index {
            IndexSpec::Hnsw(spec) | IndexSpec::Nsw(spec) => spec.quantization = quantization,
            IndexSpec::Flat | IndexSpec::IvfPq(_) if common => {}
            IndexSpec::Flat | IndexSpec::IvfPq(_) => {
                let reason = format!("it is for graphs, and the index is {}", index.name());
                return Err(RestError::misfit("quantization_config", reason));
            }
        }
        Ok(())
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn change_graph(spec: &mut HnswSpec, diff: &HnswBody, dim: usize) {
    if let Some(m) = diff.m {
        spec.m = size(m);
    }
    if let Some(ef_construct) = diff.ef_construct {
        spec.ef_construction = size(ef_construct);
    }
    if let Some(kib) = diff.full_scan_threshold {
        spec.full_scan_rows = rows_of_kib(size(kib), dim);
    }
    if let Some(on_disk) = diff.on_disk {
        spec.on_disk = on_disk;
    }
}

fn change_lists(spec: &mut IvfPqSpec, diff: &IvfPqBody, dim: usize) {
    let fields = [
        (&mut spec.lists, diff.lists),
        (&mut spec.values_per_code, diff.values_per_code),
        (&mut spec.nprobe, diff.nprobe),
        (&mut spec.rerank, diff.rerank),
    ];
    for (field, value) in fields {
        if let Some(value) = value {
            *field = size(value);
        }
    }
    if let Some(kib) = diff.full_scan_threshold {
        spec.full_scan_rows = rows_of_kib(size(kib), dim);
    }
}

/// The dialect gives the threshold in KiB of vectors, the engine in rows.
fn rows_of_kib(kib: usize, dim: usize) -> usize {
    kib.saturating_mul(1_024 / 4) / dim.max(1)
}

/// The inverse of [`rows_of_kib`], rounded up.
fn kib_of_rows(rows: usize, dim: usize) -> usize {
    rows.saturating_mul(dim).div_ceil(1_024 / 4)
}

/// The parameters of a graph; where there is none, `m` is 0.
#[must_use]
pub fn shown_hnsw(index: IndexSpec, dim: usize) -> ShownHnswBody {
    let (m, spec) = match index {
        IndexSpec::Flat => (0, HnswSpec::default()),
        // Clients read the threshold of exact searches here, whatever the index.
        IndexSpec::IvfPq(spec) => {
            (0, HnswSpec { full_scan_rows: spec.full_scan_rows, ..HnswSpec::default() })
        }
        IndexSpec::Hnsw(spec) | IndexSpec::Nsw(spec) => (spec.m, spec),
    };
    ShownHnswBody {
        m,
        ef_construct: spec.ef_construction,
        full_scan_threshold: kib_of_rows(spec.full_scan_rows, dim),
        on_disk: spec.on_disk,
    }
}

/// What candidates are compared by, where that is not the usual.
#[must_use]
pub fn shown_rerank(index: IndexSpec) -> Option<&'static str> {
    match index {
        IndexSpec::Hnsw(spec) | IndexSpec::Nsw(spec) if spec.rerank != Rerank::default() => {
            Some(spec.rerank.name())
        }
        _ => None,
    }
}

/// The parameters of inverted lists.
#[must_use]
pub fn shown_ivf_pq(index: IndexSpec, dim: usize) -> Option<Value> {
    let IndexSpec::IvfPq(spec) = index else { return None };
    Some(json!({
        "lists": spec.lists,
        "values_per_code": spec.values_per_code_of(dim),
        "nprobe": spec.nprobe,
        "rerank": spec.rerank,
        "full_scan_threshold": kib_of_rows(spec.full_scan_rows, dim),
    }))
}

/// What walks read, where that is not the usual.
#[must_use]
pub fn shown_quantization(index: IndexSpec) -> Option<Value> {
    match index {
        IndexSpec::Hnsw(spec) | IndexSpec::Nsw(spec) => quantization::shown(spec.quantization, !spec.on_disk),
        _ => None,
    }
}
