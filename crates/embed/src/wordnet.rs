//! The 117 659 meanings of WordNet 3.0, the data set of the demo's reverse dictionary.
//!
//! WordNet is Copyright 2006 by Princeton University; its licence stands in `assets/WORDNET-LICENSE`. The records were made
//! by `assets/build_glosses.py`, which also describes their format.

use std::fmt;
use std::io::{self, BufRead, BufReader};

use flate2::read::GzDecoder;

static RECORDS: &[u8] = include_bytes!("../assets/wordnet-glosses.tsv.gz");

/// Number of meanings.
pub const COUNT: usize = 117_659;

/// Questions to the reverse dictionary, each with a word that is among the three nearest meanings under exact search
/// with the bundled table. None is the wording of a definition.
pub const SAMPLE_QUESTIONS: &[(&str, &str)] = &[
    ("a small boat moved with a paddle", "canoe"),
    ("fear of heights", "acrophobia"),
    ("instrument for measuring temperature", "thermometer"),
    ("a place where books are kept", "library"),
    ("snow falling heavily with strong wind", "blizzard"),
    ("a person who studies insects", "entomologist"),
    ("vehicle with two wheels and pedals", "bicycle"),
    ("the sound a cow makes", "moo"),
    ("the daughter of your brother", "niece"),
    ("woman whose husband has died", "widow"),
    ("the killing of a king", "regicide"),
    ("remove hair with a razor", "shave"),
    ("walk without shoes", "barefoot"),
    ("inflammation of the joints", "arthritis"),
    ("a building where people watch films", "cinema"),
    ("inability to sleep", "insomnia"),
    ("a person who writes poems", "poet"),
];

/// One meaning: a definition and the words that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gloss {
    /// Position in the data set, 0 to [`COUNT`] − 1: nouns, verbs, adjectives, adverbs, each in the order of WordNet.
    pub id: u32,
    /// WordNet's own identifier: a letter for the data file (`n`, `v`, `a`, `r`) and eight digits, for example
    /// `n02951358`.
    pub synset: String,
    /// The words with this meaning, at least one, the most usual first; blanks stand between parts of a phrase.
    pub lemmas: Vec<String>,
    /// What kind of word they are.
    pub pos: PartOfSpeech,
    /// The lexicographer file, a coarse subject such as `noun.artifact`; one of 45.
    pub domain: String,
    /// What the words mean, never empty.
    pub definition: String,
    /// Sentences or phrases that use one of the words; often none.
    pub examples: Vec<String>,
}

impl Gloss {
    /// What the reverse dictionary embeds: the definition alone. The words are left out, otherwise a question that holds
    /// the word would find it by spelling, and that is what an ordinary dictionary is for.
    pub fn text(&self) -> &str {
        &self.definition
    }

    fn parse(id: u32, line: &str) -> Result<Gloss, GlossError> {
        let mut fields = line.split('\t');
        let mut field = |name| match fields.next() {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(GlossError::MissingField { id, field: name }),
        };
        let synset = field("synset")?.to_owned();
        let pos = field("part of speech")?;
        let pos = PartOfSpeech::from_letter(pos)
            .ok_or_else(|| GlossError::UnknownPartOfSpeech { id, got: pos.to_owned() })?;
        let domain = field("lexicographer file")?.to_owned();
        let lemmas = field("words")?.split('|').map(str::to_owned).collect();
        let definition = field("definition")?.to_owned();
        let examples = fields.map(str::to_owned).collect();
        Ok(Gloss { id, synset, lemmas, pos, domain, definition, examples })
    }
}

/// Part of speech of a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartOfSpeech {
    /// A thing, a person, a place, an idea.
    Noun,
    /// An action or a state.
    Verb,
    /// An adjective with a direct opposite.
    Adjective,
    /// An adjective that WordNet groups around another one close in meaning.
    AdjectiveSatellite,
    /// How, when, where or how much.
    Adverb,
}

