//! What an instruction set must offer for the algorithms to be written once: small traits for floats and
//! halves, for bytes and codes, and for 32-bit words.
//!
//! Everything is marked `#[inline(always)]` in the implementations: these functions carry no target feature
//! themselves and must end up inside one that does. Only loads and stores are unsafe, because they take pointers;
//! arithmetic is safe since the token is the proof.

use crate::isa::sealed::Token;

/// Registers of floats, reached through the token that proves that the CPU has them.
pub(crate) trait Lanes: Token {
    /// Floats in one register.
    const FLOATS: usize;
    /// A register of floats.
    type F: Copy;

    /// All lanes 0.
    fn zero(self) -> Self::F;

    /// Reads [`Lanes::FLOATS`] floats.
    ///
    /// # Safety
    /// `from` must be valid for reading that many floats; it need not be aligned beyond `f32`.
    unsafe fn load(self, from: *const f32) -> Self::F;

    /// Reads `count` floats into the first lanes and sets the others to 0.
    ///
    /// # Safety
    /// `0 < count < FLOATS`, and `from` must be valid for reading `count` floats.
    unsafe fn load_part(self, from: *const f32, count: usize) -> Self::F;

    /// Writes [`Lanes::FLOATS`] floats.
    ///
    /// # Safety
    /// `to` must be valid for writing that many floats.
    unsafe fn store(self, to: *mut f32, value: Self::F);

    /// `a + b` per lane.
    fn add(self, a: Self::F, b: Self::F) -> Self::F;

    /// `a − b` per lane.
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;

    /// `a·b + c` per lane, rounded once.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;

    /// The sum of all lanes.
    fn sum(self, value: Self::F) -> f32;

    /// The sums of all lanes of four registers.
    fn sum_each(self, values: [Self::F; 4]) -> [f32; 4];
}

/// Registers of floats that are halves in memory.
pub(crate) trait HalfLanes: Lanes {
    /// Reads [`Lanes::FLOATS`] halves, widened.
    ///
    /// # Safety
    /// As [`Lanes::load`], in halves.
    unsafe fn load_half(self, from: *const u16) -> Self::F;

    /// Reads `count` halves, widened, into the first lanes and sets the others to 0.
    ///
    /// # Safety
    /// As [`Lanes::load_part`], in halves.
    unsafe fn load_half_part(self, from: *const u16, count: usize) -> Self::F;

    /// Writes [`Lanes::FLOATS`] floats narrowed to halves, to nearest, ties to even.
    ///
    /// # Safety
    /// `to` must be valid for writing that many halves.
    unsafe fn store_half(self, to: *mut u16, value: Self::F);
}

/// Registers of bytes and of their 32-bit sums.
pub(crate) trait ByteLanes: Token {
    /// Bytes taken in one integer step.
    const BYTES: usize;
    /// [`ByteLanes::BYTES`] bytes.
    type B: Copy;
    /// A register of 32-bit sums.
    type Sums: Copy;

    /// All sums 0.
    fn zero_sums(self) -> Self::Sums;

    /// Reads [`ByteLanes::BYTES`] bytes.
    ///
    /// # Safety
    /// `from` must be valid for reading that many bytes.
    unsafe fn load_bytes(self, from: *const u8) -> Self::B;

    /// Reads `count` bytes into the first lanes and sets the others to 0.
    ///
    /// # Safety
    /// `0 < count < BYTES`, and `from` must be valid for reading `count` bytes.
    unsafe fn load_bytes_part(self, from: *const u8, count: usize) -> Self::B;

    /// Inverts the top bit of each byte: maps signed order to unsigned order, so that differences stay the same.
    fn flip_signs(self, bytes: Self::B) -> Self::B;

    /// Adds the squares of the differences of unsigned bytes to the sums, without saturation, modulo 2³².
    fn add_squared_differences(self, sums: Self::Sums, a: Self::B, b: Self::B) -> Self::Sums;

    /// Adds the products of unsigned bytes to the sums, without saturation, modulo 2³².
    fn add_products_u8(self, sums: Self::Sums, a: Self::B, b: Self::B) -> Self::Sums;

    /// Adds the products of signed bytes to the sums, without saturation, modulo 2³².
    fn add_products_i8(self, sums: Self::Sums, a: Self::B, b: Self::B) -> Self::Sums;

