//! Whose the memory of an array is: a vector is that memory only if nobody else can reach it.

use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use dvse_embed::Embedder as _;
use pyo3::prelude::*;

use crate::models::Module;

/// Where the numbers of the last array lie.
fn address(module: &Module) -> usize {
    Python::attach(|py| {
        py.import(module.name.as_str()).unwrap().getattr("address").unwrap().extract().unwrap()
    })
}

/// Has a model make `rows` with `body` out of `n` texts, and finds whether the vectors are its memory.
fn is_shared(name: &str, body: &str) -> bool {
    let body = body.replace('\n', "\n    ");
    let source = format!(
        "import numpy, weakref\naddress, kept = 0, []\nclass Own(numpy.ndarray):\n    pass\ndef embed(texts):\n    \
         global address\n    n = len(texts)\n    {body}\n    address = numpy.asarray(rows).__array_interface__['data'][0]\n    \
         return rows\n"
    );
    let module = Module::new(name, &source);
    let model = module.load();
    let vectors = model.embed(&["a", "bb", "ccc"]).unwrap();
    assert_eq!(vectors, [[7.0; 8]; 3], "{name}");
    let places: Vec<usize> = vectors.iter().map(|vector| vector.as_ptr().addr()).collect();
    let start = address(&module);
    let shared: Vec<bool> = (0..3).map(|row| places[row] == start + row * 32).collect();
    assert!(shared.iter().all(|row| *row == shared[0]), "{name}: {shared:?}");
    shared[0]
}

#[test]
fn arrays_that_a_model_gives_away_are_not_copied() {
    const FRESH: &str = "rows = numpy.full((n, 8), 7, 'float32')";
    for (name, body) in [
        ("fresh", FRESH.to_owned()),
        ("computed", "rows = numpy.ones((n, 8), 'float32') * 7".to_owned()),
        ("reshaped", "rows = numpy.full(n * 8, 7, 'float32').reshape(n, 8)".to_owned()),
        ("first_of_one", "rows = numpy.full((1, n, 8), 7, 'float32')[0]".to_owned()),
        ("half", "rows = numpy.full((2, n, 8), 7, 'float32')[1]".to_owned()),
        ("view_of_view", "rows = numpy.full((n, 2, 8), 7, 'float32').reshape(2, n, 8)[1][:]".to_owned()),
        ("read_only", format!("{FRESH}; rows.flags.writeable = False")),
        ("weak_once", format!("{FRESH}; weakref.ref(rows)")),
        ("kept_a_copy", format!("{FRESH}; kept.append(rows.copy())")),
    ] {
        assert!(is_shared(name, &body), "{name}");
    }
}

#[test]
fn arrays_that_somebody_may_reach_are_copied() {
    const FRESH: &str = "rows = numpy.full((n, 8), 7, 'float32')";
    const VIEW: &str = "whole = numpy.full((1, n, 8), 7, 'float32'); rows = whole[0]";
    for (name, body) in [
        ("kept", format!("{FRESH}; kept.append(rows)")),
        ("kept_view", format!("{FRESH}; kept.append(rows[:1])")),
        ("kept_whole", format!("{VIEW}; kept.append(whole)")),
        ("kept_other_view", format!("{VIEW}; kept.append(whole[0])")),
        ("kept_weakly", format!("{FRESH}; kept.append(weakref.ref(rows))")),
        ("kept_view_weakly", format!("{VIEW}; kept.append(weakref.ref(rows))")),
        ("kept_whole_weakly", format!("{VIEW}; kept.append(weakref.ref(whole))")),
        ("kept_bytes", format!("{FRESH}; kept.append(memoryview(rows))")),
        ("kept_pointer", format!("{FRESH}; kept.append(rows.ctypes)")),
        ("kept_method", format!("{FRESH}; kept.append(rows.fill)")),
        ("kept_iterator", format!("{FRESH}; kept.append(rows.flat)")),
        ("kept_by_default", "def keep(rows=numpy.full((3, 8), 7, 'float32')): return rows\nkept.append(keep); rows = keep()[:n]".to_owned()),
        ("class_of_its_own", "rows = numpy.full((n, 8), 7, 'float32').view(Own)".to_owned()),
        ("of_own_class", "rows = numpy.asarray(numpy.full((n, 8), 7, 'float32').view(Own)[:])".to_owned()),
        (
            "over_bytes",
            "rows = numpy.frombuffer(bytearray(numpy.full(n * 8, 7, 'float32')), 'float32').reshape(n, 8)"
                .to_owned(),
        ),
        ("of_a_larger_one", "rows = numpy.full((3, n, 8), 7, 'float32')[1]".to_owned()),
        ("no_numpy", "rows = memoryview(numpy.full((n, 8), 7, 'float32'))".to_owned()),
    ] {
        assert!(!is_shared(name, &body), "{name}");
    }
}

