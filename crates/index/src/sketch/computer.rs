//! Estimates of distances from sketches, for every traversal.

use dvse_simd::{CACHE_LINE, Isa};

use super::codes::CodeView;
use super::layout::{CodeBits, LINE, factors};
use super::query::SketchQuery;
use crate::candidates::pack;
use crate::computer::{DistanceComputer, Prefetch};

/// Estimates from one query.
pub(crate) struct SketchComputer<'a, I, C> {
    isa: I,
    query: &'a SketchQuery,
    codes: &'a C,
}

impl<'a, I: Isa, C: CodeView> SketchComputer<'a, I, C> {
    #[inline(always)]
    pub(crate) fn new(isa: I, query: &'a SketchQuery, codes: &'a C) -> SketchComputer<'a, I, C> {
        SketchComputer { isa, query, codes }
    }

    pub(crate) fn isa(&self) -> I {
        self.isa
    }

    /// Asks for a sketch.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: u32) {
        let sketch = self.codes.sketch(row);
        self.isa.prefetch(sketch, sketch.len() / CACHE_LINE);
    }

    /// Estimates the squared distances to rows; `out` is as long as `rows`.
    #[inline(never)]
    pub(crate) fn estimate(&self, rows: &[u32], out: &mut [f32]) {
        self.isa.vectorize(|| self.estimate_inline(rows, out));
    }

    #[inline(always)]
    fn estimate_inline(&self, rows: &[u32], out: &mut [f32]) {
        let Some(layout) = self.query.layout else { return };
        match (layout.bits(), layout.lines()) {
            (CodeBits::Four, 1) => self.run::<FourBits, 1>(rows, out),
            (CodeBits::Four, 2) => self.run::<FourBits, 2>(rows, out),
            (CodeBits::Four, 3) => self.run::<FourBits, 3>(rows, out),
            (CodeBits::Four, _) => self.run::<FourBits, 4>(rows, out),
            (CodeBits::Seven, 1) => self.run::<SevenBits, 1>(rows, out),
            (CodeBits::Seven, 2) => self.run::<SevenBits, 2>(rows, out),
            (CodeBits::Seven, 3) => self.run::<SevenBits, 3>(rows, out),
            (CodeBits::Seven, _) => self.run::<SevenBits, 4>(rows, out),
        }
    }

    #[inline(always)]
    fn run<B: Bits, const LINES: usize>(&self, rows: &[u32], out: &mut [f32]) {
        let SketchQuery { lanes, constant, unit, center, .. } = self.query;
        let finish = |sum: i32, sketch: &[u8]| {
            let [added, factor] = factors(sketch);
            // Rounding may take it a little below 0, and keys made of it must not be negative. It stays finite, so that
            // a gate of infinity lets all pass.
            let estimate = constant + added - factor * (unit * (sum as f32 - center));
            if estimate < f32::MAX { estimate.max(0.0) } else { f32::MAX }
        };
        let lanes = &lanes[..B::LANES_A_LINE * LINES];
        let (fours, rest) = rows.as_chunks::<4>();
        let (out_fours, out_rest) = out.as_chunks_mut::<4>();
        for (rows, out) in fours.iter().zip(out_fours) {
            // Spelled out: a closure given to `map` is not always compiled into the loop.
            let [a, b, c, d] = *rows;
            let sketches = [
                &self.codes.sketch(a)[..LINE * LINES],
                &self.codes.sketch(b)[..LINE * LINES],
                &self.codes.sketch(c)[..LINE * LINES],
                &self.codes.sketch(d)[..LINE * LINES],
            ];
            let sums = B::products4::<I, LINES>(self.isa, lanes, sketches);
            for ((out, sum), sketch) in out.iter_mut().zip(sums).zip(sketches) {
                *out = finish(sum, sketch);
            }
        }
        for (row, out) in rest.iter().zip(out_rest) {
            let sketch = &self.codes.sketch(*row)[..LINE * LINES];
            *out = finish(B::products::<I, LINES>(self.isa, lanes, sketch), sketch);
        }
    }
}

/// Which kernels read a sketch.
trait Bits {
    const LANES_A_LINE: usize;
    fn products4<I: Isa, const LINES: usize>(isa: I, lanes: &[i8], sketches: [&[u8]; 4]) -> [i32; 4];
    fn products<I: Isa, const LINES: usize>(isa: I, lanes: &[i8], sketch: &[u8]) -> i32;
}

struct FourBits;

impl Bits for FourBits {
    const LANES_A_LINE: usize = 2 * LINE;

    #[inline(always)]
    fn products4<I: Isa, const LINES: usize>(isa: I, lanes: &[i8], sketches: [&[u8]; 4]) -> [i32; 4] {
        isa.sketch4_x4::<LINES>(lanes, sketches)
    }

    #[inline(always)]
    fn products<I: Isa, const LINES: usize>(isa: I, lanes: &[i8], sketch: &[u8]) -> i32 {
        isa.sketch4::<LINES>(lanes, sketch)
    }
}

struct SevenBits;

impl Bits for SevenBits {
    const LANES_A_LINE: usize = LINE;

    #[inline(always)]
    fn products4<I: Isa, const LINES: usize>(isa: I, lanes: &[i8], sketches: [&[u8]; 4]) -> [i32; 4] {
        isa.sketch7_x4::<LINES>(lanes, sketches)
    }

    #[inline(always)]
    fn products<I: Isa, const LINES: usize>(isa: I, lanes: &[i8], sketch: &[u8]) -> i32 {
        isa.sketch7::<LINES>(lanes, sketch)
    }
}

impl<I: Isa, C: CodeView> DistanceComputer for SketchComputer<'_, I, C> {
    fn score(&self, row: u32) -> f32 {
        let mut out = [0.0];
        self.estimate(&[row], &mut out);
        out[0]
    }

    fn score4(&self, rows: [u32; 4]) -> [f32; 4] {
        let mut out = [0.0; 4];
        self.estimate(&rows, &mut out);
        out
    }

    #[inline(never)]
    fn score_batch(&self, batch: &[u32], bound: u64, fresh: &mut Vec<u64>, _prefetch: Prefetch) {
        self.isa.vectorize(|| {
            // Sketches are a line or two: all are asked for at once.
            for row in batch {
                self.prefetch(*row);
            }
            fresh.clear();
            fresh.resize(batch.len(), 0);
            let mut kept = 0;
            let mut estimates = [0.0_f32; 64];
            for rows in batch.chunks(estimates.len()) {
                let estimates = &mut estimates[..rows.len()];
                self.estimate_inline(rows, estimates);
                for (estimate, row) in estimates.iter().zip(rows) {
                    let key = pack(*estimate, *row);
                    fresh[kept] = key;
                    kept += usize::from(key < bound);
                }
            }
            fresh.truncate(kept);
        });
    }
}
