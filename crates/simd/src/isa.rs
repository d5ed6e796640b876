//! The face of the kernels: one trait, implemented by a zero-sized token per instruction set.

use crate::level::{Level, available};
use crate::scalar::Scalar;

/// Keeps [`Isa`] closed, and lets function tables call kernels without carrying a token along.
pub(crate) mod sealed {
    /// Implemented by the tokens of this crate only.
    pub trait Token: Copy {
        /// Makes a token out of nothing.
        ///
        /// # Safety
        /// The CPU must have every feature of the token's level. It is enough that a token of the same type was
        /// minted before by its safe constructor.
        unsafe fn conjure() -> Self;
    }
}

/// The largest length the integer kernels take.
///
/// 65 536 × 255² is the largest multiple of 255² with a power of two that still fits 32 bits, so every sum below is
/// exact.
pub const MAX_INT_DIM: usize = 65_536;

/// An instruction set, as a zero-sized token that exists only where the CPU was found to have it.
///
/// The methods are kernels over two slices. All of them take any length, 0 included, any alignment, and panic if
/// the lengths differ (that is an error of the calling code, never of a user: dimensions are checked at the door).
/// They are meant to be called in a loop inside [`Isa::vectorize`] or [`dispatch`], where they are inlined.
///
/// Sums are taken in an order of the level's own, so two levels differ by rounding; the integer kernels are exact
/// and agree bit for bit. NaN and infinities spread as IEEE 754 says: one NaN among the inputs makes a NaN, an
/// infinity makes an infinity or (∞ − ∞, 0 · ∞) a NaN. Search never sees them: they are refused where vectors
/// enter, see [`all_finite`](crate::all_finite).
pub trait Isa: sealed::Token + Copy + Send + Sync + 'static {
    /// The level this token stands for.
    const LEVEL: Level;

    /// Runs `op` inside a function compiled for this instruction set.
    fn run<O: Op>(self, op: O) -> O::Output;

    /// Runs `f` inside a function compiled for this instruction set, so that what is inlined into `f`, the kernels
    /// of this token included, is compiled for it too.
    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        self.run(Call(f))
    }

    /// Σ (aᵢ − bᵢ)², the squared Euclidean distance.
    fn l2_squared(self, a: &[f32], b: &[f32]) -> f32;

    /// Σ aᵢ·bᵢ, the inner product.
    fn dot(self, a: &[f32], b: &[f32]) -> f32;

    /// [`Isa::l2_squared`] of one query to four rows; the query is read once.
    fn l2_squared_x4(self, q: &[f32], rows: [&[f32]; 4]) -> [f32; 4];

    /// [`Isa::dot`] of one query with four rows; the query is read once.
    fn dot_x4(self, q: &[f32], rows: [&[f32]; 4]) -> [f32; 4];

    /// `(Σ aᵢ·bᵢ, Σ aᵢ², Σ bᵢ²)` in one pass: the parts of a cosine of vectors that are not of unit length.
    fn cosine_parts(self, a: &[f32], b: &[f32]) -> (f32, f32, f32);

    /// [`Isa::l2_squared`] with the row stored as IEEE half precision (the bits as `u16`).
    fn l2_squared_f16(self, q: &[f32], row: &[u16]) -> f32;

    /// [`Isa::dot`] with the row stored as IEEE half precision (the bits as `u16`).
    fn dot_f16(self, q: &[f32], row: &[u16]) -> f32;

    /// [`Isa::l2_squared_f16`] of one query to four rows; the query is read once.
    fn l2_squared_f16_x4(self, q: &[f32], rows: [&[u16]; 4]) -> [f32; 4];

    /// [`Isa::dot_f16`] of one query with four rows; the query is read once.
    fn dot_f16_x4(self, q: &[f32], rows: [&[u16]; 4]) -> [f32; 4];

    /// Σ (aᵢ − bᵢ)² of bytes, exact. Panics above [`MAX_INT_DIM`].
    fn l2_squared_u8(self, a: &[u8], b: &[u8]) -> u32;

    /// Σ aᵢ·bᵢ of bytes, exact. Panics above [`MAX_INT_DIM`].
    fn dot_u8(self, a: &[u8], b: &[u8]) -> u32;

    /// Σ (aᵢ − bᵢ)² of signed bytes, exact. Panics above [`MAX_INT_DIM`].
    fn l2_squared_i8(self, a: &[i8], b: &[i8]) -> u32;

    /// Σ aᵢ·bᵢ of signed bytes, exact (−128 · −128 included). Panics above [`MAX_INT_DIM`].
    fn dot_i8(self, a: &[i8], b: &[i8]) -> i32;

    /// [`Isa::l2_squared_u8`] of one query to four rows.
    fn l2_squared_u8_x4(self, q: &[u8], rows: [&[u8]; 4]) -> [u32; 4];

    /// [`Isa::dot_u8`] of one query with four rows.
    fn dot_u8_x4(self, q: &[u8], rows: [&[u8]; 4]) -> [u32; 4];

    /// [`Isa::l2_squared_i8`] of one query to four rows.
    fn l2_squared_i8_x4(self, q: &[i8], rows: [&[i8]; 4]) -> [u32; 4];

    /// [`Isa::dot_i8`] of one query with four rows.
    fn dot_i8_x4(self, q: &[i8], rows: [&[i8]; 4]) -> [i32; 4];

    /// Half precision to single, exact; a NaN becomes quiet and keeps its payload.
    fn f16_to_f32(self, from: &[u16], to: &mut [f32]);

    /// Single precision to half, to nearest, ties to even; too large becomes infinite, a NaN becomes quiet.
    fn f32_to_f16(self, from: &[f32], to: &mut [u16]);

    /// Sums of table entries that 4-bit codes pick, for blocks of 32 rows ([`SCAN_ROWS`](crate::SCAN_ROWS)).
    ///
    /// `tables` has 16 bytes a column, `codes` 16 bytes a column of each block: byte `j` holds the codes of the
    /// block's rows `j` (low half) and `j + 16` (high half); `sums` gets one number a row. Exact, and the same at
    /// every level, while entries are at most [`SCAN_ENTRY_MAX`](crate::SCAN_ENTRY_MAX); larger ones give sums that
    /// mean nothing. Panics if the lengths do not fit each other or the number of columns is not a multiple of
    /// [`SCAN_COLUMNS`](crate::SCAN_COLUMNS) up to [`SCAN_COLUMNS_MAX`](crate::SCAN_COLUMNS_MAX).
    fn fast_scan(self, codes: &[u8], tables: &[u8], sums: &mut [u16]);

    /// Σ code·query over a sketch of `LINES` (1 to 4) cache lines of codes of 4 bits, exact.
    ///
    /// `row` is 64·`LINES` bytes. Byte j of line l holds in its lower half the code that meets `query[128·l + j]`, in
    /// its upper half the one that meets `query[128·l + 64 + j]`; so `query` is 128·`LINES` values, each in
    /// −127..=127. Bytes at the end of a row may hold anything where both queries they meet are 0. Panics on other
    /// lengths.
    fn sketch4<const LINES: usize>(self, query: &[i8], row: &[u8]) -> i32;

    /// [`Isa::sketch4`] of one query with four rows; the query is read once.
    fn sketch4_x4<const LINES: usize>(self, query: &[i8], rows: [&[u8]; 4]) -> [i32; 4];

    /// Σ code·query over a sketch of `LINES` (1 to 4) cache lines of codes of 7 bits, exact.
    ///
    /// `row` is 64·`LINES` bytes of codes in 0..=127, `query` as many values in −127..=127. Bytes may hold anything
    /// where the query is 0. Panics on other lengths.
    fn sketch7<const LINES: usize>(self, query: &[i8], row: &[u8]) -> i32;

    /// [`Isa::sketch7`] of one query with four rows; the query is read once.
    fn sketch7_x4<const LINES: usize>(self, query: &[i8], rows: [&[u8]; 4]) -> [i32; 4];

    /// Σ code·query of codes of `PLANES` (1 or 2) bits, exact.
    ///
    /// `query` is a multiple of 64 values, at most [`MAX_INT_DIM`], each in −127..=127. `row` is a bit for each of them, then
    /// as many again for codes of 2 bits: value k meets bit k mod 8 of byte ⌊k / 8⌋ once, and of the second plane twice.
    /// Panics on other lengths.
    fn planes<const PLANES: usize>(self, query: &[i8], row: &[u8]) -> i32;

    /// [`Isa::planes`] of one query with four rows; the query is read once.
    fn planes_x4<const PLANES: usize>(self, query: &[i8], rows: [&[u8]; 4]) -> [i32; 4];

    /// `out` = `transform` · `query`, exact: a matrix of signed bytes and a vector of codes of 7 bits.
    ///
    /// `out.len()` rows, a multiple of 64; `query.len()` columns, a multiple of 4 and at most [`MAX_INT_DIM`], values
    /// in 0..=127. `transform` holds values in −127..=127 in the order `[blocks of 64 rows][quads of 4 columns][64
    /// rows][4 columns]`: four bytes of the query meet 256 bytes in a row. Panics on other lengths.
    fn project(self, transform: &[i8], query: &[u8], out: &mut [i32]);

    /// Writes to the front of `out`, in order, those of `ids` that are below `limit` and whose bit is clear: bit
    /// `id % 32` of `visited[id / 32]`. Gives their number; what is behind them in `out` is anything.
    ///
    /// `u32::MAX` is never chosen, so it can stand for no id. An id that comes twice is written twice: no bit is set
    /// here. Panics if `visited` has no bit for some id below `limit`, or `out` is not 16 longer than `ids`.
    fn gather_unvisited(self, ids: &[u32], visited: &[u32], limit: u32, out: &mut [u32]) -> usize;

    /// Writes to the front of `out`, in order, the positions of the `estimates` less than `gate`, and gives their
    /// number; what is behind them in `out` is anything. A NaN is less than nothing.
    ///
    /// Panics if `out` is not 16 longer than `estimates`.
    fn keys_below(self, estimates: &[f32], gate: f32, out: &mut [u32]) -> usize;

    /// The smallest of `values`, `u32::MAX` if there is none.
    fn min_u32(self, values: &[u32]) -> u32;

    /// The first position of `wanted` in `values`.
    fn position_u32(self, values: &[u32], wanted: u32) -> Option<usize>;

    /// Asks the CPU for the first `lines` cache lines of a slice, see [`prefetch_read`](crate::prefetch_read).
    #[inline(always)]
    fn prefetch<T>(self, slice: &[T], lines: usize) {
        crate::prefetch::prefetch_read(slice, lines);
    }
}

