//! Conditions on points.

use crate::{PayloadPath, PointId};

/// All four parts must hold; a part that is empty holds.
///
/// An empty `should` counts as absent, because clients in the field send it that way.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// Every one must hold.
    pub must: Vec<Condition>,
    /// At least one must hold, if there are any.
    pub should: Vec<Condition>,
    /// None may hold.
    pub must_not: Vec<Condition>,
    /// At least a number of these must hold.
    pub min_should: Option<MinShould>,
}

/// At least `min_count` of the conditions must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct MinShould {
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// How many must hold, from 1.
    pub min_count: usize,
}

/// One condition on a point.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Some value under a payload key passes a test. An array passes if one of its elements does.
    Field {
        /// Where the values are.
        key: PayloadPath,
        /// The test.
        test: FieldTest,
    },
    /// The key is missing, `null` or an empty array.
    IsEmpty(PayloadPath),
    /// The key holds an explicit `null` (or an array that has one).
    IsNull(PayloadPath),
    /// The point's id is one of these. Sorted and free of duplicates.
    HasId(Vec<PointId>),
    /// The point has a vector of this name.
    HasVector(String),
    /// One element of the array at `key` passes the whole filter by itself.
    Nested {
        /// Where the array is. The filter's keys are relative to its elements.
        key: PayloadPath,
        /// What one element must pass. `HasId` and `HasVector` cannot stand in here.
        filter: Box<Filter>,
    },
    /// A filter within a filter.
    Filter(Box<Filter>),
}

/// A test of one payload value.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldTest {
    /// The value equals this one, in kind too.
    Match(MatchValue),
    /// The value equals one of these. An empty list matches nothing.
    MatchAny(Vec<MatchValue>),
    /// The value is a string or integer and equals none of these. An empty list matches every such value.
    MatchExcept(Vec<MatchValue>),
    /// The value is a number in the range.
    Range(Range<f64>),
    /// The value is a date and time (RFC 3339) in the range; microseconds since 1970-01-01T00:00:00Z.
    DatetimeRange(Range<i64>),
    /// How many values there are: the length of an array, 1 for another value, 0 for `null` or a missing key.
    ValuesCount(Range<u64>),
}

/// A value that can be compared for equality.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchValue {
    /// A string, compared exactly.
    Keyword(String),
    /// An integer; a JSON float never equals it.
    Integer(i64),
    /// A truth value.
    Bool(bool),
}

/// Bounds, each of which may be missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range<T> {
    /// Greater than.
    pub gt: Option<T>,
    /// Greater than or equal to.
    pub gte: Option<T>,
    /// Less than.
    pub lt: Option<T>,
    /// Less than or equal to.
    pub lte: Option<T>,
}

impl<T> Default for Range<T> {
    fn default() -> Self {
        Range { gt: None, gte: None, lt: None, lte: None }
    }
}

impl<T: PartialOrd + Copy> Range<T> {
    /// Whether the value is within all bounds given.
    #[must_use]
    pub fn contains(&self, value: T) -> bool {
        self.gt.is_none_or(|bound| value > bound)
            && self.gte.is_none_or(|bound| value >= bound)
            && self.lt.is_none_or(|bound| value < bound)
            && self.lte.is_none_or(|bound| value <= bound)
    }
}

impl Filter {
    /// Whether the filter passes every point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.must.is_empty()
            && self.should.is_empty()
            && self.must_not.is_empty()
            && self.min_should.is_none()
    }
}
