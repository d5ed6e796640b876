//! Vectors as they come in: numbers, as text or in base64, or text that this node embeds.

mod base64;
mod body;
mod numbers;

pub use base64::read_base64;
pub use body::{BatchVectorsBody, VectorBody, VectorsBody};
pub use numbers::{read_numbers, skip_space};

use dvse_embed::StaticEmbedder;
use dvse_types::{CollectionSchema, NamedVectors, Vector};

use crate::embedding::{Embedding, Made, ModelKey, Wanted, embed};
use crate::error::RestError;

/// Embeds the documents of one request together and hands each vector to its place.
///
/// The texts are collected first, because embedding many at once is cheaper than one by one.
#[derive(Debug, Default)]
pub struct Documents {
    texts: Vec<(ModelKey, String)>,
}

/// A vector that is there, or the place of one that is still a text.
#[derive(Debug)]
pub enum PendingVector {
    /// There.
    Ready(Vec<f32>),
    /// The position of its text.
    Text(usize),
}

impl Documents {
    /// Takes over a vector; a document's text is kept until [`Documents::embed`].
    ///
    /// # Errors
    /// The document names a model that this node does not have, or that is not the field's.
    pub fn take(
        &mut self,
        body: VectorBody,
        name: &str,
        schema: &CollectionSchema,
        embedding: &Embedding,
    ) -> Result<PendingVector, RestError> {
        match body {
            VectorBody::Dense(vector) => Ok(PendingVector::Ready(vector)),
            VectorBody::Document(document) => {
                let kept = schema.vectors.get(name).and_then(|params| params.model.as_deref());
                let model = embedding.find(document.model.as_deref(), kept)?;
                self.texts.push((model, document.text));
                Ok(PendingVector::Text(self.texts.len() - 1))
            }
        }
    }

    /// Embeds the texts of the bundled table, and finds those of other models among what was `made` for the request.
    ///
    /// # Errors
    /// A text has no vector, or [`RestError::Texts`] if vectors are still to be made.
    pub fn embed(self, made: &Made) -> Result<Embedded, RestError> {
        let mut vectors = vec![Vector::default(); self.texts.len()];
        let (mut bundled, mut wanted) = (Vec::new(), Wanted::default());
        for (place, (model, text)) in self.texts.into_iter().enumerate() {
            match model {
                ModelKey::Bundled => bundled.push((place, text)),
                ModelKey::Loaded(number) => match (made.get(number, &text), vectors.get_mut(place)) {
                    (Some(vector), Some(slot)) => *slot = vector.clone(),
                    _ => wanted.0.entry(number).or_default().push((place, text)),
                },
            }
        }
        if !bundled.is_empty() {
            let table = StaticEmbedder::bundled()?;
            let rows = embed(&*table, &bundled)?;
            for ((place, _), row) in bundled.iter().zip(rows) {
                if let Some(slot) = vectors.get_mut(*place) {
                    *slot = row;
                }
            }
        }
        match wanted.0.is_empty() {
            true => Ok(Embedded { vectors }),
            false => Err(RestError::Texts(wanted)),
        }
    }
}

/// The vectors of embedded texts.
#[derive(Debug)]
pub struct Embedded {
    vectors: Vec<Vector>,
}

impl Embedded {
    /// Hands out the vector of a place, once.
    #[must_use]
    pub fn finish(&mut self, pending: PendingVector) -> Vector {
        match pending {
            PendingVector::Ready(vector) => vector.into(),
            PendingVector::Text(position) => {
                self.vectors.get_mut(position).map(std::mem::take).unwrap_or_default()
            }
        }
    }

    /// The vectors of a point.
    #[must_use]
    pub fn finish_named(&mut self, pending: Vec<(String, PendingVector)>) -> NamedVectors {
        pending.into_iter().map(|(name, vector)| (name, self.finish(vector))).collect()
    }
}
