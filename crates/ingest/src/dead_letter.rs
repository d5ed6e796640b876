//! What is kept of a record that nothing can be made of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::log::Record;
use crate::raw::DeadLetterBody;
use crate::raw_event::{Poison, RECORD_BYTES_MAX};
use crate::topic::TopicName;
use dvse_types::Position;

/// A record of `dead-letters`. Its identity is (stream, partition, position, collection): after a crash the same letter may be
/// there twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The topic the record came from.
    pub topic: String,
    /// The stream, which tells two topics of one name apart.
    pub stream: String,
    /// The partition it came from.
    pub partition: u32,
    /// Its place there.
    pub position: Position,
    /// The collection that nothing came into.
    pub collection: String,
    /// The stable name of the reason.
    pub code: String,
    /// The reason.
    pub reason: String,
    /// When the letter was written, in milliseconds since 1970.
    pub time_ms: u64,
    /// The record's bytes.
    pub record: Vec<u8>,
}

/// A text that is no dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a dead letter: {0}")]
pub struct InvalidDeadLetter(String);

impl DeadLetter {
    /// Writes the letter of a record. One that is too large to be taken is left out, as sending it again would come to the same.
    #[must_use]
    pub fn of(
        topic: &TopicName,
        stream: &str,
        partition: u32,
        collection: &str,
        record: &Record,
        poison: &Poison,
        time_ms: u64,
    ) -> DeadLetter {
        let is_left_out = record.payload.len() > RECORD_BYTES_MAX;
        let reason = match is_left_out {
            true => format!("{poison} (it is left out of this letter)"),
            false => poison.to_string(),
        };
        DeadLetter {
            topic: topic.to_string(),
            stream: stream.to_owned(),
            partition,
            position: record.position,
            collection: collection.to_owned(),
            code: poison.code().to_owned(),
            reason,
            time_ms,
            record: if is_left_out { Vec::new() } else { record.payload.clone() },
        }
    }

    /// The same letter without the record's bytes, where the log takes no letter of so many.
    #[must_use]
    pub fn without_record(mut self, bytes: u64) -> DeadLetter {
        self.record.clear();
        self.reason = format!(
            "{} (a letter of {bytes} bytes is too large for the log: the record is left out)",
            self.reason
        );
        self
    }

    /// Returns it as one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let (record, record_base64) = match std::str::from_utf8(&self.record) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(&self.record))),
        };
        let body = DeadLetterBody {
            topic: self.topic.clone(),
            stream: self.stream.clone(),
            partition: self.partition,
            position: self.position.to_string(),
            collection: self.collection.clone(),
            code: self.code.clone(),
            reason: self.reason.clone(),
            time_ms: self.time_ms,
            record,
            record_base64,
        };
        // Texts and numbers only: nothing that JSON could refuse.
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// Reads a letter.
    ///
    /// # Errors
    /// It is not one, and why.
    pub fn from_json(text: &[u8]) -> Result<DeadLetter, InvalidDeadLetter> {
        let wrong = |error: &dyn std::fmt::Display| InvalidDeadLetter(error.to_string());
        let body: DeadLetterBody = serde_json::from_slice(text).map_err(|error| wrong(&error))?;
        let record = match (body.record, body.record_base64) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(base64)) => STANDARD.decode(base64).map_err(|error| wrong(&error))?,
            (None, None) => return Err(InvalidDeadLetter("it has no record".to_owned())),
        };
        Ok(DeadLetter {
            topic: body.topic,
            stream: body.stream,
            partition: body.partition,
            position: body.position.parse().map_err(|error| wrong(&error))?,
            collection: body.collection,
            code: body.code,
            reason: body.reason,
            time_ms: body.time_ms,
            record,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_keeps_every_byte_of_its_record() {
        for payload in [&b"{\"a\": \"\\u0000\n\"}"[..], b"", b"\xff\xfe\x00", "größe".as_bytes()] {
            let record = Record {
                position: Position(1 << 70),
                key: vec![],
                payload: payload.to_vec(),
                appended_ms: 5,
                flaw: None,
            };
            let topic = TopicName::raw_events();
            let letter = DeadLetter::of(&topic, "s#1", 3, "c", &record, &Poison::Text("x".to_owned()), 9);
            assert_eq!(DeadLetter::from_json(letter.to_json().as_bytes()), Ok(letter));
        }
        assert!(DeadLetter::from_json(b"{}").is_err());
    }
}
