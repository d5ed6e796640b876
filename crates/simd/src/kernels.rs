//! A table of function pointers, for code too cold to be compiled once per instruction set.

use std::sync::OnceLock;

use crate::isa::{Isa, Op, dispatch};
use crate::level::{Level, detect};

/// The type of [`Isa::cosine_parts`] as a plain function.
pub type CosineParts = fn(&[f32], &[f32]) -> (f32, f32, f32);

/// The kernels of one level as plain functions. For their meaning see [`Isa`].
///
/// A call through a pointer is not inlined and costs a few nanoseconds; a search loop uses [`dispatch`] instead.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Kernels {
    /// The level the functions are compiled for.
    pub level: Level,
    /// See [`Isa::l2_squared`].
    pub l2_squared: fn(&[f32], &[f32]) -> f32,
    /// See [`Isa::dot`].
    pub dot: fn(&[f32], &[f32]) -> f32,
    /// See [`Isa::cosine_parts`].
    pub cosine_parts: CosineParts,
    /// See [`Isa::l2_squared_f16`].
    pub l2_squared_f16: fn(&[f32], &[u16]) -> f32,
    /// See [`Isa::dot_f16`].
    pub dot_f16: fn(&[f32], &[u16]) -> f32,
    /// See [`Isa::l2_squared_u8`].
    pub l2_squared_u8: fn(&[u8], &[u8]) -> u32,
    /// See [`Isa::dot_u8`].
    pub dot_u8: fn(&[u8], &[u8]) -> u32,
    /// See [`Isa::l2_squared_i8`].
    pub l2_squared_i8: fn(&[i8], &[i8]) -> u32,
    /// See [`Isa::dot_i8`].
    pub dot_i8: fn(&[i8], &[i8]) -> i32,
}

impl Kernels {
    /// The table of a level, or of the best available level below it if the CPU lacks it.
    #[must_use]
    pub fn for_level(level: Level) -> Kernels {
        dispatch(level, Table)
    }
}

/// The table of the best level of this CPU.
#[must_use]
pub fn kernels() -> &'static Kernels {
    static BEST: OnceLock<Kernels> = OnceLock::new();
    BEST.get_or_init(|| Kernels::for_level(detect()))
}

/// Fills a table; run with a token, which proves that the CPU runs what the table points to.
struct Table;

impl Op for Table {
    type Output = Kernels;

    #[inline(always)]
    fn run<I: Isa>(self, _proof: I) -> Kernels {
        Kernels {
            level: I::LEVEL,
            l2_squared: |a, b| token::<I>().l2_squared(a, b),
            dot: |a, b| token::<I>().dot(a, b),
            cosine_parts: |a, b| token::<I>().cosine_parts(a, b),
            l2_squared_f16: |q, row| token::<I>().l2_squared_f16(q, row),
            dot_f16: |q, row| token::<I>().dot_f16(q, row),
            l2_squared_u8: |a, b| token::<I>().l2_squared_u8(a, b),
            dot_u8: |a, b| token::<I>().dot_u8(a, b),
            l2_squared_i8: |a, b| token::<I>().l2_squared_i8(a, b),
            dot_i8: |a, b| token::<I>().dot_i8(a, b),
        }
    }
}

/// The token of a table entry. Private: it is called by the functions of [`Table::run`] only.
#[inline(always)]
fn token<I: Isa>() -> I {
    // SAFETY: the only callers are the functions written into a table by `Table::run::<I>`, which was given a token
    // of the same type by value; nobody can reach those functions before it ran.
    unsafe { I::conjure() }
}