/// A piece of work written once and compiled for every instruction set, such as a whole graph search.
pub trait Op {
    /// What the work gives.
    type Output;

    /// Does the work with the kernels of `isa`. Implementations are marked `#[inline(always)]`, else the kernels
    /// are called instead of inlined.
    fn run<I: Isa>(self, isa: I) -> Self::Output;
}

/// A closure that wants no token.
struct Call<F>(F);

impl<R, F: FnOnce() -> R> Op for Call<F> {
    type Output = R;

    #[inline(always)]
    fn run<I: Isa>(self, _isa: I) -> R {
        (self.0)()
    }
}

/// The best level this CPU runs that is not above `wanted`.
///
/// A level of another architecture falls to the best one here.
#[must_use]
pub fn nearest_available(wanted: Level) -> Level {
    available().iter().rev().copied().find(|&level| level <= wanted).unwrap_or(Level::Scalar)
}

/// Runs `op` compiled for `level`, or for the best available level below it if the CPU lacks it.
///
/// Call it once per search, not once per distance: the token is found anew each time, and nothing is inlined
/// across this call.
#[inline]
pub fn dispatch<O: Op>(level: Level, op: O) -> O::Output {
    match nearest_available(level) {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni => match crate::x86::Avx512Vnni::new() {
            Some(isa) => isa.run(op),
            None => Scalar.run(op),
        },
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => match crate::x86::Avx512::new() {
            Some(isa) => isa.run(op),
            None => Scalar.run(op),
        },
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => match crate::x86::Avx2::new() {
            Some(isa) => isa.run(op),
            None => Scalar.run(op),
        },
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        Level::Neon => match crate::aarch64::Neon::new() {
            Some(isa) => isa.run(op),
            None => Scalar.run(op),
        },
        _ => Scalar.run(op),
    }
}
