//! What a model that is a program of its own can do instead of returning vectors.

use std::time::Duration;

/// Why a call of a model gave no vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// It raised an exception.
    #[error("the model raised {exception}: {message} ({place})")]
    Raised {
        /// The type of the exception, with its module unless that is Python's own.
        exception: String,
        /// Its message, as one line.
        message: String,
        /// File, line and function of the last entry of its traceback.
        place: String,
    },

    /// It did not return in time, and has been told to stop.
    #[error(
        "the model did not return within {timeout:?} from a batch of {texts} texts and was interrupted: give it more \
         time, or smaller batches"
    )]
    Late {
        /// How long it had.
        timeout: Duration,
        /// How many texts it was given.
        texts: usize,
    },

    /// It is still in a call that was given up.
    #[error(
        "the model has not come back from a call that was given up {since:?} ago: wait for it, or start this process \
         again"
    )]
    Busy {
        /// How long ago.
        since: Duration,
    },

    /// Its thread ended, which takes a defect in this program.
    #[error("the thread of the model has ended: start this process again, and report what it printed")]
    Gone,

    /// The value it returned is no array.
    #[error("the model returned a value of type {got}, expected an array of float32 such as numpy.ndarray")]
    NotAnArray {
        /// The type of the value.
        got: String,
    },

    /// The elements of the array have another type.
    #[error("the model returned an array of {got}, expected float32: convert it with .astype(\"float32\")")]
    ElementType {
        /// The type of the elements.
        got: String,
    },

    /// The array does not have rows and columns.
    #[error("the model returned an array with {got} axes, expected 2: one row a text")]
    Axes {
        /// How many it has.
        got: usize,
    },

    /// There is not one row for each text.
    #[error("the model returned {got} rows for {expected} texts, expected one row a text, in order")]
    Rows {
        /// How many rows.
        got: usize,
        /// How many texts.
        expected: usize,
    },

    /// The vectors are longer or shorter than the model's first one.
    #[error("the model returned vectors of {got} dimensions, expected {expected} as at its start")]
    Dimensions {
        /// Length of the rows.
        got: usize,
        /// Dimensions of the model.
        expected: usize,
    },

    /// The rows do not lie one after another in memory, or not where a float32 may.
    #[error(
        "the model returned an array that is not C-contiguous and aligned: wrap it in numpy.ascontiguousarray(…)"
    )]
    NotContiguous,
}

impl ModelError {
    /// Whether fewer or other texts may fare better: the model itself may be well.
    #[must_use]
    pub fn may_be_of_the_texts(&self) -> bool {
        !matches!(self, ModelError::Busy { .. } | ModelError::Gone)
    }
}
