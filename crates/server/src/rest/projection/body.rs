//! JSON forms of the selectors and of shown points.

use std::fmt;

use dvse_types::{NamedVectors, Payload};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rest::fields::IdBody;

/// `with_payload`: a truth value, a list of keys, `{"include": […]}` or `{"exclude": […]}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WithPayloadBody {
    /// All or nothing.
    Flag(bool),
    /// Only these keys.
    Include(Vec<String>),
    /// All but these keys.
    Exclude(Vec<String>),
}

impl<'de> Deserialize<'de> for WithPayloadBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SelectorVisitor;
        impl<'de> Visitor<'de> for SelectorVisitor {
            type Value = WithPayloadBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, a list of keys, or an object with include or exclude")
            }

            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<WithPayloadBody, E> {
                Ok(WithPayloadBody::Flag(flag))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<WithPayloadBody, A::Error> {
                let keys = Vec::deserialize(de::value::SeqAccessDeserializer::new(list))?;
                Ok(WithPayloadBody::Include(keys))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WithPayloadBody, A::Error> {
                let body = KeysBody::deserialize(de::value::MapAccessDeserializer::new(map))?;
                match (body.include, body.exclude) {
                    (Some(keys), None) => Ok(WithPayloadBody::Include(keys)),
                    (None, Some(keys)) => Ok(WithPayloadBody::Exclude(keys)),
                    _ => Err(de::Error::custom("with_payload must hold one of include and exclude")),
                }
            }
        }
        deserializer.deserialize_any(SelectorVisitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysBody {
    include: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
}

/// `with_vector`: a truth value, or a list of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WithVectorBody {
    /// All or nothing.
    Flag(bool),
    /// Only these.
    Names(Vec<String>),
}

impl<'de> Deserialize<'de> for WithVectorBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SelectorVisitor;
        impl<'de> Visitor<'de> for SelectorVisitor {
            type Value = WithVectorBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a list of vector names")
            }

            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<WithVectorBody, E> {
                Ok(WithVectorBody::Flag(flag))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<WithVectorBody, A::Error> {
                Ok(WithVectorBody::Names(Vec::deserialize(de::value::SeqAccessDeserializer::new(list))?))
            }
        }
        deserializer.deserialize_any(SelectorVisitor)
    }
}

/// A point in an answer. Parts that were not asked for are absent; nulls inside a payload stay.
#[derive(Debug, Serialize)]
pub struct PointBody<'a> {
    pub id: IdBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<&'a Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<VectorsOut<'a>>,
}

/// The vectors of a point: the unnamed one bare, others by name.
#[derive(Debug)]
pub struct VectorsOut<'a>(pub &'a NamedVectors);

impl Serialize for VectorsOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.get("") {
            Some(unnamed) if self.0.len() == 1 => unnamed[..].serialize(serializer),
            _ => serializer.collect_map(self.0.iter().map(|(name, vector)| (name, &vector[..]))),
        }
    }
}
