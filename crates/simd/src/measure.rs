//! How fast the kernels are on this machine, level against level.
//!
//! Bursts of all levels take turns and the best burst of each counts, so that other load on the machine, which only
//! ever adds time, drops out. The clock is the caller's: this crate asks no clock itself.

use std::fmt;
use std::hint::black_box;
use std::time::Duration;

use crate::aligned::{AlignedBuf, padded_dim};
use crate::isa::{Isa, Op, dispatch};
use crate::level::Level;

/// Bytes of rows in one burst, so that they stay in the first-level cache beside the query.
const WORKING_SET: usize = 16 * 1024;

/// Components one burst goes over, about 0.2 ms of the scalar loop.
const BURST: usize = 128 * 1024;

/// A kernel that can be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named after the methods of `Isa`")]
pub enum Kernel {
    L2Squared,
    Dot,
    L2SquaredX4,
    DotX4,
    CosineParts,
    L2SquaredF16,
    DotF16,
    L2SquaredF16X4,
    DotF16X4,
    L2SquaredU8,
    DotU8,
    DotI8,
    DotI8X4,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Kernel; 13] = [
        Kernel::L2Squared,
        Kernel::Dot,
        Kernel::L2SquaredX4,
        Kernel::DotX4,
        Kernel::CosineParts,
        Kernel::L2SquaredF16,
        Kernel::DotF16,
        Kernel::L2SquaredF16X4,
        Kernel::DotF16X4,
        Kernel::L2SquaredU8,
        Kernel::DotU8,
        Kernel::DotI8,
        Kernel::DotI8X4,
    ];

    /// The name of the method of [`Isa`] that is measured.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kernel::L2Squared => "l2_squared",
            Kernel::Dot => "dot",
            Kernel::L2SquaredX4 => "l2_squared_x4",
            Kernel::DotX4 => "dot_x4",
            Kernel::CosineParts => "cosine_parts",
            Kernel::L2SquaredF16 => "l2_squared_f16",
            Kernel::DotF16 => "dot_f16",
            Kernel::L2SquaredF16X4 => "l2_squared_f16_x4",
            Kernel::DotF16X4 => "dot_f16_x4",
            Kernel::L2SquaredU8 => "l2_squared_u8",
            Kernel::DotU8 => "dot_u8",
            Kernel::DotI8 => "dot_i8",
            Kernel::DotI8X4 => "dot_i8_x4",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The best time of one kernel at one level and dimension.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Timing {
    /// What ran.
    pub kernel: Kernel,
    /// Compiled for what.
    pub level: Level,
    /// Components of a vector.
    pub dim: usize,
    /// Nanoseconds per distance (a four-row kernel gives four distances), the loop over the rows included.
    pub nanoseconds: f64,
}

/// Times one kernel at one dimension at several levels, in turns, the best of `rounds` bursts each.
///
/// `now` is a monotonic clock. Levels this CPU lacks are run at the level below and reported as that level, so pass
/// [`available`](crate::available).
pub fn time(
    kernel: Kernel,
    dim: usize,
    levels: &[Level],
    rounds: usize,
    mut now: impl FnMut() -> Duration,
) -> Vec<Timing> {
    let rows = (WORKING_SET / size_of::<f32>() / dim.max(1)).clamp(4, 64) / 4 * 4;
    let data = Data::new(dim, rows);
    let passes = (BURST / (rows * dim.max(1))).max(1);
    let mut timings: Vec<Timing> = levels
        .iter()
        .map(|&level| {
            let level = crate::nearest_available(level);
            Timing { kernel, level, dim, nanoseconds: f64::INFINITY }
        })
        .collect();
    for _ in 0..rounds.max(1) {
        for timing in &mut timings {
            let start = now();
            black_box(dispatch(timing.level, Burst { kernel, data: &data, passes }));
            let elapsed = now().saturating_sub(start);
            let each = elapsed.as_secs_f64() * 1e9 / (passes * rows) as f64;
            timing.nanoseconds = timing.nanoseconds.min(each);
        }
    }
    timings
}

