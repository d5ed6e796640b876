//! Distance kernels over slices, chosen once per process, and the aligned memory they read.
//!
//! A kernel takes two slices and gives a number; what the vectors mean is none of its business. Each kernel is
//! written once, over a small trait of registers, and compiled for every instruction set of the architecture; a
//! plain scalar loop is the oracle of all of them.
//!
//! Code that calls kernels in a loop is an [`Op`]: it is written once over an [`Isa`] and compiled per instruction
//! set as a whole, so that kernels are inlined into it. [`dispatch`] picks the instruction set, once per search.
//!
//! ```
//! use dvse_simd::{Isa, Op, detect, dispatch};
//!
//! /// The number of the row closest to a query.
//! struct Nearest<'a> {
//!     query: &'a [f32],
//!     rows: &'a [&'a [f32]],
//! }
//!
//! impl Op for Nearest<'_> {
//!     type Output = Option<usize>;
//!
//!     #[inline(always)]
//!     fn run<I: Isa>(self, isa: I) -> Option<usize> {
//!         let distances = self.rows.iter().map(|row| isa.l2_squared(self.query, row));
//!         distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map(|(number, _)| number)
//!     }
//! }
//!
//! let rows: [&[f32]; 3] = [&[0.0, 0.0], &[3.0, 4.0], &[1.0, 1.0]];
//! let nearest = dispatch(detect(), Nearest { query: &[2.9, 4.1], rows: &rows });
//! assert_eq!(nearest, Some(1));
//! ```
//!
//! # Special values
//!
//! Kernels treat NaN and infinities as IEEE 754 does and promise nothing beyond that. They never meet them in
//! DVSE: [`all_finite`] refuses them where vectors enter.
//!
//! # What is checked where
//!
//! The tests compare every level the CPU runs with the definition; on a CPU with AVX-512 VNNI that is all of x86-64,
//! halfway cases of half precision included. Elsewhere two levels can be run by the same tests under emulation: NEON by
//! `.ci/neon` (user-mode emulation, a minute), AVX-512 by `tests/emulated/emulate-avx512` (a whole emulated machine,
//! some ten minutes, so not part of every run; narrowing to half precision is not judged there at halfway cases, which
//! that emulator rounds wrongly, and VNNI it lacks). The shared algorithms and the memory that is read while it grows
//! also run under Miri: `cargo miri test -p dvse-simd -- growing_rows aligned algorithms`.
//!
//! # How fast
//!
//! `cargo bench -p dvse-simd` prints every kernel at every level. On Zen 4 with rows in the first-level cache AVX2 is 21
//! times as fast as the scalar loop at 768 dimensions. AVX-512 is a tenth faster than that at 128 and within 3 % of it
//! from 384 on: that CPU loads 64 bytes a cycle at either width, and a distance is all loads. Half precision is AVX2's
//! at every level above it, since there widening sixteen halves at once takes longer than eight twice. VNNI doubles
//! products of signed bytes and takes a fifth off sums of sketches; a projection waits for the second-level cache at
//! any level.

#![expect(unsafe_code, reason = "raw loads, dispatch, and the memory shared by writer and readers live here")]

mod aligned;
#[cfg(test)]
mod emulated;
mod fast_scan;
mod generic;
mod growing_rows;
mod half;
mod isa;
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))]
mod isa_from_lanes;
mod kernels;
mod lanes;
mod level;
pub mod measure;
mod planes;
mod prefetch;
mod scalar;
mod sketch;
mod vector;
mod words;

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use aligned::{ALIGNMENT, AlignedBuf, OutOfMemory, padded_dim};
pub use fast_scan::{SCAN_COLUMNS, SCAN_COLUMNS_MAX, SCAN_ENTRY_MAX, SCAN_ROWS};
pub use growing_rows::{Full, GrowingRows, Rows, RowsError, RowsReader, RowsWriter};
pub use half::{f16_bits_to_f32, f16_to_f32, f32_to_f16, f32_to_f16_bits};
pub use isa::{Isa, MAX_INT_DIM, Op, dispatch, nearest_available};
pub use kernels::{CosineParts, Kernels, kernels};
pub use level::{Level, ParseLevelError, available, detect};
pub use prefetch::{CACHE_LINE, prefetch_read};
pub use scalar::Scalar;
pub use sketch::{FACTOR_BYTES, SKETCH_LINE};
pub use vector::{all_finite, norm, norm_squared, normalize};

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub use aarch64::Neon;
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512, Avx512Vnni};
