//! Reading the array that a model returned, in place where nobody else can reach it.
#![expect(unsafe_code, reason = "the elements lie in memory of Python's")]

use std::ffi::c_ulong;
use std::ptr::NonNull;
use std::slice;

use dvse_embed::{EmbedError, ModelError};
use dvse_types::Vector;
use pyo3::buffer::{PyBuffer, PyUntypedBuffer};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::exception::type_name;

/// A view that is smaller than its array by more than this is copied: it would keep all of the array alive.
const KEPT_TIMES_MAX: usize = 2;

/// An array of float32 with two axes whose rows lie one after another.
pub struct Array<'py> {
    object: Bound<'py, PyAny>,
    buffer: PyBuffer<f32>,
    len: usize,
    dim: usize,
}

impl<'py> Array<'py> {
    /// Checks what a model returned: type, element type, axes, layout.
    ///
    /// # Errors
    /// It is something else.
    pub fn of(object: Bound<'py, PyAny>) -> Result<Array<'py>, ModelError> {
        let Ok(buffer) = PyUntypedBuffer::get(&object) else {
            return Err(ModelError::NotAnArray { got: type_name(object.get_type().as_any()) });
        };
        // PyO3 0.30.1 takes `>f` for native on little-endian machines, so only what needs no reading of byte orders passes.
        if !matches!(buffer.format().to_bytes(), b"f" | b"@f" | b"=f") {
            return Err(ModelError::ElementType { got: element_type(&object) });
        }
        // What can be wrong yet is the alignment.
        let buffer = buffer.into_typed::<f32>().map_err(|_| ModelError::NotContiguous)?;
        let &[len, dim] = buffer.shape() else { return Err(ModelError::Axes { got: buffer.dimensions() }) };
        if !buffer.is_c_contiguous() {
            return Err(ModelError::NotContiguous);
        }
        Ok(Array { object, buffer, len, dim })
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How long each is.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Takes the numbers, row-major: the array's own memory if nobody but us can reach it from now on, else one copy of it.
    ///
    /// # Errors
    /// The buffer is not what it said.
    pub fn into_vector(self) -> Result<Vector, ModelError> {
        if self.len * self.dim == 0 || !is_ndarray(&self.object) {
            return self.copy();
        }
        let Array { object, buffer, len, dim } = self;
        let Some(start) = buffer.as_slice_ptr() else { return Err(ModelError::NotContiguous) };
        // It refers to the array, which would count.
        drop(buffer);
        if !is_ours_alone(&object, len * dim) {
            return Array::of(object)?.copy();
        }
        Ok(Vector::from_owner(Held { _array: object.unbind(), start: start.cast(), len: len * dim }))
    }

    /// Copies the numbers.
    fn copy(&self) -> Result<Vector, ModelError> {
        let Some(elements) = self.buffer.as_slice_ptr() else { return Err(ModelError::NotContiguous) };
        // SAFETY: the buffer holds an export of C-contiguous, aligned `f32`, which PyO3 gives as these elements, so that the memory
        // stays as long as `self`. This thread is attached, as `self.object` says, and runs nothing of Python while the slice lives, so
        // no Python code writes to the elements; if native code of the model does, what is read is undefined by its own doing, and it
        // is checked only after it is ours.
        let numbers = unsafe { slice::from_raw_parts(elements.cast::<f32>().as_ptr(), elements.len()) };
        Ok(Vector::from(numbers))
    }
}

/// The memory of an array, and the only reference to it.
struct Held {
    /// Dropping it waits for nobody: where a thread is not attached to Python, PyO3 notes the object, and the next thread that
    /// attaches (that of the model, after its next wait) gives it up.
    _array: Py<PyAny>,
    start: NonNull<f32>,
    len: usize,
}

// SAFETY: the reference is `Send` by itself. The elements belong to the array that it keeps, are plain numbers, and are written by
// nobody as long as it lives (see `AsRef`), so that they may be read on any thread.
unsafe impl Send for Held {}

impl AsRef<[f32]> for Held {
    fn as_ref(&self) -> &[f32] {
        // SAFETY: `into_vector` has `start` and `len` from a buffer of `_array` that is C-contiguous, of aligned `f32`, with so many
        // elements, not none. They are memory that an `ndarray` owns: `_array`, or the one that it is a view of and keeps. Such memory
        // is neither freed nor moved as long as `_array` lives, because only who has a reference can resize an array. And nobody writes
        // to it: `is_ours_alone` found no other reference to either array and no weak one, and neither is known to the collector of
        // cycles, so that no code of Python gets at one again, whatever runs between that and now; and native code that kept a pointer
        // without a reference has one to memory that NumPy could have freed when `embed` returned.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast_const(), self.len) }
    }
}

/// Whether the value is an array of NumPy itself. A class in Python is not, though it may be derived from it and say that it is
/// called so: it can do things when it is asked, and know who asked. Nor is what the collector of cycles lists for everybody.
fn is_ndarray(object: &Bound<'_, PyAny>) -> bool {
    const FOREIGN: c_ulong = ffi::Py_TPFLAGS_HEAPTYPE | ffi::Py_TPFLAGS_HAVE_GC;
    let class = object.get_type();
    // SAFETY: `class` is a live type object, and this thread is attached.
    let flags = unsafe { ffi::PyType_GetFlags(class.as_type_ptr()) };
    flags & FOREIGN == 0 && class.fully_qualified_name().is_ok_and(|name| name == "numpy.ndarray")
}

/// Whether we have the only way to the memory of an array with `len` elements: its only reference, and it owns its memory or is a
/// view of an array that does and that nobody else refers to.
fn is_ours_alone(array: &Bound<'_, PyAny>, len: usize) -> bool {
    let ask = || {
        let base = array.getattr("base")?;
        if base.is_none() {
            return Ok(owns(array)? && references(array) == 1);
        }
        // NumPy makes views of views views of the array with the memory, so there is one step at most.
        Ok::<_, PyErr>(
            is_ndarray(&base)
                && owns(&base)?
                && base.getattr("size")?.extract::<usize>()? <= KEPT_TIMES_MAX * len
                && weak_references(array)? == 0
                && references(array) == 1
                // Ours, in this function, and that of the view.
                && references(&base) == 2,
        )
    };
    // None of these attributes is missing, or raises.
    ask().unwrap_or(false)
}

/// Whether the array's memory is its own, and there is no weak reference out of which one to it could be made.
fn owns(array: &Bound<'_, PyAny>) -> PyResult<bool> {
    let is_owner = array.getattr("flags")?.getattr("owndata")?.extract::<bool>()?;
    Ok(is_owner && array.getattr("base")?.is_none() && weak_references(array)? == 0)
}

fn weak_references(array: &Bound<'_, PyAny>) -> PyResult<usize> {
    array.py().import("_weakref")?.call_method1("getweakrefcount", (array,))?.extract()
}

/// How many references there are to an object, or 0 if that cannot be told.
fn references(object: &Bound<'_, PyAny>) -> isize {
    // Without the lock others may be taking one right now.
    if cfg!(Py_GIL_DISABLED) {
        return 0;
    }
    // SAFETY: the object is live, as `object` is a reference to it, and this thread is attached.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }
}

/// Checks the numbers of each row; `places` are those of the texts.
///
/// # Errors
/// A number is not finite, or a row is zero throughout. The error names the place.
pub fn check(rows: &[f32], dim: usize, places: &[usize]) -> Result<(), EmbedError> {
    rows.chunks_exact(dim).zip(places).try_for_each(|(row, place)| check_row(row, *place))
}

fn check_row(row: &[f32], index: usize) -> Result<(), EmbedError> {
    // Without a way out, so that it is done for many numbers at once.
    let (is_finite, is_zero) = row.iter().fold((true, true), |(is_finite, is_zero), value| {
        (is_finite & value.is_finite(), is_zero & (*value == 0.0))
    });
    if is_finite {
        return if is_zero { Err(EmbedError::ZeroVector { index }) } else { Ok(()) };
    }
    let column = row.iter().position(|value| !value.is_finite()).unwrap_or_default();
    let got = if row.get(column).is_some_and(|value| value.is_nan()) { "NaN" } else { "an infinity" };
    Err(EmbedError::NotFinite { index, column, got })
}

/// The element type as the array itself calls it.
fn element_type(value: &Bound<'_, PyAny>) -> String {
    match value.getattr("dtype").and_then(|dtype| dtype.str()) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("elements in a {}", type_name(value.get_type().as_any())),
    }
}
