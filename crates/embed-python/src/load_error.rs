//! Why a model could not be loaded.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use dvse_embed::{EmbedError, ModelError};
use thiserror::Error;

/// Why there is no model to begin with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no module of this name.
    #[error("there is no Python module {module}; Python {version} looked in {}", looked_in.join(", "))]
    NoModule {
        /// Its name.
        module: String,
        /// The Python inside this program.
        version: String,
        /// The folders of `sys.path`.
        looked_in: Vec<String>,
    },

    /// Importing the module, or making the model, raised an exception.
    #[error("cannot load {path}")]
    Import {
        /// The model.
        path: String,
        /// What was raised.
        source: ModelError,
    },

    /// The module has no such attribute.
    #[error("the Python module {module} ({file}) has no {callable}")]
    NoCallable {
        /// The module.
        module: String,
        /// Its file.
        file: String,
        /// What it lacks.
        callable: String,
    },

    /// What was named cannot be called.
    #[error("{path} is of type {got}, expected a callable that takes a list of texts")]
    NotCallable {
        /// The model.
        path: String,
        /// The type.
        got: String,
    },

    /// An attribute about the model's identity cannot be used.
    #[error("{attribute} of {path} is {got}, expected a text of 1 to 256 visible characters without blanks")]
    Identity {
        /// The attribute.
        attribute: &'static str,
        /// The model.
        path: String,
        /// What it is.
        got: String,
    },

    /// Nothing tells this model from another one of the same name.
    #[error(
        "{path} comes from no source file that can be read, so nothing tells its versions apart: give it an attribute \
         model_hash"
    )]
    NoSource {
        /// The model.
        path: String,
    },

    /// Called with a plain text, it does not return a vector.
    #[error("{path} does not embed the text {text:?}", text = dvse_embed::PROBE_TEXT)]
    Probe {
        /// The model.
        path: String,
        /// What happened.
        source: EmbedError,
    },

    /// The environment has no packages for the Python inside this program.
    #[error(
        "the environment {} has no packages for Python {version}, which is part of this program (no {}): make it with \
         that version", environment.display(), packages.display()
    )]
    Environment {
        /// The environment.
        environment: PathBuf,
        /// Where its packages would be.
        packages: PathBuf,
        /// The Python inside this program.
        version: String,
    },

    /// It takes too long.
    #[error("{path} was not loaded within {timeout:?}")]
    Late {
        /// The model.
        path: String,
        /// How long it had.
        timeout: Duration,
    },

    /// Python itself does not work.
    #[error("the Python inside this program fails")]
    Python {
        /// What it raised.
        source: ModelError,
    },

    /// The thread of the model did not start.
    #[error("the thread of the model did not start")]
    NoThread(#[source] io::Error),

    /// The thread of the model ended.
    #[error("the thread of the model ended while it loaded {path}")]
    Ended {
        /// The model.
        path: String,
    },
}
