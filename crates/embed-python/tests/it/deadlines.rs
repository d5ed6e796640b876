//! Models that do not return. What is waited for are answers, never a time: on a busy machine a model that is well may be late, too.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use dvse_embed::{EmbedError, Embedder, ModelError};
use dvse_embed_python::PythonOptions;
use dvse_types::Vector;

use crate::models::Module;

const TIMEOUT: Duration = Duration::from_millis(300);

fn load(module: &Module) -> dvse_embed_python::PythonEmbedder {
    module.load_with("embed", PythonOptions { timeout: TIMEOUT, ..module.options() }).unwrap()
}

/// Calls until the model answers.
fn answer(model: &impl Embedder, text: &str) -> Vector {
    for _ in 0..1000 {
        match model.embed(&[text]) {
            Ok(rows) => return rows[0].clone(),
            Err(EmbedError::Model(ModelError::Late { .. } | ModelError::Busy { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the model does not come back");
}

#[test]
fn a_model_that_hangs_in_python_is_interrupted_and_works_again() {
    let source = "
import numpy
interrupted = 0
def embed(texts):
    global interrupted
    try:
        while texts == ['hang']:
            try:
                len(texts)
            except Exception:
                pass
    except BaseException as error:
        assert type(error).__name__ == 'ModelDeadline'
        interrupted += 1
        raise
    return numpy.full((len(texts), 2), interrupted + 1, dtype='float32')
";
    let module = Module::new("hangs", source);
    let model = load(&module);
    for times in 1..4 {
        let error = model.embed(&["hang"]).unwrap_err();
        assert_eq!(error, ModelError::Late { timeout: TIMEOUT, texts: 1 }.into());
        assert_eq!(answer(&model, "go on"), [times as f32 + 1.0; 2]);
    }
}

#[test]
fn a_model_that_hangs_in_c_is_reported_until_it_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let source = format!(
        "import numpy\ndef embed(texts):\n    if texts == ['hang']:\n        open({pipe:?}).read()\n    \
         return numpy.ones((len(texts), 2), dtype='float32')\n"
    );
    let module = Module::new("hangs_in_c", &source);
    let model = load(&module);
    assert_eq!(model.embed(&["hang"]), Err(ModelError::Late { timeout: TIMEOUT, texts: 1 }.into()));
    for _ in 0..2 {
        let error = model.embed(&["text"]).unwrap_err();
        assert!(
            matches!(error, EmbedError::Model(ModelError::Busy { since }) if since >= TIMEOUT),
            "{error}"
        );
    }
    OpenOptions::new().write(true).open(&pipe).unwrap().write_all(b"go on").unwrap();
    assert_eq!(answer(&model, "text"), [1.0, 1.0]);
}

#[test]
fn a_model_that_keeps_python_to_itself_holds_up_no_caller() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Functions of a `PyDLL` are called without letting go of Python's lock.
    let source = format!(
        "import ctypes, numpy, os\npipe = os.open({pipe:?}, os.O_RDWR)\nbyte = ctypes.create_string_buffer(1)\n\
         def embed(texts):\n    if texts == ['hang']:\n        ctypes.PyDLL(None).read(pipe, byte, 1)\n    \
         return numpy.ones((len(texts), 2), dtype='float32')\n"
    );
    let module = Module::new("keeps_the_lock", &source);
    let model = load(&module);
    assert_eq!(model.embed(&["hang"]), Err(ModelError::Late { timeout: TIMEOUT, texts: 1 }.into()));
    let error = model.embed(&["text"]).unwrap_err();
    assert!(matches!(error, EmbedError::Model(ModelError::Busy { .. })), "{error}");
    OpenOptions::new().write(true).open(&pipe).unwrap().write_all(b"!").unwrap();
    assert_eq!(answer(&model, "text"), [1.0, 1.0]);
}

#[test]
fn an_interrupt_that_comes_too_late_strikes_nobody() {
    // Each call ends about when it is given up.
    let source = "
import numpy, time
def embed(texts):
    if texts != ['quick'] and len(texts) == 1 and texts[0].startswith('slow'):
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            pass
    return numpy.ones((len(texts), 2), dtype='float32')
";
    let module = Module::new("just_late", source);
    let model = load(&module);
    for _ in 0..10 {
        match model.embed(&["slow"]) {
            Ok(_) | Err(EmbedError::Model(ModelError::Late { .. } | ModelError::Busy { .. })) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(answer(&model, "quick"), [1.0, 1.0]);
    }
}
