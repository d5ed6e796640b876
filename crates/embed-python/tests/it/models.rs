//! Modules of Python for the tests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dvse_embed_python::{LoadError, PythonEmbedder, PythonOptions};

/// A module in a folder of its own. All tests share one Python, so each module has another name.
pub struct Module {
    pub folder: tempfile::TempDir,
    pub name: String,
}

impl Module {
    pub fn new(name: &str, source: &str) -> Module {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(format!("{name}.py")), source).unwrap();
        Module { folder, name: name.to_owned() }
    }

    pub fn options(&self) -> PythonOptions {
        PythonOptions {
            search: vec![self.folder.path().to_owned()],
            environment: environment(),
            // No model of these tests that is well takes long, but the machine may be busy.
            timeout: Duration::from_secs(120),
            ..PythonOptions::default()
        }
    }

    pub fn load_with(&self, callable: &str, options: PythonOptions) -> Result<PythonEmbedder, LoadError> {
        PythonEmbedder::load(format!("{}:{callable}", self.name).parse().unwrap(), options)
    }

    pub fn load(&self) -> PythonEmbedder {
        self.load_with("embed", self.options()).unwrap_or_else(|error| panic!("{}", told(&error)))
    }
}

/// The environment of the Python that this was built with, unless that is a system's own.
fn environment() -> Option<PathBuf> {
    let python = std::env::var_os("PYO3_PYTHON")?;
    let environment = Path::new(&python).parent()?.parent()?;
    environment.join("pyvenv.cfg").exists().then(|| environment.to_owned())
}

/// An error with all its causes.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        told.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    told
}
