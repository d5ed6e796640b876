//! How two vectors are compared.

/// The distance of a vector field.
///
/// Inside DVSE a *distance* is an `f32` and smaller is closer:
///
/// | metric | distance |
/// |---|---|
/// | `L2` | squared Euclidean distance |
/// | `InnerProduct` | the inner product, negated |
/// | `Cosine` | one minus the inner product of the unit vectors |
///
/// A *score* (larger is closer for `InnerProduct` and `Cosine`, the plain Euclidean distance for `L2`) exists only
/// in answers; see [`Metric::score`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Squared Euclidean distance.
    L2,
    /// Negated inner product.
    InnerProduct,
    /// One minus the cosine of the angle; vectors are scaled to unit length once, when they are written.
    Cosine,
}

impl Metric {
    /// Returns the score users see for a distance.
    #[must_use]
    pub fn score(self, distance: f32) -> f32 {
        match self {
            Metric::L2 => distance.max(0.0).sqrt(),
            Metric::InnerProduct => -distance,
            Metric::Cosine => 1.0 - distance,
        }
    }

    /// Whether a larger score means a closer vector.
    #[must_use]
    pub fn larger_score_is_closer(self) -> bool {
        !matches!(self, Metric::L2)
    }

    /// The short name used in files, metrics and on the command line: `l2`, `ip` or `cosine`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Metric::L2 => "l2",
            Metric::InnerProduct => "ip",
            Metric::Cosine => "cosine",
        }
    }
}
