//! The body of an upsert, read in one pass over its bytes.
//!
//! The reader knows the usual forms: the keys of the dialect, each once and spelled without escapes, vectors as lists of
//! numbers or in base64. Ids, payloads and all small parts go through the general parser, one value at a time. Whatever it does not
//! know, it leaves: the general parser then reads the whole body again, and what is wrong with a body is said by that
//! one alone. So the two cannot disagree but on a body that both take, and that they agree there is tested.

use dvse_types::{NESTING_MAX, Payload, PointId, depth, turn};
use memchr::memchr;
use serde::de::DeserializeOwned;

use super::body::{BatchBody, PointBody, UpsertBody};
use crate::error::RestError;
use crate::rest::fields::{IdBody, Unavailable};
use crate::rest::vectors::{
    BatchVectorsBody, VectorBody, VectorsBody, read_base64, read_numbers, skip_space,
};

/// Reads the body of an upsert.
///
/// # Errors
/// It is not JSON, or not of the shape asked for.
pub fn read_upsert(text: &[u8]) -> Result<UpsertBody, RestError> {
    let mut reader = Reader { text, at: 0, vectors: 0, numbers: 0 };
    match reader.upsert() {
        Some(body) => Ok(body),
        None => Ok(serde_json::from_slice(text)?),
    }
}

/// Vectors read between two offers ([`turn`]).
const VECTORS_A_TURN: usize = 16;

/// A place in a JSON text. Each method reads what it is named after, white space around it included, and moves behind
/// it; `None` means that something else stands there.
struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    /// Vectors begun.
    vectors: usize,
    /// Numbers of the vector before: the next one most likely has as many.
    numbers: usize,
}

impl<'t> Reader<'t> {
    fn upsert(&mut self) -> Option<UpsertBody> {
        let (mut points, mut batch, mut update_mode) = (None, None, None);
        let (mut shard_key, mut update_filter) = (None, None);
        self.object(|reader, key| match key {
            b"points" => once(&mut points, reader.list(Reader::point)?),
            b"batch" => once(&mut batch, reader.batch()?),
            b"shard_key" => once(&mut shard_key, reader.value()?),
            b"update_filter" => once(&mut update_filter, reader.value()?),
            b"update_mode" => once(&mut update_mode, reader.value()?),
            _ => None,
        })?;
        (self.at == self.text.len()).then_some(UpsertBody {
            points,
            batch,
            shard_key: shard_key.unwrap_or(Unavailable::Absent),
            update_filter: update_filter.unwrap_or(Unavailable::Absent),
            update_mode: update_mode.flatten(),
        })
    }

    fn point(&mut self) -> Option<PointBody> {
        let (mut id, mut vector, mut payload) = (None, None, None);
        self.object(|reader, key| match key {
            b"id" => once(&mut id, reader.id()?),
            b"vector" => once(&mut vector, reader.vectors()?),
            b"payload" => once(&mut payload, reader.payload()?),
            _ => None,
        })?;
        Some(PointBody { id: id?, vector: vector?, payload: payload.flatten() })
    }

    fn batch(&mut self) -> Option<BatchBody> {
        let (mut ids, mut vectors, mut payloads) = (None, None, None);
        self.object(|reader, key| match key {
            b"ids" => once(&mut ids, reader.list(Reader::id)?),
            b"vectors" => once(&mut vectors, reader.columns()?),
            b"payloads" => once(&mut payloads, reader.list(Reader::payload)?),
            _ => None,
        })?;
        Some(BatchBody { ids: ids?, vectors: vectors?, payloads })
    }

    /// The vectors of one point: one vector, or such by name.
    fn vectors(&mut self) -> Option<VectorsBody> {
        if matches!(self.next(), Some(b'[' | b'"')) {
            return Some(VectorsBody::Single(self.vector()?));
        }
        let mut named = Vec::new();
        self.object(|reader, key| {
            // Beside these a text is part of a document.
            if matches!(key, b"text" | b"model" | b"image" | b"object") && reader.next() == Some(b'"') {
                return None;
            }
            add(&mut named, key, reader.vector()?)
        })?;
        // An object with these two is a sparse vector, which is refused elsewhere.
        let is_sparse =
            named.iter().any(|(name, _)| name == "indices") && named.iter().any(|(name, _)| name == "values");
        (!is_sparse).then_some(VectorsBody::Named(named))
    }

