//! Small parts that many bodies share: ids, one-or-many, parts that are not available.

mod body;

pub use body::{IdBody, OneOrMany, Unavailable};

use crate::error::RestError;

impl Unavailable {
    /// Refuses the request if the part was asked for.
    ///
    /// # Errors
    /// It was.
    pub fn refuse(&self, field: &str) -> Result<(), RestError> {
        match self {
            Unavailable::Absent => Ok(()),
            Unavailable::Asked => Err(RestError::unsupported(format!("`{field}`"))),
        }
    }
}
