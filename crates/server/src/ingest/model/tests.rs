use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dvse_embed::{ModelError, ModelIdentity};

use super::*;

/// A model of one dimension, the length of the text, that fails as the texts say.
struct Moody {
    identity: ModelIdentity,
}

impl dvse_embed::Embedder for Moody {
    fn model(&self) -> &ModelIdentity {
        &self.identity
    }

    fn embed(&self, texts: &[&str]) -> std::result::Result<Vec<Vector>, EmbedError> {
        let has = |word: &str| texts.contains(&word);
        if has("away") || (has("broken") && texts.len() > 1) {
            return Err(ModelError::Busy { since: Duration::from_secs(9) }.into());
        }
        if let Some(index) = texts.iter().position(|text| *text == "nan") {
            return Err(EmbedError::NotFinite { index, column: 0, got: "NaN" });
        }
        if has("bad") || texts.len() > 6 {
            return Err(ModelError::Rows { got: 0, expected: texts.len() }.into());
        }
        Ok(texts.iter().map(|text| [text.len() as f32].into()).collect())
    }
}

fn identity() -> ModelIdentity {
    ModelIdentity { name: "m".into(), revision: "1".into(), dim: 1, hash: "h".into() }
}

fn embed(texts: &str) -> std::result::Result<Vec<Vector>, EmbedFailure> {
    let texts: Vec<&str> = texts.split(' ').collect();
    TextModel(Arc::new(Moody { identity: identity() })).embed(&texts)
}

#[test]
fn a_batch_that_fails_is_halved_until_the_text_is_found() {
    let bad = |index| {
        Err(EmbedFailure::Text {
            index,
            reason: "the model returned 0 rows for 1 texts, expected one row a text, in order".to_owned(),
        })
    };
    assert_eq!(embed("bad"), bad(0));
    assert_eq!(embed("a b c d bad e f bad"), bad(4));
    assert_eq!(embed("a b c d e bad"), bad(5));
    // Too many at once, and well in parts.
    let rows = embed("a bb c dd e ff g hh i jj").unwrap();
    assert_eq!(rows, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0].map(|length| [length]));
}

#[test]
fn a_text_that_the_model_names_is_at_fault() {
    let reason = "it got a vector with NaN in column 0: a model has to return finite numbers".to_owned();
    assert_eq!(embed("a b nan"), Err(EmbedFailure::Text { index: 2, reason: reason.clone() }));
    assert_eq!(embed("a b c d e f nan"), Err(EmbedFailure::Text { index: 6, reason }));
}

#[test]
fn a_model_that_is_not_well_condemns_no_text() {
    assert!(matches!(embed("a away"), Err(EmbedFailure::Model(reason)) if reason.contains("9s ago")));
    assert!(matches!(embed("broken a"), Err(EmbedFailure::Model(_))));
}

/// As after a moment without memory: the calls with these numbers, from 1, fail.
struct Fails(ModelIdentity, Vec<usize>, AtomicUsize);

impl dvse_embed::Embedder for Fails {
    fn model(&self) -> &ModelIdentity {
        &self.0
    }

    fn embed(&self, texts: &[&str]) -> std::result::Result<Vec<Vector>, EmbedError> {
        if self.1.contains(&(self.2.fetch_add(1, Ordering::Relaxed) + 1)) {
            return Err(ModelError::NotContiguous.into());
        }
        Ok(vec![[1.0].into(); texts.len()])
    }
}

#[test]
fn a_model_that_becomes_well_again_condemns_no_text() {
    for (fails, rows) in [(vec![1], true), (vec![1, 2], true), (vec![1, 2, 3], false)] {
        let model = Fails(identity(), fails.clone(), AtomicUsize::new(0));
        let ended = TextModel(Arc::new(model)).embed(&["a", "b"]);
        match ended {
            Ok(vectors) => assert!(rows && vectors == [[1.0]; 2], "{fails:?}"),
            Err(failure) => {
                assert!(!rows && matches!(failure, EmbedFailure::Model(_)), "{fails:?}: {failure}")
            }
        }
    }
}

/// Nothing works, not even with a plain text.
#[test]
fn a_model_that_fails_for_plain_texts_too_condemns_no_text() {
    struct Dead(ModelIdentity);
    impl dvse_embed::Embedder for Dead {
        fn model(&self) -> &ModelIdentity {
            &self.0
        }
        fn embed(&self, _: &[&str]) -> std::result::Result<Vec<Vector>, EmbedError> {
            Err(ModelError::NotContiguous.into())
        }
    }
    let failure = TextModel(Arc::new(Dead(identity()))).embed(&["a", "b"]).unwrap_err();
    assert!(matches!(failure, EmbedFailure::Model(_)), "{failure}");
}
