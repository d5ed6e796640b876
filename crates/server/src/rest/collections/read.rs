//! From the JSON of a collection to its schema. What this version cannot keep, it refuses.

use std::collections::BTreeMap;

use dvse_types::{CollectionSchema, FieldKind, HnswSpec, IndexSpec, Metric, VectorParams};
use serde_json::Value;

use super::body::{
    CreateBody, FieldSchemaBody, HnswBody, StrictModeBody, VectorParamsBody, VectorsConfigBody,
};
use crate::error::RestError;

/// Reads what a collection is to be made of.
///
/// # Errors
/// A part is not available, or out of its range.
pub fn read_schema(body: CreateBody) -> Result<CollectionSchema, RestError> {
    refuse_cluster(body.shard_number, body.replication_factor, body.write_consistency_factor)?;
    match body.sharding_method.as_deref() {
        None | Some("auto") => {}
        Some("custom") => return Err(RestError::unsupported("`sharding_method` custom")),
        Some(other) => return Err(RestError::misfit("sharding_method", format!("{other:?} is no method"))),
    }
    body.quantization_config.refuse("quantization_config")?;
    body.sparse_vectors.refuse("sparse_vectors")?;
    body.metadata.refuse("metadata")?;
    refuse_strict_mode(body.strict_mode_config.as_ref())?;
    let fields = match body.vectors {
        None => Vec::new(),
        Some(VectorsConfigBody::Single(params)) => vec![(String::new(), params)],
        Some(VectorsConfigBody::Named(fields)) => fields,
    };
    let mut vectors = BTreeMap::new();
    for (name, params) in fields {
        let params = read_vector_params(params, body.hnsw_config.as_ref())?;
        vectors.insert(name, params);
    }
    let schema = CollectionSchema { vectors, payload_indexes: BTreeMap::new() };
    schema.validate()?;
    Ok(schema)
}

fn read_vector_params(body: VectorParamsBody, common: Option<&HnswBody>) -> Result<VectorParams, RestError> {
    body.quantization_config.refuse("quantization_config")?;
    body.multivector_config.refuse("multivector_config")?;
    match body.datatype.as_deref() {
        None | Some("float32") => {}
        Some(other) => {
            return Err(RestError::unsupported(format!("`datatype` {other:?}; vectors are float32")));
        }
    }
    let metric = match body.distance.as_str() {
        "Cosine" => Metric::Cosine,
        "Euclid" => Metric::L2,
        "Dot" => Metric::InnerProduct,
        "Manhattan" => return Err(RestError::unsupported("distance Manhattan; use Cosine, Euclid or Dot")),
        other => {
            return Err(RestError::misfit(
                "distance",
                format!("{other:?} is none of Cosine, Euclid and Dot"),
            ));
        }
    };
    let dim = usize::try_from(body.size).unwrap_or(usize::MAX);
    let mut index = IndexSpec::Hnsw(HnswSpec::default());
    for diff in [common, body.hnsw_config.as_ref()].into_iter().flatten() {
        index = changed_index(index, diff, dim);
    }
    Ok(VectorParams { dim, metric, index, model: body.model })
}

/// The index after a change. `m: 0` means no graph, as in the dialect; another `m` brings it back.
#[must_use]
pub fn changed_index(index: IndexSpec, diff: &HnswBody, dim: usize) -> IndexSpec {
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let mut spec = match (index, diff.m) {
        (_, Some(0)) => return IndexSpec::Flat,
        (IndexSpec::Flat, None) => return IndexSpec::Flat,
        (IndexSpec::Flat, Some(_)) => HnswSpec::default(),
        (IndexSpec::Hnsw(spec), _) => spec,
    };
    if let Some(m) = diff.m {
        spec.m = size(m);
    }
    if let Some(ef_construct) = diff.ef_construct {
        spec.ef_construction = size(ef_construct);
    }
    if let Some(kib) = diff.full_scan_threshold {
        spec.full_scan_rows = rows_of_kib(size(kib), dim);
    }
    IndexSpec::Hnsw(spec)
}

/// The dialect gives the threshold in KiB of vectors, the engine in rows.
fn rows_of_kib(kib: usize, dim: usize) -> usize {
    kib.saturating_mul(1_024 / 4) / dim.max(1)
}

/// The inverse of [`rows_of_kib`], rounded up.
#[must_use]
pub fn kib_of_rows(rows: usize, dim: usize) -> usize {
    rows.saturating_mul(dim).div_ceil(1_024 / 4)
}

/// One node keeps one copy of everything in one place.
///
/// # Errors
/// More was asked for.
pub fn refuse_cluster(
    shards: Option<u32>,
    replicas: Option<u32>,
    consistency: Option<u32>,
) -> Result<(), RestError> {
    for (field, number) in [
        ("shard_number", shards),
        ("replication_factor", replicas),
        ("write_consistency_factor", consistency),
    ] {
        match number {
            None | Some(1) => {}
            Some(0) => {
                let rule = "1 or larger".to_owned();
                return Err(RestError::OutOfRange { field, got: "0".to_owned(), rule });
            }
            Some(other) => {
                return Err(RestError::unsupported(format!("`{field}` {other}; one node has one copy")));
            }
        }
    }
    Ok(())
}

/// Strict mode promises to refuse requests; a promise that is not kept must not be taken.
///
/// # Errors
/// It was switched on.
pub fn refuse_strict_mode(body: Option<&StrictModeBody>) -> Result<(), RestError> {
    match body {
        Some(StrictModeBody(settings)) if settings.get("enabled") == Some(&Value::Bool(true)) => {
            Err(RestError::unsupported("`strict_mode_config`"))
        }
        _ => Ok(()),
    }
}

/// Reads the kind of a payload index.
///
/// # Errors
/// There is no such kind, or a parameter is not available.
pub fn read_field_kind(body: FieldSchemaBody) -> Result<FieldKind, RestError> {
    let name = match body {
        FieldSchemaBody::Name(name) => name,
        FieldSchemaBody::Params(params) => {
            params.prefix.refuse("prefix")?;
            params.nested.refuse("nested")?;
            params.kind
        }
    };
    match FieldKind::from_name(&name) {
        Some(kind) => Ok(kind),
        None if matches!(name.as_str(), "text" | "geo") => {
            Err(RestError::unsupported(format!("a payload index of kind `{name}`")))
        }
        None => Err(RestError::misfit(
            "field_schema",
            format!("{name:?} is none of keyword, integer, float, bool, datetime and uuid"),
        )),
    }
}
