//! Kernels over 32-bit words against their definition, at every level.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dvse_simd::{Isa, Level, Op, available, dispatch};

use crate::probe::Values;

/// What is behind the words an output was given for, which must not be written.
const FENCE: u32 = 0xdead_beef;

struct Gather<'a> {
    ids: &'a [u32],
    visited: &'a [u32],
    limit: u32,
    out: &'a mut [u32],
}

impl Op for Gather<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> usize {
        isa.gather_unvisited(self.ids, self.visited, self.limit, self.out)
    }
}

struct Keys<'a>(&'a [f32], f32, &'a mut [u32]);

impl Op for Keys<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> usize {
        isa.keys_below(self.0, self.1, self.2)
    }
}

struct Min<'a>(&'a [u32]);

impl Op for Min<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> u32 {
        isa.min_u32(self.0)
    }
}

struct Position<'a>(&'a [u32], u32);

impl Op for Position<'_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Option<usize> {
        isa.position_u32(self.0, self.1)
    }
}

/// Runs a kernel that packs `len` words or fewer, and gives what it packed. What is behind its output stays.
#[track_caller]
fn packed(level: Level, len: usize, run: impl FnOnce(Level, &mut [u32]) -> usize) -> Vec<u32> {
    let mut out = vec![FENCE; len + 16 + 40];
    let count = run(level, &mut out[..len + 16]);
    assert!(count <= len, "{level}: {count} of {len}");
    assert!(out[len + 16..].iter().all(|&word| word == FENCE), "{level} wrote behind its output");
    out.truncate(count);
    out
}

/// Every level gathers what the definition says.
#[track_caller]
fn check_gather(ids: &[u32], visited: &[u32], limit: u32) {
    let seen = |id: u32| visited[(id / 32) as usize] & 1 << (id % 32) != 0;
    let want: Vec<u32> = ids.iter().copied().filter(|&id| id < limit && !seen(id)).collect();
    for &level in available() {
        let run = |level, out: &mut [u32]| dispatch(level, Gather { ids, visited, limit, out });
        assert_eq!(packed(level, ids.len(), run), want, "{level} {ids:?} limit {limit}");
    }
}

/// Every level finds the keys the definition says.
#[track_caller]
fn check_keys(estimates: &[f32], gate: f32) {
    let want: Vec<u32> = (0..estimates.len() as u32).filter(|&i| estimates[i as usize] < gate).collect();
    for &level in available() {
        let run = |level, out: &mut [u32]| dispatch(level, Keys(estimates, gate, out));
        assert_eq!(packed(level, estimates.len(), run), want, "{level} {estimates:?} gate {gate}");
    }
}

/// Bits set with a density of `eighths`/8.
fn bits(values: &mut Values, words: usize, eighths: u64) -> Vec<u32> {
    (0..words)
        .map(|_| (0..32).fold(0, |word, bit| word | u32::from(values.bits() >> 40 & 7 < eighths) << bit))
        .collect()
}

