//! Estimates of distances from sketches, for every traversal.

use dvse_simd::{CACHE_LINE, Isa, Op};

use super::adaptive::Estimator;
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
        self.estimate_and_fetch(rows, out, &[]);
    }

    /// Sketches from a row on that lie one after the other: at least one, at most `count`.
    #[inline(always)]
    pub(crate) fn run_of(&self, row: u32, count: usize) -> &'a [u8] {
        self.codes.run(row, count)
    }

    /// How many sketches these bytes are.
    #[inline(always)]
    pub(crate) fn sketches_in(&self, sketches: &[u8]) -> usize {
        self.query.layout.map_or(0, |layout| sketches.len() / layout.bytes())
    }

    /// Estimates the squared distances to rows whose sketches lie one after the other.
    #[inline(always)]
    pub(crate) fn estimate_run(&self, sketches: &[u8], out: &mut [f32]) {
        let Some(layout) = self.query.layout else { return };
        self.estimate_sketches(&Consecutive { sketches, stride: layout.bytes() }, out, &[]);
    }

    #[inline(always)]
    fn estimate_inline(&self, rows: &[u32], out: &mut [f32], ahead: &[u32]) {
        self.estimate_sketches(&Listed { codes: self.codes, rows }, out, ahead);
    }

    #[inline(always)]
    fn estimate_sketches<S: Sketches>(&self, sketches: &S, out: &mut [f32], ahead: &[u32]) {
        let Some(layout) = self.query.layout else { return };
        match (layout.bits(), layout.lines()) {
            (CodeBits::Four, 1) => self.run::<FourBits, 1, S>(sketches, out, ahead),
            (CodeBits::Four, 2) => self.run::<FourBits, 2, S>(sketches, out, ahead),
            (CodeBits::Four, 3) => self.run::<FourBits, 3, S>(sketches, out, ahead),
            (CodeBits::Four, _) => self.run::<FourBits, 4, S>(sketches, out, ahead),
            (CodeBits::Seven, 1) => self.run::<SevenBits, 1, S>(sketches, out, ahead),
            (CodeBits::Seven, 2) => self.run::<SevenBits, 2, S>(sketches, out, ahead),
            (CodeBits::Seven, 3) => self.run::<SevenBits, 3, S>(sketches, out, ahead),
            (CodeBits::Seven, _) => self.run::<SevenBits, 4, S>(sketches, out, ahead),
        }
    }

    /// Asks for some sketches.
    #[inline(always)]
    fn fetch<const LINES: usize>(&self, rows: &[u32]) {
        for row in rows {
            self.isa.prefetch(&self.codes.sketch(*row)[..LINE * LINES], LINES);
        }
    }

    #[inline(always)]
    fn run<B: Bits, const LINES: usize, S: Sketches>(
        &self,
        sketches: &S,
        out: &mut [f32],
        mut ahead: &[u32],
    ) {
        let lanes = &self.query.lanes[..B::LANES_A_LINE * LINES];
        let mut block = Block { sums: [0; BLOCK_ROWS], added: [0.0; BLOCK_ROWS], factors: [0.0; BLOCK_ROWS] };
        for (number, out) in out.chunks_mut(BLOCK_ROWS).enumerate() {
            let first = number * BLOCK_ROWS;
            let fours = out.len() / 4 * 4;
            for four in (0..fours).step_by(4) {
                if let Some((soon, later)) = ahead.split_at_checked(4) {
                    self.fetch::<LINES>(soon);
                    ahead = later;
                }
                // Spelled out: a closure given to `map` is not always compiled into the loop.
                let sketches = [
                    &sketches.sketch(first + four)[..LINE * LINES],
                    &sketches.sketch(first + four + 1)[..LINE * LINES],
                    &sketches.sketch(first + four + 2)[..LINE * LINES],
                    &sketches.sketch(first + four + 3)[..LINE * LINES],
                ];
                let sums = B::products4::<I, LINES>(self.isa, lanes, sketches);
                for (number, sketch) in (four..).zip(sketches) {
                    block.set(number, sums[number % 4], sketch);
                }
            }
            for number in fours..out.len() {
                let sketch = &sketches.sketch(first + number)[..LINE * LINES];
                block.set(number, B::products::<I, LINES>(self.isa, lanes, sketch), sketch);
            }
            block.finish(self.query, out);
        }
        self.fetch::<LINES>(ahead);
    }
}

/// Sketches by their position in what is estimated.
trait Sketches {
    fn sketch(&self, position: usize) -> &[u8];
}

