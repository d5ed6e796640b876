//! What models return.

use std::num::NonZeroUsize;
use std::thread;

use dvse_embed::{EmbedError, Embedder as _, ModelError, PROBE_TEXT};
use dvse_embed_python::PythonOptions;

use crate::models::Module;

/// One row a text: its length, its first character, the texts of the call, the number of the call.
const COUNTING: &str = "
import numpy
calls = 0
def embed(texts):
    global calls
    assert type(texts) is list and all(type(text) is str for text in texts)
    calls += 1
    return numpy.array([[len(t), ord(t[0]), len(texts), calls] for t in texts], dtype='float32')
";

#[test]
fn texts_of_like_length_go_together_and_results_keep_the_order() {
    let module = Module::new("counting", COUNTING);
    let options = PythonOptions { batch: NonZeroUsize::new(3).unwrap(), ..module.options() };
    let model = module.load_with("embed", options).unwrap();
    let texts = ["ccccc", "a", "ggggggg", "ééé", "dddd", "bb", "eeeeee"];
    let rows = model.embed(&texts).unwrap();
    for (text, row) in texts.iter().zip(&rows) {
        let first = text.chars().next().unwrap() as u32 as f32;
        assert_eq!(row[..2], [text.chars().count() as f32, first], "{text}");
    }
    let mut by_bytes: Vec<(usize, f32, f32)> =
        texts.iter().zip(&rows).map(|(text, row)| (text.len(), row[3], row[2])).collect();
    by_bytes.sort_unstable_by_key(|row| row.0);
    let calls: Vec<f32> = by_bytes.iter().map(|row| row.1).collect();
    // The first call was the probe.
    assert_eq!(calls[..3], [2.0; 3]);
    assert!(calls.is_sorted() && calls[6] == 4.0, "{calls:?}");
    assert_eq!(by_bytes.iter().map(|row| row.2).collect::<Vec<_>>(), [3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 1.0]);
    assert_eq!(model.embed(&[]), Ok(Vec::new()));
    assert_eq!(model.embed(&["a", " \n"]), Err(EmbedError::EmptyText { index: 1 }));
}

/// A model that does well with the probe and does `body` with everything else.
fn check_refused(name: &str, body: &str, expected: EmbedError) {
    let source = format!(
        "import numpy\ndef embed(texts):\n    rows = numpy.ones((len(texts), 4), dtype='float32')\n    \
         if texts == [{PROBE_TEXT:?}]: return rows\n    {body}\n"
    );
    let module = Module::new(name, &source);
    let model = module.load();
    let error = model.embed(&["one", "two and", "three", "x"]).unwrap_err();
    assert_eq!(error, expected, "{name}: {error}");
    // It is as well as before.
    assert_eq!(model.embed(&[PROBE_TEXT]).unwrap(), [[1.0; 4]], "{name}");
}

#[test]
fn what_is_no_array_of_float32_is_refused() {
    let not_an_array = |got: &str| ModelError::NotAnArray { got: got.to_owned() }.into();
    check_refused("nothing", "return None", not_an_array("NoneType"));
    check_refused("lists", "return rows.tolist()", not_an_array("list"));
    check_refused("texts", "return 'rows'", not_an_array("str"));
    check_refused("one_shot", "return (row for row in rows)", not_an_array("generator"));
    let element_type = |got: &str| ModelError::ElementType { got: got.to_owned() }.into();
    check_refused("doubles", "return rows.astype('float64')", element_type("float64"));
    check_refused("halves", "return rows.astype('float16')", element_type("float16"));
    check_refused("integers", "return rows.astype('int32')", element_type("int32"));
    check_refused("big_endian", "return rows.astype('>f4')", element_type(">f4"));
    check_refused("bytes_only", "return bytes(64)", element_type("elements in a bytes"));
    assert!(
        ModelError::ElementType { got: "float64".to_owned() }.to_string().contains(".astype(\"float32\")")
    );
}

