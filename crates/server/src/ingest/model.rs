//! Models as a pipeline calls them.

use std::sync::Arc;

use dvse_embed::{EmbedError, PROBE_TEXT};
use dvse_ingest::{EmbedFailure, Embedder};
use dvse_types::Vector;

/// A model of texts in a pipeline. What a text is guilty of becomes its record's letter; what the model is guilty of is tried again.
pub struct TextModel(pub Arc<dyn dvse_embed::Embedder>);

impl TextModel {
    /// Embeds texts; where the model fails for all together, half of them and then the other half, down to the one that it fails for
    /// alone. That one is at fault if the model then embeds a plain text, and fails for this one again.
    fn embed_parts(&self, texts: &[&str]) -> std::result::Result<Vec<Vector>, EmbedFailure> {
        let error = match self.0.embed(texts) {
            Ok(rows) => return Ok(rows),
            Err(error) => error,
        };
        if let Some(index) = error.text() {
            // The position in this call says nothing to who reads the letter.
            let reason = error.to_string().replacen(&format!("text {index} "), "it ", 1);
            return Err(EmbedFailure::Text { index, reason });
        }
        if !matches!(&error, EmbedError::Model(error) if error.may_be_of_the_texts()) {
            return Err(EmbedFailure::Model(error.to_string()));
        }
        if texts.len() > 1 {
            let (first, second) = texts.split_at(texts.len() / 2);
            let mut rows = self.embed_parts(first)?;
            rows.extend(self.embed_parts(second).map_err(|failure| match failure {
                EmbedFailure::Text { index, reason } => {
                    EmbedFailure::Text { index: index + first.len(), reason }
                }
                EmbedFailure::Model(reason) => EmbedFailure::Model(reason),
            })?);
            return Ok(rows);
        }
        if let Err(worse) = self.0.embed(&[PROBE_TEXT]) {
            return Err(EmbedFailure::Model(worse.to_string()));
        }
        // The model may have become well between the two calls.
        match self.0.embed(texts) {
            Ok(row) => Ok(row),
            Err(EmbedError::Model(error)) if !error.may_be_of_the_texts() => {
                Err(EmbedFailure::Model(error.to_string()))
            }
            Err(error) => Err(EmbedFailure::Text { index: 0, reason: error.to_string() }),
        }
    }
}

impl Embedder for TextModel {
    fn embed(&mut self, texts: &[&str]) -> std::result::Result<Vec<Vector>, EmbedFailure> {
        self.embed_parts(texts)
    }
}

/// No model: every record has to bring its vector.
pub struct NoModel;

impl Embedder for NoModel {
    fn embed(&mut self, _: &[&str]) -> std::result::Result<Vec<Vector>, EmbedFailure> {
        Err(EmbedFailure::Text {
            index: 0,
            reason: "this pipeline runs without a model (--embedder none)".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
