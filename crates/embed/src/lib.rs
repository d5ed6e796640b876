//! Text to vectors: a bundled static embedding table and the trait other models implement.
