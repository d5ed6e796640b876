//! Raising an exception in a thread that runs Python, and taking it back.
#![expect(unsafe_code, reason = "Python offers this only through its C interface")]

use std::ffi::c_long;
use std::ptr;

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;

pyo3::create_exception!(
    dvse,
    ModelDeadline,
    PyBaseException,
    "Raised in a model that did not return in time. No `Exception`, so that a model's own handlers let it pass."
);

/// Which thread of Python this is.
pub fn this_thread(py: Python<'_>) -> PyResult<c_long> {
    py.import("threading")?.call_method0("get_ident")?.extract()
}

/// Has [`ModelDeadline`] raised in `thread` at its next step in Python; code in C is not disturbed until it returns.
pub fn raise_in(py: Python<'_>, thread: c_long) {
    let exception = py.get_type::<ModelDeadline>();
    // SAFETY: `py` proves that this thread is attached, as the call demands. The pointer is to a live exception class, of which the
    // callee takes a reference of its own. An unknown thread id is allowed and does nothing.
    unsafe { pyo3::ffi::PyThreadState_SetAsyncExc(thread, exception.as_ptr()) };
}

/// Takes back what has not been raised in `thread` yet.
pub fn take_back(_: Python<'_>, thread: c_long) {
    // SAFETY: the token proves that this thread is attached; a null pointer is how the interface clears a pending exception.
    unsafe { pyo3::ffi::PyThreadState_SetAsyncExc(thread, ptr::null_mut()) };
}
