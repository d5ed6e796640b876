//! Lists of numbers, read straight from JSON text into `f32`.
//!
//! Vectors are nearly all of the bytes of an upsert, and their numbers nearly all of its work, so they are not handed
//! from a general parser to a visitor one by one. The value is what the general parser gives, bit by bit: the decimal
//! rounded to the nearest `f64`, and that to the nearest `f32`.
//!
//! # How a number is read
//!
//! Digits are taken eight at a time from one 64-bit word: a carry trick finds the first byte that is none, a shift
//! drops it and what follows, and three multiplications turn the rest into a number (Lemire2021). The
//! number is then `mantissa × 10^exponent` with a mantissa below 2⁶³.
//!
//! One conversion and one multiplication by a tabled power of ten give an `f64` that is within 4 units of
//! its last place of the right one. That is enough: an `f32` keeps 24 of its 53 bits, so both round to the same `f32`
//! unless the `f64` lies within those few units of the middle between two neighbours. There (about one number in
//! ten million of arbitrary ones), and for mantissas and exponents out of range, the general parser decides. This is
//! why no table of 128-bit powers of five is needed here (Clinger1990 and Lemire2021 solve the harder problem).

use serde::Deserialize;

use super::body::Element;

/// Bytes from the start of a number within which it must end to be read here. The longest decimal of an `f64` that
/// shortest-decimal printers write, `-2.2250738585072014e-308`, has 24.
const WINDOW: usize = 48;

/// The largest power of ten in [`POWERS`], and the smallest with a minus: beyond it an `f32` is infinite or zero for
/// nearly every mantissa.
const EXPONENT_MAX: i32 = 63;

/// Powers of ten from 10⁻⁶³ to 10⁶³, each the nearest `f64`; exact from 10⁰ to 10²².
#[rustfmt::skip]
const POWERS: [f64; 2 * EXPONENT_MAX as usize + 1] = [
    1e-63, 1e-62, 1e-61, 1e-60, 1e-59, 1e-58, 1e-57, 1e-56, 1e-55, 1e-54,
    1e-53, 1e-52, 1e-51, 1e-50, 1e-49, 1e-48, 1e-47, 1e-46, 1e-45, 1e-44,
    1e-43, 1e-42, 1e-41, 1e-40, 1e-39, 1e-38, 1e-37, 1e-36, 1e-35, 1e-34,
    1e-33, 1e-32, 1e-31, 1e-30, 1e-29, 1e-28, 1e-27, 1e-26, 1e-25, 1e-24,
    1e-23, 1e-22, 1e-21, 1e-20, 1e-19, 1e-18, 1e-17, 1e-16, 1e-15, 1e-14,
    1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4,
    1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6,
    1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26,
    1e27, 1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35, 1e36,
    1e37, 1e38, 1e39, 1e40, 1e41, 1e42, 1e43, 1e44, 1e45, 1e46,
    1e47, 1e48, 1e49, 1e50, 1e51, 1e52, 1e53, 1e54, 1e55, 1e56,
    1e57, 1e58, 1e59, 1e60, 1e61, 1e62, 1e63,
];

/// Powers of ten by the number of digits in a word.
const WORD_POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Reads the list of numbers that begins at `at`, a `[`, appends them to `vector`, and returns where the list ends.
/// `None` when it is not such a list, or a number is too large: the general parser then says what is wrong.
pub fn read_numbers(text: &[u8], at: usize, vector: &mut Vec<f32>) -> Option<usize> {
    if *text.get(at)? != b'[' {
        return None;
    }
    let mut at = skip_space(text, at + 1);
    if *text.get(at)? == b']' {
        return Some(at + 1);
    }
    loop {
        let rest = text.get(at..)?;
        let Number { value, len } = read_number(rest);
        if len == 0 {
            return None;
        }
        vector.push(value);
        at += len;
        let mut next = *text.get(at)?;
        if is_space(next) {
            at = skip_space(text, at);
            next = *text.get(at)?;
        }
        match next {
            b',' => at = skip_space(text, at + 1),
            b']' => return Some(at + 1),
            _ => return None,
        }
    }
}

