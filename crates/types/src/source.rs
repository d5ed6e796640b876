//! Where the records of a batch came from, so that each of them takes effect once.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::SeqNo;

/// Bytes of the longest name of a stream.
pub const STREAM_NAME_BYTES_MAX: usize = 200;

/// Pairs of stream and partition that a collection keeps a state of.
pub const SOURCES_MAX: usize = 65_536;

/// The name of a stream of records, such as the topic they are read from: 1 to [`STREAM_NAME_BYTES_MAX`] bytes without
/// control characters. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot be the name of a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStreamName {
    /// It is empty or too long.
    #[error("the name of a stream takes {bytes} bytes; it must take 1 to {STREAM_NAME_BYTES_MAX}")]
    Length {
        /// Bytes it takes.
        bytes: usize,
    },
    /// It holds a character that cannot be printed.
    #[error("the name of a stream holds {letter:?}, a control character")]
    Control {
        /// The character.
        letter: char,
    },
}

impl FromStr for StreamName {
    type Err = InvalidStreamName;

    fn from_str(text: &str) -> Result<StreamName, InvalidStreamName> {
        let bytes = text.len();
        if bytes == 0 || bytes > STREAM_NAME_BYTES_MAX {
            return Err(InvalidStreamName::Length { bytes });
        }
        match text.chars().find(|letter| letter.is_control()) {
            Some(letter) => Err(InvalidStreamName::Control { letter }),
            None => Ok(StreamName(text.into())),
        }
    }
}

/// The place of a record in a partition of a stream. Later records have larger ones; what else it says is the stream's
/// affair. As text it is a decimal number, because JSON numbers are not safe beyond 2⁵³.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u128);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a position: it must be a decimal number from 0 to 2¹²⁸ − 1")]
pub struct ParsePositionError(pub String);

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Position, ParsePositionError> {
        // The library would take a plus sign.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        number.map(Position).ok_or_else(|| ParsePositionError(text.to_owned()))
    }
}

/// Says how far into a partition of a stream a batch reaches, and who says so. It takes effect with the batch or not
/// at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceMark {
    /// The stream.
    pub stream: StreamName,
    /// Its partition.
    pub partition: u32,
    /// The number that the writer was granted when it took the partition over.
    pub epoch: u64,
    /// The position of the last record whose effect the batch holds.
    pub position: Position,
}

/// How far into one partition of a stream a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceState {
    /// The number granted last; only its holder may write.
    pub epoch: u64,
    /// The position of the last record whose effect is in the collection; `None` before the first.
    pub position: Option<Position>,
    /// The entry of the log that carried the position; 0 before the first.
    pub seq: SeqNo,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_streams_are_short_and_printable() {
        for text in ["a", "persistent://dvse/ingest/raw-events", "Ströme, 流", &"x".repeat(200)] {
            assert_eq!(text.parse::<StreamName>().unwrap().as_str(), text);
        }
        for (text, bytes) in [("", 0), (&*"x".repeat(201), 201), (&*"ö".repeat(101), 202)] {
            assert_eq!(text.parse::<StreamName>(), Err(InvalidStreamName::Length { bytes }));
        }
        for letter in ['\n', '\0', '\u{7f}', '\u{85}'] {
            let text = format!("a{letter}b");
            assert_eq!(text.parse::<StreamName>(), Err(InvalidStreamName::Control { letter }));
        }
    }

    #[test]
    fn positions_are_decimal_numbers_in_their_own_order() {
        for (text, number) in [("0", 0), ("123", 123), ("340282366920938463463374607431768211455", u128::MAX)]
        {
            assert_eq!(text.parse(), Ok(Position(number)));
            assert_eq!(Position(number).to_string(), text);
        }
        for text in ["", "+1", "-1", " 1", "1.0", "0x1", "340282366920938463463374607431768211456"] {
            assert_eq!(text.parse::<Position>(), Err(ParsePositionError(text.to_owned())));
        }
        assert!(Position(9) < Position(10));
    }
}
