//! From the JSON of a collection to its schema. What this version cannot keep, it refuses.

use std::collections::BTreeMap;

use dvse_types::{CollectionSchema, FieldKind, HnswSpec, IndexSpec, Metric, VectorParams};
use serde_json::Value;

use super::body::{CreateBody, FieldSchemaBody, StrictModeBody, VectorParamsBody, VectorsConfigBody};
use super::index::IndexDiff;
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
    body.sparse_vectors.refuse("sparse_vectors")?;
    body.metadata.refuse("metadata")?;
    refuse_strict_mode(body.strict_mode_config.as_ref())?;
    let fields = match body.vectors {
        None => Vec::new(),
        Some(VectorsConfigBody::Single(params)) => vec![(String::new(), *params)],
        Some(VectorsConfigBody::Named(fields)) => fields,
    };
    let common = IndexDiff {
        index: body.index.as_deref(),
        rerank: body.rerank.as_deref(),
        hnsw: body.hnsw_config.as_ref(),
        ivf_pq: body.ivf_pq_config.as_ref(),
        quantization: body.quantization_config.as_ref(),
    };
    let mut vectors = BTreeMap::new();
    for (name, params) in fields {
        let params = read_vector_params(params, common)?;
        vectors.insert(name, params);
    }
    let schema = CollectionSchema { vectors, payload_indexes: BTreeMap::new() };
    schema.validate()?;
    Ok(schema)
}

fn read_vector_params(body: VectorParamsBody, common: IndexDiff<'_>) -> Result<VectorParams, RestError> {
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
    let own = IndexDiff {
        index: body.index.as_deref(),
        rerank: body.rerank.as_deref(),
        hnsw: body.hnsw_config.as_ref(),
        ivf_pq: body.ivf_pq_config.as_ref(),
        quantization: body.quantization_config.as_ref(),
    };
    let index = common.change(IndexSpec::Hnsw(HnswSpec::default()), dim, true)?;
    let index = own.change(index, dim, false)?;
    Ok(VectorParams { dim, metric, index, on_disk: body.on_disk.unwrap_or(false), model: body.model })
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
