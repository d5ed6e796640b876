//! From a path to a callable.

use std::ffi::c_long;
use std::path::Path;

use dvse_embed::{EmbedError, ModelError, ModelIdentity, PROBE_TEXT};
use pyo3::exceptions::PyModuleNotFoundError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::array::{Array, check};
use crate::exception::{raised, type_name};
use crate::{LoadError, ModelPath, PythonOptions, identity, interrupt};

/// A model that embedded its first text.
pub struct Loaded<'py> {
    pub model: Bound<'py, PyAny>,
    pub identity: ModelIdentity,
    /// The thread that may call it, as Python numbers it.
    pub thread: c_long,
}

/// Imports the module, finds the callable and calls it once.
pub fn load<'py>(
    py: Python<'py>,
    path: &ModelPath,
    options: &PythonOptions,
) -> Result<Loaded<'py>, LoadError> {
    let python = |error: PyErr| LoadError::Python { source: raised(py, &error) };
    let thread = interrupt::this_thread(py).map_err(python)?;
    if let Some(environment) = &options.environment {
        add_environment(py, environment)?;
    }
    for folder in options.search.iter().rev() {
        put_first(py, folder).map_err(python)?;
    }
    let module = import(py, path)?;
    let model = find(py, &module, path)?;
    let dim = probe(&model).map_err(|source| LoadError::Probe { path: path.to_string(), source })?;
    let identity = identity::read(py, &module, &model, path, dim)?;
    Ok(Loaded { model, identity, thread })
}

fn add_environment(py: Python<'_>, environment: &Path) -> Result<(), LoadError> {
    let version = py.version_info();
    let packages = environment.join(format!("lib/python{}.{}/site-packages", version.major, version.minor));
    if !packages.is_dir() {
        let version = format!("{}.{}", version.major, version.minor);
        return Err(LoadError::Environment { environment: environment.to_owned(), packages, version });
    }
    let add = || {
        put_first(py, &packages)?;
        // For the `.pth` files in it.
        py.import("site")?.call_method1("addsitedir", (&packages,))
    };
    add().map(drop).map_err(|error: PyErr| LoadError::Python { source: raised(py, &error) })
}

fn put_first(py: Python<'_>, folder: &Path) -> PyResult<()> {
    let path = py.import("sys")?.getattr("path")?;
    let folder = folder.as_os_str();
    if !path.contains(folder)? {
        path.call_method1("insert", (0, folder))?;
    }
    Ok(())
}

fn import<'py>(py: Python<'py>, path: &ModelPath) -> Result<Bound<'py, PyAny>, LoadError> {
    py.import(path.module.as_str()).map(Bound::into_any).map_err(|error| {
        let missing = error.value(py).getattr("name").and_then(|name| name.extract::<String>());
        // A module that the model's module imports may be the one that is missing.
        let is_itself = missing
            .is_ok_and(|missing| path.module == missing || path.module.starts_with(&format!("{missing}.")));
        if is_itself && error.is_instance_of::<PyModuleNotFoundError>(py) {
            let folders = py.import("sys").and_then(|sys| sys.getattr("path")?.extract());
            LoadError::NoModule {
                module: path.module.clone(),
                version: version(py),
                looked_in: folders.unwrap_or_default(),
            }
        } else {
            LoadError::Import { path: path.to_string(), source: raised(py, &error) }
        }
    })
}

fn version(py: Python<'_>) -> String {
    let version = py.version_info();
    format!("{}.{}.{}", version.major, version.minor, version.patch)
}

fn find<'py>(
    py: Python<'py>,
    module: &Bound<'py, PyAny>,
    path: &ModelPath,
) -> Result<Bound<'py, PyAny>, LoadError> {
    let mut found = module.clone();
    for name in path.callable.split('.') {
        found = found.getattr(name).map_err(|_| LoadError::NoCallable {
            module: path.module.clone(),
            file: module.getattr("__file__").and_then(|file| file.extract()).unwrap_or_default(),
            callable: path.callable.clone(),
        })?;
    }
    if let Some(argument) = path.argument.as_deref().filter(|_| found.is_callable()) {
        found = found
            .call1((argument,))
            .map_err(|error| LoadError::Import { path: path.to_string(), source: raised(py, &error) })?;
    }
    if !found.is_callable() {
        let got = type_name(found.get_type().as_any());
        return Err(LoadError::NotCallable { path: path.to_string(), got });
    }
    Ok(found)
}

/// Embeds one plain text, which tells the dimensions.
fn probe(model: &Bound<'_, PyAny>) -> Result<usize, EmbedError> {
    let array = call(model, &[PROBE_TEXT])?;
    let dim = array.dim();
    if dim == 0 {
        return Err(ModelError::Dimensions { got: 0, expected: 1 }.into());
    }
    check(&array.into_vector()?, dim, &[0])?;
    Ok(dim)
}

/// Calls the model with a list of texts.
pub fn call<'py, T: AsRef<str>>(model: &Bound<'py, PyAny>, texts: &[T]) -> Result<Array<'py>, ModelError> {
    let py = model.py();
    let list = PyList::new(py, texts.iter().map(AsRef::as_ref)).map_err(|error| raised(py, &error))?;
    let value = model.call1((list,)).map_err(|error| raised(py, &error))?;
    let array = Array::of(value)?;
    match array.len() == texts.len() {
        true => Ok(array),
        false => Err(ModelError::Rows { got: array.len(), expected: texts.len() }),
    }
}
