//! The two ways of applying the rules give the same tokens.

use super::{MergeRules, MergeScratch};
use crate::table::Merge;

/// Rules over the symbols 0 to 3 and their products, with several rules for some products.
fn rules() -> MergeRules {
    let merge = |left, right, merged| Merge { left, right, merged };
    MergeRules::new(&[
        merge(0, 1, 4),
        merge(1, 1, 5),
        merge(4, 1, 6),
        merge(0, 5, 6),
        merge(2, 0, 7),
        merge(7, 1, 8),
        merge(2, 4, 8),
        merge(6, 6, 9),
        merge(3, 3, 10),
        merge(10, 10, 11),
        merge(11, 11, 12),
        merge(5, 0, 13),
        merge(0, 1, 14),
    ])
}

/// The definition, as slowly as it reads: find the first rule that applies anywhere, apply it at its leftmost place.
fn by_definition(rules: &MergeRules, mut word: Vec<u16>) -> Vec<u16> {
    loop {
        let best = (1..word.len()).map(|at| (rules.rank(word[at - 1], word[at]), at)).min();
        match best {
            Some((rank, at)) if rank != super::NO_RULE => {
                word[at - 1] = rules.merged[rank as usize];
                word.remove(at);
            }
            _ => return word,
        }
    }
}

#[test]
fn scan_and_heap_agree_with_the_definition() {
    let rules = rules();
    let mut scratch = MergeScratch::default();
    let mut state = 7_u64;
    let mut merged = 0;
    for round in 0..2_000 {
        let mut next = || {
            // Knuth's MMIX generator; the high bits are the good ones.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let alphabet = 1 + next() % 4;
        let word: Vec<u16> = (0..round % 70).map(|_| (next() % alphabet) as u16).collect();
        let expected = by_definition(&rules, word.clone());
        let (mut scanned, mut heaped) = (word.clone(), word.clone());
        rules.apply_by_scan(&mut scanned, &mut scratch);
        rules.apply_by_heap(&mut heaped, &mut scratch);
        assert_eq!(scanned, expected, "scan of {word:?}");
        assert_eq!(heaped, expected, "heap of {word:?}");
        merged += usize::from(expected.len() < word.len());
    }
    assert!(merged > 500, "only {merged} words had anything to merge");
}

#[test]
fn no_rules_leave_a_word_alone() {
    let rules = MergeRules::new(&[]);
    for len in [0, 1, 2, 100] {
        let mut word = vec![3; len];
        rules.apply(&mut word, &mut MergeScratch::default());
        assert_eq!(word, vec![3; len]);
    }
}
