//! The bundled meanings are complete and split as documented.

use std::collections::HashSet;

use dvse_embed::wordnet::{self, Gloss, PartOfSpeech};

fn by_synset<'a>(glosses: &'a [Gloss], synset: &str) -> &'a Gloss {
    glosses.iter().find(|gloss| gloss.synset == synset).unwrap()
}

#[test]
fn all_meanings_are_there_once() {
    let glosses = wordnet::load().unwrap();
    assert_eq!(glosses.len(), wordnet::COUNT);
    let synsets: HashSet<&str> = glosses.iter().map(|gloss| gloss.synset.as_str()).collect();
    assert_eq!(synsets.len(), wordnet::COUNT);
    let domains: HashSet<&str> = glosses.iter().map(|gloss| gloss.domain.as_str()).collect();
    assert_eq!(domains.len(), 45);
    assert!((0..).zip(&glosses).all(|(id, gloss)| gloss.id == id));
    assert!(
        glosses.iter().all(|gloss| !gloss.lemmas.is_empty() && !gloss.lemmas.iter().any(String::is_empty))
    );

    // The counts of WordNet's own statistics page for version 3.0.
    let count = |pos: &[PartOfSpeech]| glosses.iter().filter(|gloss| pos.contains(&gloss.pos)).count();
    assert_eq!(count(&[PartOfSpeech::Noun]), 82_115);
    assert_eq!(count(&[PartOfSpeech::Verb]), 13_767);
    assert_eq!(count(&[PartOfSpeech::Adjective, PartOfSpeech::AdjectiveSatellite]), 18_156);
    assert_eq!(count(&[PartOfSpeech::Adverb]), 3_621);
}

#[test]
fn glosses_are_split_into_definition_and_examples() {
    let glosses = wordnet::load().unwrap();
    let canoe = by_synset(&glosses, "n02951358");
    assert_eq!(canoe.lemmas, ["canoe"]);
    assert_eq!(canoe.domain, "noun.artifact");
    assert_eq!(canoe.text(), "small and light boat; pointed at both ends; propelled with a paddle");
    assert!(canoe.examples.is_empty());

    let a_cappella = by_synset(&glosses, "r00001740");
    assert_eq!(a_cappella.lemmas, ["a cappella"]);
    assert_eq!(a_cappella.definition, "without musical accompaniment");
    assert_eq!(a_cappella.examples, ["they performed a cappella"]);

    // A quotation that is part of the definition stays in it.
    let behalf = glosses
        .iter()
        .find(|gloss| gloss.definition.contains("usually expressed as \"on behalf of\""))
        .unwrap();
    assert_eq!(behalf.examples.len(), 2);

    let marked =
        glosses.iter().flat_map(|gloss| &gloss.lemmas).filter(|lemma| lemma.contains(['_', '(', '|']));
    assert_eq!(marked.count(), 0);
}
