//! JSON forms of collections: how they are made, changed and shown.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::quantization::QuantizationBody;
use crate::rest::fields::Unavailable;

/// Makes a collection.
///
/// Parts that only say how background work is paced, or where payloads and ids are kept, are taken and have no effect: payloads
/// lie in mapped files whatever is said. Parts that would change answers or guarantees are refused, see `read.rs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    pub vectors: Option<VectorsConfigBody>,
    pub index: Option<String>,
    pub rerank: Option<String>,
    pub hnsw_config: Option<HnswBody>,
    pub ivf_pq_config: Option<IvfPqBody>,
    pub shard_number: Option<u32>,
    pub sharding_method: Option<String>,
    pub replication_factor: Option<u32>,
    pub write_consistency_factor: Option<u32>,
    pub quantization_config: Option<QuantizationBody>,
    #[serde(default)]
    pub sparse_vectors: Unavailable,
    pub strict_mode_config: Option<StrictModeBody>,
    #[serde(default)]
    pub metadata: Unavailable,
    #[serde(rename = "on_disk_payload")]
    pub _on_disk_payload: Option<bool>,
    #[serde(rename = "payload")]
    pub _payload: Option<PlacementBody>,
    #[serde(rename = "id_tracker")]
    pub _id_tracker: Option<PlacementBody>,
    #[serde(rename = "wal_config")]
    pub _wal_config: Option<WalBody>,
    #[serde(rename = "optimizers_config")]
    pub _optimizers_config: Option<OptimizersBody>,
}

/// Changes a collection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateBody {
    pub vectors: Option<BTreeMap<String, VectorDiffBody>>,
    pub index: Option<String>,
    pub rerank: Option<String>,
    pub hnsw_config: Option<HnswBody>,
    pub ivf_pq_config: Option<IvfPqBody>,
    pub params: Option<ParamsDiffBody>,
    pub quantization_config: Option<QuantizationBody>,
    #[serde(default)]
    pub sparse_vectors: Unavailable,
    pub strict_mode_config: Option<StrictModeBody>,
    #[serde(default)]
    pub metadata: Unavailable,
    #[serde(rename = "optimizers_config")]
    pub _optimizers_config: Option<OptimizersBody>,
}

/// Changes of the parameters of a collection, of which one node has none to change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamsDiffBody {
    pub replication_factor: Option<u32>,
    pub write_consistency_factor: Option<u32>,
    #[serde(rename = "read_fan_out_factor")]
    pub _read_fan_out_factor: Option<u32>,
    #[serde(rename = "read_fan_out_delay_ms")]
    pub _read_fan_out_delay_ms: Option<u64>,
    #[serde(rename = "on_disk_payload")]
    pub _on_disk_payload: Option<bool>,
    #[serde(rename = "payload")]
    pub _payload: Option<PlacementBody>,
    #[serde(rename = "id_tracker")]
    pub _id_tracker: Option<PlacementBody>,
}

/// Changes of one vector field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorDiffBody {
    pub index: Option<String>,
    pub rerank: Option<String>,
    pub hnsw_config: Option<HnswBody>,
    pub ivf_pq_config: Option<IvfPqBody>,
    pub quantization_config: Option<QuantizationBody>,
    pub on_disk: Option<bool>,
    #[serde(rename = "memory")]
    pub _memory: Option<String>,
}

/// The vector fields: the parameters of the unnamed one, or parameters by name.
#[derive(Debug)]
pub enum VectorsConfigBody {
    /// One unnamed field.
    Single(Box<VectorParamsBody>),
    /// Fields by name.
    Named(Vec<(String, VectorParamsBody)>),
}

impl<'de> Deserialize<'de> for VectorsConfigBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ConfigVisitor;
        impl<'de> Visitor<'de> for ConfigVisitor {
            type Value = VectorsConfigBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with size and distance, or an object of such objects by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VectorsConfigBody, A::Error> {
                // Parameters have scalars where a map of names has objects, so a field may be called `size`.
                let mut entries: Vec<(String, Value)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if entries.iter().any(|(known, _)| *known == key) {
                        return Err(de::Error::custom(format_args!("{key:?} comes twice in vectors")));
                    }
                    entries.push((key, value));
                }
                let single = entries.iter().any(|(_, value)| !value.is_object());
                if single {
                    let object: Map<String, Value> = entries.into_iter().collect();
                    let params = serde_json::from_value(Value::Object(object)).map_err(de::Error::custom)?;
                    return Ok(VectorsConfigBody::Single(params));
                }
                let named = entries.into_iter().map(|(name, value)| {
                    let params = serde_json::from_value(value)
                        .map_err(|error| de::Error::custom(format_args!("vectors.{name}: {error}")))?;
                    Ok((name, params))
                });
                Ok(VectorsConfigBody::Named(named.collect::<Result<_, A::Error>>()?))
            }
        }
        deserializer.deserialize_map(ConfigVisitor)
    }
}

/// The parameters of a vector field. `index`, `rerank`, `ivf_pq_config` and `model` are ours; `model` is what
/// [`ModelIdentity::is`](dvse_embed::ModelIdentity::is) understands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorParamsBody {
    pub size: u64,
    pub distance: String,
    pub index: Option<String>,
    pub rerank: Option<String>,
    pub hnsw_config: Option<HnswBody>,
    pub ivf_pq_config: Option<IvfPqBody>,
    pub quantization_config: Option<QuantizationBody>,
    #[serde(default)]
    pub multivector_config: Unavailable,
    pub datatype: Option<String>,
    pub model: Option<String>,
    pub on_disk: Option<bool>,
    #[serde(rename = "memory")]
    pub _memory: Option<String>,
}

