//! Candidates of the adaptive walk, and the distance of the k-th best.
//!
//! Candidates are appended and never moved: keeping them sorted would cost more than looking for the least, which is a
//! scan of a few registers. A key is the top of an estimate's bits (estimates are not negative, so their bits order as
//! they do) with the candidate's number below; an expanded candidate's key is the largest there is.

use dvse_simd::Isa;

/// Bits of a key that hold the candidate's number.
const NUMBER_BITS: u32 = 10;

/// Candidates there is room for.
pub(crate) const CANDIDATES_MAX: usize = 1 << NUMBER_BITS;

const NUMBER_MASK: u32 = CANDIDATES_MAX as u32 - 1;

/// The key of a candidate that was expanded.
const EXPANDED: u32 = u32::MAX;

/// Candidates by number.
#[derive(Debug)]
pub(crate) struct Frontier {
    len: usize,
    keys: Box<[u32; CANDIDATES_MAX]>,
    rows: Box<[u32; CANDIDATES_MAX]>,
    estimates: Box<[f32; CANDIDATES_MAX]>,
}

impl Default for Frontier {
    fn default() -> Frontier {
        Frontier {
            len: 0,
            keys: Box::new([EXPANDED; CANDIDATES_MAX]),
            rows: Box::new([0; CANDIDATES_MAX]),
            estimates: Box::new([0.0; CANDIDATES_MAX]),
        }
    }
}

impl Frontier {
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Rows and their estimates, expanded ones included.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = (u32, f32)> {
        self.rows[..self.len].iter().copied().zip(self.estimates[..self.len].iter().copied())
    }

    /// Adds a candidate; there must be room.
    #[inline(always)]
    pub(crate) fn push(&mut self, row: u32, estimate: f32) {
        debug_assert!(self.len < CANDIDATES_MAX);
        // Masked, so that no bounds are checked here.
        let number = self.len & NUMBER_MASK as usize;
        // The largest finite estimate keeps below `EXPANDED`: its exponent is not all ones.
        let bits = estimate.min(f32::MAX).to_bits();
        self.keys[number] = bits & !NUMBER_MASK | number as u32;
        self.rows[number] = row;
        self.estimates[number] = estimate;
        self.len = number + 1;
    }

    /// The nearest candidate that was not expanded, and its estimate.
    #[inline(always)]
    pub(crate) fn nearest<I: Isa>(&self, isa: I) -> Option<(usize, f32)> {
        let key = isa.min_u32(&self.keys[..self.len]);
        let number = (key & NUMBER_MASK) as usize;
        (key != EXPANDED).then(|| (number, self.estimates[number]))
    }

    /// The row of a candidate.
    #[inline(always)]
    pub(crate) fn row(&self, number: usize) -> u32 {
        self.rows[number & NUMBER_MASK as usize]
    }

    /// Marks a candidate expanded.
    #[inline(always)]
    pub(crate) fn expand(&mut self, number: usize) {
        self.keys[number & NUMBER_MASK as usize] = EXPANDED;
    }

    /// Makes room by forgetting all but the `keep` nearest candidates.
    #[cold]
    #[inline(never)]
    pub(crate) fn shrink(&mut self, keep: usize) {
        let mut order: Vec<u32> = (0..self.len as u32).collect();
        order.sort_unstable_by(|a, b| {
            let estimate = |number: &u32| self.estimates[*number as usize];
            estimate(a).total_cmp(&estimate(b)).then(a.cmp(b))
        });
        order.truncate(keep);
        let kept: Vec<(u32, f32, bool)> = order
            .into_iter()
            .map(|number| {
                let number = number as usize;
                (self.rows[number], self.estimates[number], self.keys[number] == EXPANDED)
            })
            .collect();
        self.clear();
        for (row, estimate, expanded) in kept {
            self.push(row, estimate);
            if expanded {
                self.expand(self.len - 1);
            }
        }
    }
}

/// Words that are moved together: the bits of so many estimates fill the widest register.
const GROUP: usize = 16;

/// The bits of an infinite estimate.
const INFINITE: u32 = f32::INFINITY.to_bits();

/// The k least estimates so far, ascending; infinities until there are as many.
///
/// Kept as the bits of floats that are not negative, which order as they do, in whole groups: a few more than k are kept
/// sorted, and the k-th is read.
#[derive(Debug, Default)]
pub(crate) struct NearestK {
    groups: Vec<[u32; GROUP]>,
    last: usize,
}

impl NearestK {
    /// Forgets all; `k` is at least 1.
    pub(crate) fn reset(&mut self, k: usize) {
        self.last = k.max(1) - 1;
        self.groups.clear();
        self.groups.resize(self.last / GROUP + 1, [INFINITE; GROUP]);
    }

