//! Text to vectors for requests that bring text.

use dvse_embed::{Embedder, StaticEmbedder};
use dvse_types::Vector;

use crate::error::RestError;

/// The models of this node: the bundled table, loaded when the first text comes.
#[derive(Debug, Default)]
pub struct Embedding;

impl Embedding {
    /// Checks that this node has the model and that the field's vectors are of the same one.
    ///
    /// # Errors
    /// The node has no such model, or the field belongs to another.
    pub fn check_model(&self, asked: &str, field_model: Option<&str>) -> Result<(), RestError> {
        let embedder = StaticEmbedder::bundled()?;
        let identity = embedder.model();
        if !identity.is(asked) {
            return Err(RestError::unsupported(format!(
                "model {asked:?}; this node embeds with {:?}",
                identity.name
            )));
        }
        match field_model {
            Some(model) if !identity.is(model) => Err(RestError::misfit(
                "model",
                format!(
                    "the vectors of this field are of model {model:?}; those of {asked:?} cannot be mixed in"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Embeds texts, in order.
    ///
    /// # Errors
    /// A text has no vector.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, RestError> {
        let embedder = StaticEmbedder::bundled()?;
        Ok(embedder.embed(texts)?)
    }
}
