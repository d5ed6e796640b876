//! Payload indexes: from a value to the rows that have it.
//!
//! Both forms hold the same: texts with their rows, or codes with their rows, and the *others*: rows with a value
//! that the index does not hold but that a test it answers could pass. The growing form is trees; the sealed form is
//! sorted arrays read in place. Rows are kept as plain ascending lists: at four bytes a row they are smaller
//! than a compressed bitmap wherever a value is rare, and they are read in place without any opening.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use dvse_storage::Bytes;
use dvse_types::FieldKind;

use super::keys::FieldKeys;
use crate::op_codec::{decode_field_kind, field_kind_tag};
use crate::wire::{DecodeError, FieldReader};

/// What an index can be asked. Rows of one key are visited in ascending order.
pub(crate) trait Postings {
    /// What the keys are.
    fn kind(&self) -> FieldKind;
    /// Visits the rows that have a text.
    fn rows_of_text(&self, text: &str, visit: &mut dyn FnMut(u32));
    /// Visits all texts with their rows, texts ascending.
    fn each_text(&self, visit: &mut dyn FnMut(&str, &[u32]));
    /// Visits codes of a range with their rows, codes ascending; stops when `visit` returns false.
    fn codes(&self, range: RangeInclusive<u64>, visit: &mut dyn FnMut(u64, u32) -> bool);
    /// Visits the others.
    fn others(&self, visit: &mut dyn FnMut(u32));
    /// How many rows have at least one key.
    fn rows_with_keys(&self) -> u32;
}

/// An index that grows with its segment.
#[derive(Debug)]
pub(crate) struct GrowingFieldIndex {
    kind: FieldKind,
    texts: BTreeMap<Box<str>, Vec<u32>>,
    codes: BTreeSet<(u64, u32)>,
    others: Vec<u32>,
    rows_with_keys: u32,
}

impl GrowingFieldIndex {
    pub(crate) fn new(kind: FieldKind) -> GrowingFieldIndex {
        GrowingFieldIndex {
            kind,
            texts: BTreeMap::new(),
            codes: BTreeSet::new(),
            others: Vec::new(),
            rows_with_keys: 0,
        }
    }

    /// Adds the keys of a row that is above all rows added before.
    pub(crate) fn add(&mut self, row: u32, keys: FieldKeys) {
        self.rows_with_keys += u32::from(!keys.is_empty());
        for text in keys.texts {
            match self.texts.get_mut(text.as_str()) {
                Some(rows) => rows.push(row),
                None => drop(self.texts.insert(text.into_boxed_str(), vec![row])),
            }
        }
        self.codes.extend(keys.codes.into_iter().map(|code| (code, row)));
        if keys.others {
            self.others.push(row);
        }
    }
}

impl Postings for GrowingFieldIndex {
    fn kind(&self) -> FieldKind {
        self.kind
    }

    fn rows_of_text(&self, text: &str, visit: &mut dyn FnMut(u32)) {
        self.texts.get(text).into_iter().flatten().copied().for_each(visit);
    }

    fn each_text(&self, visit: &mut dyn FnMut(&str, &[u32])) {
        self.texts.iter().for_each(|(text, rows)| visit(text, rows));
    }

    fn codes(&self, range: RangeInclusive<u64>, visit: &mut dyn FnMut(u64, u32) -> bool) {
        if range.is_empty() {
            return;
        }
        for (code, row) in self.codes.range((*range.start(), 0)..=(*range.end(), u32::MAX)) {
            if !visit(*code, *row) {
                return;
            }
        }
    }

    fn others(&self, visit: &mut dyn FnMut(u32)) {
        self.others.iter().copied().for_each(visit);
    }

    fn rows_with_keys(&self) -> u32 {
        self.rows_with_keys
    }
}

/// Why bytes are not a field index.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FieldIndexError {
    /// The header cannot be read.
    #[error("the header of the field index: {0}")]
    Header(#[from] DecodeError),
    /// The parts do not add up to the section.
    #[error("the field index has {got} bytes, its header asks for {expected}")]
    Size {
        /// Bytes found.
        got: u64,
        /// Bytes the header asks for.
        expected: u64,
    },
}

