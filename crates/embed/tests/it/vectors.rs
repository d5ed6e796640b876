//! Vectors: agreement with the reference package, unit length, and texts that have none.

use dvse_embed::{EmbedError, Embedder, StaticEmbedder, wordnet};

/// Rows of the reference vectors of every 115th gloss, each scaled to bytes (`assets/build_table.py` makes them).
const REFERENCE: &[u8] = include_bytes!("data/reference_vectors.i8");

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn vectors_agree_with_the_reference_package() {
    let embedder = StaticEmbedder::bundled().unwrap();
    let glosses: Vec<_> = wordnet::glosses().step_by(115).take(1_024).collect::<Result<_, _>>().unwrap();
    let texts: Vec<&str> = glosses.iter().map(|gloss| gloss.text()).collect();
    let vectors = embedder.embed(&texts).unwrap();
    let dim = embedder.model().dim;
    assert_eq!(REFERENCE.len(), texts.len() * dim);
    let mut lowest = 1.0_f32;
    for (i, (vector, reference)) in vectors.iter().zip(REFERENCE.chunks(dim)).enumerate() {
        let reference: Vec<f32> = reference.iter().map(|byte| f32::from(byte.cast_signed())).collect();
        let cosine = cosine(vector, &reference);
        assert!(cosine >= 0.999, "{:?}: cosine {cosine}", texts[i]);
        lowest = lowest.min(cosine);
    }
    assert!(
        lowest < 1.0,
        "the table is rounded, so a perfect match means the test compares a thing with itself"
    );
}

#[test]
fn vectors_have_unit_length() {
    let embedder = StaticEmbedder::bundled().unwrap();
    let long = "word ".repeat(100_000);
    let vectors = embedder.embed(&["canoe", "a b c", "\u{1f6f6}", "<unk>", "\u{7}", &long]).unwrap();
    for vector in vectors {
        assert_eq!(vector.len(), embedder.model().dim);
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((length - 1.0).abs() < 1e-5, "length {length}");
    }
}

#[test]
fn related_words_are_closer_than_unrelated_ones() {
    let embedder = StaticEmbedder::bundled().unwrap();
    let rows = embedder.embed(&["cat", "kitten", "stock market"]).unwrap();
    assert!(cosine(&rows[0], &rows[1]) > 0.5);
    assert!(cosine(&rows[0], &rows[2]) < 0.1);
}

#[test]
fn empty_texts_are_an_error_with_their_position() {
    let embedder = StaticEmbedder::bundled().unwrap();
    for empty in ["", " ", "\t\r\n", "\u{3000}\u{a0}"] {
        let error = embedder.embed(&["canoe", empty, ""]).unwrap_err();
        assert_eq!(error, EmbedError::EmptyText { index: 1 }, "text {empty:?}");
    }
    assert!(embedder.embed(&[]).unwrap().is_empty());
}

#[test]
fn the_number_of_threads_changes_neither_vectors_nor_errors() {
    let embedder = StaticEmbedder::bundled().unwrap();
    let glosses: Vec<_> = wordnet::glosses().take(101).collect::<Result<_, _>>().unwrap();
    let mut texts: Vec<&str> = glosses.iter().map(|gloss| gloss.text()).collect();
    let expected = embedder.embed(&texts).unwrap();
    for threads in [0, 1, 2, 3, 7, 100, 101, 1_000] {
        let rows = embedder.embed_parallel(&texts, threads).unwrap();
        assert!(rows.chunks(embedder.model().dim).eq(expected.iter().map(|row| &**row)), "{threads} threads");
    }
    texts[60] = "";
    texts[99] = "";
    for threads in [1, 2, 3, 101] {
        assert_eq!(embedder.embed_parallel(&texts, threads), Err(EmbedError::EmptyText { index: 60 }));
    }
    assert_eq!(embedder.embed_parallel(&[], 4).unwrap(), Vec::<f32>::new());
}

#[test]
fn the_model_is_named_with_its_content() {
    let embedder = StaticEmbedder::bundled().unwrap();
    let model = embedder.model();
    assert_eq!(model.to_string(), "wordllama-l2-supercat-256-int8@0.4.0.post1");
    assert_eq!(model.dim, 256);
    assert_eq!(model.hash.len(), 64);
    assert!(model.hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
}
