//! Reading the array that a model returned, in place.
#![expect(unsafe_code, reason = "the elements lie in memory of Python's")]

use dvse_embed::{EmbedError, ModelError};
use pyo3::buffer::{PyBuffer, PyUntypedBuffer};
use pyo3::prelude::*;

use crate::exception::type_name;

/// An array of float32 with two axes whose rows lie one after another.
pub struct Rows {
    buffer: PyBuffer<f32>,
    len: usize,
    dim: usize,
}

impl Rows {
    /// Checks what a model returned: type, element type, axes, layout.
    ///
    /// # Errors
    /// It is something else.
    pub fn of(value: &Bound<'_, PyAny>) -> Result<Rows, ModelError> {
        let Ok(buffer) = PyUntypedBuffer::get(value) else {
            return Err(ModelError::NotAnArray { got: type_name(value.get_type().as_any()) });
        };
        // PyO3 0.30.1 takes `>f` for native on little-endian machines, so only what needs no reading of byte orders passes.
        if !matches!(buffer.format().to_bytes(), b"f" | b"@f" | b"=f") {
            return Err(ModelError::ElementType { got: element_type(value) });
        }
        // What can be wrong yet is the alignment.
        let buffer = buffer.into_typed::<f32>().map_err(|_| ModelError::NotContiguous)?;
        let &[len, dim] = buffer.shape() else { return Err(ModelError::Axes { got: buffer.dimensions() }) };
        if !buffer.is_c_contiguous() {
            return Err(ModelError::NotContiguous);
        }
        Ok(Rows { buffer, len, dim })
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How long each is.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Copies each row to its place among the rows of `into` and checks its numbers there. This is the only copy between the
    /// model's memory and what [`Embedder::embed`](dvse_embed::Embedder::embed) returns.
    ///
    /// # Errors
    /// A number is not finite, or a row is zero throughout. The error names the place.
    pub fn copy_to(&self, _: Python<'_>, places: &[usize], into: &mut [f32]) -> Result<(), EmbedError> {
        assert_eq!(places.len(), self.len, "a place for each row");
        let Some(start) = self.buffer.as_slice_ptr() else { return Err(ModelError::NotContiguous.into()) };
        let start = start.cast::<f32>();
        for (row, place) in places.iter().enumerate() {
            let target = &mut into[place * self.dim..(place + 1) * self.dim];
            // SAFETY: `as_slice_ptr` gives the start of `len × dim` aligned elements (checked above: two axes, C-contiguous), which live
            // as long as the buffer, and `row < len` by the assertion. `target` has `dim` elements of our own, so the two do not overlap.
            // The token says that this thread is attached, so no Python code writes to the elements meanwhile; if native code of the
            // model does, what is read is undefined by its own doing, and it is checked only after it is ours.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    start.as_ptr().add(row * self.dim).cast_const(),
                    target.as_mut_ptr(),
                    self.dim,
                );
            }
            check(target, *place)?;
        }
        Ok(())
    }
}

fn check(row: &[f32], index: usize) -> Result<(), EmbedError> {
    if let Some((column, value)) = row.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        let got = if value.is_nan() { "NaN" } else { "an infinity" };
        return Err(EmbedError::NotFinite { index, column, got });
    }
    match row.iter().all(|value| *value == 0.0) {
        true => Err(EmbedError::ZeroVector { index }),
        false => Ok(()),
    }
}

/// The element type as the array itself calls it.
fn element_type(value: &Bound<'_, PyAny>) -> String {
    match value.getattr("dtype").and_then(|dtype| dtype.str()) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("elements in a {}", type_name(value.get_type().as_any())),
    }
}
