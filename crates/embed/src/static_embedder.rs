//! The embedder that needs nothing but this program: the mean of one table row per token.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::thread;

use dvse_types::Vector;

use crate::table::Table;
use crate::tokenizer::{TokenScratch, Tokenizer};
use crate::{EmbedError, Embedder, ModelIdentity};

static BUNDLED_TABLE: &[u8] = include_bytes!("../assets/static-embedding.bin");

/// Embeds a text as the mean of its token vectors, scaled to unit length.
///
/// Vectors agree with those of the Python package `wordllama` (`embed(text, norm=True)`) to a cosine of at least 0.999;
/// the difference is the rounding of the table to bytes. Word order and context do not count: a table knows words, not
/// sentences. Only the first [`MAX_TEXT_BYTES`](crate::MAX_TEXT_BYTES) bytes of a text count.
pub struct StaticEmbedder {
    table: Table,
    tokenizer: Tokenizer,
}

impl StaticEmbedder {
    /// The table that is part of this program (256 dimensions, 32 000 tokens). The first call checks and indexes it,
    /// some ten milliseconds; later calls share the result.
    ///
    /// # Errors
    ///
    /// Fails only when the program file itself is damaged.
    pub fn bundled() -> Result<Arc<StaticEmbedder>, EmbedError> {
        static BUNDLED: OnceLock<Result<Arc<StaticEmbedder>, EmbedError>> = OnceLock::new();
        BUNDLED.get_or_init(|| StaticEmbedder::from_bytes(Cow::Borrowed(BUNDLED_TABLE)).map(Arc::new)).clone()
    }

    /// An embedder over a table in the format that `assets/build_table.py` writes.
    ///
    /// # Errors
    ///
    /// Refuses bytes that are not such a table, naming the field and the offset.
    pub fn from_bytes(bytes: Cow<'static, [u8]>) -> Result<StaticEmbedder, EmbedError> {
        let table = Table::parse(bytes)?;
        let tokenizer = Tokenizer::new(&table)?;
        Ok(StaticEmbedder { table, tokenizer })
    }

    /// The tokens of a text, in order; none for an empty text.
    pub fn tokens(&self, text: &str) -> Vec<u16> {
        let mut tokens = Vec::new();
        self.tokenizer.encode(text, &mut TokenScratch::default(), &mut tokens);
        tokens
    }

    /// The text a token stands for, with U+2581 for a blank and `<0x0A>` for a byte; `None` for a token that is not in
    /// the table.
    pub fn piece(&self, token: u16) -> Option<&str> {
        self.table.pieces.get(usize::from(token)).map(String::as_str)
    }

    /// Like [`Embedder::embed`] on up to `threads` threads, which live for this call only. The result is row-major, and does
    /// not depend on their number.
    ///
    /// # Errors
    ///
    /// As [`Embedder::embed`]: the error is that of the first text that has no vector.
    pub fn embed_parallel(&self, texts: &[&str], threads: usize) -> Result<Vec<f32>, EmbedError> {
        let dim = self.table.identity.dim;
        let share = texts.len().div_ceil(threads.max(1)).max(1);
        let mut vectors = vec![0.0; texts.len() * dim];
        let parts = texts.chunks(share).zip(vectors.chunks_mut(share * dim)).enumerate();
        if texts.len() <= share {
            self.embed_into(texts, 0, &mut vectors)?;
            return Ok(vectors);
        }
        thread::scope(|scope| {
            let workers: Vec<_> = parts
                .map(|(part, (texts, out))| scope.spawn(move || self.embed_into(texts, part * share, out)))
                .collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        Ok(vectors)
    }

    /// Embeds `texts` into the zeroed rows of `out`; `first` is the index of the first text in the caller's list.
    fn embed_into(&self, texts: &[&str], first: usize, out: &mut [f32]) -> Result<(), EmbedError> {
        let mut scratch = TokenScratch::default();
        let mut tokens = Vec::new();
        for ((index, text), out) in (first..).zip(texts).zip(out.chunks_mut(self.table.identity.dim)) {
            if text.trim().is_empty() {
                return Err(EmbedError::EmptyText { index });
            }
            tokens.clear();
            self.tokenizer.encode(text, &mut scratch, &mut tokens);
            for token in &tokens {
                let (scale, row) = self.table.row(*token);
                for (sum, value) in out.iter_mut().zip(row) {
                    *sum += scale * f32::from(*value);
                }
            }
            if !scale_to_unit_length(out) {
                return Err(EmbedError::NoDirection { index });
            }
        }
        Ok(())
    }
}

impl Embedder for StaticEmbedder {
    fn model(&self) -> &ModelIdentity {
        &self.table.identity
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, EmbedError> {
        let rows = Vector::from(self.embed_parallel(texts, 1)?);
        Ok(rows.rows(self.table.identity.dim).collect())
    }
}

/// Divides by the length, which also turns a sum into the direction of the mean. False when there is no direction.
fn scale_to_unit_length(vector: &mut [f32]) -> bool {
    let squares: f64 = vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    let length = squares.sqrt();
    // Written so that NaN fails too.
    if !(length > 0.0 && length.is_finite()) {
        return false;
    }
    for value in vector {
        *value = (f64::from(*value) / length) as f32;
    }
    true
}
