//! Kernels over 32-bit words: testing a register of them at once, and packing what passes.

use crate::lanes::WordLanes;
use crate::scalar::{check_gather, check_keys};

/// See [`Isa::gather_unvisited`](crate::Isa::gather_unvisited).
#[inline(always)]
pub(crate) fn gather_unvisited<L: WordLanes>(
    l: L,
    ids: &[u32],
    visited: &[u32],
    limit: u32,
    out: &mut [u32],
) -> usize {
    check_gather(ids.len(), visited.len(), limit, out.len());
    // SAFETY: checked above: `visited` has a bit for each id below `limit`. No id is u32::MAX and below a limit.
    unsafe { pack(l, ids, u32::MAX, out, |_, ids| (ids, l.clear_bits(ids, visited.as_ptr(), limit))) }
}

/// See [`Isa::keys_below`](crate::Isa::keys_below).
#[inline(always)]
pub(crate) fn keys_below<L: WordLanes>(l: L, estimates: &[f32], gate: f32, out: &mut [u32]) -> usize {
    check_keys(estimates.len(), out.len());
    let bits: &[u32] = bytemuck::cast_slice(estimates);
    // SAFETY: checked above. A NaN is below nothing.
    unsafe {
        pack(l, bits, f32::NAN.to_bits(), out, |at, floats| (l.count_up(at as u32), l.below(floats, gate)))
    }
}

/// Goes over `words` register by register, asks for what to write and where, and packs that into `out`. The last
/// register is filled up with `fill`, which must not be chosen.
///
/// # Safety
/// `out` must be 16 longer than `words`.
#[inline(always)]
unsafe fn pack<L: WordLanes>(
    l: L,
    words: &[u32],
    fill: u32,
    out: &mut [u32],
    choose: impl Fn(usize, L::W) -> (L::W, u32),
) -> usize {
    const { assert!(L::WORDS <= 16) };
    let len = words.len();
    let (words, out) = (words.as_ptr(), out.as_mut_ptr());
    let (mut at, mut count) = (0, 0);
    while at < len {
        // SAFETY: a whole register is read only where one is left, else `len` − at words, fewer than one.
        let register = unsafe {
            match len - at {
                left if left >= L::WORDS => l.load_words(words.add(at)),
                left => l.load_words_part(words.add(at), left, fill),
            }
        };
        let (chosen, mask) = choose(at, register);
        // SAFETY: at most `at` words were chosen so far, and at + WORDS ≤ len + 16 words can be written.
        unsafe { l.store_chosen(out.add(count), chosen, mask) };
        count += mask.count_ones() as usize;
        at += L::WORDS;
    }
    count
}

/// See [`Isa::min_u32`](crate::Isa::min_u32).
#[inline(always)]
pub(crate) fn min_u32<L: WordLanes>(l: L, values: &[u32]) -> u32 {
    let len = values.len();
    let from = values.as_ptr();
    // The first register, and not all bits set: making those in 512 bits (`vpternlogd`) waits for the last value of the
    // register on Zen 4, which chains one call to the next.
    // SAFETY: a register is read only where there is a whole one, else `len` words, fewer than one and not none.
    let first = unsafe {
        match len {
            0 => return u32::MAX,
            _ if len >= L::WORDS => l.load_words(from),
            _ => l.load_words_part(from, len, u32::MAX),
        }
    };
    let mut least = [first; 4];
    let mut at = L::WORDS.min(len);
    while len - at >= 4 * L::WORDS {
        for (k, least) in least.iter_mut().enumerate() {
            // SAFETY: at + 4·WORDS ≤ len.
            *least = l.min_words(*least, unsafe { l.load_words(from.add(at + k * L::WORDS)) });
        }
        at += 4 * L::WORDS;
    }
    while len - at >= L::WORDS {
        // SAFETY: at + WORDS ≤ len.
        least[0] = l.min_words(least[0], unsafe { l.load_words(from.add(at)) });
        at += L::WORDS;
    }
    if at < len {
        // SAFETY: `len` − at words are left, fewer than a register.
        least[1] = l.min_words(least[1], unsafe { l.load_words_part(from.add(at), len - at, u32::MAX) });
    }
    let [a, b, c, d] = least;
    l.smallest(l.min_words(l.min_words(a, b), l.min_words(c, d)))
}

/// See [`Isa::position_u32`](crate::Isa::position_u32).
#[inline(always)]
pub(crate) fn position_u32<L: WordLanes>(l: L, values: &[u32], wanted: u32) -> Option<usize> {
    let len = values.len();
    let from = values.as_ptr();
    let other = l.splat_word(wanted);
    let mut at = 0;
    // Two registers a branch: the loop is bound by the branches.
    while len - at >= 2 * L::WORDS {
        // SAFETY: at + 2·WORDS ≤ len.
        let (low, high) = unsafe { (l.load_words(from.add(at)), l.load_words(from.add(at + L::WORDS))) };
        let mask = l.equal(low, other) | l.equal(high, other) << L::WORDS;
        if mask != 0 {
            return Some(at + mask.trailing_zeros() as usize);
        }
        at += 2 * L::WORDS;
    }
    values[at..].iter().position(|&value| value == wanted).map(|offset| at + offset)
}

#[cfg(test)]
mod tests;
