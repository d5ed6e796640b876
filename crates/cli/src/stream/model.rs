//! The models of `dvse ingest` and `dvse serve`.

use std::sync::Arc;

use dvse_embed::StaticEmbedder;

use crate::failure::Result;

/// What makes vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbedderName {
    /// The bundled table.
    Static,
    /// Nothing: records bring them.
    None,
    /// A model in Python.
    #[cfg(feature = "python")]
    Python(dvse_embed_python::ModelPath),
}

/// How models in Python are called.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct ModelCalls {
    /// Seconds that a call of a model in Python may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub model_timeout: u32,
    /// Texts that a model in Python gets at once, at most.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub model_batch: u32,
}

/// Reads the name of an embedder.
///
/// # Errors
/// There is no such kind, not in this build, or its place cannot be read.
pub fn parse_embedder(text: &str) -> std::result::Result<EmbedderName, String> {
    match text.split_once(':') {
        None if text == "static" => Ok(EmbedderName::Static),
        None if text == "none" => Ok(EmbedderName::None),
        Some((kind @ ("python" | "torchscript" | "onnx"), place)) => in_python(kind, place),
        _ => {
            Err("use static, python:MODULE:CALLABLE, torchscript:FILE, onnx:FILE, or none and records with \
                  vectors"
                .to_owned())
        }
    }
}

#[cfg(not(feature = "python"))]
fn in_python(_: &str, _: &str) -> std::result::Result<EmbedderName, String> {
    Err("this build has no Python inside: build it with `cargo build --release -p dvse-cli --features python` \
         (PYO3_PYTHON=/path/to/python chooses which one), or use static"
        .to_owned())
}

#[cfg(feature = "python")]
fn in_python(kind: &str, place: &str) -> std::result::Result<EmbedderName, String> {
    use dvse_embed_python::ModelPath;

    if place.is_empty() {
        let rest = if kind == "python" { "MODULE:CALLABLE" } else { "FILE" };
        return Err(format!("name the model: {kind}:{rest}"));
    }
    let path = match kind {
        "python" => place.parse::<ModelPath>().map_err(|error| error.to_string())?,
        _ => ModelPath::made_by(&format!("dvse.adapters.{kind}"), "load", place),
    };
    Ok(EmbedderName::Python(path))
}

impl EmbedderName {
    /// Loads the model; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be loaded.
    #[cfg_attr(
        not(feature = "python"),
        expect(unused_variables, reason = "only models in Python take these")
    )]
    pub fn load(&self, calls: &ModelCalls) -> Result<Option<Arc<dyn dvse_embed::Embedder>>> {
        Ok(match self {
            EmbedderName::Static => Some(StaticEmbedder::bundled()?),
            EmbedderName::None => None,
            #[cfg(feature = "python")]
            EmbedderName::Python(path) => Some(python::load(path, calls.model_batch, calls.model_timeout)?),
        })
    }
}

#[cfg(feature = "python")]
mod python {
    use std::env;
    use std::num::NonZeroUsize;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use dvse_embed_python::{LoadError, ModelPath, PythonEmbedder, PythonOptions};

    use crate::failure::{Failure, Result};

    /// Loads a model as `python -m` would find it: in the working folder, in the environment that is active, in `PYTHONPATH`.
    pub fn load(path: &ModelPath, batch: u32, timeout_s: u32) -> Result<Arc<dyn dvse_embed::Embedder>> {
        let defaults = PythonOptions::default();
        let options = PythonOptions {
            batch: NonZeroUsize::new(batch as usize).unwrap_or(defaults.batch),
            timeout: Duration::from_secs(u64::from(timeout_s)),
            search: env::current_dir().into_iter().collect(),
            environment: env::var_os("VIRTUAL_ENV").filter(|name| !name.is_empty()).map(PathBuf::from),
            ..defaults
        };
        match PythonEmbedder::load(path.clone(), options) {
            Ok(model) => Ok(Arc::new(model)),
            Err(error) => {
                let help = help(&error);
                Err(Failure::from(error).with_help(help))
            }
        }
    }

    fn help(error: &LoadError) -> &'static str {
        match error {
            LoadError::NoModule { module, .. } if module.starts_with("dvse.") => {
                "install the Python package of this repository: pip install ./python.\n\
                 An environment is found when it is active (VIRTUAL_ENV), a folder when it is in PYTHONPATH"
            }
            LoadError::NoModule { .. } => {
                "modules are looked for in the working folder, in the active environment (VIRTUAL_ENV), and in PYTHONPATH"
            }
            LoadError::Environment { .. } => {
                "or unset VIRTUAL_ENV, or build dvse with PYO3_PYTHON=$VIRTUAL_ENV/bin/python"
            }
            _ => {
                "a model is a callable: embed(list[str]) returns a numpy.ndarray of float32 with one row a text"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_embedders_are_read() {
        assert_eq!(parse_embedder("static"), Ok(EmbedderName::Static));
        assert_eq!(parse_embedder("none"), Ok(EmbedderName::None));
        for text in ["", "Static", "static:", "model", "openai:x"] {
            assert!(parse_embedder(text).unwrap_err().starts_with("use static"), "{text}");
        }
        #[cfg(not(feature = "python"))]
        for text in ["python:m:f", "torchscript:m.pt", "onnx:m.onnx"] {
            assert!(parse_embedder(text).unwrap_err().contains("--features python"), "{text}");
        }
        #[cfg(feature = "python")]
        {
            assert_eq!(parse_embedder("python:m:f"), Ok(EmbedderName::Python("m:f".parse().unwrap())));
            let EmbedderName::Python(path) = parse_embedder("onnx:a:b.onnx").unwrap() else { unreachable!() };
            assert_eq!(path.to_string(), "dvse.adapters.onnx:load(a:b.onnx)");
            for (text, says) in [
                ("python:", "python:MODULE:CALLABLE"),
                ("onnx:", "onnx:FILE"),
                ("python:m", "MODULE:CALLABLE"),
            ] {
                assert!(parse_embedder(text).unwrap_err().contains(says), "{text}");
            }
        }
    }
}