/// The memory is given back, though no thread here is attached to Python, when the last vector is gone.
#[test]
fn the_last_vector_gives_the_memory_back() {
    let source = "
import numpy, tracemalloc
tracemalloc.start()
def embed(texts):
    rows = numpy.empty((len(texts), 500_000), 'float32')
    rows[:] = 7
    return rows
def bytes_of_arrays():
    # Other tests use this Python, too.
    here = tracemalloc.Filter(True, __file__)
    traces = tracemalloc.take_snapshot().filter_traces([here]).traces
    return sum(trace.size for trace in traces)
";
    let module = Module::new("given_back", source);
    let model = module.load();
    let bytes = || -> usize {
        Python::attach(|py| {
            py.import(module.name.as_str())
                .unwrap()
                .call_method0("bytes_of_arrays")
                .unwrap()
                .extract()
                .unwrap()
        })
    };
    let mut vectors = model.embed(&["a", "b", "c", "d"]).unwrap();
    assert!(bytes() >= 8_000_000);
    let last = vectors.swap_remove(2);
    drop(vectors);
    assert!(bytes() >= 8_000_000, "one row keeps the array");
    assert_eq!(last[499_999], 7.0);
    drop(last);
    assert!(bytes() < 100_000, "{}", bytes());
}

/// Whoever drops the last vector may hold locks that others wait for, such as the log's.
#[test]
fn dropping_a_vector_does_not_wait_for_a_model_that_keeps_python_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let pipes = ["in", "out"].map(|name| folder.path().join(name));
    assert!(Command::new("mkfifo").args(&pipes).status().unwrap().success());
    let source = format!(
        "import ctypes, numpy, os\nread_end, write_end = [os.open(p, os.O_RDWR) for p in ({:?}, {:?})]\n\
         libc = ctypes.PyDLL(None)\nbyte = ctypes.create_string_buffer(1)\n\
         def embed(texts):\n    if texts == ['keep']:\n        libc.write(write_end, b'!', 1)\n        \
         libc.read(read_end, byte, 1)\n    return numpy.ones((len(texts), 8), dtype='float32')\n",
        pipes[0], pipes[1]
    );
    let module = Module::new("keeps_it", &source);
    let model = module.load();
    let vectors = model.embed(&["text"]).unwrap();
    std::thread::scope(|scope| {
        let kept = scope.spawn(|| model.embed(&["keep"]));
        // The model is in C code now, with the lock.
        let mut byte = [0];
        std::io::Read::read_exact(&mut std::fs::File::open(&pipes[1]).unwrap(), &mut byte).unwrap();
        let (tell, dropped) = mpsc::channel();
        scope.spawn(move || {
            drop(vectors);
            tell.send(()).unwrap();
        });
        let in_time = dropped.recv_timeout(Duration::from_secs(60));
        std::fs::write(&pipes[0], b"!").unwrap();
        assert_eq!(in_time, Ok(()));
        assert_eq!(kept.join().unwrap().unwrap(), [[1.0; 8]]);
    });
}
