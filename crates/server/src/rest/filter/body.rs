//! JSON forms of filters. Shapes only; what fits together is decided in `read.rs`.

use std::fmt;

use dvse_types::MatchValue;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use crate::rest::fields::{IdBody, OneOrMany, Unavailable};

/// A filter.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterBody {
    #[serde(default)]
    pub must: OneOrMany<ConditionBody>,
    #[serde(default)]
    pub should: OneOrMany<ConditionBody>,
    #[serde(default)]
    pub must_not: OneOrMany<ConditionBody>,
    pub min_should: Option<MinShouldBody>,
}

/// At least some of the conditions.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinShouldBody {
    pub conditions: Vec<ConditionBody>,
    pub min_count: u64,
}

/// Everything a condition can be. Which of the fields are there decides what it is.
///
/// One flat structure instead of an untagged union: a union would buffer each condition and try one form after the
/// other, and its only error would be that none fits.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionBody {
    pub key: Option<String>,
    #[serde(rename = "match")]
    pub matches: Option<Box<MatchBody>>,
    pub range: Option<Box<RangeBody>>,
    pub values_count: Option<CountRangeBody>,
    #[serde(default)]
    pub geo_bounding_box: Unavailable,
    #[serde(default)]
    pub geo_radius: Unavailable,
    #[serde(default)]
    pub geo_polygon: Unavailable,
    pub is_empty: Option<KeyOrFlag>,
    pub is_null: Option<KeyOrFlag>,
    pub has_id: Option<Vec<IdBody>>,
    pub has_vector: Option<String>,
    #[serde(default)]
    pub slice: Unavailable,
    pub nested: Option<Box<NestedBody>>,
    pub filter: Option<Box<FilterBody>>,
    pub must: Option<OneOrMany<ConditionBody>>,
    pub should: Option<OneOrMany<ConditionBody>>,
    pub must_not: Option<OneOrMany<ConditionBody>>,
    pub min_should: Option<Box<MinShouldBody>>,
}

/// A filter on each element of an array.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NestedBody {
    pub key: String,
    pub filter: FilterBody,
}

/// `{"key": "a.b"}` in a condition of its own, or a truth value beside a key.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyOrFlag {
    /// The key.
    Key(String),
    /// Whether it should hold.
    Flag(bool),
}

impl<'de> Deserialize<'de> for KeyOrFlag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct KeyBody {
            key: String,
        }
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = KeyOrFlag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a key, or true or false")
            }

            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<KeyOrFlag, E> {
                Ok(KeyOrFlag::Flag(flag))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<KeyOrFlag, A::Error> {
                let body = KeyBody::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(KeyOrFlag::Key(body.key))
            }
        }
        deserializer.deserialize_any(KeyVisitor)
    }
}

/// How a value is compared.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchBody {
    pub value: Option<MatchValueBody>,
    pub any: Option<Vec<MatchValueBody>>,
    #[serde(rename = "except")]
    pub except: Option<Vec<MatchValueBody>>,
    #[serde(default)]
    pub text: Unavailable,
    #[serde(default)]
    pub text_any: Unavailable,
    #[serde(default)]
    pub phrase: Unavailable,
    #[serde(default)]
    pub prefix: Unavailable,
    #[serde(default)]
    pub substring: Unavailable,
}

/// A value that can be compared for equality.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchValueBody(pub MatchValue);

impl<'de> Deserialize<'de> for MatchValueBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl Visitor<'_> for ValueVisitor {
            type Value = MatchValueBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an integer of 64 bits, or true or false")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<MatchValueBody, E> {
                Ok(MatchValueBody(MatchValue::Bool(value)))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<MatchValueBody, E> {
                Ok(MatchValueBody(MatchValue::Integer(value)))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<MatchValueBody, E> {
                let value = i64::try_from(value)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))?;
                Ok(MatchValueBody(MatchValue::Integer(value)))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<MatchValueBody, E> {
                Ok(MatchValueBody(MatchValue::Keyword(value.to_owned())))
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// Bounds of numbers or of dates; which of them is decided by what stands there, not by where it stands.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeBody {
    pub gt: Option<BoundBody>,
    pub gte: Option<BoundBody>,
    pub lt: Option<BoundBody>,
    pub lte: Option<BoundBody>,
}

/// One bound.
#[derive(Debug, Clone, PartialEq)]
pub enum BoundBody {
    /// Of numbers.
    Number(f64),
    /// Of dates.
    Date(String),
}

impl<'de> Deserialize<'de> for BoundBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoundVisitor;
        impl Visitor<'_> for BoundVisitor {
            type Value = BoundBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or an RFC 3339 date")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<BoundBody, E> {
                Ok(BoundBody::Number(value))
            }

            #[expect(clippy::cast_precision_loss, reason = "payload numbers are compared as f64 too")]
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<BoundBody, E> {
                Ok(BoundBody::Number(value as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "payload numbers are compared as f64 too")]
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<BoundBody, E> {
                Ok(BoundBody::Number(value as f64))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<BoundBody, E> {
                Ok(BoundBody::Date(value.to_owned()))
            }
        }
        deserializer.deserialize_any(BoundVisitor)
    }
}

/// Bounds of a count.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountRangeBody {
    pub gt: Option<u64>,
    pub gte: Option<u64>,
    pub lt: Option<u64>,
    pub lte: Option<u64>,
}
