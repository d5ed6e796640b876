//! Damaged record streams, which the bundled file never shows.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{COUNT, GlossError, Glosses, PartOfSpeech};

fn compressed(text: &str) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(text.as_bytes()).unwrap();
    gz.finish().unwrap()
}

/// Reads to the end and returns the number of records before the error.
fn read(bytes: Vec<u8>) -> (usize, GlossError) {
    let mut glosses = Glosses::new(bytes.leak());
    let mut records = 0;
    loop {
        match glosses.next() {
            Some(Ok(_)) => records += 1,
            Some(Err(error)) => {
                assert!(glosses.next().is_none(), "goes on after {error}");
                return (records, error);
            }
            None => panic!("no error after {records} records"),
        }
    }
}

fn with_header(records: &str) -> Vec<u8> {
    compressed(&format!("#dvse-wordnet\t1\t{COUNT}\n{records}"))
}

const GOOD: &str = "n00000001\tn\tnoun.Tops\tentity|thing\tthat which exists\tan example\n";

#[test]
fn streams_with_a_wrong_number_of_records_are_refused() {
    let (records, error) = read(with_header(GOOD));
    assert_eq!(records, 1);
    assert!(matches!(error, GlossError::WrongCount { got: 1 }), "{error}");
    let (records, error) = read(with_header(&GOOD.repeat(COUNT + 1)));
    assert_eq!(records, COUNT);
    assert!(matches!(error, GlossError::WrongCount { got: 117_659 }), "{error}");
}

#[test]
fn an_unknown_header_is_refused() {
    for text in ["", "\n", "#dvse-wordnet\t2\t117659\n", GOOD] {
        let (_, error) = read(compressed(text));
        assert!(matches!(error, GlossError::Header { .. }), "{text:?}: {error}");
    }
}

#[test]
fn records_with_missing_or_unknown_fields_are_refused() {
    let cases = [
        ("\n", "bundled wordnet record 0 has no synset"),
        ("n1\n", "bundled wordnet record 0 has no part of speech"),
        ("n1\tn\tnoun.Tops\t\tmeaning\n", "bundled wordnet record 0 has no words"),
        ("n1\tn\tnoun.Tops\tentity\n", "bundled wordnet record 0 has no definition"),
        (
            "n1\tx\tnoun.Tops\tentity\tmeaning\n",
            "bundled wordnet record 0 has part of speech 'x', expected one of n v a s r",
        ),
    ];
    for (line, message) in cases {
        assert_eq!(read(with_header(line)).1.to_string(), message);
    }
}

#[test]
fn cut_and_corrupted_streams_are_refused() {
    let whole = with_header(&GOOD.repeat(COUNT));
    let mut cut = whole.clone();
    cut.truncate(whole.len() - 4);
    let mut wrong_sum = whole.clone();
    let at = wrong_sum.len() - 8;
    wrong_sum[at] ^= 1;
    for bytes in [cut, wrong_sum] {
        let (records, error) = read(bytes);
        assert_eq!(records, COUNT);
        assert!(matches!(error, GlossError::Decompress { id: 117_659, .. }), "{error}");
    }
    assert!(Glosses::new(whole.leak()).all(|gloss| gloss.is_ok()));
}

#[test]
fn satellites_are_adjectives_by_name() {
    assert_eq!(PartOfSpeech::AdjectiveSatellite.to_string(), "adjective");
}
