//! Sketches: compact codes of rows, a cache line or two each, that a traversal reads in place of full rows.
//!
//! A sketch holds the head of a vector's spectrum (its projection on the directions in which the data varies most),
//! rotated so that all its values vary alike, in a few bits a value, and two factors that turn the product of codes
//! and query into an estimate of the squared distance. Nothing in it depends on any other row, so rows can be added
//! for ever; what is learned (a mean and a projection) is learned once, from a few thousand rows.
//!
//! The walk over sketches finds candidates; the few that matter are then compared exactly, in single precision.
//!
//! In reading order: [`Layout`], where each value lies; [`Transform`], what is learned, and [`fit`], how; [`SketchQuery`],
//! a query made ready; [`SketchComputer`], estimates for the traversal; [`adaptive`], the search loop, [`masked`], the same under
//! a filter, and [`scan`], without a graph; [`rerank`].
//!
//! Sources: RaBitQ (Gao & Long 2024) for the length correction of the estimate; LeanVec (Tepper et al. 2024) for
//! searching a projection and ranking anew in full; Al-Jazzazi et al. 2025 (distance-adaptive beam search) for the
//! stop. Departures: a few bits a value instead of one, no rotation of the full space, insertion gated by the same
//! threshold as the stop.

pub(crate) mod adaptive;
pub(crate) mod calibrate;
pub(crate) mod codes;
pub(crate) mod computer;
pub(crate) mod entries;
pub(crate) mod fit;
pub(crate) mod frontier;
pub(crate) mod growing;
pub(crate) mod layout;
pub(crate) mod masked;
pub(crate) mod prepare;
pub(crate) mod query;
pub(crate) mod rerank;
pub(crate) mod scan;
pub(crate) mod search;
pub(crate) mod sections;
pub(crate) mod transform;

#[cfg(test)]
mod tests;
