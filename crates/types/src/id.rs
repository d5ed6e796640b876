//! Names for things: points, rows, log entries, shards.

use std::fmt;
use std::str::FromStr;

/// What a user calls a point: an unsigned integer or a UUID.
///
/// The order is the order of scrolling: all integers ascending, then all UUIDs ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PointId {
    /// An unsigned integer, 0 to 2⁶⁴ − 1.
    Num(u64),
    /// A UUID as its 128-bit big-endian value.
    Uuid(u128),
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PointId::Num(n) => write!(f, "{n}"),
            PointId::Uuid(u) => write!(f, "{}", uuid::Uuid::from_u128(*u).hyphenated()),
        }
    }
}

/// A text that is neither an unsigned integer nor one of the three spellings of a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a point id: it must be an unsigned integer or a UUID (hyphenated, simple or urn)")]
pub struct ParsePointIdError(pub String);

impl FromStr for PointId {
    type Err = ParsePointIdError;

    /// Reads an unsigned integer, or a UUID spelled hyphenated, simple (32 digits) or as `urn:uuid:…`.
    ///
    /// A text of 32 digits is a UUID: it is too long for an integer id.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(number) = text.parse::<u64>()
            && !text.starts_with('+')
        {
            return Ok(PointId::Num(number));
        }
        // The braced form that the library reads as well is not one of the dialect's three spellings.
        if text.starts_with('{') {
            return Err(ParsePointIdError(text.to_owned()));
        }
        uuid::Uuid::try_parse(text)
            .map(|uuid| PointId::Uuid(uuid.as_u128()))
            .map_err(|_| ParsePointIdError(text.to_owned()))
    }
}

/// A row of one segment, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(pub u32);

/// The position of an entry in a shard's log. The first entry is 1; 0 means "nothing yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> SeqNo {
        SeqNo(self.0 + 1)
    }
}

impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_spellings_of_a_uuid_are_one_id() {
        let expect = PointId::Uuid(0x550e8400_e29b_41d4_a716_446655440000);
        for text in [
            "550e8400-e29b-41d4-a716-446655440000",
            "550E8400e29b41d4a716446655440000",
            "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
        ] {
            assert_eq!(text.parse(), Ok(expect), "{text}");
        }
        assert_eq!(expect.to_string(), "550e8400-e29b-41d4-a716-446655440000");
    }

    #[test]
    fn the_largest_integer_is_an_id_and_the_next_is_not() {
        assert_eq!("18446744073709551615".parse(), Ok(PointId::Num(u64::MAX)));
        for text in
            ["18446744073709551616", "-1", "+1", "1.0", "", "x", "{550e8400-e29b-41d4-a716-446655440000}"]
        {
            assert!(text.parse::<PointId>().is_err(), "{text}");
        }
    }

    #[test]
    fn integers_come_before_uuids() {
        assert!(PointId::Num(u64::MAX) < PointId::Uuid(0));
    }
}