/// One set of rows in every storage type. The rows' contents do not matter to the time, as long as they are normal
/// numbers.
struct Data {
    dim: usize,
    floats: AlignedBuf<f32>,
    halves: AlignedBuf<u16>,
    bytes: AlignedBuf<u8>,
    rows: usize,
}

impl Data {
    fn new(dim: usize, rows: usize) -> Data {
        let stride = padded_dim(dim);
        let mut data = Data {
            dim,
            floats: AlignedBuf::zeroed(stride * (rows + 1)),
            halves: AlignedBuf::zeroed(stride * (rows + 1)),
            bytes: AlignedBuf::zeroed(stride * (rows + 1)),
            rows,
        };
        for (i, value) in data.floats.iter_mut().enumerate() {
            *value = (i % 251) as f32 / 251.0 - 0.3;
        }
        for (i, value) in data.bytes.iter_mut().enumerate() {
            *value = (i % 251) as u8;
        }
        crate::half::f32_to_f16(&data.floats, &mut data.halves);
        data
    }

    /// Vector `i`; the last one serves as the query.
    #[inline(always)]
    fn vector<'a, T>(&self, of: &'a [T], i: usize) -> &'a [T] {
        let start = i * padded_dim(self.dim);
        &of[start..start + self.dim]
    }
}

/// Some passes of one kernel over all rows.
struct Burst<'a> {
    kernel: Kernel,
    data: &'a Data,
    passes: usize,
}

impl Burst<'_> {
    #[inline(always)]
    fn singly<T>(&self, of: &[T], distance: impl Fn(&[T]) -> f32) -> f32 {
        let mut sum = 0.0;
        for _ in 0..self.passes {
            for i in 0..self.data.rows {
                sum += distance(black_box(self.data.vector(of, i)));
            }
        }
        sum
    }

    #[inline(always)]
    fn by_four<T>(&self, of: &[T], distances: impl Fn([&[T]; 4]) -> [f32; 4]) -> f32 {
        let row = |i| self.data.vector(of, i);
        let mut sum = 0.0;
        for _ in 0..self.passes {
            for i in (0..self.data.rows).step_by(4) {
                let four = distances(black_box([row(i), row(i + 1), row(i + 2), row(i + 3)]));
                sum += four[0] + four[1] + four[2] + four[3];
            }
        }
        sum
    }
}

impl Op for Burst<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> f32 {
        let Data { floats, halves, bytes, rows, .. } = self.data;
        let signed: &[i8] = bytemuck::cast_slice(bytes);
        let q = self.data.vector(floats, *rows);
        let q_bytes = self.data.vector(bytes, *rows);
        let q_signed = self.data.vector(signed, *rows);
        match self.kernel {
            Kernel::L2Squared => self.singly(floats, |row| isa.l2_squared(q, row)),
            Kernel::Dot => self.singly(floats, |row| isa.dot(q, row)),
            Kernel::L2SquaredX4 => self.by_four(floats, |rows| isa.l2_squared_x4(q, rows)),
            Kernel::DotX4 => self.by_four(floats, |rows| isa.dot_x4(q, rows)),
            Kernel::CosineParts => self.singly(floats, |row| {
                let (ab, aa, bb) = isa.cosine_parts(q, row);
                ab + aa + bb
            }),
            Kernel::L2SquaredF16 => self.singly(halves, |row| isa.l2_squared_f16(q, row)),
            Kernel::DotF16 => self.singly(halves, |row| isa.dot_f16(q, row)),
            Kernel::L2SquaredF16X4 => self.by_four(halves, |rows| isa.l2_squared_f16_x4(q, rows)),
            Kernel::DotF16X4 => self.by_four(halves, |rows| isa.dot_f16_x4(q, rows)),
            Kernel::L2SquaredU8 => self.singly(bytes, |row| isa.l2_squared_u8(q_bytes, row) as f32),
            Kernel::DotU8 => self.singly(bytes, |row| isa.dot_u8(q_bytes, row) as f32),
            Kernel::DotI8 => self.singly(signed, |row| isa.dot_i8(q_signed, row) as f32),
            Kernel::DotI8X4 => {
                self.by_four(signed, |rows| isa.dot_i8_x4(q_signed, rows).map(|sum| sum as f32))
            }
        }
    }
}
