//! What an instruction set must offer for the algorithms in [`generic`](crate::generic) to be written once.

use crate::isa::sealed::Token;

/// Registers of floats and bytes, reached through the token that proves that the CPU has them.
///
/// Everything is marked `#[inline(always)]` in the implementations: these functions carry no target feature
/// themselves and must end up inside one that does.
///
/// Only the loads are unsafe, because they take pointers; arithmetic is safe since the token is the proof.
pub(crate) trait Lanes: Token {
    /// Floats in one register.
    const FLOATS: usize;
    /// A register of floats.
    type F: Copy;

    /// Bytes taken in one integer step.
    const BYTES: usize;
    /// [`Lanes::BYTES`] bytes.
    type B: Copy;
    /// A register of 32-bit sums.
    type Sums: Copy;

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

    /// Writes [`Lanes::FLOATS`] floats.
    ///
    /// # Safety
    /// `to` must be valid for writing that many floats.
    unsafe fn store(self, to: *mut f32, value: Self::F);

    /// Writes [`Lanes::FLOATS`] floats narrowed to halves, to nearest, ties to even.
    ///
    /// # Safety
    /// `to` must be valid for writing that many halves.
    unsafe fn store_half(self, to: *mut u16, value: Self::F);

    /// `a + b` per lane.
    fn add(self, a: Self::F, b: Self::F) -> Self::F;

    /// `a − b` per lane.
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;

    /// `a·b + c` per lane, rounded once.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;

    /// The sum of all lanes.
    fn sum(self, value: Self::F) -> f32;

    /// All sums 0.
    fn zero_sums(self) -> Self::Sums;

    /// Reads [`Lanes::BYTES`] bytes.
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

    /// The total of all sums modulo 2³².
    fn total(self, sums: Self::Sums) -> u32;
}