/// Parameters of the graph; those left out keep their values. Those with an underscore have no effect.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HnswBody {
    pub m: Option<u64>,
    pub ef_construct: Option<u64>,
    pub full_scan_threshold: Option<u64>,
    #[serde(rename = "max_indexing_threads")]
    pub _max_indexing_threads: Option<u64>,
    pub on_disk: Option<bool>,
    #[serde(rename = "memory")]
    pub _memory: Option<String>,
    #[serde(rename = "payload_m")]
    pub _payload_m: Option<u64>,
    #[serde(rename = "inline_storage")]
    pub _inline_storage: Option<bool>,
}

/// Parameters of inverted lists; those left out keep their values.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IvfPqBody {
    pub lists: Option<u64>,
    pub values_per_code: Option<u64>,
    pub nprobe: Option<u64>,
    pub rerank: Option<u64>,
    pub full_scan_threshold: Option<u64>,
}

/// Limits that this version cannot enforce; only switched off they are taken.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct StrictModeBody(pub Map<String, Value>);

/// Where a part is kept.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacementBody {
    #[serde(rename = "memory")]
    pub _memory: Option<String>,
    #[serde(rename = "on_disk")]
    pub _on_disk: Option<bool>,
}

/// How the log of the dialect's origin is cut into files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalBody {
    #[serde(rename = "wal_capacity_mb")]
    pub _wal_capacity_mb: Option<u64>,
    #[serde(rename = "wal_segments_ahead")]
    pub _wal_segments_ahead: Option<u64>,
    #[serde(rename = "wal_retain_closed")]
    pub _wal_retain_closed: Option<u64>,
}

/// How background work of the dialect's origin is paced.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizersBody {
    #[serde(rename = "deleted_threshold")]
    pub _deleted_threshold: Option<IgnoredAny>,
    #[serde(rename = "vacuum_min_vector_number")]
    pub _vacuum_min_vector_number: Option<IgnoredAny>,
    #[serde(rename = "default_segment_number")]
    pub _default_segment_number: Option<IgnoredAny>,
    #[serde(rename = "max_segment_size")]
    pub _max_segment_size: Option<IgnoredAny>,
    #[serde(rename = "memmap_threshold")]
    pub _memmap_threshold: Option<IgnoredAny>,
    #[serde(rename = "indexing_threshold")]
    pub _indexing_threshold: Option<IgnoredAny>,
    #[serde(rename = "flush_interval_sec")]
    pub _flush_interval_sec: Option<IgnoredAny>,
    #[serde(rename = "max_optimization_threads")]
    pub _max_optimization_threads: Option<IgnoredAny>,
    #[serde(rename = "prevent_unoptimized")]
    pub _prevent_unoptimized: Option<IgnoredAny>,
}

/// Starts to index a payload field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldIndexBody {
    pub field_name: String,
    pub field_schema: FieldSchemaBody,
}

/// The kind of an index: its name, or an object with parameters.
#[derive(Debug)]
pub enum FieldSchemaBody {
    /// The name.
    Name(String),
    /// With parameters.
    Params(FieldParamsBody),
}

impl<'de> Deserialize<'de> for FieldSchemaBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SchemaVisitor;
        impl<'de> Visitor<'de> for SchemaVisitor {
            type Value = FieldSchemaBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a kind of index, or an object with its type")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<FieldSchemaBody, E> {
                Ok(FieldSchemaBody::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FieldSchemaBody, A::Error> {
                let params = FieldParamsBody::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(FieldSchemaBody::Params(params))
            }
        }
        deserializer.deserialize_any(SchemaVisitor)
    }
}

/// Parameters of a payload index. Those with an underscore only place bytes or hint at access patterns.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldParamsBody {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub prefix: Unavailable,
    #[serde(default)]
    pub nested: Unavailable,
    #[serde(rename = "is_tenant")]
    pub _is_tenant: Option<bool>,
    #[serde(rename = "is_principal")]
    pub _is_principal: Option<bool>,
    #[serde(rename = "on_disk")]
    pub _on_disk: Option<bool>,
    #[serde(rename = "memory")]
    pub _memory: Option<String>,
    #[serde(rename = "enable_hnsw")]
    pub _enable_hnsw: Option<bool>,
    #[serde(rename = "lookup")]
    pub _lookup: Option<bool>,
    #[serde(rename = "range")]
    pub _range: Option<bool>,
}

/// A collection as it is shown. What is not there is left out; clients validate against absent, not null.
#[derive(Debug, Serialize)]
pub struct CollectionBody {
    pub status: &'static str,
    pub optimizer_status: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Value>,
    pub points_count: usize,
    pub vectors_count: usize,
    pub indexed_vectors_count: usize,
    pub segments_count: usize,
    pub config: ConfigBody,
    pub payload_schema: BTreeMap<String, PayloadFieldBody>,
    pub segments_to_rebuild: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub building: Option<BuildingBody>,
    pub index_segments: BTreeMap<String, BTreeMap<&'static str, usize>>,
    pub index_bytes: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, String>,
}

/// How far the index is that is being built.
#[derive(Debug, Serialize)]
pub struct BuildingBody {
    pub linked: u64,
    pub vectors: u64,
}

/// The configuration of a collection.
#[derive(Debug, Serialize)]
pub struct ConfigBody {
    pub params: Value,
    pub index: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<&'static str>,
    pub hnsw_config: ShownHnswBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ivf_pq_config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantization_config: Option<Value>,
    pub optimizer_config: Value,
}

/// One indexed payload field.
#[derive(Debug, Serialize)]
pub struct PayloadFieldBody {
    pub data_type: &'static str,
    pub points: usize,
}

/// The parameters of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ShownHnswBody {
    pub m: usize,
    pub ef_construct: usize,
    pub full_scan_threshold: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub on_disk: bool,
}