    /// `a + b` per sum, modulo 2³².
    fn add_sums(self, a: Self::Sums, b: Self::Sums) -> Self::Sums;

    /// The total of all sums modulo 2³².
    fn total(self, sums: Self::Sums) -> u32;
}

/// What codes of sketches need besides [`ByteLanes`]: products of unsigned codes and signed bytes.
pub(crate) trait CodeLanes: ByteLanes {
    /// Sums of products of codes of 4 bits.
    type Nibbles: Copy;

    /// All sums 0.
    fn zero_nibbles(self) -> Self::Nibbles;

    /// Adds the products of codes of at most 15 and signed bytes of at least −127.
    ///
    /// Eight such additions to a fresh value are exact, and no more: a lane of 16 bits that takes two products each
    /// time is then at most 8 · 2 · 15 · 127 = 30 480.
    fn add_nibble_products(self, sums: Self::Nibbles, codes: Self::B, signed: Self::B) -> Self::Nibbles;

    /// Adds sums of codes of 4 bits to others, whose lanes they need not match.
    fn widen_nibbles(self, sums: Self::Sums, nibbles: Self::Nibbles) -> Self::Sums;

    /// The lower four bits of each byte.
    fn low_nibbles(self, bytes: Self::B) -> Self::B;

    /// The upper four bits of each byte.
    fn high_nibbles(self, bytes: Self::B) -> Self::B;

    /// A byte of `value` for each bit that is set, the lowest first; 0 for the others. Bits past the register are not
    /// looked at.
    fn spread_bits(self, bits: u64, value: u8) -> Self::B;

    /// The bits of both.
    fn or_bytes(self, a: Self::B, b: Self::B) -> Self::B;

    /// Adds to each sum the four products of the bytes in its place: `unsigned` at most 127, or anything where
    /// `signed` is 0; `signed` at least −127.
    fn add_quads(self, sums: Self::Sums, unsigned: Self::B, signed: Self::B) -> Self::Sums;

    /// The same four bytes in every place of a sum.
    fn splat_quad(self, quad: [u8; 4]) -> Self::B;

    /// Writes [`ByteLanes::BYTES`] / 4 sums.
    ///
    /// # Safety
    /// `to` must be valid for writing that many words.
    unsafe fn store_sums(self, to: *mut i32, sums: Self::Sums);

    /// The totals of four registers of sums modulo 2³².
    fn totals(self, sums: [Self::Sums; 4]) -> [u32; 4];
}

/// Registers of 32-bit words that are tested and packed. A mask has one bit a word, the first word's lowest.
pub(crate) trait WordLanes: Token {
    /// Words in one register, at most 16.
    const WORDS: usize;
    /// A register of words.
    type W: Copy;

    /// Reads [`WordLanes::WORDS`] words.
    ///
    /// # Safety
    /// `from` must be valid for reading that many words.
    unsafe fn load_words(self, from: *const u32) -> Self::W;

    /// Reads `count` words into the first places and puts `fill` into the others.
    ///
    /// # Safety
    /// `0 < count < WORDS`, and `from` must be valid for reading `count` words.
    unsafe fn load_words_part(self, from: *const u32, count: usize, fill: u32) -> Self::W;

    /// The same word in every place.
    fn splat_word(self, word: u32) -> Self::W;

    /// `first`, `first + 1` and so on.
    fn count_up(self, first: u32) -> Self::W;

    /// The smaller of two words in each place, unsigned.
    fn min_words(self, a: Self::W, b: Self::W) -> Self::W;

    /// The smallest word of a register.
    fn smallest(self, words: Self::W) -> u32;

    /// Where two registers are equal.
    fn equal(self, a: Self::W, b: Self::W) -> u32;

    /// Where the words, taken as the bits of floats, are less than `gate`; a NaN is not.
    fn below(self, floats: Self::W, gate: f32) -> u32;

    /// Where an id is less than `limit` and its bit in `bits` is clear.
    ///
    /// # Safety
    /// `bits` must be valid for reading ⌈limit / 32⌉ words.
    unsafe fn clear_bits(self, ids: Self::W, bits: *const u32, limit: u32) -> u32;

    /// Writes the words chosen by a mask in order, and anything behind them, [`WordLanes::WORDS`] words in all.
    ///
    /// # Safety
    /// `to` must be valid for writing that many words.
    unsafe fn store_chosen(self, to: *mut u32, words: Self::W, mask: u32);
}
