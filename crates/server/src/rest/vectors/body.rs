//! JSON forms of vectors. This is the hot part of every upsert: numbers go from the text straight into `Vec<f32>`.
//!
//! The dialect's vectors are unions told apart by what stands there. Visitors decide by the first token, where a
//! derived union would buffer everything and try one form after the other.

use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::base64::read_base64;
use crate::rest::fields::Unavailable;

/// One vector: numbers, as a list or in base64, or a text to embed.
#[derive(Debug, Clone, PartialEq)]
pub enum VectorBody {
    /// The numbers.
    Dense(Vec<f32>),
    /// The text.
    Document(DocumentBody),
}

/// A text, and the model that embeds it. A query may leave the model to the field (ours); a write has to name it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentBody {
    pub text: String,
    pub model: Option<String>,
    #[serde(default)]
    pub options: Unavailable,
}

/// The vectors of a point: one without a name, or some by name.
#[derive(Debug, Clone, PartialEq)]
pub enum VectorsBody {
    /// The unnamed vector.
    Single(VectorBody),
    /// Vectors by name; no name comes twice.
    Named(Vec<(String, VectorBody)>),
}

impl VectorsBody {
    /// How many numbers there are.
    #[must_use]
    pub fn numbers(&self) -> usize {
        let numbers = |vector: &VectorBody| match vector {
            VectorBody::Dense(vector) => vector.len(),
            VectorBody::Document(_) => 0,
        };
        match self {
            VectorsBody::Single(vector) => numbers(vector),
            VectorsBody::Named(vectors) => vectors.iter().map(|(_, vector)| numbers(vector)).sum(),
        }
    }
}

/// The vectors of a columnar batch.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchVectorsBody {
    /// The unnamed vector of each point.
    Single(Vec<VectorBody>),
    /// For each name one vector a point.
    Named(Vec<(String, Vec<VectorBody>)>),
}

/// One number of a vector.
pub(super) struct Element(pub(super) f32);

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementVisitor;
        impl<'de> Visitor<'de> for ElementVisitor {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            #[expect(clippy::cast_possible_truncation, reason = "vectors are stored as f32")]
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Element, E> {
                Ok(Element(value as f32))
            }

            #[expect(clippy::cast_precision_loss, reason = "vectors are stored as f32")]
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Element, E> {
                Ok(Element(value as f32))
            }

            #[expect(clippy::cast_precision_loss, reason = "vectors are stored as f32")]
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Element, E> {
                Ok(Element(value as f32))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Element, A::Error> {
                Err(de::Error::custom("a vector of vectors is not available in this version"))
            }
        }
        deserializer.deserialize_any(ElementVisitor)
    }
}

fn read_text<E: de::Error>(text: &str) -> Result<VectorBody, E> {
    read_base64(text.as_bytes()).map(VectorBody::Dense).map_err(de::Error::custom)
}

fn read_dense<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Vec<f32>, A::Error> {
    let mut vector = Vec::with_capacity(list.size_hint().unwrap_or(0).min(4_096));
    while let Some(Element(value)) = list.next_element()? {
        vector.push(value);
    }
    Ok(vector)
}

