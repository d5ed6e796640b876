//! Why a text got no vector, or a table was refused.

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
