//! What is a model, what is none, and what it is called.

use std::time::Duration;

use dvse_embed::Embedder as _;
use dvse_embed_python::{ModelPath, PythonEmbedder, PythonOptions};

use crate::models::{Module, told};

const GOOD: &str =
    "import numpy\ndef embed(texts):\n    return numpy.ones((len(texts), 3), dtype='float32')\n";

fn check_refused(name: &str, source: &str, callable: &str, says: &[&str]) {
    let module = Module::new(name, source);
    let error = told(&module.load_with(callable, module.options()).unwrap_err());
    for part in says {
        assert!(error.contains(part), "{name}: no {part:?} in {error:?}");
    }
}

#[test]
fn what_is_no_model_is_refused_with_the_reason() {
    check_refused("no_callable", GOOD, "encode", &["no_callable.py) has no encode"]);
    check_refused(
        "not_callable",
        "embed = 3",
        "embed",
        &["not_callable:embed is of type int, expected a callable"],
    );
    check_refused("bad_syntax", "def embed(:", "embed", &["cannot load bad_syntax:embed", "SyntaxError"]);
    check_refused(
        "bad_import",
        "import numpy\nimport a_module_that_is_missing\n",
        "embed",
        &[
            "the model raised ModuleNotFoundError: No module named 'a_module_that_is_missing'",
            "bad_import.py, line 2, in <module>",
        ],
    );
    check_refused(
        "leaves",
        "import sys\nsys.exit(3)",
        "embed",
        &["cannot load leaves:embed", "SystemExit: 3"],
    );
    check_refused(
        "raises_at_once",
        "def embed(texts):\n    raise ValueError('no weights')",
        "embed",
        &["does not embed the text \"a few plain words\"", "ValueError: no weights", "line 2, in embed"],
    );
    check_refused(
        "empty_vectors",
        "import numpy\nembed = lambda texts: numpy.ones((len(texts), 0), dtype='float32')",
        "embed",
        &["vectors of 0 dimensions"],
    );
    check_refused("two_arguments", "def embed(texts, mode):\n    pass", "embed", &["TypeError", "mode"]);
}

#[test]
fn a_module_that_is_not_there_is_told_from_one_that_fails_to_import() {
    let module = Module::new("there", GOOD);
    let path: ModelPath = "not_there.at_all:embed".parse().unwrap();
    let error = told(&PythonEmbedder::load(path, module.options()).unwrap_err());
    assert!(error.starts_with("there is no Python module not_there.at_all; Python 3."), "{error}");
    assert!(error.contains(&*module.folder.path().to_string_lossy()), "{error}");
}

#[test]
fn an_environment_of_another_python_is_refused() {
    let module = Module::new("unused", GOOD);
    let environment = Some(module.folder.path().to_owned());
    let options = PythonOptions { environment, ..module.options() };
    let error = told(&module.load_with("embed", options).unwrap_err());
    assert!(error.contains("has no packages for Python 3.") && error.contains("site-packages"), "{error}");
}

#[test]
fn a_model_that_is_loaded_for_ever_is_given_up() {
    let module = Module::new("never_loaded", "import threading\nthreading.Event().wait()");
    let options = PythonOptions { load_timeout: Duration::from_millis(100), ..module.options() };
    let error = told(&module.load_with("embed", options).unwrap_err());
    assert_eq!(error, "never_loaded:embed was not loaded within 100ms");
}

#[test]
fn the_source_tells_a_model_that_tells_nothing_about_itself() {
    let (one, same) = (Module::new("plain_one", GOOD), Module::new("plain_same", GOOD));
    let other = Module::new("plain_other", &format!("{GOOD}# changed\n"));
    let (one, same, other) = (one.load(), same.load(), other.load());
    let model = one.model();
    assert_eq!((model.name.as_str(), model.dim), ("plain_one:embed", 3));
    assert!(model.hash.len() == 64 && model.hash.bytes().all(|c| c.is_ascii_hexdigit()), "{}", model.hash);
    assert_eq!(model.revision, model.hash[..12]);
    assert_eq!(model.hash, same.model().hash);
    assert_ne!(model.hash, other.model().hash);
}

#[test]
fn a_model_may_say_what_it_is() {
    let of_module = Module::new("says_module", &format!("{GOOD}model_name = 'm'\nmodel_revision = '7'\n"));
    let of_callable = Module::new(
        "says_callable",
        &format!("{GOOD}model_name = 'not this'\nembed.model_name = 'n'\nembed.model_hash = 'weights-1'\n"),
    );
    let loaded = of_module.load();
    assert_eq!(loaded.model().to_string(), "m@7");
    assert_eq!(loaded.model().hash.len(), 64);
    assert_eq!(of_callable.load().model().tag(), "n@weights-1#weights-1");
    check_refused(
        "says_number",
        &format!("{GOOD}model_hash = 7"),
        "embed",
        &["model_hash of says_number:embed is 7"],
    );
    check_refused(
        "says_blank",
        &format!("{GOOD}model_name = 'a b'"),
        "embed",
        &["model_name of says_blank:embed is 'a b'"],
    );
}

#[test]
fn a_factory_makes_a_model_of_an_argument() {
    let source = "import numpy\nclass Model:\n    def __init__(self, path):\n        self.model_name = path\n        \
                  if path == 'none':\n            raise FileNotFoundError(path)\n    \
                  def __call__(self, texts):\n        return numpy.ones((len(texts), 2), dtype='float32')\n";
    let module = Module::new("factory", source);
    let load = |argument: &str| {
        PythonEmbedder::load(ModelPath::made_by("factory", "Model", argument), module.options())
    };
    let model = load("a/file").unwrap();
    assert_eq!((model.model().name.as_str(), model.model().dim), ("a/file", 2));
    let error = told(&load("none").unwrap_err());
    assert!(
        error.starts_with("cannot load factory:Model(none): the model raised FileNotFoundError: none"),
        "{error}"
    );
}

#[test]
fn attributes_of_objects_are_models_too() {
    let source = "import numpy\nclass Model:\n    def encode(self, texts):\n        \
                  return numpy.ones((len(texts), 5), dtype='float32')\nmodel = Model()\n";
    let module = Module::new("nested", source);
    let model = module.load_with("model.encode", module.options()).unwrap();
    assert_eq!(model.embed(&["a", "b"]).unwrap(), vec![[1.0; 5]; 2]);
}
