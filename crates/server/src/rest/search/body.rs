//! JSON forms of searches.

use std::fmt;

use dvse_types::PointId;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::rest::fields::Unavailable;
use crate::rest::filter::FilterBody;
use crate::rest::projection::{WithPayloadBody, WithVectorBody};
use crate::rest::vectors::{VectorBody, VectorsBody};

/// Some queries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueriesBody {
    pub searches: Vec<QueryBody>,
}

/// One query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryBody {
    pub query: Option<QueryKind>,
    pub using: Option<String>,
    pub filter: Option<FilterBody>,
    pub params: Option<ParamsBody>,
    pub score_threshold: Option<f32>,
    pub limit: Option<u64>,
    pub offset: Option<u64>,
    pub with_payload: Option<WithPayloadBody>,
    #[serde(alias = "with_vectors")]
    pub with_vector: Option<WithVectorBody>,
    pub lookup_from: Option<LookupBody>,
    #[serde(default)]
    pub prefetch: Unavailable,
    #[serde(default)]
    pub shard_key: Unavailable,
}

/// Where the vector of a point that is used as a query is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupBody {
    pub collection: String,
    pub vector: Option<String>,
    #[serde(default)]
    pub shard_key: Unavailable,
}

/// How to search; `nprobe` is ours. What is said of unindexed segments has nothing here to act on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamsBody {
    pub hnsw_ef: Option<u64>,
    pub nprobe: Option<u64>,
    pub exact: Option<bool>,
    #[serde(rename = "indexed_only")]
    pub _indexed_only: Option<bool>,
    pub quantization: Option<QuantizationParamsBody>,
    #[serde(default)]
    pub acorn: Unavailable,
    #[serde(default)]
    pub idf: Unavailable,
}

/// How quantized vectors are searched.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizationParamsBody {
    /// Whether whole vectors are read instead of codes.
    pub ignore: Option<bool>,
    /// Whether candidates beyond those returned are compared exactly.
    pub rescore: Option<bool>,
    /// How many times as many points as are returned are compared exactly at least.
    pub oversampling: Option<f64>,
}

/// What is asked.
#[derive(Debug, PartialEq)]
pub enum QueryKind {
    /// The points nearest to something.
    Nearest(NearestInput),
    /// A kind of query that this version does not have.
    Unavailable(&'static str),
}

/// What points should be near to.
#[derive(Debug, PartialEq)]
pub enum NearestInput {
    /// A vector, or a text that becomes one.
    Vector(VectorBody),
    /// A point that is there.
    Id(PointId),
}

/// The kinds of query that this version does not have, by their key.
const UNAVAILABLE_KINDS: [&str; 11] = [
    "recommend",
    "discover",
    "context",
    "order_by",
    "fusion",
    "rrf",
    "formula",
    "sample",
    "relevance_feedback",
    "mmr",
    "indices",
];

struct QueryVisitor {
    /// Whether `{"nearest": …}` may stand here, which it may not within itself.
    nearest_allowed: bool,
}

impl<'de> Visitor<'de> for QueryVisitor {
    type Value = QueryKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vector, a point id, an object with text, or an object with nearest")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<QueryKind, E> {
        Ok(QueryKind::Nearest(NearestInput::Id(PointId::Num(number))))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<QueryKind, E> {
        match text.parse() {
            Ok(id @ PointId::Uuid(_)) => Ok(QueryKind::Nearest(NearestInput::Id(id))),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<QueryKind, A::Error> {
        let vector = VectorBody::deserialize(de::value::SeqAccessDeserializer::new(list))?;
        Ok(QueryKind::Nearest(NearestInput::Vector(vector)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<QueryKind, A::Error> {
        let Some(key) = map.next_key::<String>()? else {
            return Err(de::Error::custom("the query is an empty object"));
        };
        if key == "nearest" && self.nearest_allowed {
            return read_nearest(map);
        }
        if let Some(kind) = UNAVAILABLE_KINDS.into_iter().find(|kind| *kind == key) {
            map.next_value::<IgnoredAny>()?;
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(QueryKind::Unavailable(if kind == "indices" { "sparse vector" } else { kind }));
        }
        // A document: give the key that was read back to the reader of vectors.
        let rest = WithFirstKey { first: Some(key), map };
        match VectorsBody::deserialize(de::value::MapAccessDeserializer::new(rest))? {
            VectorsBody::Single(vector) => Ok(QueryKind::Nearest(NearestInput::Vector(vector))),
            VectorsBody::Named(_) => {
                Err(de::Error::custom("a query takes one vector; name its field with `using`"))
            }
        }
    }
}

/// Reads what follows the key `nearest`.
fn read_nearest<'de, A: MapAccess<'de>>(mut map: A) -> Result<QueryKind, A::Error> {
    let NearestValue(mut kind) = map.next_value()?;
    while let Some(key) = map.next_key::<String>()? {
        if key != "mmr" {
            return Err(de::Error::unknown_field(&key, &["nearest", "mmr"]));
        }
        if map.next_value::<Unavailable>()? == Unavailable::Asked {
            kind = QueryKind::Unavailable("mmr");
        }
    }
    Ok(kind)
}

struct NearestValue(QueryKind);

impl<'de> Deserialize<'de> for NearestValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QueryVisitor { nearest_allowed: false }).map(NearestValue)
    }
}

impl<'de> Deserialize<'de> for QueryKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QueryVisitor { nearest_allowed: true })
    }
}

/// A map whose first key has been read already.
struct WithFirstKey<A> {
    first: Option<String>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithFirstKey<A> {
    type Error = A::Error;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(key) => seed.deserialize(de::IntoDeserializer::into_deserializer(key)).map(Some),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Some searches in the older form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchesBody {
    pub searches: Vec<SearchBody>,
}

/// One search in the older form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchBody {
    pub vector: SearchVectorBody,
    pub filter: Option<FilterBody>,
    pub params: Option<ParamsBody>,
    pub limit: u64,
    pub offset: Option<u64>,
    pub with_payload: Option<WithPayloadBody>,
    #[serde(alias = "with_vectors")]
    pub with_vector: Option<WithVectorBody>,
    pub score_threshold: Option<f32>,
    #[serde(default)]
    pub shard_key: Unavailable,
}

/// A vector, bare or with the name of its field.
#[derive(Debug)]
pub enum SearchVectorBody {
    /// Bare.
    Unnamed(Vec<f32>),
    /// With its name.
    Named(NamedVectorBody),
}

/// A vector with the name of its field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedVectorBody {
    pub name: String,
    pub vector: Vec<f32>,
}

impl SearchVectorBody {
    /// The name of the field and the numbers.
    #[must_use]
    pub fn into_parts(self) -> (String, Vec<f32>) {
        match self {
            SearchVectorBody::Unnamed(vector) => (String::new(), vector),
            SearchVectorBody::Named(NamedVectorBody { name, vector }) => (name, vector),
        }
    }
}

impl<'de> Deserialize<'de> for SearchVectorBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VectorVisitor;
        impl<'de> Visitor<'de> for VectorVisitor {
            type Value = SearchVectorBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of numbers, or an object with name and vector")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<SearchVectorBody, A::Error> {
                let vector = Vec::deserialize(de::value::SeqAccessDeserializer::new(list))?;
                Ok(SearchVectorBody::Unnamed(vector))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SearchVectorBody, A::Error> {
                let named = NamedVectorBody::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(SearchVectorBody::Named(named))
            }
        }
        deserializer.deserialize_any(VectorVisitor)
    }
}