/// Returns the first place from `at` on that holds no white space of JSON.
pub fn skip_space(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(|byte| is_space(*byte)) {
        at += 1;
    }
    at
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r')
}

/// A number and the bytes it takes; 0 where there is no number.
///
/// Not an `Option`: these two are handed over in registers, where an optional pair goes through memory and is read
/// back before it is written through, which took as long as all the rest.
#[derive(Clone, Copy)]
struct Number {
    value: f32,
    len: usize,
}

/// Reads the number that the text begins with.
#[inline(always)]
fn read_number(text: &[u8]) -> Number {
    match text.first_chunk().and_then(read_in_window) {
        Some((value, len)) => Number { value, len },
        None => read_rare_number(text),
    }
}

/// Reads a number near the end of the text, or one that takes more care.
#[cold]
#[inline(never)]
fn read_rare_number(text: &[u8]) -> Number {
    let in_window = || {
        // What fills the window up belongs to no number.
        let mut window = [0; WINDOW];
        window.get_mut(..text.len())?.copy_from_slice(text);
        read_in_window(&window)
    };
    let (value, len) = in_window().or_else(|| read_hard_number(text)).unwrap_or((0.0, 0));
    Number { value, len }
}

// Inlined by force: the places of the next number and of this one's parts are then in registers, and the processor
// begins the next number while this one is still divided.
#[inline(always)]
fn read_in_window(window: &[u8; WINDOW]) -> Option<(f32, usize)> {
    let negative = window[0] == b'-';
    let mut at = usize::from(negative);
    let first = window[at].wrapping_sub(b'0');
    if first > 9 {
        return None;
    }
    let mut mantissa = u64::from(first);
    at += 1;
    if window[at].wrapping_sub(b'0') <= 9 {
        // JSON has no leading zeros.
        let word = Digits::at(window, at)?;
        if first == 0 || word.are_all() {
            return None;
        }
        mantissa = word.append_to(mantissa)?;
        at += word.count();
    }
    let mut exponent = 0;
    if window[at] == b'.' {
        at += 1;
        let start = at;
        let mut word = Digits::at(window, at)?;
        // Whether a word is full is guessed right nearly always, and then no place waits for the words before it.
        for _ in 0..2 {
            if word.are_all() {
                mantissa = mantissa.checked_mul(100_000_000)? + word.value();
                at += 8;
                word = Digits::at(window, at)?;
            }
        }
        if word.are_all() {
            return None;
        }
        mantissa = word.append_to(mantissa)?;
        at += word.count();
        if at == start {
            return None;
        }
        exponent = start as i32 - at as i32;
    }
    if window.get(at)? | 0x20 == b'e' {
        let (written, len) = read_exponent(window.get(at + 1..)?)?;
        exponent += written;
        at += 1 + len;
    }
    let value = scale(mantissa, exponent)?;
    // Not a branch: signs are random, and a wrong guess takes longer than half a number.
    Some((f32::from_bits(value.to_bits() | u32::from(negative) << 31), at))
}

/// Eight bytes of text that begin with some digits.
#[derive(Clone, Copy)]
struct Digits {
    /// The bytes, the first one lowest; digits are 0 to 9.
    values: u64,
    /// The top bit of the lowest byte that is no digit, and maybe some above; 0 if all are digits.
    others: u64,
}

impl Digits {
    /// `None` outside of the window.
    #[inline(always)]
    fn at(window: &[u8; WINDOW], at: usize) -> Option<Digits> {
        let values = u64::from_le_bytes(*window.get(at..)?.first_chunk()?) ^ 0x3030_3030_3030_3030;
        // Adding 0x76 carries into the top bit of every byte that is no digit. A carry out of a byte spoils only the
        // bytes above, and only the lowest byte that is no digit counts.
        let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
        Some(Digits { values, others })
    }

    #[inline(always)]
    fn are_all(self) -> bool {
        self.others == 0
    }

