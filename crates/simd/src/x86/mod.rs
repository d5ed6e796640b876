//! The instruction sets of x86-64.

mod avx2;
mod avx2_codes;
mod avx512;
mod avx512_codes;
mod avx512_vnni;

pub use avx2::Avx2;
pub use avx512::Avx512;
pub use avx512_vnni::Avx512Vnni;
