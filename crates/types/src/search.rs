//! Questions and their answers.

use crate::{Filter, PointId, VectorName};

/// Asks for the points nearest to a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    /// The vector field.
    pub vector_name: VectorName,
    /// The query, in the units the user sent: `dim` elements.
    pub query: Vec<f32>,
    /// How many points to return at most. The answer takes memory by what is there, not by this number.
    pub limit: usize,
    /// Only points that pass.
    pub filter: Option<Filter>,
    /// Points that may not be in the answer, such as the one the query was taken from.
    pub exclude: Vec<PointId>,
    /// Only points at most this far (an internal distance, see [`crate::Metric`]).
    pub distance_max: Option<f32>,
    /// How to search.
    pub params: SearchParams,
}

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SearchParams {
    /// How many candidates a search of an index keeps; raised to `limit` where that is more. `None`: the default.
    pub ef_search: Option<usize>,
    /// How many inverted lists a search looks into; `None`: as the collection says. Other indexes ignore it.
    pub nprobe: Option<usize>,
    /// Compare with every vector: recall 1, whatever it costs.
    pub exact: bool,
    /// Read whole vectors where the index would read codes of them. Inverted lists have nothing else: they compare with
    /// every vector.
    pub ignore_codes: bool,
    /// Which of the rows found by their codes are compared exactly.
    pub rescore: Rescore,
}

/// Which of the rows that a search found by their codes are compared exactly. Distances returned are exact in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rescore {
    /// Those whose code leaves a chance that they are among the nearest.
    #[default]
    Usual,
    /// Only those returned: their codes alone choose them.
    Chosen,
    /// The usual ones, and at least so many of the best by code.
    AtLeast(usize),
}

/// A point and how far it is from the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The point.
    pub id: PointId,
    /// The internal distance, smaller is closer; exact to `f32`.
    pub distance: f32,
}

/// The answer to a [`SearchRequest`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SearchResult {
    /// Nearest first; equal distances by id.
    pub hits: Vec<Hit>,
    /// What the search cost.
    pub stats: SearchStats,
}

/// What a search cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SearchStats {
    /// Vectors compared with the query.
    pub distances: u64,
    /// Graph nodes expanded.
    pub hops: u64,
    /// Segments searched.
    pub segments: u32,
    /// Segments answered by comparing with every row that passes.
    pub exact_segments: u32,
}

/// One value of a payload field and how many points have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FacetCount {
    /// The value.
    pub value: crate::MatchValue,
    /// How many points.
    pub count: usize,
}
