//! Real modules of Python, written to a folder, under [`dvse_embed_python::PythonEmbedder`]. They need NumPy in the Python that this
//! is built with (`PYO3_PYTHON`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a check that fails is to panic")]

mod deadlines;
mod loading;
mod models;
mod no_copies;
mod ownership;
mod recording;
mod results;