    /// The vectors of a batch: one of each point, or such lists by name.
    fn columns(&mut self) -> Option<BatchVectorsBody> {
        if self.next() == Some(b'[') {
            return Some(BatchVectorsBody::Single(self.list(Reader::vector)?));
        }
        let mut named = Vec::new();
        self.object(|reader, key| add(&mut named, key, reader.list(Reader::vector)?))?;
        Some(BatchVectorsBody::Named(named))
    }

    /// A list of numbers, or a text in base64.
    fn vector(&mut self) -> Option<VectorBody> {
        self.vectors += 1;
        if self.vectors.is_multiple_of(VECTORS_A_TURN) {
            turn::offer();
        }
        if self.next() == Some(b'"') {
            return self.base64();
        }
        let mut vector = Vec::with_capacity(self.numbers);
        self.at = skip_space(self.text, read_numbers(self.text, self.at, &mut vector)?);
        self.numbers = vector.len();
        Some(VectorBody::Dense(vector))
    }

    fn base64(&mut self) -> Option<VectorBody> {
        self.take_here(b'"')?;
        let rest = self.rest()?;
        // An escape or a control character before the end is none of base64.
        let text = rest.get(..memchr(b'"', rest)?)?;
        let vector = read_base64(text).ok()?;
        self.at += text.len();
        self.take(b'"')?;
        Some(VectorBody::Dense(vector))
    }

    fn id(&mut self) -> Option<IdBody> {
        let digits = self.rest()?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // Fewer than 20 digits fit; a number that begins with 0 is 0, or none at all.
        if !(1..20).contains(&digits) || (digits > 1 && self.next() == Some(b'0')) {
            return self.value();
        }
        let number = self.rest()?.get(..digits)?.iter();
        let number = number.fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
        self.at += digits;
        self.skip_space();
        // Behind anything else the number has not ended, or the text is none.
        matches!(self.next(), Some(b',' | b']' | b'}')).then_some(IdBody(PointId::Num(number)))
    }

    fn payload(&mut self) -> Option<Option<Payload>> {
        let payload: Option<Payload> = self.value()?;
        // The general parser counts levels from the start of the body, and refuses a deep one in other words.
        let deepest = payload.iter().flat_map(Payload::values).map(depth).max().unwrap_or(0);
        (deepest < NESTING_MAX).then_some(payload)
    }

    /// Any value, by the general parser.
    fn value<T: DeserializeOwned>(&mut self) -> Option<T> {
        let mut values = serde_json::Deserializer::from_slice(self.rest()?).into_iter();
        let value = values.next()?.ok()?;
        self.at += values.byte_offset();
        self.skip_space();
        Some(value)
    }

    fn list<T>(&mut self, element: impl Fn(&mut Reader<'t>) -> Option<T>) -> Option<Vec<T>> {
        let mut list = Vec::new();
        self.take(b'[')?;
        if self.next() != Some(b']') {
            list.push(element(self)?);
            while self.next() == Some(b',') {
                self.take(b',')?;
                list.push(element(self)?);
            }
        }
        self.take(b']')?;
        Some(list)
    }

    /// An object; `member` is called behind each key and its colon, and reads the value.
    fn object(&mut self, mut member: impl FnMut(&mut Reader<'t>, &'t [u8]) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.next() != Some(b'}') {
            loop {
                let key = self.string()?;
                self.take(b':')?;
                member(self, key)?;
                if self.next() != Some(b',') {
                    break;
                }
                self.take(b',')?;
            }
        }
        self.take(b'}')
    }

    /// A string without escapes and control characters.
    fn string(&mut self) -> Option<&'t [u8]> {
        self.take_here(b'"')?;
        let rest = self.rest()?;
        let len = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
        self.at += len;
        self.take(b'"')?;
        rest.get(..len)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_space();
        self.take_here(byte)?;
        self.skip_space();
        Some(())
    }

    fn take_here(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    fn next(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn rest(&self) -> Option<&'t [u8]> {
        self.text.get(self.at..)
    }

    fn skip_space(&mut self) {
        self.at = skip_space(self.text, self.at);
    }
}

/// Keeps the value of a key; a key that comes twice is an error for the general parser to report.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    if place.is_some() {
        return None;
    }
    *place = Some(value);
    Some(())
}

fn add<T>(named: &mut Vec<(String, T)>, name: &[u8], value: T) -> Option<()> {
    let name = std::str::from_utf8(name).ok()?;
    if named.iter().any(|(other, _)| other == name) {
        return None;
    }
    named.push((name.to_owned(), value));
    Some(())
}

#[cfg(test)]
mod tests;