const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;

/// Writes an index as one section; the layout stands in `docs/format/shard.md`.
pub(crate) fn encode_field_index(index: &dyn Postings) -> Vec<u8> {
    let mut codes: Vec<u64> = Vec::new();
    let mut rows: Vec<u32> = Vec::new();
    let mut others: Vec<u32> = Vec::new();
    let mut text_ends: Vec<u32> = Vec::new();
    let mut posting_ends: Vec<u32> = Vec::new();
    let mut blob: Vec<u8> = Vec::new();
    index.codes(0..=u64::MAX, &mut |code, row| {
        codes.push(code);
        rows.push(row);
        true
    });
    index.each_text(&mut |text, text_rows| {
        blob.extend_from_slice(text.as_bytes());
        rows.extend_from_slice(text_rows);
        text_ends.push(blob.len() as u32);
        posting_ends.push(rows.len() as u32);
    });
    index.others(&mut |row| others.push(row));

    let mut out = Vec::with_capacity(HEADER_BYTES + codes.len() * 8 + rows.len() * 4 + blob.len());
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[field_kind_tag(index.kind()), 0, 0, 0]);
    for count in [codes.len(), rows.len(), others.len(), text_ends.len(), blob.len()] {
        out.extend_from_slice(&(count as u32).to_le_bytes());
    }
    out.extend_from_slice(&index.rows_with_keys().to_le_bytes());
    out.extend_from_slice(bytemuck::cast_slice(&codes));
    for part in [&rows, &others, &text_ends, &posting_ends] {
        out.extend_from_slice(bytemuck::cast_slice(part));
    }
    out.extend_from_slice(&blob);
    out
}

/// An index read in place from a section.
#[derive(Debug, Clone)]
pub(crate) struct SealedFieldIndex {
    kind: FieldKind,
    rows_with_keys: u32,
    codes: Bytes,
    rows: Bytes,
    others: Bytes,
    text_ends: Bytes,
    posting_ends: Bytes,
    blob: Bytes,
}

impl SealedFieldIndex {
    pub(crate) fn open(section: &Bytes) -> Result<SealedFieldIndex, FieldIndexError> {
        let mut header = FieldReader::new(section);
        let version = header.u32("the version")?;
        if version != VERSION {
            return Err(DecodeError::Version { got: version.into(), supported: VERSION.into() }.into());
        }
        let kind = decode_field_kind(&mut header)?;
        for _ in 0..3 {
            header.u8("padding")?;
        }
        let mut counts = [0_u64; 5];
        for count in &mut counts {
            *count = u64::from(header.u32("a count")?);
        }
        let rows_with_keys = header.u32("the number of rows")?;
        let [codes, rows, others, texts, blob] = counts;
        let sizes = [codes * 8, rows * 4, others * 4, texts * 4, texts * 4, blob];
        let expected = HEADER_BYTES as u64 + sizes.iter().sum::<u64>();
        let size = FieldIndexError::Size { got: section.len() as u64, expected };
        if expected != section.len() as u64 {
            return Err(size);
        }
        let mut at = HEADER_BYTES;
        let mut part = |bytes: u64| {
            let start = at;
            at += bytes as usize;
            section.slice(start..at).map_err(|_| size.clone())
        };
        Ok(SealedFieldIndex {
            kind,
            rows_with_keys,
            codes: part(sizes[0])?,
            rows: part(sizes[1])?,
            others: part(sizes[2])?,
            text_ends: part(sizes[3])?,
            posting_ends: part(sizes[4])?,
            blob: part(sizes[5])?,
        })
    }

    fn text(&self, at: usize) -> &str {
        let ends = numbers(&self.text_ends);
        let start = if at == 0 { 0 } else { end_at(ends, at - 1) };
        let text = self.blob.get(start..end_at(ends, at)).unwrap_or(&[]);
        std::str::from_utf8(text).unwrap_or_default()
    }

