//! Where a record is in its partition.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// The place of a record in one partition of one stream; later records have larger ones. In the embedded log it is the
/// number of the record, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u128);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Position {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Position, ParseIntError> {
        text.parse().map(Position)
    }
}
