//! Vectors and their names.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, Range};

/// Bytes that are counted by reference: clones and parts of them share the memory.
pub use bytes::Bytes as SharedBytes;

/// The name of a vector field of a collection. The unnamed vector has the empty name.
pub type VectorName = String;

/// The vectors of one point by name; values are in the units the user sent. A point may lack some of the
/// collection's vectors.
pub type NamedVectors = BTreeMap<VectorName, Vector>;

/// The numbers of one vector, never changed, and counted by reference: clones and parts share the memory, whoever it belongs to.
///
/// So a vector gets from where it was made to the log without a copy. What it costs: a part keeps the whole alive, as one row
/// of an array keeps the array.
#[derive(Clone)]
pub struct Vector {
    /// What an owner of `f32` lent, or a part of it at a multiple of four bytes: so the bytes are whole numbers, aligned.
    bytes: SharedBytes,
}

/// What lends its numbers as bytes.
struct Lender<T>(T);

impl<T: AsRef<[f32]>> AsRef<[u8]> for Lender<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(self.0.as_ref())
    }
}

impl Vector {
    /// Views the numbers of `owner`, which lives until the last clone and part of the vector is gone.
    ///
    /// It is dropped by whoever has the last one, whatever locks that thread holds: dropping it must not wait.
    #[must_use]
    pub fn from_owner(owner: impl AsRef<[f32]> + Send + 'static) -> Vector {
        Vector { bytes: SharedBytes::from_owner(Lender(owner)) }
    }

    /// Returns a part, which shares the memory.
    ///
    /// # Panics
    /// The range is not inside.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Vector {
        assert!(range.start <= range.end && range.end <= self.len(), "{range:?} of {} numbers", self.len());
        Vector { bytes: self.bytes.slice(4 * range.start..4 * range.end) }
    }

    /// Returns the rows of a matrix, row-major, as parts; numbers behind the last whole row are left out.
    ///
    /// # Panics
    /// `dim` is 0.
    pub fn rows(&self, dim: usize) -> impl ExactSizeIterator<Item = Vector> + '_ {
        (0..self.len() / dim).map(move |row| self.slice(row * dim..(row + 1) * dim))
    }

    /// Returns the numbers as little-endian bytes: the same memory, where that is the machine's order.
    #[must_use]
    pub fn le_bytes(&self) -> SharedBytes {
        if cfg!(target_endian = "little") {
            self.bytes.clone()
        } else {
            self.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
    }
}

impl Deref for Vector {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // Never refused, by the invariant of the field. An empty part may lie anywhere.
        bytemuck::try_cast_slice(&self.bytes).unwrap_or_default()
    }
}

impl AsRef<[f32]> for Vector {
    fn as_ref(&self) -> &[f32] {
        self
    }
}

impl From<Vec<f32>> for Vector {
    fn from(numbers: Vec<f32>) -> Vector {
        Vector::from_owner(numbers)
    }
}

impl From<&[f32]> for Vector {
    fn from(numbers: &[f32]) -> Vector {
        Vector::from_owner(numbers.to_vec())
    }
}

impl<const N: usize> From<[f32; N]> for Vector {
    fn from(numbers: [f32; N]) -> Vector {
        Vector::from_owner(numbers)
    }
}

impl FromIterator<f32> for Vector {
    fn from_iter<I: IntoIterator<Item = f32>>(numbers: I) -> Vector {
        Vector::from_owner(Vec::from_iter(numbers))
    }
}

impl Default for Vector {
    fn default() -> Vector {
        Vector { bytes: SharedBytes::new() }
    }
}

