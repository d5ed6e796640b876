//! JSON forms of the shared parts.

use std::fmt;
use std::marker::PhantomData;

use dvse_types::PointId;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point id: an unsigned integer, or a UUID as a string in one of its three spellings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdBody(pub PointId);

impl<'de> Deserialize<'de> for IdBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = IdBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a point id: an unsigned integer or a UUID")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<IdBody, E> {
                Ok(IdBody(PointId::Num(number)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<IdBody, E> {
                match text.parse() {
                    Ok(id @ PointId::Uuid(_)) => Ok(IdBody(id)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(IdVisitor)
    }
}

impl Serialize for IdBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            PointId::Num(number) => serializer.serialize_u64(number),
            uuid @ PointId::Uuid(_) => serializer.collect_str(&uuid),
        }
    }
}

/// A list, written as a list or as its only element; `null` is an empty list.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        OneOrMany(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or a list of objects")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    elements.push(element);
                }
                Ok(OneOrMany(elements))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let element = T::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(OneOrMany(vec![element]))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(OneOrMany::default())
            }
        }
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

/// A part of the dialect that this version does not have. `null`, `{}`, `[]` and `false` ask for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unavailable {
    /// Nobody asked.
    #[default]
    Absent,
    /// Somebody asked.
    Asked,
}

impl<'de> Deserialize<'de> for Unavailable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyVisitor;
        impl<'de> Visitor<'de> for AnyVisitor {
            type Value = Unavailable;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Unavailable, E> {
                Ok(Unavailable::Absent)
            }

            fn visit_bool<E: de::Error>(self, asked: bool) -> Result<Unavailable, E> {
                Ok(if asked { Unavailable::Asked } else { Unavailable::Absent })
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Unavailable, E> {
                Ok(Unavailable::Asked)
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Unavailable, E> {
                Ok(Unavailable::Asked)
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Unavailable, E> {
                Ok(Unavailable::Asked)
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<Unavailable, E> {
                Ok(Unavailable::Asked)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Unavailable, A::Error> {
                let mut asked = Unavailable::Absent;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    asked = Unavailable::Asked;
                }
                Ok(asked)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unavailable, A::Error> {
                let mut asked = Unavailable::Absent;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    asked = Unavailable::Asked;
                }
                Ok(asked)
            }
        }
        deserializer.deserialize_any(AnyVisitor)
    }
}
