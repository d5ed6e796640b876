//! What tells a model in Python from others.

use std::path::PathBuf;

use dvse_embed::ModelIdentity;
use pyo3::prelude::*;

use crate::exception::raised;
use crate::{LoadError, ModelPath};

/// How much of the hash stands for a revision where the model tells none.
const SHORT_HASH_CHARS: usize = 12;
/// The longest text of a model about itself.
const TEXT_CHARS: usize = 256;

/// Reads `model_name`, `model_revision` and `model_hash` of the callable, else of its module. Without a name it is the model's
/// path; without a hash it is the SHA-256 of the module's source file; without a revision it is the beginning of the hash.
///
/// # Errors
/// An attribute is no plain text, or there is neither a hash nor a source file.
pub fn read(
    py: Python<'_>,
    module: &Bound<'_, PyAny>,
    model: &Bound<'_, PyAny>,
    path: &ModelPath,
    dim: usize,
) -> Result<ModelIdentity, LoadError> {
    let text = |attribute: &'static str| -> Result<Option<String>, LoadError> {
        // A module that holds a factory says nothing about what the factory makes.
        let places = if path.argument.is_some() { vec![model] } else { vec![model, module] };
        for place in places {
            let Some(value) = place.getattr_opt(attribute).ok().flatten().filter(|value| !value.is_none())
            else {
                continue;
            };
            return match value.extract::<String>() {
                Ok(text) if is_plain(&text) => Ok(Some(text)),
                _ => {
                    let got = value.repr().map_or_else(|_| "unknown".to_owned(), |text| text.to_string());
                    let got = got.chars().take(TEXT_CHARS).collect();
                    Err(LoadError::Identity { attribute, path: path.to_string(), got })
                }
            };
        }
        Ok(None)
    };
    let hash = match text("model_hash")? {
        Some(hash) => hash,
        None => source_hash(py, module, path)?,
    };
    let revision = text("model_revision")?.unwrap_or_else(|| hash.chars().take(SHORT_HASH_CHARS).collect());
    let name = text("model_name")?.unwrap_or_else(|| path.to_string());
    Ok(ModelIdentity { name, revision, dim, hash })
}

fn is_plain(text: &str) -> bool {
    let is_short = (1..=TEXT_CHARS).contains(&text.chars().count());
    is_short && text.chars().all(|c| !c.is_whitespace() && !c.is_control())
}

fn source_hash(py: Python<'_>, module: &Bound<'_, PyAny>, path: &ModelPath) -> Result<String, LoadError> {
    let no_source = || LoadError::NoSource { path: path.to_string() };
    let file: PathBuf =
        module.getattr("__file__").and_then(|file| file.extract()).map_err(|_| no_source())?;
    let bytes = std::fs::read(file).map_err(|_| no_source())?;
    // Python's own, which saves this crate a dependency.
    let digest = || {
        py.import("hashlib")?
            .call_method1("sha256", (bytes.as_slice(),))?
            .call_method0("hexdigest")?
            .extract()
    };
    digest().map_err(|error: PyErr| LoadError::Python { source: raised(py, &error) })
}
