//! The file format of an embedding table: one quantized row per token, and the tokenizer that goes with it.
//!
//! The layout is described where the files are made, in `assets/build_table.py`. Every length is checked against the
//! size of the file before anything is read or reserved, and both checksums before anything is believed.

use std::borrow::Cow;
use std::ops::Range;

use crate::{EmbedError, ModelIdentity};

const MAGIC: &[u8; 8] = b"DVSESET1";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 128;
/// Larger tables than these are refused: token ids are `u16` with one value kept for "no such token".
const MAX_VOCAB: u32 = 65_535;
const MAX_DIM: u32 = 65_535;
const MERGE_LEN: usize = 6;

/// A checked table. Rows stay where they are; everything else is small and was parsed.
pub(crate) struct Table {
    bytes: Cow<'static, [u8]>,
    rows: Range<usize>,
    scales: Vec<f32>,
    pub(crate) pieces: Vec<String>,
    pub(crate) merges: Vec<Merge>,
    pub(crate) identity: ModelIdentity,
}

/// One merge rule: `left` directly followed by `right` becomes `merged`. Earlier rules go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) left: u16,
    pub(crate) right: u16,
    pub(crate) merged: u16,
}

impl Table {
    /// Checks `bytes` and indexes them.
    pub(crate) fn parse(bytes: Cow<'static, [u8]>) -> Result<Table, EmbedError> {
        let header = Header::parse(&bytes)?;
        let sections = header.sections(bytes.len())?;
        check(28, "body checksum", crc32(&bytes[HEADER_LEN..]).into(), header.body_crc.into())?;

        let scales = parse_scales(&bytes, &sections.scales)?;
        let pieces = parse_pieces(&bytes, &sections)?;
        let merges = parse_merges(&bytes, &sections.merges, header.vocab)?;
        let identity = header.identity(&bytes)?;
        Ok(Table { rows: sections.rows, scales, pieces, merges, identity, bytes })
    }

    /// The scale and the quantized row of a token; the token's vector is their product.
    ///
    /// `token` is below the number of pieces: the tokenizer only gives out ids checked by [`Table::parse`].
    pub(crate) fn row(&self, token: u16) -> (f32, &[i8]) {
        let dim = self.identity.dim;
        let rows: &[i8] = bytemuck::cast_slice(&self.bytes[self.rows.clone()]);
        let start = usize::from(token) * dim;
        (self.scales[usize::from(token)], &rows[start..start + dim])
    }
}

struct Header {
    dim: u32,
    vocab: u32,
    merges: u32,
    piece_bytes: u32,
    body_crc: u32,
}

struct Sections {
    scales: Range<usize>,
    rows: Range<usize>,
    piece_lengths: Range<usize>,
    pieces: Range<usize>,
    merges: Range<usize>,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Header, EmbedError> {
        if bytes.len() < HEADER_LEN {
            return Err(damaged(0, "file length", bytes.len() as u64, HEADER_LEN as u64));
        }
        if &bytes[..8] != MAGIC {
            return Err(EmbedError::DamagedText { offset: 0, field: "magic", problem: "is not DVSESET1" });
        }
        check(8, "format version", u32_at(bytes, 8).into(), VERSION.into())?;
        check(124, "header checksum", crc32(&bytes[..124]).into(), u32_at(bytes, 124).into())?;
        let header = Header {
            dim: u32_at(bytes, 12),
            vocab: u32_at(bytes, 16),
            merges: u32_at(bytes, 20),
            piece_bytes: u32_at(bytes, 24),
            body_crc: u32_at(bytes, 28),
        };
        check_range(12, "dim", header.dim, MAX_DIM)?;
        check_range(16, "vocab", header.vocab, MAX_VOCAB)?;
        Ok(header)
    }

