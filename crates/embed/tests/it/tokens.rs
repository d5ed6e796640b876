//! The tokenizer against gold tokens from the reference implementation (`assets/build_table.py` makes them).

use dvse_embed::{MAX_TEXT_BYTES, StaticEmbedder, wordnet};
use serde_json::Value;

const SAMPLE: &str = include_str!("data/tokens.jsonl");
const ALL_GLOSSES: &str = include_str!("data/all_gloss_tokens.json");

#[test]
fn hard_texts_and_a_sample_of_glosses_have_the_reference_tokens() {
    let embedder = StaticEmbedder::bundled().unwrap();
    let mut cases = 0;
    for line in SAMPLE.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap();
        let expected: Vec<u16> = case["ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap().try_into().unwrap())
            .collect();
        assert_eq!(embedder.tokens(text), expected, "text {text:?}");
        cases += 1;
    }
    assert!(cases > 200, "only {cases} gold texts");
}

/// One checksum over the tokens of all 117 659 definitions, so that "identical" is not a matter of sampling.
#[test]
fn every_gloss_has_the_reference_tokens() {
    let gold: Value = serde_json::from_str(ALL_GLOSSES).unwrap();
    let embedder = StaticEmbedder::bundled().unwrap();
    let (mut glosses, mut count) = (0_u64, 0_u64);
    let mut crc = flate2::Crc::new();
    for gloss in wordnet::glosses() {
        let tokens = embedder.tokens(gloss.unwrap().text());
        crc.update(&u32::try_from(tokens.len()).unwrap().to_le_bytes());
        tokens.iter().for_each(|token| crc.update(&token.to_le_bytes()));
        glosses += 1;
        count += tokens.len() as u64;
    }
    assert_eq!(glosses, gold["glosses"].as_u64().unwrap());
    assert_eq!(count, gold["tokens"].as_u64().unwrap());
    assert_eq!(u64::from(crc.sum()), gold["crc32"].as_u64().unwrap());
}

#[test]
fn pieces_spell_the_text() {
    let embedder = StaticEmbedder::bundled().unwrap();
    let text = "a reverse dictionary, asked in plain words";
    let spelled: String = embedder.tokens(text).iter().map(|token| embedder.piece(*token).unwrap()).collect();
    assert_eq!(spelled.replace('\u{2581}', " "), format!(" {text}"));
    assert_eq!(embedder.piece(32_000), None);
}

#[test]
fn text_beyond_the_limit_does_not_count() {
    let embedder = StaticEmbedder::bundled().unwrap();
    // Three bytes each, and the limit is not a multiple of three: the cut must fall before a whole character.
    for unit in ["a", "word ", " ", "\u{65e5}", "\u{1f600}"] {
        let long = unit.repeat(MAX_TEXT_BYTES);
        let mut end = MAX_TEXT_BYTES;
        while !long.is_char_boundary(end) {
            end -= 1;
        }
        assert_eq!(embedder.tokens(&long), embedder.tokens(&long[..end]), "unit {unit:?}");
    }
}
