//! Points as users write and read them.

use crate::{NamedVectors, Payload, PointId};

/// A point to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// What the user calls it.
    pub id: PointId,
    /// Its vectors by name.
    pub vectors: NamedVectors,
    /// Its payload; an empty object where the user gave none.
    pub payload: Payload,
}

/// New vectors for a point that exists; vectors not named here stay as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct PointVectors {
    /// The point.
    pub id: PointId,
    /// The vectors to replace, by name.
    pub vectors: NamedVectors,
}

/// A point as read back. Which parts are present is up to the [`Projection`].
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The point's id.
    pub id: PointId,
    /// The payload, or the parts of it asked for; `None` when payload was not asked for.
    pub payload: Option<Payload>,
    /// The vectors asked for; `None` when vectors were not asked for.
    pub vectors: Option<NamedVectors>,
}

/// Which parts of a point to read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Projection {
    /// The part of the payload.
    pub payload: PayloadSelector,
    /// The vectors.
    pub vectors: VectorSelector,
}

/// Which part of a payload to read.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum PayloadSelector {
    /// No payload at all.
    #[default]
    None,
    /// All of it.
    All,
    /// Only these paths.
    Include(Vec<crate::PayloadPath>),
    /// All but these paths.
    Exclude(Vec<crate::PayloadPath>),
}

/// Which vectors to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VectorSelector {
    /// None.
    #[default]
    None,
    /// All the point has.
    All,
    /// Those of these names the point has.
    Named(Vec<String>),
}
