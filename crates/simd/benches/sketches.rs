//! Nanoseconds per call of the kernels over sketches and words, at every level.

use std::fmt;
use std::hint::black_box;
use std::time::Instant;

use dvse_simd::{AlignedBuf, Isa, Level, Op, SKETCH_LINE, dispatch};

/// Sketches of a burst: 64 of four lines stay in the first-level cache.
const ROWS: usize = 64;

/// Ids that have a bit, as many as the prototype's data sets had nodes.
const IDS: u32 = 60_000;

/// A kernel and its size.
#[derive(Clone, Copy)]
enum Case {
    /// One row of a number of lines.
    Sketch4(usize),
    /// Four rows of a number of lines.
    Sketch4X4(usize),
    /// Four rows of a number of lines.
    Sketch7X4(usize),
    /// Rows by columns.
    Project(usize, usize),
    /// A number of ids, of which every second is visited.
    Gather(usize),
    /// A number of estimates, of which a quarter is below.
    KeysBelow(usize),
    /// A number of values.
    Min(usize),
    /// A number of values, of which the last is wanted.
    Position(usize),
}

const CASES: [Case; 23] = [
    Case::Sketch4(1),
    Case::Sketch4(2),
    Case::Sketch4X4(1),
    Case::Sketch4X4(2),
    Case::Sketch4X4(3),
    Case::Sketch4X4(4),
    Case::Sketch7X4(1),
    Case::Sketch7X4(2),
    Case::Sketch7X4(4),
    Case::Project(128, 128),
    Case::Project(256, 384),
    Case::Project(256, 768),
    Case::Project(192, 784),
    Case::Gather(32),
    Case::Gather(40),
    Case::Gather(64),
    Case::KeysBelow(19),
    Case::KeysBelow(64),
    Case::Min(16),
    Case::Min(64),
    Case::Min(256),
    Case::Min(1024),
    Case::Position(256),
];

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Case::Sketch4(lines) => format!("sketch4 {lines} lines"),
            Case::Sketch4X4(lines) => format!("sketch4_x4 {lines} lines"),
            Case::Sketch7X4(lines) => format!("sketch7_x4 {lines} lines"),
            Case::Project(rows, columns) => format!("project {rows} x {columns}"),
            Case::Gather(ids) => format!("gather_unvisited {ids}"),
            Case::KeysBelow(estimates) => format!("keys_below {estimates}"),
            Case::Min(values) => format!("min_u32 {values}"),
            Case::Position(values) => format!("position_u32 {values}"),
        };
        f.pad(&text)
    }
}

/// Prints a line a kernel: nanoseconds a call at each level, and how many times faster than scalar that is.
pub fn print(levels: &[Level], rounds: usize, epoch: Instant) {
    println!("ns per call (times faster than scalar), best of {rounds} bursts in turns");
    print!("{:<22}", "kernel");
    for level in levels {
        print!("{level:>20}");
    }
    println!();
    let data = Data::new();
    for case in CASES {
        let work = if let Case::Project(rows, columns) = case { rows * columns / 64 } else { 64 };
        let passes = (64 * 1024 / (work * ROWS)).max(1);
        let mut best = vec![f64::INFINITY; levels.len()];
        for _ in 0..rounds {
            for (best, &level) in best.iter_mut().zip(levels) {
                let start = epoch.elapsed();
                let calls = black_box(dispatch(level, Burst { case, data: &data, passes }));
                let elapsed = epoch.elapsed().saturating_sub(start);
                *best = best.min(elapsed.as_secs_f64() * 1e9 / calls as f64);
            }
        }
        print!("{case:<22}");
        for time in &best {
            print!("{time:>12.1} ({:>4.1}x)", best[0] / time);
        }
        println!();
    }
}

struct Data {
    rows: AlignedBuf<u8>,
    query: AlignedBuf<i8>,
    transform: AlignedBuf<i8>,
    codes: AlignedBuf<u8>,
    ids: AlignedBuf<u32>,
    visited: AlignedBuf<u32>,
    estimates: AlignedBuf<f32>,
}

