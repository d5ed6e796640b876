//! Which instruction sets there are, and which of them this CPU runs.

use std::fmt;
use std::str::FromStr;

/// An instruction set the kernels are compiled for. The order is the order of preference on one architecture.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Level {
    /// Plain Rust in strict order: always there, and the oracle of all others.
    Scalar,
    /// x86-64 with AVX2, FMA, F16C, BMI 1 and 2, LZCNT and POPCNT: 8 floats at a time.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL (besides all of [`Level::Avx2`]): 16 floats at a time.
    Avx512,
    /// x86-64 with AVX-512 VNNI besides all of [`Level::Avx512`]: products of bytes in one instruction.
    Avx512Vnni,
    /// AArch64 with NEON: 4 floats at a time.
    Neon,
}

impl Level {
    /// All levels, those of other architectures included.
    pub const ALL: [Level; 5] = [Level::Scalar, Level::Avx2, Level::Avx512, Level::Avx512Vnni, Level::Neon];

    /// The name used on the command line and in reports: `scalar`, `avx2`, `avx512`, `avx512vnni` or `neon`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Avx512Vnni => "avx512vnni",
            Level::Neon => "neon",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseLevelError(pub String);

impl fmt::Display for ParseLevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a SIMD level: use scalar, avx2, avx512, avx512vnni or neon", self.0)
    }
}

impl std::error::Error for ParseLevelError {}

impl FromStr for Level {
    type Err = ParseLevelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Level::ALL
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or_else(|| ParseLevelError(text.to_owned()))
    }
}

/// The best level of this CPU. The answer never changes while the process runs.
#[must_use]
pub fn detect() -> Level {
    available().last().copied().unwrap_or(Level::Scalar)
}

/// The levels this CPU runs, worst first; the first is always [`Level::Scalar`].
///
/// The standard library caches what it asked the CPU, so a call costs a few loads.
#[must_use]
pub fn available() -> &'static [Level] {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use crate::x86::{Avx2, Avx512, Avx512Vnni};
        if Avx512Vnni::new().is_some() {
            return &[Level::Scalar, Level::Avx2, Level::Avx512, Level::Avx512Vnni];
        }
        if Avx512::new().is_some() {
            return &[Level::Scalar, Level::Avx2, Level::Avx512];
        }
        if Avx2::new().is_some() {
            return &[Level::Scalar, Level::Avx2];
        }
    }
    #[cfg(all(target_arch = "aarch64", target_endian = "little", not(miri)))]
    if crate::aarch64::Neon::new().is_some() {
        return &[Level::Scalar, Level::Neon];
    }
    &[Level::Scalar]
}
