//! Text to tokens, exactly as the tokenizer of the bundled model does it.
//!
//! The text is first cut at the control pieces `<unk>`, `<s>` and `</s>`, which stand for themselves. Each stretch
//! between them gets a blank in front, blanks become U+2581, and the characters are merged by rank ([`MergeRules`]). A
//! character without a piece of its own becomes one token per UTF-8 byte, so no text has an unknown token.
//!
//! No piece holds U+2581 after another character, so no merge reaches across the start of a word, and words can be
//! merged one by one. [`Tokenizer::new`] checks that this holds for the table it is given.

use std::collections::HashMap;

use crate::EmbedError;
use crate::merge_rules::{MergeRules, MergeScratch};
use crate::table::Table;

/// Only this many bytes from the start of a text count, cut back to a character boundary. It bounds the time one text
/// can take; a mean over thousands of words says nothing about the text any more anyway.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

const BLANK: char = '\u{2581}';
const CONTROL_PIECES: [&str; 3] = ["<unk>", "<s>", "</s>"];
/// No table has this token: vocabularies have at most 65 535 of them.
const NO_TOKEN: u16 = u16::MAX;

pub(crate) struct Tokenizer {
    control: Vec<(&'static str, u16)>,
    ascii: [u16; 128],
    chars: HashMap<char, u16>,
    bytes: [u16; 256],
    rules: MergeRules,
}

/// Memory reused from text to text.
#[derive(Default)]
pub(crate) struct TokenScratch {
    word: Vec<u16>,
    merge: MergeScratch,
}

impl Tokenizer {
    /// Builds the tokenizer of `table`.
    ///
    /// # Errors
    ///
    /// Refuses a table without a token for each of the 256 bytes, or with a piece that spans two words.
    pub(crate) fn new(table: &Table) -> Result<Tokenizer, EmbedError> {
        let mut tokenizer = Tokenizer {
            control: Vec::new(),
            ascii: [NO_TOKEN; 128],
            chars: HashMap::new(),
            bytes: [NO_TOKEN; 256],
            rules: MergeRules::new(&table.merges),
        };
        for (token, piece) in (0..).zip(&table.pieces) {
            tokenizer.add_piece(token, piece)?;
        }
        if let Some(byte) = tokenizer.bytes.iter().position(|token| *token == NO_TOKEN) {
            let (field, got) = ("number of byte tokens", byte as u64);
            return Err(EmbedError::DamagedTable { offset: 0, field, got, expected: 256 });
        }
        Ok(tokenizer)
    }

    fn add_piece(&mut self, token: u16, piece: &str) -> Result<(), EmbedError> {
        if piece.trim_start_matches(BLANK).contains(BLANK) {
            let problem = "has U+2581 after another character";
            return Err(EmbedError::DamagedText { offset: 0, field: "piece", problem });
        }
        let mut chars = piece.chars();
        if let (Some(only), None) = (chars.next(), chars.next()) {
            match self.ascii.get_mut(only as usize) {
                Some(slot) => *slot = token,
                None => _ = self.chars.insert(only, token),
            }
        } else if let Some(byte) = byte_piece(piece) {
            self.bytes[usize::from(byte)] = token;
        } else if let Some(control) = CONTROL_PIECES.into_iter().find(|control| *control == piece) {
            self.control.push((control, token));
        }
        Ok(())
    }

    /// Appends the tokens of `text` to `tokens`.
    pub(crate) fn encode(&self, text: &str, scratch: &mut TokenScratch, tokens: &mut Vec<u16>) {
        let mut rest = first_bytes(text, MAX_TEXT_BYTES);
        while !rest.is_empty() {
            let (stretch, control) = self.split_at_control(rest);
            self.encode_stretch(stretch, scratch, tokens);
            rest = &rest[stretch.len()..];
            if let Some((piece, token)) = control {
                tokens.push(token);
                rest = &rest[piece.len()..];
            }
        }
    }

    /// The text before the first control piece, and that piece. No control piece is the start of another one.
    fn split_at_control<'t>(&self, text: &'t str) -> (&'t str, Option<(&'static str, u16)>) {
        for (at, _) in text.match_indices('<') {
            if let Some(found) = self.control.iter().find(|(piece, _)| text[at..].starts_with(piece)) {
                return (&text[..at], Some(*found));
            }
        }
        (text, None)
    }

    fn encode_stretch(&self, text: &str, scratch: &mut TokenScratch, tokens: &mut Vec<u16>) {
        if text.is_empty() {
            return;
        }
        let mut last = BLANK;
        self.push_char(BLANK, &mut scratch.word);
        for c in text.chars() {
            let c = if c == ' ' { BLANK } else { c };
            if c == BLANK && last != BLANK {
                self.finish_word(scratch, tokens);
            }
            self.push_char(c, &mut scratch.word);
            last = c;
        }
        self.finish_word(scratch, tokens);
    }

    fn push_char(&self, c: char, word: &mut Vec<u16>) {
        let token = match self.ascii.get(c as usize) {
            Some(token) => *token,
            None => self.chars.get(&c).copied().unwrap_or(NO_TOKEN),
        };
        if token == NO_TOKEN {
            let mut buffer = [0; 4];
            word.extend(c.encode_utf8(&mut buffer).bytes().map(|byte| self.bytes[usize::from(byte)]));
        } else {
            word.push(token);
        }
    }

    fn finish_word(&self, scratch: &mut TokenScratch, tokens: &mut Vec<u16>) {
        self.rules.apply(&mut scratch.word, &mut scratch.merge);
        tokens.append(&mut scratch.word);
    }
}

/// The byte that a piece such as `<0x0A>` stands for.
fn byte_piece(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

fn first_bytes(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