impl Data {
    fn new() -> Data {
        let mut state = 1u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        };
        let mut data = Data {
            rows: AlignedBuf::zeroed(ROWS * 4 * SKETCH_LINE),
            query: AlignedBuf::zeroed(2 * 4 * SKETCH_LINE),
            transform: AlignedBuf::zeroed(256 * 784),
            codes: AlignedBuf::zeroed(784),
            ids: AlignedBuf::zeroed(ROWS * 64),
            visited: AlignedBuf::zeroed(IDS.div_ceil(32) as usize),
            estimates: AlignedBuf::zeroed(ROWS * 64),
        };
        data.ids.iter_mut().for_each(|id| *id = random() % IDS);
        data.visited.iter_mut().for_each(|word| *word = random() ^ random() << 16);
        data.estimates.iter_mut().for_each(|estimate| *estimate = random() as f32 / (1u64 << 31) as f32);
        data.rows.iter_mut().for_each(|byte| *byte = random() as u8 & 127);
        data.query.iter_mut().for_each(|value| *value = (random() % 255) as i8);
        data.transform.iter_mut().for_each(|value| *value = (random() % 255) as i8);
        data.codes.iter_mut().for_each(|value| *value = random() as u8 & 127);
        data
    }
}

/// Some passes of one kernel over all rows; the output is the number of calls.
struct Burst<'a> {
    case: Case,
    data: &'a Data,
    passes: usize,
}

impl Burst<'_> {
    /// The calls of `call` with the number of a row, `step` rows a call.
    #[inline(always)]
    fn calls(&self, step: usize, mut call: impl FnMut(usize)) -> usize {
        for _ in 0..self.passes {
            for row in (0..ROWS).step_by(step) {
                call(row);
            }
        }
        self.passes * ROWS.div_ceil(step)
    }

    #[inline(always)]
    fn four<const LINES: usize>(&self, first: usize) -> [&[u8]; 4] {
        let bytes = LINES * SKETCH_LINE;
        std::array::from_fn(|k| &self.data.rows[(first + k) * bytes..(first + k + 1) * bytes])
    }

    #[inline(always)]
    fn sketch4<I: Isa, const LINES: usize>(&self, isa: I) -> usize {
        let query = &self.data.query[..2 * LINES * SKETCH_LINE];
        self.calls(1, |row| {
            let bytes = LINES * SKETCH_LINE;
            black_box(isa.sketch4::<LINES>(query, &self.data.rows[row * bytes..(row + 1) * bytes]));
        })
    }

    #[inline(always)]
    fn sketch4_x4<I: Isa, const LINES: usize>(&self, isa: I) -> usize {
        let query = &self.data.query[..2 * LINES * SKETCH_LINE];
        self.calls(4, |row| {
            black_box(isa.sketch4_x4::<LINES>(query, self.four::<LINES>(row)));
        })
    }

    #[inline(always)]
    fn sketch7_x4<I: Isa, const LINES: usize>(&self, isa: I) -> usize {
        let query = &self.data.query[..LINES * SKETCH_LINE];
        self.calls(4, |row| {
            black_box(isa.sketch7_x4::<LINES>(query, self.four::<LINES>(row)));
        })
    }
}

impl Op for Burst<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> usize {
        let Data { transform, codes, ids, visited, estimates, .. } = self.data;
        let mut out = [0u32; 1024 + 16];
        match self.case {
            Case::Sketch4(1) => self.sketch4::<I, 1>(isa),
            Case::Sketch4(_) => self.sketch4::<I, 2>(isa),
            Case::Sketch4X4(1) => self.sketch4_x4::<I, 1>(isa),
            Case::Sketch4X4(2) => self.sketch4_x4::<I, 2>(isa),
            Case::Sketch4X4(3) => self.sketch4_x4::<I, 3>(isa),
            Case::Sketch4X4(_) => self.sketch4_x4::<I, 4>(isa),
            Case::Sketch7X4(1) => self.sketch7_x4::<I, 1>(isa),
            Case::Sketch7X4(2) => self.sketch7_x4::<I, 2>(isa),
            Case::Sketch7X4(_) => self.sketch7_x4::<I, 4>(isa),
            Case::Project(rows, columns) => {
                let mut sums = [0i32; 256];
                self.calls(ROWS, |_| {
                    isa.project(&transform[..rows * columns], &codes[..columns], &mut sums[..rows]);
                    black_box(&mut sums);
                })
            }
            Case::Gather(len) => self.calls(1, |row| {
                let ids = &ids[row * len..(row + 1) * len];
                black_box(isa.gather_unvisited(ids, visited, IDS, &mut out));
                black_box(&mut out);
            }),
            Case::KeysBelow(len) => self.calls(1, |row| {
                black_box(isa.keys_below(&estimates[row * len..(row + 1) * len], 0.25, &mut out));
                black_box(&mut out);
            }),
            Case::Min(len) => self.calls(1, |row| {
                black_box(isa.min_u32(&ids[row * 32..row * 32 + len]));
            }),
            Case::Position(len) => self.calls(1, |row| {
                let ids = &ids[row * 32..row * 32 + len];
                black_box(isa.position_u32(ids, ids[len - 1]));
            }),
        }
    }
}
