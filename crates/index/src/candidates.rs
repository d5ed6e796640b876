//! The beam: the best candidates found so far, as one sorted array of packed keys.
//!
//! A key holds everything the traversal compares: `distance (32 bits, order preserving) · row (31 bits) ·
//! expanded (1 bit)`. One integer comparison therefore orders by distance and then by row, which makes every
//! search a pure function of its input, ties included. Candidates arrive in batches; a batch is sorted and merged
//! from the back in one pass, so the array moves once a batch and not once a candidate.

/// Rows one index can hold: a packed key has 31 bits for the row.
pub const ROWS_MAX: u32 = (1 << 31) - 1;

/// Packs a distance and a row into a key that orders by (distance, row).
///
/// NaN, which finite input can only produce through overflow, is ordered last, beside plus infinity.
#[inline(always)]
pub(crate) fn pack(distance: f32, row: u32) -> u64 {
    let bits = distance.min(f32::INFINITY).to_bits();
    let flip = ((bits as i32 >> 31) as u32) | 0x8000_0000;
    (u64::from(bits ^ flip) << 32) | u64::from(row << 1)
}

/// The row of a key.
#[inline(always)]
pub(crate) fn unpack_row(key: u64) -> u32 {
    (key as u32) >> 1
}

/// The distance of a key.
#[inline(always)]
pub(crate) fn unpack_distance(key: u64) -> f32 {
    let ordered = (key >> 32) as u32;
    let flip = if ordered & 0x8000_0000 != 0 { 0x8000_0000 } else { u32::MAX };
    f32::from_bits(ordered ^ flip)
}

const EXPANDED: u64 = 1;

/// The best `capacity` candidates seen, sorted, each marked expanded or not.
#[derive(Debug, Default)]
pub(crate) struct CandidatePool {
    keys: Vec<u64>,
    capacity: usize,
    /// No key before this position is unexpanded.
    cursor: usize,
}

impl CandidatePool {
    /// Empties the pool and sets how many candidates it keeps (at least one).
    pub(crate) fn reset(&mut self, capacity: usize) {
        self.keys.clear();
        self.capacity = capacity.max(1);
        self.cursor = 0;
    }

    /// The keys kept, best first; the lowest bit of a key may be set (the candidate was expanded).
    pub(crate) fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// A candidate enters only with a key below this.
    #[inline(always)]
    pub(crate) fn bound(&self) -> u64 {
        if self.keys.len() < self.capacity { u64::MAX } else { self.keys[self.keys.len() - 1] }
    }

    /// Merges a batch of fresh keys (any order; none of their rows in the pool already) and keeps the best.
    #[inline(always)]
    pub(crate) fn merge(&mut self, fresh: &mut [u64]) {
        if fresh.is_empty() {
            return;
        }
        fresh.sort_unstable();
        let mut old = self.keys.len();
        let mut new = fresh.len();
        let total = (old + new).min(self.capacity);
        for _ in total..old + new {
            // The largest of both falls off the end.
            if new > 0 && (old == 0 || fresh[new - 1] > self.keys[old - 1]) {
                new -= 1;
            } else {
                old -= 1;
            }
        }
        self.keys.resize(total, 0);
        let mut write = total;
        while new > 0 {
            write -= 1;
            if old > 0 && self.keys[old - 1] > fresh[new - 1] {
                old -= 1;
                self.keys[write] = self.keys[old];
            } else {
                new -= 1;
                self.keys[write] = fresh[new];
            }
        }
        self.cursor = self.cursor.min(write);
    }

    /// Marks the best unexpanded candidate as expanded and returns its row.
    #[inline(always)]
    pub(crate) fn expand_next(&mut self) -> Option<u32> {
        while let Some(key) = self.keys.get_mut(self.cursor) {
            self.cursor += 1;
            if *key & EXPANDED == 0 {
                *key |= EXPANDED;
                return Some(unpack_row(*key));
            }
        }
        None
    }

    /// The best unexpanded candidate, which [`CandidatePool::expand_next`] would return now.
    #[inline(always)]
    pub(crate) fn peek_next(&self) -> Option<u32> {
        self.keys.iter().skip(self.cursor).find(|key| *key & EXPANDED == 0).map(|key| unpack_row(*key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_by_distance_then_row() {
        let distances = [f32::NEG_INFINITY, -3.5, -0.0, 0.0, 1e-38, 2.0, f32::MAX, f32::INFINITY];
        for pair in distances.windows(2) {
            assert!(pack(pair[0], 7) <= pack(pair[1], 7), "{pair:?}");
        }
        assert!(pack(1.0, 3) < pack(1.0, 4));
        assert_eq!(pack(f32::NAN, 3), pack(f32::INFINITY, 3));
        for distance in distances {
            assert_eq!(unpack_distance(pack(distance, 9)).to_bits(), distance.to_bits());
        }
        assert_eq!(unpack_row(pack(1.0, ROWS_MAX)), ROWS_MAX);
    }

    #[test]
    fn merging_keeps_the_best_in_order() {
        let mut pool = CandidatePool::default();
        pool.reset(5);
        let mut seen: Vec<u64> = Vec::new();
        let mut state = 1_u64;
        for round in 0..50 {
            let mut fresh: Vec<u64> = (0..round % 7)
                .map(|i| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    pack((state >> 40) as f32, round * 10 + i)
                })
                .collect();
            seen.extend(&fresh);
            pool.merge(&mut fresh);
            seen.sort_unstable();
            assert_eq!(pool.keys(), &seen[..seen.len().min(5)]);
        }
    }

    #[test]
    fn a_better_candidate_moves_the_cursor_back() {
        let mut pool = CandidatePool::default();
        pool.reset(3);
        pool.merge(&mut [pack(2.0, 1), pack(3.0, 2)]);
        assert_eq!(pool.expand_next(), Some(1));
        pool.merge(&mut [pack(1.0, 3)]);
        assert_eq!(pool.peek_next(), Some(3));
        assert_eq!(pool.expand_next(), Some(3));
        assert_eq!(pool.expand_next(), Some(2));
        assert_eq!(pool.expand_next(), None);
    }
}