fn panics(call: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

tests! {
    fn unvisited_ids_are_gathered_at_every_length_and_density() {
        let mut values = Values::new(1);
        for eighths in 0..=8 {
            let visited = bits(&mut values, 40, eighths);
            for len in (0..=70).chain([127, 128, 129, 300]) {
                for limit in [0, 1, 31, 32, 33, 700, 1279, 1280] {
                    // Some above the limit, some above all that has a bit, some that stand for none.
                    let ids: Vec<u32> = (0..len)
                        .map(|_| match values.bits() >> 32 & 15 {
                            0 => u32::MAX,
                            1 => (values.bits() >> 20) as u32,
                            2 => u32::MAX - 1,
                            3 => 0x8000_0000 | ((values.bits() >> 32) as u32 % 1280),
                            _ => (values.bits() >> 32) as u32 % 1300,
                        })
                        .collect();
                    check_gather(&ids, &visited, limit);
                }
            }
        }
    }

    fn every_single_bit_is_seen() {
        let limit = 512;
        let ids: Vec<u32> = (0..limit + 16).chain([u32::MAX]).collect();
        for id in 0..limit {
            let mut visited = vec![0; limit as usize / 32];
            visited[id as usize / 32] = 1 << (id % 32);
            check_gather(&ids, &visited, limit);
            visited.iter_mut().for_each(|word| *word = !*word);
            check_gather(&ids, &visited, limit);
        }
    }

    fn gathering_reads_no_bit_at_the_limit() {
        // The last word ends exactly at the limit, or the word of the limit is not there at all.
        for limit in [0u32, 1, 31, 32, 64, 65] {
            let visited = vec![0; limit.div_ceil(32) as usize];
            let ids: Vec<u32> = (0..100).chain([limit, limit.wrapping_sub(1), u32::MAX]).rev().collect();
            let want: Vec<u32> = ids.iter().copied().filter(|&id| id < limit).collect();
            for &level in available() {
                let run = |level, out: &mut [u32]| dispatch(level, Gather { ids: &ids, visited: &visited, limit, out });
                assert_eq!(packed(level, ids.len(), run), want, "{level} {limit}");
            }
        }
    }

    fn gathering_keeps_order_and_repeats() {
        let ids: Vec<u32> = (0..64).map(|i| (i * 37) % 50).collect();
        check_gather(&ids, &[0b1010, 0], 50);
        check_gather(&[5; 33], &[0], 32);
        check_gather(&[5; 33], &[1 << 5], 32);
    }

    fn gathering_without_room_panics() {
        for &level in available() {
            let run = |ids: usize, visited: usize, limit: u32, out: usize| {
                let (ids, visited) = (vec![0; ids], vec![0; visited]);
                dispatch(level, Gather { ids: &ids, visited: &visited, limit, out: &mut vec![0; out] });
            };
            run(16, 2, 64, 32);
            run(0, 0, 0, 16);
            for (ids, visited, limit, out) in [(16, 2, 65, 32), (16, 2, 64, 31), (0, 0, 0, 15), (1, 0, u32::MAX, 17)] {
                assert!(panics(|| run(ids, visited, limit, out)), "{level} {ids} {visited} {limit} {out}");
            }
        }
    }

    fn keys_below_a_gate_are_found_at_every_length() {
        let mut values = Values::new(2);
        for len in (0..=70).chain([127, 128, 129, 300]) {
            let estimates = values.floats(len);
            for gate in [-1.0, -0.5, 0.0, 0.9, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
                check_keys(&estimates, gate);
            }
        }
    }

    fn special_estimates_are_below_as_floats_are() {
        let tiny = f32::from_bits(1);
        let special = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, tiny, -tiny, f32::MAX, f32::MIN, 1.0];
        for gate in special {
            for shift in 0..16 {
                let mut estimates = vec![f32::NAN; shift];
                estimates.extend_from_slice(&special);
                check_keys(&estimates, gate);
            }
        }
        // An equal estimate is not below, the next smaller one is.
        check_keys(&[1.0, 1.0f32.next_down(), 1.0f32.next_up()], 1.0);
        for &level in available() {
            let mut out = [0; 20];
            assert_eq!(dispatch(level, Keys(&[f32::NAN; 4], f32::INFINITY, &mut out)), 0, "{level}");
            let short = || assert!(dispatch(level, Keys(&[0.0; 5], 1.0, &mut out)) <= 5);
            assert!(panics(short), "{level}");
        }
    }

    fn the_smallest_word_is_found_in_every_place() {
        let mut values = Values::new(3);
        for len in (0..=150).chain([256, 1000, 1024]) {
            // From the top of the range, so that a signed comparison would be wrong on one side.
            let words: Vec<u32> = (0..len).map(|_| 0x7fff_ff00 + (values.bits() >> 32) as u32 % 512).collect();
            let want = words.iter().copied().min().unwrap_or(u32::MAX);
            for &level in available() {
                assert_eq!(dispatch(level, Min(&words)), want, "{level} {len}");
                assert_eq!(dispatch(level, Min(&vec![u32::MAX; len])), u32::MAX, "{level} {len}");
            }
            for at in 0..len.min(150) {
                let mut words = words.clone();
                words[at] = at as u32;
                for &level in available() {
                    assert_eq!(dispatch(level, Min(&words)), at as u32, "{level} {len} {at}");
                }
            }
        }
    }

    fn the_first_of_equal_words_is_found() {
        for len in (0..=150).chain([256, 1000]) {
            let words: Vec<u32> = (0..len as u32).map(|i| i.rotate_left(31)).collect();
            for &level in available() {
                assert_eq!(dispatch(level, Position(&words, FENCE)), None, "{level} {len}");
                for at in 0..len {
                    assert_eq!(dispatch(level, Position(&words, words[at])), Some(at), "{level} {len} {at}");
                    let mut repeated = words.clone();
                    repeated[at..].fill(FENCE);
                    assert_eq!(dispatch(level, Position(&repeated, FENCE)), Some(at), "{level} {len} {at}");
                }
            }
        }
    }

    fn words_are_read_at_any_alignment() {
        let mut values = Values::new(4);
        let words: Vec<u32> = (0..100).map(|_| (values.bits() >> 32) as u32).collect();
        for shift in 0..17 {
            let words = &words[shift..];
            let want = words.iter().copied().min().unwrap();
            let at = words.iter().position(|&word| word == want);
            for &level in available() {
                assert_eq!(dispatch(level, Min(words)), want, "{level} {shift}");
                assert_eq!(dispatch(level, Position(words, want)), at, "{level} {shift}");
            }
        }
    }
}
