//! The promise of the demo: plain questions find the right word, by exact search over all meanings.

use dvse_embed::{Embedder, StaticEmbedder, wordnet};

/// Ids of the `k` rows of `vectors` with the largest inner product, best first, ties by id.
fn nearest(query: &[f32], vectors: &[f32], k: usize) -> Vec<usize> {
    let mut scored: Vec<(f32, usize)> = vectors
        .chunks(query.len())
        .map(|row| row.iter().zip(query).map(|(a, b)| a * b).sum())
        .zip(0..)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.iter().take(k).map(|(_, id)| *id).collect()
}

#[test]
fn sample_questions_find_their_word_among_the_first_three() {
    let embedder = StaticEmbedder::bundled().unwrap();
    let glosses = wordnet::load().unwrap();
    let texts: Vec<&str> = glosses.iter().map(|gloss| gloss.text()).collect();
    let vectors = embedder.embed_parallel(&texts, 2).unwrap();
    assert!(wordnet::SAMPLE_QUESTIONS.len() >= 10);
    for (question, expected) in wordnet::SAMPLE_QUESTIONS {
        assert!(!texts.contains(question), "{question:?} is the wording of a definition");
        let query = embedder.embed(&[question]).unwrap();
        let found: Vec<&[String]> =
            nearest(&query[0], &vectors, 3).into_iter().map(|id| glosses[id].lemmas.as_slice()).collect();
        assert!(
            found.iter().any(|lemmas| lemmas.iter().any(|l| l == expected)),
            "{question:?} gave {found:?}"
        );
    }
}
