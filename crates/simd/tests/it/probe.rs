//! All kernels of a level on one pair of inputs, and inputs to give them.

use dvse_simd::{Isa, Level, Op, dispatch};

/// A small generator (xorshift): the same values on every run and machine.
pub struct Values(u64);

impl Values {
    pub fn new(seed: u64) -> Values {
        Values(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Floats in [−1, 1).
    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
    }

    /// Halves of floats in [−1, 1).
    pub fn halves(&mut self, len: usize) -> Vec<u16> {
        self.floats(len).into_iter().map(dvse_simd::f32_to_f16_bits).collect()
    }

    /// Any bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.bits() >> 32) as u8).collect()
    }
}

/// The bytes as signed ones.
pub fn signed(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|&byte| byte as i8).collect()
}

/// What the kernels over floats give for a query and a row.
#[derive(Debug, Clone, Copy)]
pub struct Floats {
    pub l2: f32,
    pub dot: f32,
    pub parts: (f32, f32, f32),
    pub l2_x4: [f32; 4],
    pub dot_x4: [f32; 4],
}

struct FloatKernels<'a> {
    a: &'a [f32],
    b: [&'a [f32]; 4],
}

impl Op for FloatKernels<'_> {
    type Output = Floats;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Floats {
        let FloatKernels { a, b } = self;
        Floats {
            l2: isa.l2_squared(a, b[0]),
            dot: isa.dot(a, b[0]),
            parts: isa.cosine_parts(a, b[0]),
            l2_x4: isa.l2_squared_x4(a, b),
            dot_x4: isa.dot_x4(a, b),
        }
    }
}

/// Runs the kernels over floats; the ones over a single row get the first.
pub fn floats(level: Level, a: &[f32], b: [&[f32]; 4]) -> Floats {
    dispatch(level, FloatKernels { a, b })
}

/// What the kernels over halves give: squared distance, inner product, and both for four rows.
#[derive(Debug, Clone, Copy)]
pub struct Halves {
    pub l2: f32,
    pub dot: f32,
    pub l2_x4: [f32; 4],
    pub dot_x4: [f32; 4],
}

struct HalfKernels<'a> {
    a: &'a [f32],
    b: [&'a [u16]; 4],
}

impl Op for HalfKernels<'_> {
    type Output = Halves;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Halves {
        let HalfKernels { a, b } = self;
        Halves {
            l2: isa.l2_squared_f16(a, b[0]),
            dot: isa.dot_f16(a, b[0]),
            l2_x4: isa.l2_squared_f16_x4(a, b),
            dot_x4: isa.dot_f16_x4(a, b),
        }
    }
}

/// Runs the kernels over halves; the ones over a single row get the first.
pub fn halves(level: Level, a: &[f32], b: [&[u16]; 4]) -> Halves {
    dispatch(level, HalfKernels { a, b })
}

/// What the kernels over bytes give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes {
    pub l2_u8: u32,
    pub dot_u8: u32,
    pub l2_i8: u32,
    pub dot_i8: i32,
    pub l2_u8_x4: [u32; 4],
    pub dot_u8_x4: [u32; 4],
    pub l2_i8_x4: [u32; 4],
    pub dot_i8_x4: [i32; 4],
}

struct ByteKernels<'a> {
    a: &'a [u8],
    b: [&'a [u8]; 4],
    a_signed: &'a [i8],
    b_signed: [&'a [i8]; 4],
}

impl Op for ByteKernels<'_> {
    type Output = Bytes;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Bytes {
        let ByteKernels { a, b, a_signed, b_signed } = self;
        Bytes {
            l2_u8: isa.l2_squared_u8(a, b[0]),
            dot_u8: isa.dot_u8(a, b[0]),
            l2_i8: isa.l2_squared_i8(a_signed, b_signed[0]),
            dot_i8: isa.dot_i8(a_signed, b_signed[0]),
            l2_u8_x4: isa.l2_squared_u8_x4(a, b),
            dot_u8_x4: isa.dot_u8_x4(a, b),
            l2_i8_x4: isa.l2_squared_i8_x4(a_signed, b_signed),
            dot_i8_x4: isa.dot_i8_x4(a_signed, b_signed),
        }
    }
}

/// Runs the kernels over bytes, the signed ones on the same bytes taken as signed; the ones over a single row get the
/// first.
pub fn bytes(level: Level, a: &[u8], b: [&[u8]; 4]) -> Bytes {
    let a_signed: &[i8] = bytemuck::cast_slice(a);
    let b_signed = b.map(bytemuck::cast_slice);
    dispatch(level, ByteKernels { a, b, a_signed, b_signed })
}
