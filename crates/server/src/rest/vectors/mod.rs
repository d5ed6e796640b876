//! Vectors as they come in: numbers, as text or in base64, or text that this node embeds.

mod base64;
mod body;
mod numbers;

pub use base64::read_base64;
pub use body::{BatchVectorsBody, VectorBody, VectorsBody};
pub use numbers::{read_numbers, skip_space};

use dvse_types::{CollectionSchema, NamedVectors, Vector};

use crate::embedding::Embedding;
use crate::error::RestError;

/// Embeds the documents of one request together and hands each vector to its place.
///
/// The texts are collected first, because embedding many at once is cheaper than one by one.
#[derive(Debug, Default)]
pub struct Documents {
    texts: Vec<String>,
    model: Option<String>,
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
                let field_model = schema.vectors.get(name).and_then(|params| params.model.as_deref());
                embedding.check_model(&document.model, field_model)?;
                self.model.get_or_insert(document.model);
                self.texts.push(document.text);
                Ok(PendingVector::Text(self.texts.len() - 1))
            }
        }
    }

    /// Embeds the texts.
    ///
    /// # Errors
    /// The model fails.
    pub fn embed(self, embedding: &Embedding) -> Result<Embedded, RestError> {
        if self.texts.is_empty() {
            return Ok(Embedded(Vec::new()));
        }
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        embedding.embed(&texts).map(Embedded)
    }
}

/// The vectors of embedded texts, in order.
#[derive(Debug)]
pub struct Embedded(Vec<Vector>);

impl Embedded {
    /// The vector of a place.
    #[must_use]
    pub fn finish(&self, pending: PendingVector) -> Vector {
        match pending {
            PendingVector::Ready(vector) => vector.into(),
            PendingVector::Text(position) => self.0.get(position).cloned().unwrap_or_default(),
        }
    }

    /// The vectors of a point.
    #[must_use]
    pub fn finish_named(&self, pending: Vec<(String, PendingVector)>) -> NamedVectors {
        pending.into_iter().map(|(name, vector)| (name, self.finish(vector))).collect()
    }
}