#[test]
fn arrays_of_another_shape_are_refused() {
    check_refused("flat", "return rows.reshape(-1)", ModelError::Axes { got: 1 }.into());
    check_refused("deep", "return rows.reshape(2, 2, 4)", ModelError::Axes { got: 3 }.into());
    check_refused("fewer", "return rows[:3]", ModelError::Rows { got: 3, expected: 4 }.into());
    check_refused("none_at_all", "return rows[:0]", ModelError::Rows { got: 0, expected: 4 }.into());
    let more = "return numpy.ones((5, 4), dtype='float32')";
    check_refused("more", more, ModelError::Rows { got: 5, expected: 4 }.into());
    let longer = "return numpy.ones((4, 5), dtype='float32')";
    check_refused("longer", longer, ModelError::Dimensions { got: 5, expected: 4 }.into());
    check_refused("columns_first", "return numpy.asfortranarray(rows)", ModelError::NotContiguous.into());
    let strided = "return numpy.ones((4, 8), dtype='float32')[:, ::2]";
    check_refused("strided", strided, ModelError::NotContiguous.into());
    let shifted = "return numpy.frombuffer(bytes(65), 'float32', 16, 1).reshape(4, 4)";
    check_refused("unaligned", shifted, ModelError::NotContiguous.into());
}

#[test]
fn numbers_that_are_none_are_refused_with_their_place() {
    // Sorted by length the batch is x, one, three, two and.
    let nan = "rows[1, 2] = numpy.nan; return rows";
    check_refused("nan", nan, EmbedError::NotFinite { index: 0, column: 2, got: "NaN" });
    let infinity = "rows[3, 0] = -numpy.inf; return rows";
    check_refused("infinity", infinity, EmbedError::NotFinite { index: 1, column: 0, got: "an infinity" });
    check_refused("zeros", "rows[2] = -0.0; return rows", EmbedError::ZeroVector { index: 2 });
}

#[test]
fn exceptions_are_told_with_their_place() {
    let raised = |exception: &str, message: &str, name: &str| {
        let module = Module::new(
            name,
            &format!(
                "import numpy\nclass Broken(Exception):\n    pass\ndef embed(texts):\n    if texts == [{PROBE_TEXT:?}]:\n        \
                 return numpy.ones((1, 4), dtype='float32')\n    raise {message}\n"
            ),
        );
        let error = module.load().embed(&["text"]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("the model raised {exception}")), "{error}");
        assert!(error.ends_with(&format!("{name}.py, line 7, in embed)")), "{error}");
    };
    raised("ValueError: no such token 7 (", "ValueError('no such\\ntoken 7')", "raises");
    raised("raises_own.Broken: no message (", "Broken()", "raises_own");
    raised("SystemExit: 3 (", "SystemExit(3)", "raises_exit");
    raised("KeyboardInterrupt: no message (", "KeyboardInterrupt", "raises_interrupt");
    raised("MemoryError: no message (", "MemoryError", "raises_memory");
}

#[test]
fn the_models_memory_is_left_alone_and_may_be_used_again() {
    let source = "
import numpy
kept = numpy.zeros((64, 2), dtype='float32')
def embed(texts):
    rows = kept[:len(texts)]
    rows.flags.writeable = True
    rows[:, 0] = [len(text) for text in texts]
    rows.flags.writeable = False
    return rows
";
    let model = Module::new("same_memory", source).load();
    let first = model.embed(&["a", "bb"]).unwrap();
    let second = model.embed(&["cccc"]).unwrap();
    assert_eq!((first, second), (vec![[1.0, 0.0].into(), [2.0, 0.0].into()], vec![[4.0, 0.0].into()]));
}

#[test]
fn callers_take_turns() {
    let model = Module::new(
        "turns",
        COUNTING.replace("calls = 0", "import threading\nidents = set()\ncalls = 0").as_str(),
    )
    .load();
    thread::scope(|scope| {
        for caller in 1..=4_usize {
            let model = &model;
            scope.spawn(move || {
                for _ in 0..50 {
                    let text = "a".repeat(caller);
                    let rows = model.embed(&[&text, "zz"]).unwrap();
                    assert_eq!((rows[0][0], rows[1][0]), (caller as f32, 2.0));
                }
            });
        }
    });
}