impl PartOfSpeech {
    /// English name; both kinds of adjective are `adjective`.
    pub fn as_str(self) -> &'static str {
        match self {
            PartOfSpeech::Noun => "noun",
            PartOfSpeech::Verb => "verb",
            PartOfSpeech::Adjective | PartOfSpeech::AdjectiveSatellite => "adjective",
            PartOfSpeech::Adverb => "adverb",
        }
    }

    fn from_letter(letter: &str) -> Option<PartOfSpeech> {
        match letter {
            "n" => Some(PartOfSpeech::Noun),
            "v" => Some(PartOfSpeech::Verb),
            "a" => Some(PartOfSpeech::Adjective),
            "s" => Some(PartOfSpeech::AdjectiveSatellite),
            "r" => Some(PartOfSpeech::Adverb),
            _ => None,
        }
    }
}

impl fmt::Display for PartOfSpeech {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the bundled meanings cannot be read. Each of these means that the program file is damaged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GlossError {
    /// The compressed stream is broken or fails its checksum.
    #[error("bundled wordnet glosses cannot be decompressed after record {id}")]
    Decompress {
        /// Number of records read before.
        id: u32,
        /// What the decompressor says.
        source: io::Error,
    },

    /// The first line is not the one this version reads.
    #[error("bundled wordnet glosses start with '{got}', expected '{expected}'")]
    Header {
        /// The first line.
        got: String,
        /// What it should be.
        expected: String,
    },

    /// A record lacks a field, or has it empty.
    #[error("bundled wordnet record {id} has no {field}")]
    MissingField {
        /// Position of the record.
        id: u32,
        /// Name of the field.
        field: &'static str,
    },

    /// A record has a part of speech that WordNet does not use.
    #[error("bundled wordnet record {id} has part of speech '{got}', expected one of n v a s r")]
    UnknownPartOfSpeech {
        /// Position of the record.
        id: u32,
        /// The letter found.
        got: String,
    },

    /// There are fewer or more records than [`COUNT`].
    #[error("bundled wordnet glosses hold {got} records, expected {COUNT}")]
    WrongCount {
        /// Number of records found, or where the first one too many stands.
        got: u32,
    },
}

/// Decompresses the meanings one by one. See [`glosses`].
pub struct Glosses {
    lines: BufReader<GzDecoder<&'static [u8]>>,
    line: String,
    next_id: u32,
    state: State,
}

enum State {
    Start,
    Records,
    Done,
}

/// All meanings in order of their id, decompressed as they are asked for (some 14 MB of text in all). The iterator ends
/// after the first error.
pub fn glosses() -> Glosses {
    Glosses::new(RECORDS)
}

/// All meanings at once.
///
/// # Errors
///
/// Fails only when the program file is damaged.
pub fn load() -> Result<Vec<Gloss>, GlossError> {
    let mut all = Vec::with_capacity(COUNT);
    for gloss in glosses() {
        all.push(gloss?);
    }
    Ok(all)
}

impl Glosses {
    fn new(compressed: &'static [u8]) -> Glosses {
        let lines = BufReader::with_capacity(64 * 1024, GzDecoder::new(compressed));
        Glosses { lines, line: String::new(), next_id: 0, state: State::Start }
    }

    fn advance(&mut self) -> Result<Option<Gloss>, GlossError> {
        if matches!(self.state, State::Start) {
            let expected = format!("#dvse-wordnet\t1\t{COUNT}");
            if !self.read_line()? || self.line != expected {
                return Err(GlossError::Header { got: self.line.clone(), expected });
            }
            self.state = State::Records;
        }
        let found = self.read_line()?;
        if found == (self.next_id as usize == COUNT) {
            return Err(GlossError::WrongCount { got: self.next_id });
        }
        if !found {
            return Ok(None);
        }
        let gloss = Gloss::parse(self.next_id, &self.line)?;
        self.next_id += 1;
        Ok(Some(gloss))
    }

    fn read_line(&mut self) -> Result<bool, GlossError> {
        self.line.clear();
        let id = self.next_id;
        let read =
            self.lines.read_line(&mut self.line).map_err(|source| GlossError::Decompress { id, source })?;
        if self.line.ends_with('\n') {
            self.line.pop();
        }
        Ok(read > 0)
    }
}

impl Iterator for Glosses {
    type Item = Result<Gloss, GlossError>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.state, State::Done) {
            return None;
        }
        let item = self.advance().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.state = State::Done;
        }
        item
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // An error can end the iteration early; there is never more than one item per record and one error.
        (0, Some(COUNT + 1 - self.next_id as usize))
    }
}

#[cfg(test)]
mod tests;
