//! Text models written in Python, as embedders inside this process.
//!
//! A model is any callable `embed(list[str]) -> numpy.ndarray` of float32 with one row a text. [`PythonEmbedder`] calls it on a
//! thread of its own, with a deadline, and believes nothing it returns: type, element type, shape, memory layout and each number
//! are checked, and every refusal says what was expected. It does not know where vectors go, and it needs no package of
//! Python but what the model itself imports: arrays are read through the buffer protocol, in place, and stay there
//! where nobody else can reach them.
//!
//! Why it is built this way is in `docs/adr/0020-python-embedders.md`.

mod array;
mod embedder;
mod exception;
mod identity;
mod interrupt;
mod load;
mod load_error;
mod model_path;
mod worker;

pub use embedder::{PythonEmbedder, PythonOptions};
pub use load_error::LoadError;
pub use model_path::{InvalidModelPath, ModelPath};
