//! JSON forms of requests about points.

use dvse_types::Payload;
use serde::Deserialize;

use crate::rest::fields::{IdBody, Unavailable};
use crate::rest::filter::FilterBody;
pub use crate::rest::projection::{WithPayloadBody, WithVectorBody};
use crate::rest::sources::MarkBody;
use crate::rest::vectors::{BatchVectorsBody, VectorsBody};

/// Asks for points by id.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdsBody {
    pub ids: Vec<IdBody>,
    pub with_payload: Option<WithPayloadBody>,
    #[serde(alias = "with_vectors")]
    pub with_vector: Option<WithVectorBody>,
    #[serde(default)]
    pub shard_key: Unavailable,
}

/// Asks for a page of points.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScrollBody {
    pub offset: Option<IdBody>,
    pub limit: Option<u64>,
    pub filter: Option<FilterBody>,
    pub with_payload: Option<WithPayloadBody>,
    #[serde(alias = "with_vectors")]
    pub with_vector: Option<WithVectorBody>,
    #[serde(default)]
    pub order_by: Unavailable,
    #[serde(default)]
    pub shard_key: Unavailable,
}

/// Asks how many points there are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountRequestBody {
    pub filter: Option<FilterBody>,
    #[expect(dead_code, reason = "counts are always exact; the field is part of the dialect")]
    pub exact: Option<bool>,
    #[serde(default)]
    pub shard_key: Unavailable,
}

/// Asks for the values of a payload field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FacetRequestBody {
    pub key: String,
    pub limit: Option<u64>,
    pub filter: Option<FilterBody>,
    #[expect(dead_code, reason = "counts are always exact; the field is part of the dialect")]
    pub exact: Option<bool>,
    #[serde(default)]
    pub shard_key: Unavailable,
}

/// Writes points: as a list, or in columns.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpsertBody {
    pub points: Option<Vec<PointBody>>,
    pub batch: Option<BatchBody>,
    #[serde(default)]
    pub shard_key: Unavailable,
    #[serde(default)]
    pub update_filter: Unavailable,
    pub update_mode: Option<String>,
}

/// One point.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointBody {
    pub id: IdBody,
    pub vector: VectorsBody,
    pub payload: Option<Payload>,
}

/// Points in columns.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    pub ids: Vec<IdBody>,
    pub vectors: BatchVectorsBody,
    pub payloads: Option<Vec<Option<Payload>>>,
}

/// Names points: by id or by filter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectorBody {
    pub points: Option<Vec<IdBody>>,
    pub filter: Option<FilterBody>,
    #[serde(default)]
    pub shard_key: Unavailable,
}

/// Merges into, or replaces, payloads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPayloadBody {
    pub payload: Payload,
    pub points: Option<Vec<IdBody>>,
    pub filter: Option<FilterBody>,
    pub key: Option<String>,
    #[serde(default)]
    pub shard_key: Unavailable,
}

/// Removes keys from payloads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletePayloadBody {
    pub keys: Vec<String>,
    pub points: Option<Vec<IdBody>>,
    pub filter: Option<FilterBody>,
    #[serde(default)]
    pub shard_key: Unavailable,
}

/// Replaces vectors of points.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateVectorsBody {
    pub points: Vec<PointVectorsBody>,
    #[serde(default)]
    pub shard_key: Unavailable,
    #[serde(default)]
    pub update_filter: Unavailable,
}

/// The new vectors of one point.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointVectorsBody {
    pub id: IdBody,
    pub vector: VectorsBody,
}

/// Takes vectors away from points.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteVectorsBody {
    pub vector: Vec<String>,
    pub points: Option<Vec<IdBody>>,
    pub filter: Option<FilterBody>,
    #[serde(default)]
    pub shard_key: Unavailable,
}

/// Some operations, in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationsBody {
    pub operations: Vec<OperationBody>,
    pub source: Option<MarkBody>,
}

/// One operation of a batch: an object with the operation's name as its only key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationBody {
    Upsert(UpsertBody),
    Delete(SelectorBody),
    SetPayload(SetPayloadBody),
    OverwritePayload(SetPayloadBody),
    DeletePayload(DeletePayloadBody),
    ClearPayload(SelectorBody),
    UpdateVectors(UpdateVectorsBody),
    DeleteVectors(DeleteVectorsBody),
}
