//! Text to vectors: a bundled static embedding table and the trait other models implement.
//!
//! [`StaticEmbedder`] turns a text into a unit vector by looking up one row per token and taking the mean. It needs no
//! network, no Python and no graphics card, and embeds some two hundred thousand short texts a second on one core, so it
//! is what `dvse demo` and the server's text queries use out of the box. Where the table comes from and what its
//! reduction to bytes costs is in `docs/adr/0004-static-embedding.md`.
//!
//! [`wordnet`] holds the data set of the demo: the 117 659 meanings of WordNet 3.0 (`docs/adr/0005-wordnet-glosses.md`).

mod embedder;
mod error;
mod merge_rules;
mod model_error;
mod static_embedder;
mod table;
mod tokenizer;
pub mod wordnet;

pub use embedder::{Embedder, ModelIdentity, PROBE_TEXT};
pub use error::EmbedError;
pub use model_error::ModelError;
pub use static_embedder::StaticEmbedder;
pub use tokenizer::MAX_TEXT_BYTES;
