//! Why a text got no vector, or a table was refused.

use crate::ModelError;

/// What can go wrong while loading a table or embedding texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The text is empty or holds nothing but white space, so it has no meaning to embed.
    #[error("text {index} is empty or only white space: give it at least one visible character")]
    EmptyText {
        /// Position of the text in the call, from 0.
        index: usize,
    },

    /// The vectors of the tokens cancel out, so their mean has no direction.
    #[error("text {index} has no direction: the vectors of its tokens add up to zero")]
    NoDirection {
        /// Position of the text in the call, from 0.
        index: usize,
    },

    /// The vector of a text holds NaN or an infinity.
    #[error("text {index} got a vector with {got} in column {column}: a model has to return finite numbers")]
    NotFinite {
        /// Position of the text in the call, from 0.
        index: usize,
        /// Where in the vector, from 0.
        column: usize,
        /// What stands there.
        got: &'static str,
    },

    /// The vector of a text is zero throughout.
    #[error("text {index} got a vector of zeros, which has no direction")]
    ZeroVector {
        /// Position of the text in the call, from 0.
        index: usize,
    },

    /// The model failed, not a certain text.
    #[error(transparent)]
    Model(#[from] ModelError),

    /// A field of an embedding table has a value that cannot be right.
    #[error("embedding table damaged at byte {offset}: {field} is {got}, expected {expected}")]
    DamagedTable {
        /// Where the field starts in the file.
        offset: usize,
        /// Name of the field as in the format description in `assets/build_table.py`.
        field: &'static str,
        /// The value found.
        got: u64,
        /// The value, or the bound, that it should have met.
        expected: u64,
    },

    /// A piece of text in an embedding table cannot be used.
    #[error("embedding table damaged at byte {offset}: {field} {problem}")]
    DamagedText {
        /// Where the text starts in the file.
        offset: usize,
        /// Name of the field as in the format description in `assets/build_table.py`.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl EmbedError {
    /// The same of the text at another position, for who made the call for a part of the texts.
    #[must_use]
    pub fn at(mut self, position: usize) -> EmbedError {
        if let EmbedError::EmptyText { index }
        | EmbedError::NoDirection { index }
        | EmbedError::NotFinite { index, .. }
        | EmbedError::ZeroVector { index } = &mut self
        {
            *index = position;
        }
        self
    }

    /// The position in the call of the text that is at fault; `None` if no certain one is.
    #[must_use]
    pub fn text(&self) -> Option<usize> {
        match self {
            EmbedError::EmptyText { index }
            | EmbedError::NoDirection { index }
            | EmbedError::NotFinite { index, .. }
            | EmbedError::ZeroVector { index } => Some(*index),
            EmbedError::Model(_) | EmbedError::DamagedTable { .. } | EmbedError::DamagedText { .. } => None,
        }
    }
}