impl<T: AsRef<[f32]> + ?Sized> PartialEq<T> for Vector {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The largest dimension a collection can have.
pub const DIM_MAX: usize = 65_536;

/// A vector that cannot be stored in, or compared with, a vector field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidVector {
    /// The collection has no vector field of this name.
    #[error("vector {name:?} is not part of the collection; it has {}", known_names(known))]
    UnknownName {
        /// The name asked for.
        name: VectorName,
        /// The names there are.
        known: Vec<VectorName>,
    },
    /// The length differs from the collection's.
    #[error("vector dimension error: expected dim: {expected}, got {got}")]
    Dimension {
        /// The field's name.
        name: VectorName,
        /// The field's dimension.
        expected: usize,
        /// The length that came.
        got: usize,
    },
    /// An element is NaN or infinite.
    #[error("vector {name:?} holds {value} at position {position}; every element must be finite")]
    NotFinite {
        /// The field's name.
        name: VectorName,
        /// The position of the first such element.
        position: usize,
        /// The element.
        value: f32,
    },
    /// A vector of length zero has no direction, so cosine is not defined for it.
    #[error("vector {name:?} has length zero, for which cosine distance is not defined")]
    ZeroLength {
        /// The field's name.
        name: VectorName,
    },
    /// The squared length overflows an `f32`.
    #[error("vector {name:?} is too long: its squared length {norm_squared:e} is above {max:e}")]
    TooLong {
        /// The field's name.
        name: VectorName,
        /// The squared Euclidean length.
        norm_squared: f64,
        /// The largest squared length taken.
        max: f64,
    },
}

/// The largest squared length of a vector: distances between two such vectors stay finite in `f32`.
pub const NORM_SQUARED_MAX: f64 = 1e37;

fn known_names(known: &[VectorName]) -> String {
    match known {
        [] => "no vectors".to_owned(),
        [only] if only.is_empty() => "one unnamed vector".to_owned(),
        names => names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn clones_and_parts_share_the_memory_of_the_owner() {
        let numbers: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let start = numbers.as_ptr();
        let whole = Vector::from(numbers);
        let rows: Vec<Vector> = whole.clone().rows(4).collect();
        assert_eq!(rows, [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 10.0, 11.0]]);
        assert_eq!(whole.rows(5).map(|row| row[0]).collect::<Vec<_>>(), [0.0, 5.0]);
        assert_eq!(rows[1].as_ptr(), start.wrapping_add(4));
        assert_eq!(rows[2].slice(1..3), [9.0, 10.0]);
        let bytes = rows[1].le_bytes();
        assert_eq!(bytes.as_ref(), [4_f32, 5.0, 6.0, 7.0].map(f32::to_le_bytes).as_flattened());
        if cfg!(target_endian = "little") {
            assert_eq!(bytes.as_ptr(), start.wrapping_add(4).cast());
        }
    }

    #[test]
    fn an_empty_part_of_anything_is_no_numbers() {
        for empty in
            [Vector::default(), Vector::from(vec![]), Vector::from([1.0]).slice(1..1), Vector::from([])]
        {
            assert_eq!(empty, [0.0; 0]);
            assert!(empty.le_bytes().is_empty() && empty.slice(0..0).is_empty());
            assert_eq!(empty.rows(3).len(), 0);
        }
    }

    #[test]
    fn the_owner_lives_as_long_as_the_last_part() {
        struct Owner(Vec<f32>, Arc<AtomicBool>);
        impl AsRef<[f32]> for Owner {
            fn as_ref(&self) -> &[f32] {
                &self.0
            }
        }
        impl Drop for Owner {
            fn drop(&mut self) {
                self.1.store(true, Ordering::Relaxed);
            }
        }
        let gone = Arc::new(AtomicBool::new(false));
        let part = Vector::from_owner(Owner(vec![1.0, 2.0], Arc::clone(&gone))).slice(1..2);
        let bytes = part.le_bytes();
        drop(part);
        assert_eq!(gone.load(Ordering::Relaxed), cfg!(target_endian = "big"));
        drop(bytes);
        assert!(gone.load(Ordering::Relaxed));
    }

    #[test]
    fn vectors_print_and_compare_as_their_numbers() {
        let vector = Vector::from([1.0, -0.0]);
        assert_eq!(format!("{vector:?}"), format!("{:?}", [1.0_f32, -0.0]));
        assert_eq!(vector, vec![1.0, 0.0]);
        assert_ne!(vector, [1.0]);
        assert_ne!(Vector::from([f32::NAN]), [f32::NAN]);
    }
}