    #[inline(always)]
    fn count(self) -> usize {
        (self.others.trailing_zeros() / 8) as usize
    }

    /// The value of the digits.
    #[inline(always)]
    fn value(self) -> u64 {
        const LOW: u64 = 0x0000_00ff_0000_00ff;
        // Moves the last digit to the top byte, with zeros before the first; in halves, because there may be 64 bits.
        let half = 32 - self.others.trailing_zeros() / 8 * 4;
        let values = self.values << half << half;
        // Pairs, then fours, then all eight; the byte that came first weighs most.
        let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
        let even = (pairs & LOW).wrapping_mul(100 + (1_000_000 << 32));
        let odd = ((pairs >> 16) & LOW).wrapping_mul(1 + (10_000 << 32));
        even.wrapping_add(odd) >> 32
    }

    /// The number whose digits are those of `mantissa` and then these, if it has room.
    #[inline(always)]
    fn append_to(self, mantissa: u64) -> Option<u64> {
        let power = WORD_POWERS.get(self.count())?;
        mantissa.checked_mul(*power)?.checked_add(self.value())
    }
}

/// Reads what follows the `e`: an optional sign and one to three digits; and its length.
fn read_exponent(text: &[u8]) -> Option<(i32, usize)> {
    let (sign, mut at) = match text.first()? {
        b'-' => (-1, 1),
        b'+' => (1, 1),
        _ => (1, 0),
    };
    let start = at;
    let mut value = 0;
    while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
        value = value * 10 + i32::from(digit);
        at += 1;
        if at - start > 3 {
            return None;
        }
    }
    (at > start).then_some((sign * value, at))
}

/// `mantissa × 10^exponent`, rounded to `f64` and then to `f32`; `None` when that cannot be told from here.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "rounding is what it is about"
)]
fn scale(mantissa: u64, exponent: i32) -> Option<f32> {
    /// The bits of an `f64` that an `f32` has no room for, and the value they have in the middle of two `f32`.
    const DROPPED: u64 = (1 << 29) - 1;
    const MIDDLE: u64 = 1 << 28;
    /// Units in the last place by which the `f64` may be off, with room to spare: half a unit each for the mantissa,
    /// the power and the product, at most twice that where it crosses a power of two, and half for the right one.
    const SLACK: u64 = 16;

    // A signed conversion is one instruction everywhere. A power below 1 is multiplied by, and not its inverse divided
    // by: that takes a fifth of the time and is exact enough here.
    let float = i64::try_from(mantissa).ok()? as f64;
    let value = float * POWERS.get(usize::try_from(exponent + EXPONENT_MAX).ok()?)?;
    let off_middle = (value.to_bits() & DROPPED).wrapping_sub(MIDDLE - SLACK);
    // Below the normal range an `f32` drops more bits than that; above it is infinite, which validation refuses.
    let is_normal = (f64::from(f32::MIN_POSITIVE)..f64::from(f32::MAX)).contains(&value);
    if off_middle > 2 * SLACK && is_normal { Some(value as f32) } else { scale_exactly(mantissa, exponent) }
}

/// The same where mantissa and power are exact, so that only one operation rounds and the `f64` is the right one.
#[cold]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "rounding is what it is about"
)]
fn scale_exactly(mantissa: u64, exponent: i32) -> Option<f32> {
    if mantissa > 1 << 53 || exponent.abs() > 22 {
        return None;
    }
    let power = *POWERS.get(usize::try_from(exponent.abs() + EXPONENT_MAX).ok()?)?;
    let value = if exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power };
    Some(value as f32)
}

/// Reads any number, and its length, with the general parser.
fn read_hard_number(text: &[u8]) -> Option<(f32, usize)> {
    let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    let len = text.iter().position(|byte| !is_part(byte)).unwrap_or(text.len());
    let mut parser = serde_json::Deserializer::from_slice(text.get(..len)?);
    let Element(value) = Element::deserialize(&mut parser).ok()?;
    parser.end().ok()?;
    Some((value, len))
}

#[cfg(test)]
mod tests;