/// What can stand beside a key of an object that is a vector or holds vectors.
enum Entry {
    Text(String),
    Vector(VectorBody),
    Other(&'static str),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;
        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a vector: a list of numbers, their bytes in base64, or an object with text and model",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry, E> {
                Ok(Entry::Text(text.to_owned()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Entry, E> {
                Ok(Entry::Other("null"))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Entry, A::Error> {
                Ok(Entry::Vector(VectorBody::Dense(read_dense(list)?)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                match read_object(map)? {
                    VectorsBody::Single(vector) => Ok(Entry::Vector(vector)),
                    VectorsBody::Named(names) if names.is_empty() => Ok(Entry::Other("an empty object")),
                    VectorsBody::Named(_) => Ok(Entry::Other("an object of vectors")),
                }
            }
        }
        deserializer.deserialize_any(EntryVisitor)
    }
}

/// Reads an object that is either a document or holds vectors by name; refuses the forms there are not.
///
/// A vector may well be called `text` or `indices`: what stands beside the key decides. Only in base64 it cannot be called
/// `text`, `model`, `image` or `object`, because there a text means something else.
fn read_object<'de, A: MapAccess<'de>>(mut map: A) -> Result<VectorsBody, A::Error> {
    let mut named: Vec<(String, VectorBody)> = Vec::new();
    let (mut text, mut model) = (None, None);
    while let Some(key) = map.next_key::<String>()? {
        let entry = match key.as_str() {
            // Options may be any object; they only exist in a document.
            "options" if text.is_some() || model.is_some() => {
                if map.next_value::<Unavailable>()? == Unavailable::Asked {
                    return Err(de::Error::custom("options of a document are not available in this version"));
                }
                continue;
            }
            _ => map.next_value::<Entry>()?,
        };
        match (key.as_str(), entry) {
            ("text", Entry::Text(value)) => text = Some(value),
            ("model", Entry::Text(value)) => model = Some(value),
            ("image" | "object", Entry::Text(_)) => {
                return Err(de::Error::custom("only text can be embedded in this version"));
            }
            (_, Entry::Vector(vector)) => add_named(&mut named, key, vector)?,
            (_, Entry::Text(text)) => add_named(&mut named, key, read_text(&text)?)?,
            (_, Entry::Other(what)) => {
                return Err(de::Error::custom(format_args!("{key:?} is {what} where a vector is expected")));
            }
        }
    }
    match (text, model) {
        (Some(text), model) if named.is_empty() => {
            let document = DocumentBody { text, model, options: Unavailable::Absent };
            Ok(VectorsBody::Single(VectorBody::Document(document)))
        }
        (None, Some(_)) => Err(de::Error::missing_field("text")),
        (Some(_), _) => Err(de::Error::custom("a document holds only text and model")),
        (None, None) => {
            let sparse = named.len() == 2
                && ["indices", "values"].iter().all(|part| named.iter().any(|(name, _)| name == part));
            if sparse {
                return Err(de::Error::custom("sparse vectors are not available in this version"));
            }
            Ok(VectorsBody::Named(named))
        }
    }
}

fn add_named<T, E: de::Error>(named: &mut Vec<(String, T)>, name: String, value: T) -> Result<(), E> {
    if named.iter().any(|(other, _)| *other == name) {
        return Err(de::Error::custom(format_args!("vector {name:?} comes twice")));
    }
    named.push((name, value));
    Ok(())
}

impl<'de> Deserialize<'de> for VectorsBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VectorsVisitor;
        impl<'de> Visitor<'de> for VectorsVisitor {
            type Value = VectorsBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a list of numbers, their bytes in base64, an object with text and model, or an object of \
                     vectors by name",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<VectorsBody, E> {
                Ok(VectorsBody::Single(read_text(text)?))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<VectorsBody, A::Error> {
                Ok(VectorsBody::Single(VectorBody::Dense(read_dense(list)?)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<VectorsBody, A::Error> {
                read_object(map)
            }
        }
        deserializer.deserialize_any(VectorsVisitor)
    }
}

impl<'de> Deserialize<'de> for VectorBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Entry::deserialize(deserializer)? {
            Entry::Vector(vector) => Ok(vector),
            Entry::Text(text) => read_text(&text),
            Entry::Other(what) => {
                Err(de::Error::custom(format_args!("{what} stands where a vector is expected")))
            }
        }
    }
}

impl<'de> Deserialize<'de> for BatchVectorsBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BatchVisitor;
        impl<'de> Visitor<'de> for BatchVisitor {
            type Value = BatchVectorsBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of vectors, or an object with a list of vectors for each name")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<BatchVectorsBody, A::Error> {
                let vectors = Vec::deserialize(de::value::SeqAccessDeserializer::new(list))?;
                Ok(BatchVectorsBody::Single(vectors))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BatchVectorsBody, A::Error> {
                let mut named: Vec<(String, Vec<VectorBody>)> = Vec::new();
                while let Some((key, vectors)) = map.next_entry::<String, Vec<VectorBody>>()? {
                    add_named(&mut named, key, vectors)?;
                }
                Ok(BatchVectorsBody::Named(named))
            }
        }
        deserializer.deserialize_any(BatchVisitor)
    }
}