    fn postings(&self, at: usize) -> &[u32] {
        let ends = numbers(&self.posting_ends);
        // The rows of codes come first; an index has codes or texts, so they are none here.
        let start = if at == 0 { self.codes.len() / 8 } else { end_at(ends, at - 1) };
        numbers(&self.rows).get(start..end_at(ends, at)).unwrap_or(&[])
    }

    fn texts(&self) -> usize {
        self.text_ends.len() / 4
    }
}

/// The part as numbers. The start of a section is aligned to 64 bytes and its parts to four, so this never fails on
/// what [`encode_field_index`] wrote.
fn numbers(bytes: &Bytes) -> &[u32] {
    bytes.as_slice_of().unwrap_or(&[])
}

fn end_at(ends: &[u32], at: usize) -> usize {
    ends.get(at).map_or(0, |end| *end as usize)
}

impl Postings for SealedFieldIndex {
    fn kind(&self) -> FieldKind {
        self.kind
    }

    fn rows_of_text(&self, text: &str, visit: &mut dyn FnMut(u32)) {
        let (mut low, mut high) = (0, self.texts());
        while low < high {
            let middle = low.midpoint(high);
            if self.text(middle) < text { low = middle + 1 } else { high = middle }
        }
        if low < self.texts() && self.text(low) == text {
            self.postings(low).iter().copied().for_each(visit);
        }
    }

    fn each_text(&self, visit: &mut dyn FnMut(&str, &[u32])) {
        (0..self.texts()).for_each(|at| visit(self.text(at), self.postings(at)));
    }

    fn codes(&self, range: RangeInclusive<u64>, visit: &mut dyn FnMut(u64, u32) -> bool) {
        let codes: &[u64] = self.codes.as_slice_of().unwrap_or(&[]);
        let first = codes.partition_point(|code| code < range.start());
        for (code, row) in codes.iter().zip(numbers(&self.rows)).skip(first) {
            if code > range.end() || !visit(*code, *row) {
                return;
            }
        }
    }

    fn others(&self, visit: &mut dyn FnMut(u32)) {
        numbers(&self.others).iter().copied().for_each(visit);
    }

    fn rows_with_keys(&self) -> u32 {
        self.rows_with_keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sealed_form_answers_as_the_growing_one() {
        let mut texts = GrowingFieldIndex::new(FieldKind::Keyword);
        let mut codes = GrowingFieldIndex::new(FieldKind::Integer);
        for row in 0..100_u32 {
            let words = vec![format!("w{}", row % 7), format!("w{}", 10 + row % 3)];
            texts.add(row, FieldKeys { texts: words, codes: vec![], others: row % 10 == 0 });
            let numbers = if row % 4 == 0 { vec![] } else { vec![u64::from(row % 13), 1000] };
            codes.add(row, FieldKeys { texts: vec![], codes: numbers, others: false });
        }
        for growing in [texts, codes] {
            let sealed = SealedFieldIndex::open(&Bytes::copy_of(&encode_field_index(&growing))).unwrap();
            assert_eq!(dump(&sealed), dump(&growing));
        }
    }

    #[test]
    fn a_section_of_another_size_is_refused() {
        let bytes = encode_field_index(&GrowingFieldIndex::new(FieldKind::Bool));
        for len in 0..bytes.len() {
            assert!(SealedFieldIndex::open(&Bytes::copy_of(&bytes[..len])).is_err(), "{len}");
        }
        assert!(SealedFieldIndex::open(&Bytes::copy_of(&[bytes, vec![0]].concat())).is_err());
    }

    type Dump = (Vec<(String, Vec<u32>)>, Vec<u32>, Vec<u32>, Vec<(u64, u32)>, u32);

    fn dump(index: &dyn Postings) -> Dump {
        let mut dump = Dump::default();
        index.each_text(&mut |text, rows| dump.0.push((text.to_owned(), rows.to_vec())));
        index.rows_of_text("w3", &mut |row| dump.1.push(row));
        index.rows_of_text("w", &mut |row| dump.1.push(row));
        index.others(&mut |row| dump.2.push(row));
        index.codes(3..=1000, &mut |code, row| {
            dump.3.push((code, row));
            dump.3.len() < 120
        });
        dump.4 = index.rows_with_keys();
        dump
    }
}
