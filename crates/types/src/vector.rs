//! Vectors and their names.

use std::collections::BTreeMap;

/// The name of a vector field of a collection. The unnamed vector has the empty name.
pub type VectorName = String;

/// The vectors of one point by name; values are in the units the user sent. A point may lack some of the
/// collection's vectors.
pub type NamedVectors = BTreeMap<VectorName, Vec<f32>>;

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
