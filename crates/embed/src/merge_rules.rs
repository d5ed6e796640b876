//! Byte-pair merging: the rules of a tokenizer, and their application to one word.
//!
//! The scheme is that of Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units"
//! (ACL 2016): the rule of lowest rank that applies anywhere is applied first, at its leftmost place, until none applies.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::table::Merge;

/// Words up to this many symbols are merged by scanning, longer ones with a heap, so that a megabyte without a blank
/// does not take quadratic time.
const SCAN_LIMIT: usize = 32;
const NO_RULE: u32 = u32::MAX;
const NO_KEY: u32 = u32::MAX;

/// Finds the rule for a pair of neighbouring tokens.
///
/// An open-addressed table at half load: a lookup is one multiplication and most often one cache line, where the
/// standard map's keyed hash would take most of the tokenizer's time.
pub(crate) struct MergeRules {
    slots: Vec<Slot>,
    shift: u32,
    merged: Vec<u16>,
}

#[derive(Clone, Copy)]
struct Slot {
    pair: u32,
    rank: u32,
}

/// Memory that [`MergeRules::apply`] reuses from word to word.
#[derive(Default)]
pub(crate) struct MergeScratch {
    ranks: Vec<u32>,
    next: Vec<u32>,
    previous: Vec<u32>,
    heap: BinaryHeap<Reverse<(u32, u32)>>,
}

impl MergeRules {
    /// Indexes `merges`, whose position is their rank. Of two rules for one pair the first counts.
    pub(crate) fn new(merges: &[Merge]) -> MergeRules {
        let len = (2 * merges.len()).next_power_of_two().max(2);
        let mut rules = MergeRules {
            slots: vec![Slot { pair: NO_KEY, rank: NO_RULE }; len],
            shift: 32 - len.trailing_zeros(),
            merged: merges.iter().map(|merge| merge.merged).collect(),
        };
        for (rank, merge) in (0..).zip(merges) {
            let pair = pair_key(merge.left, merge.right);
            let at = rules.slot_of(pair);
            if rules.slots[at].pair == NO_KEY {
                rules.slots[at] = Slot { pair, rank };
            }
        }
        rules
    }

    /// Merges the symbols of one word in place.
    pub(crate) fn apply(&self, word: &mut Vec<u16>, scratch: &mut MergeScratch) {
        if word.len() <= SCAN_LIMIT {
            self.apply_by_scan(word, scratch)
        } else {
            self.apply_by_heap(word, scratch)
        }
    }

    fn apply_by_scan(&self, word: &mut Vec<u16>, scratch: &mut MergeScratch) {
        let ranks = &mut scratch.ranks;
        ranks.clear();
        ranks.extend(word.windows(2).map(|pair| self.rank(pair[0], pair[1])));
        // `min_by_key` gives the first of equal minima: the leftmost place.
        while let Some((at, &rank)) = ranks.iter().enumerate().min_by_key(|(_, rank)| **rank) {
            if rank == NO_RULE {
                break;
            }
            word[at] = self.merged[rank as usize];
            word.remove(at + 1);
            ranks.remove(at);
            if at > 0 {
                ranks[at - 1] = self.rank(word[at - 1], word[at]);
            }
            if at < ranks.len() {
                ranks[at] = self.rank(word[at], word[at + 1]);
            }
        }
    }

    /// The same with a linked list and a heap, O(n log n). An entry of the heap is out of date when the pair at its
    /// place is gone or has another rank; such entries are dropped when they come up.
    fn apply_by_heap(&self, word: &mut Vec<u16>, scratch: &mut MergeScratch) {
        let MergeScratch { ranks, next, previous, heap } = scratch;
        // Positions fit u32: texts are cut to `MAX_TEXT_BYTES` first.
        let end = word.len() as u32;
        ranks.clear();
        ranks.extend(word.windows(2).map(|pair| self.rank(pair[0], pair[1])));
        ranks.push(NO_RULE);
        next.clear();
        next.extend(1..=end);
        previous.clear();
        previous.extend((0..end).map(|at| at.wrapping_sub(1)));
        heap.clear();
        heap.extend(
            (0..).zip(&*ranks).filter(|(_, rank)| **rank != NO_RULE).map(|(at, rank)| Reverse((*rank, at))),
        );

        while let Some(Reverse((rank, at))) = heap.pop() {
            let left = at as usize;
            if ranks[left] != rank {
                continue;
            }
            let right = next[left] as usize;
            word[left] = self.merged[rank as usize];
            ranks[right] = NO_RULE;
            next[left] = next[right];
            let after = next[left] as usize;
            ranks[left] = NO_RULE;
            if after < word.len() {
                previous[after] = at;
                ranks[left] = self.rank(word[left], word[after]);
            }
            if ranks[left] != NO_RULE {
                heap.push(Reverse((ranks[left], at)));
            }
            if let Some(before) = Some(previous[left]).filter(|before| *before < end) {
                let rank = self.rank(word[before as usize], word[left]);
                ranks[before as usize] = rank;
                if rank != NO_RULE {
                    heap.push(Reverse((rank, before)));
                }
            }
        }
        keep_linked(word, next);
    }

    fn rank(&self, left: u16, right: u16) -> u32 {
        self.slots[self.slot_of(pair_key(left, right))].rank
    }

    /// The slot that holds `pair`, or the empty one where it belongs. Ends because half of the slots are empty.
    fn slot_of(&self, pair: u32) -> usize {
        // Fibonacci hashing (Knuth, TAOCP vol. 3, 6.4).
        let mut at = (pair.wrapping_mul(0x9E37_79B1) >> self.shift) as usize;
        while self.slots[at].pair != pair && self.slots[at].pair != NO_KEY {
            at = (at + 1) % self.slots.len();
        }
        at
    }
}

/// Never `NO_KEY`: a table has at most 65 535 tokens, so no id is `u16::MAX`.
fn pair_key(left: u16, right: u16) -> u32 {
    u32::from(left) << 16 | u32::from(right)
}

/// Keeps the symbols reachable from the first one through `next`.
fn keep_linked(word: &mut Vec<u16>, next: &[u32]) {
    let (mut from, mut to) = (0, 0);
    while from < word.len() {
        word[to] = word[from];
        to += 1;
        from = next[from] as usize;
    }
    word.truncate(to);
}

#[cfg(test)]
mod tests;
