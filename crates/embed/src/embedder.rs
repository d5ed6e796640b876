//! What every text model offers, whether a table in this process or a model in another one.

use std::fmt;

use dvse_types::Vector;

use crate::EmbedError;

/// A text that every model can embed. A call with it tells a model's dimensions, and later whether a text or the model is
/// at fault.
pub const PROBE_TEXT: &str = "a few plain words";

/// Turns texts into vectors. Implementations are shared between threads and keep no state between calls, so that the
/// same text gives the same vector; the bundled table gives the same bits.
pub trait Embedder: Send + Sync {
    /// Which model this is, to be stored beside the vectors it made.
    fn model(&self) -> &ModelIdentity;

    /// Embeds `texts` in order: one vector a text, of `model().dim` finite values. Those of the bundled table have unit length;
    /// those of other models have the length the model gives them. Vectors of one call may share memory, which then lives as long as
    /// one of them.
    ///
    /// # Errors
    ///
    /// Fails as a whole when one text has no vector; the error carries the position of the first such text.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, EmbedError>;
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
    /// What tells two models that can give different vectors for one text, whatever they are called: SHA-256 of the weights and
    /// the tokenizer as they are used, 64 lower-case hexadecimal digits. A model in Python may say otherwise.
    pub hash: String,
}

impl ModelIdentity {
    /// The text that a collection keeps of the model whose vectors it has: name, revision and hash.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{self}#{}", self.hash)
    }

    /// Whether `kept`, the text in a collection or a request, means this model: its name, its name and revision, or its tag.
    #[must_use]
    pub fn is(&self, kept: &str) -> bool {
        kept == self.name || kept == self.to_string() || kept == self.tag()
    }
}

impl fmt::Display for ModelIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_known_by_its_name_with_or_without_the_rest() {
        let model =
            ModelIdentity { name: "m".to_owned(), revision: "2".to_owned(), dim: 3, hash: "ab".to_owned() };
        assert_eq!(model.tag(), "m@2#ab");
        for (kept, is) in
            [("m", true), ("m@2", true), ("m@2#ab", true), ("m@1", false), ("m@2#ac", false), ("", false)]
        {
            assert_eq!(model.is(kept), is, "{kept}");
        }
    }
}
