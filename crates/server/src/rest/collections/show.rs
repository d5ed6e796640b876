//! A collection as clients see it.

use std::collections::BTreeMap;

use dvse_engine::{CollectionStatus, Health};
use dvse_types::{CollectionSchema, HnswSpec, IndexSpec, Metric, VectorParams};
use serde_json::{Value, json};

use super::body::{BuildingBody, CollectionBody, ConfigBody, PayloadFieldBody};
use super::index::{shown_hnsw, shown_ivf_pq, shown_quantization, shown_rerank};

/// Describes a collection.
#[must_use]
pub fn show(
    schema: &CollectionSchema,
    status: &CollectionStatus,
    background_threads: usize,
) -> CollectionBody {
    let reason = status.reason.clone().unwrap_or_default();
    let (colour, optimizer_status) = match status.health {
        Health::Green => ("green", json!("ok")),
        Health::Yellow => ("yellow", json!("ok")),
        Health::Red => ("red", json!({ "error": reason })),
    };
    // A collection is never other than green without the reply saying why.
    let warnings =
        if status.health == Health::Green { Vec::new() } else { vec![json!({ "message": reason })] };
    let first = schema.vectors.values().next();
    let common = first.map_or(IndexSpec::Hnsw(HnswSpec::default()), |params| params.index);
    let dim = first.map_or(1, |params| params.dim);
    CollectionBody {
        status: colour,
        optimizer_status,
        warnings,
        points_count: status.points,
        vectors_count: status.vectors,
        indexed_vectors_count: status.indexed_vectors,
        segments_count: status.segments,
        config: ConfigBody {
            params: json!({
                "vectors": shown_vectors(schema, common),
                "shard_number": 1,
                "replication_factor": 1,
                "write_consistency_factor": 1,
                "on_disk_payload": true,
            }),
            index: common.name(),
            rerank: shown_rerank(common),
            hnsw_config: shown_hnsw(common, dim),
            ivf_pq_config: shown_ivf_pq(common, dim),
            quantization_config: shown_quantization(common),
            // Clients insist on the first two. There is no target number of segments and no timed flush: every
            // write is in the log.
            optimizer_config: json!({
                "default_segment_number": 0,
                "flush_interval_sec": 0,
                "max_optimization_threads": background_threads,
            }),
        },
        segments_to_rebuild: status.segments_to_rebuild,
        building: status.building.map(|(linked, vectors)| BuildingBody { linked, vectors }),
        index_segments: status.index_kinds.clone(),
        index_bytes: status.index_bytes,
        payload_schema: shown_payload_schema(schema, status),
        models: shown_models(schema),
    }
}

fn shown_vectors(schema: &CollectionSchema, common: IndexSpec) -> Value {
    match schema.vectors.get("") {
        Some(unnamed) if schema.vectors.len() == 1 => shown_params(unnamed, common),
        _ => {
            schema.vectors.iter().map(|(name, params)| (name.clone(), shown_params(params, common))).collect()
        }
    }
}

fn shown_params(params: &VectorParams, common: IndexSpec) -> Value {
    let distance = match params.metric {
        Metric::Cosine => "Cosine",
        Metric::L2 => "Euclid",
        Metric::InnerProduct => "Dot",
    };
    let mut shown = json!({ "size": params.dim, "distance": distance });
    if params.on_disk {
        shown["on_disk"] = json!(true);
    }
    if let (true, Some(object)) = (params.index != common, shown.as_object_mut()) {
        object.insert("index".to_owned(), json!(params.index.name()));
        object.insert("hnsw_config".to_owned(), json!(shown_hnsw(params.index, params.dim)));
        let parts = [
            ("rerank", shown_rerank(params.index).map(Value::from)),
            ("ivf_pq_config", shown_ivf_pq(params.index, params.dim)),
            ("quantization_config", shown_quantization(params.index)),
        ];
        object.extend(parts.into_iter().filter_map(|(key, part)| Some((key.to_owned(), part?))));
    }
    shown
}

fn shown_payload_schema(
    schema: &CollectionSchema,
    status: &CollectionStatus,
) -> BTreeMap<String, PayloadFieldBody> {
    let fields = schema.payload_indexes.iter().map(|(path, kind)| {
        let points = status.payload_index_points.get(path).copied().unwrap_or(0);
        (path.to_string(), PayloadFieldBody { data_type: kind.name(), points })
    });
    fields.collect()
}

fn shown_models(schema: &CollectionSchema) -> BTreeMap<String, String> {
    let models =
        schema.vectors.iter().filter_map(|(name, params)| Some((name.clone(), params.model.clone()?)));
    models.collect()
}
