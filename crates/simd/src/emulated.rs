//! Registers of any width in plain Rust, so that tests run the algorithms as instruction sets this machine lacks would,
//! and under Miri, which sees any read or write beyond the end.

use crate::half::{f16_bits_to_f32, f32_to_f16_bits};
use crate::isa::sealed::Token;
use crate::lanes::{ByteLanes, CodeLanes, HalfLanes, Lanes, WordLanes};

/// Registers of `F` floats and `B` bytes.
#[derive(Clone, Copy)]
pub(crate) struct Emulated<const F: usize, const B: usize>;

impl<const F: usize, const B: usize> Token for Emulated<F, B> {
    unsafe fn conjure() -> Self {
        Emulated
    }
}

impl<const F: usize, const B: usize> Emulated<F, B> {
    /// Adds a term of each pair of bytes to the sum in whose place they are.
    fn sum_bytes(mut sums: [u32; 16], a: [u8; B], b: [u8; B], term: impl Fn(u8, u8) -> i32) -> [u32; 16] {
        for (i, (x, y)) in a.into_iter().zip(b).enumerate() {
            sums[i / 4] = sums[i / 4].wrapping_add(term(x, y).cast_unsigned());
        }
        sums
    }

    fn mask(words: [u32; F], test: impl Fn(u32) -> bool) -> u32 {
        words.into_iter().rev().fold(0, |mask, word| mask << 1 | u32::from(test(word)))
    }
}

/// The first `count` elements behind a pointer, then zeros.
///
/// # Safety
/// `from` must be valid for reading `count` elements.
unsafe fn read<T: Copy + Default, const N: usize>(from: *const T, count: usize) -> [T; N] {
    let mut register = [T::default(); N];
    // SAFETY: promised by the caller.
    register[..count].copy_from_slice(unsafe { std::slice::from_raw_parts(from, count) });
    register
}

impl<const F: usize, const B: usize> Lanes for Emulated<F, B> {
    const FLOATS: usize = F;
    type F = [f32; F];

    fn zero(self) -> [f32; F] {
        [0.0; F]
    }

    unsafe fn load(self, from: *const f32) -> [f32; F] {
        // SAFETY: promised by the caller.
        unsafe { read(from, F) }
    }

    unsafe fn load_part(self, from: *const f32, count: usize) -> [f32; F] {
        assert!(0 < count && count < F);
        // SAFETY: promised by the caller.
        unsafe { read(from, count) }
    }

    unsafe fn store(self, to: *mut f32, value: [f32; F]) {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts_mut(to, F) }.copy_from_slice(&value);
    }

    fn add(self, a: [f32; F], b: [f32; F]) -> [f32; F] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    fn sub(self, a: [f32; F], b: [f32; F]) -> [f32; F] {
        std::array::from_fn(|i| a[i] - b[i])
    }

    fn mul_add(self, a: [f32; F], b: [f32; F], c: [f32; F]) -> [f32; F] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    fn sum(self, value: [f32; F]) -> f32 {
        value.iter().sum()
    }

    fn sum_each(self, values: [[f32; F]; 4]) -> [f32; 4] {
        values.map(|value| self.sum(value))
    }
}

impl<const F: usize, const B: usize> HalfLanes for Emulated<F, B> {
    unsafe fn load_half(self, from: *const u16) -> [f32; F] {
        // SAFETY: promised by the caller.
        unsafe { read::<u16, F>(from, F) }.map(f16_bits_to_f32)
    }

    unsafe fn load_half_part(self, from: *const u16, count: usize) -> [f32; F] {
        assert!(0 < count && count < F);
        // SAFETY: promised by the caller.
        unsafe { read::<u16, F>(from, count) }.map(f16_bits_to_f32)
    }

    unsafe fn store_half(self, to: *mut u16, value: [f32; F]) {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts_mut(to, F) }.copy_from_slice(&value.map(f32_to_f16_bits));
    }
}

impl<const F: usize, const B: usize> ByteLanes for Emulated<F, B> {
    const BYTES: usize = B;
    type B = [u8; B];
    type Sums = [u32; 16];

    fn zero_sums(self) -> [u32; 16] {
        [0; 16]
    }

    unsafe fn load_bytes(self, from: *const u8) -> [u8; B] {
        // SAFETY: promised by the caller.
        unsafe { read(from, B) }
    }

    unsafe fn load_bytes_part(self, from: *const u8, count: usize) -> [u8; B] {
        assert!(0 < count && count < B);
        // SAFETY: promised by the caller.
        unsafe { read(from, count) }
    }

    fn flip_signs(self, bytes: [u8; B]) -> [u8; B] {
        bytes.map(|byte| byte ^ 0x80)
    }

    fn add_squared_differences(self, sums: [u32; 16], a: [u8; B], b: [u8; B]) -> [u32; 16] {
        Self::sum_bytes(sums, a, b, |x, y| i32::from(x.abs_diff(y)).pow(2))
    }

    fn add_products_u8(self, sums: [u32; 16], a: [u8; B], b: [u8; B]) -> [u32; 16] {
        Self::sum_bytes(sums, a, b, |x, y| i32::from(x) * i32::from(y))
    }