/// Those of some rows.
struct Listed<'a, C> {
    codes: &'a C,
    rows: &'a [u32],
}

impl<C: CodeView> Sketches for Listed<'_, C> {
    #[inline(always)]
    fn sketch(&self, position: usize) -> &[u8] {
        self.codes.sketch(self.rows[position])
    }
}

/// Those that lie one after the other.
struct Consecutive<'a> {
    sketches: &'a [u8],
    stride: usize,
}

impl Sketches for Consecutive<'_> {
    #[inline(always)]
    fn sketch(&self, position: usize) -> &[u8] {
        &self.sketches[position * self.stride..][..self.stride]
    }
}

/// Rows whose estimates are finished together.
const BLOCK_ROWS: usize = 64;

/// Products of some rows and the factors that make estimates of them: finished as whole registers, since one by one that
/// would cost more than the products do.
struct Block {
    sums: [i32; BLOCK_ROWS],
    added: [f32; BLOCK_ROWS],
    factors: [f32; BLOCK_ROWS],
}

impl Block {
    #[inline(always)]
    fn set(&mut self, number: usize, sum: i32, sketch: &[u8]) {
        let [added, factor] = factors(sketch);
        // Masked, so that no bounds are checked here.
        let number = number % BLOCK_ROWS;
        self.sums[number] = sum;
        self.added[number] = added;
        self.factors[number] = factor;
    }

    /// Writes the estimates of the first rows.
    #[inline(always)]
    fn finish(&self, query: &SketchQuery, out: &mut [f32]) {
        let SketchQuery { constant, unit, center, .. } = *query;
        let parts = self.sums.iter().zip(&self.added).zip(&self.factors);
        for (out, ((sum, added), factor)) in out.iter_mut().zip(parts) {
            // Rounding may take it a little below 0, and keys made of it must not be negative. It stays finite, so that
            // a gate of infinity lets all pass.
            let estimate = constant + added - factor * (unit * (*sum as f32 - center));
            let estimate = if estimate < f32::MAX { estimate } else { f32::MAX };
            *out = if estimate > 0.0 { estimate } else { 0.0 };
        }
    }
}

/// See [`SketchComputer::estimate`]. Not a closure: the compiler does not always compile those into the function that has
/// the instruction set, and then calls every kernel.
struct Estimate<'a, I, C> {
    computer: &'a SketchComputer<'a, I, C>,
    rows: &'a [u32],
    out: &'a mut [f32],
    ahead: &'a [u32],
}

impl<I: Isa, C: CodeView> Op for Estimate<'_, I, C> {
    type Output = ();

    #[inline(always)]
    fn run<J: Isa>(self, _: J) {
        self.computer.estimate_inline(self.rows, self.out, self.ahead);
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

impl<I: Isa, C: CodeView> Estimator for SketchComputer<'_, I, C> {
    type Isa = I;

    fn isa(&self) -> I {
        self.isa
    }

    /// Asked for all at once the sketches would fill the queue of reads and stop the core, which has this to do meanwhile.
    #[inline(never)]
    fn estimate_and_fetch(&self, rows: &[u32], out: &mut [f32], ahead: &[u32]) {
        self.isa.run(Estimate { computer: self, rows, out, ahead });
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
        self.isa.run(ScoreBatch { computer: self, batch, bound, fresh });
    }
}

/// See [`DistanceComputer::score_batch`].
struct ScoreBatch<'a, I, C> {
    computer: &'a SketchComputer<'a, I, C>,
    batch: &'a [u32],
    bound: u64,
    fresh: &'a mut Vec<u64>,
}

impl<I: Isa, C: CodeView> Op for ScoreBatch<'_, I, C> {
    type Output = ();

    #[inline(always)]
    fn run<J: Isa>(self, _: J) {
        let ScoreBatch { computer, batch, bound, fresh } = self;
        // Sketches are a line or two: all are asked for at once.
        for row in batch {
            computer.prefetch(*row);
        }
        fresh.clear();
        fresh.resize(batch.len(), 0);
        let mut kept = 0;
        let mut estimates = [0.0_f32; BLOCK_ROWS];
        for rows in batch.chunks(BLOCK_ROWS) {
            let estimates = &mut estimates[..rows.len()];
            computer.estimate_inline(rows, estimates, &[]);
            for (estimate, row) in estimates.iter().zip(rows) {
                let key = pack(*estimate, *row);
                fresh[kept] = key;
                kept += usize::from(key < bound);
            }
        }
        fresh.truncate(kept);
    }
}
