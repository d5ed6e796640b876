//! Where a model is among the modules of Python.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A callable of a module, or what a callable of a module makes of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPath {
    /// The module, such as `package.module`.
    pub module: String,
    /// The callable in it; dots lead into objects.
    pub callable: String,
    /// Where there is one, the callable is called with it once, and returns the model.
    pub argument: Option<String>,
}

/// Why a text names no callable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidModelPath {
    /// There is no colon.
    #[error("model {0:?} names no callable: write MODULE:CALLABLE")]
    NoCallable(String),
    /// One part is no name of Python.
    #[error(
        "{part:?} in model {path:?} is no name in Python: write MODULE:CALLABLE, such as my_package.model:embed"
    )]
    NoName {
        /// The part.
        part: String,
        /// The whole.
        path: String,
    },
}

impl ModelPath {
    /// The model that `module.factory(argument)` returns.
    #[must_use]
    pub fn made_by(module: &str, factory: &str, argument: &str) -> ModelPath {
        ModelPath {
            module: module.to_owned(),
            callable: factory.to_owned(),
            argument: Some(argument.to_owned()),
        }
    }
}

impl FromStr for ModelPath {
    type Err = InvalidModelPath;

    fn from_str(text: &str) -> Result<ModelPath, InvalidModelPath> {
        let (module, callable) =
            text.split_once(':').ok_or_else(|| InvalidModelPath::NoCallable(text.to_owned()))?;
        for part in module.split('.').chain(callable.split('.')) {
            let is_name = part.chars().all(|c| c.is_alphanumeric() || c == '_')
                && part.chars().next().is_some_and(|c| !c.is_numeric());
            if !is_name {
                return Err(InvalidModelPath::NoName { part: part.to_owned(), path: text.to_owned() });
            }
        }
        Ok(ModelPath { module: module.to_owned(), callable: callable.to_owned(), argument: None })
    }
}

impl fmt::Display for ModelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.module, self.callable)?;
        match &self.argument {
            Some(argument) => write!(f, "({argument})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_python_are_read() {
        let path: ModelPath = "package.module:Model.embed".parse().unwrap();
        assert_eq!((path.module.as_str(), path.callable.as_str()), ("package.module", "Model.embed"));
        assert_eq!(path.to_string(), "package.module:Model.embed");
        for (text, says) in [
            ("module", "MODULE:CALLABLE"),
            ("", "MODULE:CALLABLE"),
            (":embed", "\"\" in"),
            ("module:", "\"\" in"),
            ("module:a:b", "\"a:b\" in"),
            ("./module.py:embed", "\"\" in"),
            ("my-module:embed", "\"my-module\" in"),
            ("module:2", "\"2\" in"),
        ] {
            let error = text.parse::<ModelPath>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