    /// The k-th least.
    #[inline(always)]
    pub(crate) fn worst(&self) -> f32 {
        let group = self.groups.get(self.last / GROUP);
        f32::from_bits(group.map_or(INFINITE, |group| group[self.last % GROUP]))
    }

    /// Takes an estimate, which is not negative, into account.
    #[inline(always)]
    pub(crate) fn insert(&mut self, estimate: f32) {
        let word = estimate.to_bits();
        // Each word becomes the middle one of itself, the new one and the one before it: no branch, and no place is
        // sought. A group is read whole before it is written, so it stays in a register.
        let mut before = 0;
        for group in &mut self.groups {
            let kept = *group;
            let mut shifted = [before; GROUP];
            shifted[1..].copy_from_slice(&kept[..GROUP - 1]);
            before = kept[GROUP - 1];
            for ((to, kept), shifted) in group.iter_mut().zip(kept).zip(shifted) {
                *to = kept.min(word.max(shifted));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dvse_simd::Scalar;
    use proptest::prelude::*;

    #[test]
    fn candidates_come_nearest_first_and_survive_shrinking() {
        let mut frontier = Frontier::default();
        let estimate = |number: u32| ((number * 7919) % 1009) as f32 + 1.0;
        for number in 0..CANDIDATES_MAX as u32 {
            frontier.push(number, estimate(number));
        }
        let (first, least) = frontier.nearest(Scalar).unwrap();
        assert_eq!(least, 1.0);
        frontier.expand(first);
        frontier.shrink(100);
        assert_eq!(frontier.len(), 100);
        let mut before = least;
        let mut expanded = 0;
        while let Some((number, estimate)) = frontier.nearest(Scalar) {
            // Keys drop the low bits of an estimate: neighbours may swap by a thousandth part.
            assert!(estimate >= before * 0.999, "{estimate} after {before}");
            before = estimate;
            frontier.expand(number);
            expanded += 1;
        }
        assert_eq!(expanded, 99, "the candidate expanded before must stay so");
    }

    #[test]
    fn infinite_estimates_are_candidates_too() {
        let mut frontier = Frontier::default();
        frontier.push(3, f32::INFINITY);
        let (number, _) = frontier.nearest(Scalar).unwrap();
        assert_eq!(frontier.row(number), 3);
        frontier.expand(number);
        assert!(frontier.nearest(Scalar).is_none());
    }

    proptest! {
        #[test]
        fn the_k_least_are_kept_as_sorting_would(
            k in 0_usize..40,
            estimates in prop::collection::vec(
                prop_oneof![0.0_f32..8.0, (0_u8..4).prop_map(f32::from), Just(f32::MAX), Just(f32::INFINITY)],
                0..120,
            ),
        ) {
            let mut nearest = NearestK::default();
            // Whatever was kept before is forgotten.
            nearest.reset(7);
            nearest.insert(0.0);
            nearest.reset(k);
            let mut sorted = vec![f32::INFINITY; k.max(1)];
            for estimate in estimates {
                nearest.insert(estimate);
                sorted.push(estimate);
                sorted.sort_unstable_by(f32::total_cmp);
                sorted.truncate(k.max(1));
                let kept = nearest.groups.iter().flatten().take(sorted.len()).map(|word| f32::from_bits(*word));
                prop_assert_eq!(&kept.collect::<Vec<f32>>(), &sorted);
                prop_assert_eq!(nearest.worst(), sorted[sorted.len() - 1]);
            }
        }

        /// Shrinking forgets the farthest and nothing about the others.
        #[test]
        fn shrinking_keeps_the_nearest(
            estimates in prop::collection::vec((0.0_f32..100.0, any::<bool>()), 1..300),
            keep in 1_usize..300,
        ) {
            let mut frontier = Frontier::default();
            for (number, (estimate, expanded)) in estimates.iter().enumerate() {
                frontier.push(number as u32, *estimate);
                if *expanded {
                    frontier.expand(number);
                }
            }
            frontier.shrink(keep);
            let mut expected: Vec<(f32, u32)> =
                estimates.iter().enumerate().map(|(row, (estimate, _))| (*estimate, row as u32)).collect();
            expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            expected.truncate(keep);
            let kept: Vec<(f32, u32)> = frontier.candidates().map(|(row, estimate)| (estimate, row)).collect();
            prop_assert_eq!(&kept, &expected);
            let mut open: Vec<u32> = Vec::new();
            while let Some((number, _)) = frontier.nearest(Scalar) {
                open.push(frontier.row(number));
                frontier.expand(number);
            }
            open.sort_unstable();
            let mut unexpanded: Vec<u32> =
                expected.iter().map(|(_, row)| *row).filter(|row| !estimates[*row as usize].1).collect();
            unexpanded.sort_unstable();
            prop_assert_eq!(open, unexpanded);
        }
    }
}