    /// Where each section lies, given that the sections must fill the file exactly.
    fn sections(&self, file_len: usize) -> Result<Sections, EmbedError> {
        let vocab = u64::from(self.vocab);
        let lengths = [
            4 * vocab,
            vocab * u64::from(self.dim),
            vocab,
            u64::from(self.piece_bytes),
            MERGE_LEN as u64 * u64::from(self.merges),
        ];
        // Below 2⁶⁴: the largest term is under 2³⁵.
        let expected = HEADER_LEN as u64 + lengths.iter().sum::<u64>();
        check(0, "file length", file_len as u64, expected)?;
        let mut start = HEADER_LEN;
        let [scales, rows, piece_lengths, pieces, merges] = lengths.map(|len| {
            // Fits: the sum of all lengths is the length of a slice.
            let range = start..start + len as usize;
            start = range.end;
            range
        });
        Ok(Sections { scales, rows, piece_lengths, pieces, merges })
    }

    fn identity(&self, bytes: &[u8]) -> Result<ModelIdentity, EmbedError> {
        let hash = bytes[32..64].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(ModelIdentity {
            name: padded_text(bytes, 64..112, "model name")?,
            revision: padded_text(bytes, 112..124, "model revision")?,
            dim: self.dim as usize,
            hash,
        })
    }
}

fn parse_scales(bytes: &[u8], section: &Range<usize>) -> Result<Vec<f32>, EmbedError> {
    let (words, _) = bytes[section.clone()].as_chunks::<4>();
    let scales: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    match scales.iter().position(|scale| !scale.is_finite()) {
        None => Ok(scales),
        Some(token) => Err(EmbedError::DamagedText {
            offset: section.start + 4 * token,
            field: "scale",
            problem: "is not a finite number",
        }),
    }
}

fn parse_pieces(bytes: &[u8], sections: &Sections) -> Result<Vec<String>, EmbedError> {
    let lengths = &bytes[sections.piece_lengths.clone()];
    let total: u64 = lengths.iter().map(|len| u64::from(*len)).sum();
    check(sections.piece_lengths.start, "sum of piece lengths", total, sections.pieces.len() as u64)?;
    let mut start = sections.pieces.start;
    lengths
        .iter()
        .map(|len| {
            let offset = start;
            start += usize::from(*len);
            match std::str::from_utf8(&bytes[offset..start]) {
                Ok(piece) => Ok(piece.to_owned()),
                Err(_) => Err(EmbedError::DamagedText { offset, field: "piece", problem: "is not UTF-8" }),
            }
        })
        .collect()
}

fn parse_merges(bytes: &[u8], section: &Range<usize>, vocab: u32) -> Result<Vec<Merge>, EmbedError> {
    let (rules, _) = bytes[section.clone()].as_chunks::<MERGE_LEN>();
    let mut merges = Vec::with_capacity(rules.len());
    for (rank, rule) in rules.iter().enumerate() {
        let id = |at: usize| u16::from_le_bytes([rule[at], rule[at + 1]]);
        let merge = Merge { left: id(0), right: id(2), merged: id(4) };
        let largest = merge.left.max(merge.right).max(merge.merged);
        if u32::from(largest) >= vocab {
            let offset = section.start + MERGE_LEN * rank;
            return Err(damaged(offset, "merge rule token", largest.into(), u64::from(vocab) - 1));
        }
        merges.push(merge);
    }
    Ok(merges)
}

fn padded_text(bytes: &[u8], range: Range<usize>, field: &'static str) -> Result<String, EmbedError> {
    let offset = range.start;
    let text = bytes[range].split(|byte| *byte == 0).next().unwrap_or_default();
    match std::str::from_utf8(text) {
        Ok("") => Err(EmbedError::DamagedText { offset, field, problem: "is empty" }),
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(EmbedError::DamagedText { offset, field, problem: "is not UTF-8" }),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn check(offset: usize, field: &'static str, got: u64, expected: u64) -> Result<(), EmbedError> {
    if got == expected { Ok(()) } else { Err(damaged(offset, field, got, expected)) }
}

fn check_range(offset: usize, field: &'static str, got: u32, most: u32) -> Result<(), EmbedError> {
    match got {
        0 => Err(damaged(offset, field, 0, 1)),
        _ if got > most => Err(damaged(offset, field, got.into(), most.into())),
        _ => Ok(()),
    }
}

fn damaged(offset: usize, field: &'static str, got: u64, expected: u64) -> EmbedError {
    EmbedError::DamagedTable { offset, field, got, expected }
}
