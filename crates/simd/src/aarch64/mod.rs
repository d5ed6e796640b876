//! The instruction sets of AArch64.

mod neon;
mod neon_codes;

pub use neon::Neon;