    fn add_products_i8(self, sums: [u32; 16], a: [u8; B], b: [u8; B]) -> [u32; 16] {
        Self::sum_bytes(sums, a, b, |x, y| i32::from(x as i8) * i32::from(y as i8))
    }

    fn add_sums(self, a: [u32; 16], b: [u32; 16]) -> [u32; 16] {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }

    fn total(self, sums: [u32; 16]) -> u32 {
        sums.into_iter().fold(0, u32::wrapping_add)
    }
}

impl<const F: usize, const B: usize> CodeLanes for Emulated<F, B> {
    /// Lanes of 16 bits, two bytes each, as the narrowest instruction sets have.
    type Nibbles = [i16; 32];

    fn zero_nibbles(self) -> [i16; 32] {
        [0; 32]
    }

    /// Panics where a lane would overflow.
    fn add_nibble_products(self, mut sums: [i16; 32], codes: [u8; B], signed: [u8; B]) -> [i16; 32] {
        for (i, (code, value)) in codes.into_iter().zip(signed).enumerate() {
            let product = i16::from(code) * i16::from(value as i8);
            sums[i / 2] = sums[i / 2].checked_add(product).unwrap();
        }
        sums
    }

    fn widen_nibbles(self, sums: [u32; 16], nibbles: [i16; 32]) -> [u32; 16] {
        let wide = |i: usize| i32::from(nibbles[2 * i]) + i32::from(nibbles[2 * i + 1]);
        std::array::from_fn(|i| sums[i].wrapping_add(wide(i).cast_unsigned()))
    }

    fn low_nibbles(self, bytes: [u8; B]) -> [u8; B] {
        bytes.map(|byte| byte & 15)
    }

    fn high_nibbles(self, bytes: [u8; B]) -> [u8; B] {
        bytes.map(|byte| byte >> 4)
    }

    fn spread_bits(self, bits: u64, value: u8) -> [u8; B] {
        std::array::from_fn(|i| if bits >> i & 1 == 1 { value } else { 0 })
    }

    fn or_bytes(self, a: [u8; B], b: [u8; B]) -> [u8; B] {
        std::array::from_fn(|i| a[i] | b[i])
    }

    fn add_quads(self, sums: [u32; 16], unsigned: [u8; B], signed: [u8; B]) -> [u32; 16] {
        Self::sum_bytes(sums, unsigned, signed, |x, y| i32::from(x) * i32::from(y as i8))
    }

    fn splat_quad(self, quad: [u8; 4]) -> [u8; B] {
        std::array::from_fn(|i| quad[i % 4])
    }

    unsafe fn store_sums(self, to: *mut i32, sums: [u32; 16]) {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts_mut(to, B / 4) }
            .copy_from_slice(&sums.map(u32::cast_signed)[..B / 4]);
    }

    fn totals(self, sums: [[u32; 16]; 4]) -> [u32; 4] {
        sums.map(|sums| self.total(sums))
    }
}

/// `F` words in a register.
impl<const F: usize, const B: usize> WordLanes for Emulated<F, B> {
    const WORDS: usize = F;
    type W = [u32; F];

    unsafe fn load_words(self, from: *const u32) -> [u32; F] {
        // SAFETY: promised by the caller.
        unsafe { read(from, F) }
    }

    unsafe fn load_words_part(self, from: *const u32, count: usize, fill: u32) -> [u32; F] {
        assert!(0 < count && count < F);
        // SAFETY: promised by the caller.
        let mut words = unsafe { read(from, count) };
        words[count..].fill(fill);
        words
    }

    fn splat_word(self, word: u32) -> [u32; F] {
        [word; F]
    }

    fn count_up(self, first: u32) -> [u32; F] {
        std::array::from_fn(|i| first + i as u32)
    }

    fn min_words(self, a: [u32; F], b: [u32; F]) -> [u32; F] {
        std::array::from_fn(|i| a[i].min(b[i]))
    }

    fn smallest(self, words: [u32; F]) -> u32 {
        words.into_iter().fold(u32::MAX, u32::min)
    }

    fn equal(self, a: [u32; F], b: [u32; F]) -> u32 {
        Self::mask(std::array::from_fn(|i| a[i] ^ b[i]), |difference| difference == 0)
    }

    fn below(self, floats: [u32; F], gate: f32) -> u32 {
        Self::mask(floats, |bits| f32::from_bits(bits) < gate)
    }

    unsafe fn clear_bits(self, ids: [u32; F], bits: *const u32, limit: u32) -> u32 {
        // SAFETY: promised by the caller, for ids below the limit.
        let clear = |id: u32| unsafe { *bits.add((id / 32) as usize) } >> (id % 32) & 1 == 0;
        Self::mask(ids, |id| id < limit && clear(id))
    }

    /// Writes something behind the chosen words, as registers do.
    unsafe fn store_chosen(self, to: *mut u32, words: [u32; F], mask: u32) {
        let mut packed = [0xa5a5_a5a5; F];
        let chosen = words.into_iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1);
        packed.iter_mut().zip(chosen).for_each(|(to, (_, word))| *to = word);
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts_mut(to, F) }.copy_from_slice(&packed);
    }
}
