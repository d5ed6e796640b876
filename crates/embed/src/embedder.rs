//! What every text model offers, whether a table in this process or a model in another one.

use std::fmt;

use crate::EmbedError;

/// Turns texts into vectors. Implementations are shared between threads and keep no state between calls, so that the
/// same text always gives the same bits.
pub trait Embedder: Send + Sync {
    /// Which model this is, to be stored beside the vectors it made.
    fn model(&self) -> &ModelIdentity;

    /// Embeds `texts` in order. The result is row-major, `texts.len() × model().dim` values, each row of unit length.
    ///
    /// # Errors
    ///
    /// Fails as a whole when one text has no vector; the error carries the position of the first such text.
    fn embed(&self, texts: &[&str]) -> Result<Vec<f32>, EmbedError>;
}

/// Names a model so exactly that vectors of two models are never mixed in one collection by accident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelIdentity {
    /// Name of the model and of the reduction applied to it, for example `wordllama-l2-supercat-256-int8`.
    pub name: String,
    /// Version of the package or repository the weights were taken from.
    pub revision: String,
    /// Length of every vector, at least 1.
    pub dim: usize,
    /// SHA-256 of the weights and the tokenizer as they are used, 64 lower-case hexadecimal digits. Two models that can
    /// give different vectors for one text differ here, whatever they are called.
    pub hash: String,
}

impl fmt::Display for ModelIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.revision)
    }
}
