//! The scan: rows of a set compared one after the other, by their sketches first.
//!
//! A sketch is one or two cache lines where a row is dozens, so a scan of sketches with an exact comparison of what is
//! near costs a fraction of a scan of rows. Where few rows pass a filter it beats every walk.

use std::ops::Range;

use dvse_simd::{Isa, Op};
use dvse_types::Metric;

use super::codes::CodeView;
use super::computer::SketchComputer;
use super::masked::MaskedState;
use super::search::{SketchParts, SketchScratch, bound_of, window_of};
use crate::byte_rows::ExactRows;
use crate::computer::Kernel;
use crate::row_set::RowSet;
use crate::scratch::Beam;
use crate::vectors::VectorView;

/// Rows estimated at a time, while those of the next block are asked for.
const BLOCK_ROWS: usize = 64;

/// Of 64 rows so many have to be in the set for all to be estimated as they lie: one after the other they cost about half
/// of what rows gathered by their numbers cost.
const RUN_FROM: u32 = 32;

/// Room that [`Isa::keys_below`] may overwrite past its end.
const SLACK: usize = 16;

/// A query; run, it leaves the nearest rows of the set in the beam's pool, compared exactly.
pub(crate) struct SketchScan<'a, V, C, K> {
    pub(crate) rows: &'a V,
    pub(crate) codes: &'a C,
    pub(crate) kernel: K,
    pub(crate) metric: Metric,
    pub(crate) parts: SketchParts<'a>,
    /// Padded to the stride of the rows.
    pub(crate) query: &'a [f32],
    pub(crate) k: usize,
    pub(crate) ef: usize,
    /// Rows farther than this are of no use, by the metric's distance.
    pub(crate) bound: f32,
    /// Rows that have sketches.
    pub(crate) range: Range<u32>,
    pub(crate) set: RowSet<'a>,
    pub(crate) beam: &'a mut Beam,
    pub(crate) scratch: &'a mut SketchScratch,
}

impl<V: VectorView, C: CodeView, K: Kernel> Op for SketchScan<'_, V, C, K> {
    /// Rows compared.
    type Output = u64;

    fn run<I: Isa>(self, isa: I) -> u64 {
        let SketchScratch { query, masked, copies, .. } = self.scratch;
        isa.vectorize(|| query.prepare_once(isa, self.parts.transform, self.parts.space, self.query));
        let computer = SketchComputer::new(isa, query, self.codes);
        let exact = ExactRows::new(isa, self.kernel, self.query, self.rows, self.parts.copies, copies);
        let window = window_of(self.ef, self.k, self.parts.tuning, query);
        let SketchScan { bound, metric, parts: SketchParts { space, .. }, .. } = self;
        masked.reset(self.k, bound_of(isa, bound, metric, space, self.query, query.scale));
        let scanned = scan_set(&computer, self.range, self.set, window, masked);
        scanned + masked.rerank(&exact, window, self.k, self.beam)
    }
}

/// Estimates all rows of a set within a range; those that can be among the nearest are left in the state.
#[inline(never)]
pub(crate) fn scan_set<I: Isa, C: CodeView>(
    computer: &SketchComputer<'_, I, C>,
    range: Range<u32>,
    set: RowSet<'_>,
    window: f32,
    state: &mut MaskedState,
) -> u64 {
    computer.isa().run(Scan {
        computer,
        range,
        set,
        window,
        state,
        blocks: [[0; BLOCK_ROWS]; 2],
        filled: 0,
        turn: 0,
        scanned: 0,
    })
}

/// Rows of a set, 64 numbers at a time. Where most of these are in the set all are estimated as they lie; the others are
/// gathered in two blocks, of which one is filled and asked for while the other is estimated.
///
/// Not a closure: those are not always compiled into the function that has the instruction set.
struct Scan<'a, 'b, I, C> {
    computer: &'a SketchComputer<'b, I, C>,
    range: Range<u32>,
    set: RowSet<'a>,
    window: f32,
    state: &'a mut MaskedState,
    blocks: [[u32; BLOCK_ROWS]; 2],
    filled: usize,
    turn: usize,
    scanned: u64,
}

impl<I: Isa, C: CodeView> Op for Scan<'_, '_, I, C> {
    /// Rows compared.
    type Output = u64;

    #[inline(always)]
    fn run<J: Isa>(mut self, _: J) -> u64 {
        let Range { start, end } = self.range;
        for number in start / 64..end.div_ceil(64) {
            let first = number * 64;
            let (from, to) = (first.max(start), end.min(first.saturating_add(64)));
            // Bits of the rows within the range.
            let within = (u64::MAX << (from - first)) & (u64::MAX >> (64 - (to - first)));
            let mut word = self.set.word(number) & within;
            if word.count_ones() >= RUN_FROM {
                self.scan_run(from, to, first, word);
                continue;
            }
            while word != 0 {
                self.push(first + word.trailing_zeros());
                word &= word - 1;
            }
        }
        self.finish()
    }
}

impl<I: Isa, C: CodeView> Scan<'_, '_, I, C> {
    /// Estimates the rows `from..to`, no more than 64, of which those count whose bits in the word of `first` are set.
    #[inline(always)]
    fn scan_run(&mut self, from: u32, to: u32, first: u32, word: u64) {
        let mut estimates = [0.0_f32; BLOCK_ROWS];
        let mut next = from;
        while next < to {
            let sketches = self.computer.run_of(next, (to - next) as usize);
            let count = self.computer.sketches_in(sketches);
            if count == 0 {
                return;
            }
            let estimates = &mut estimates[..count];
            self.computer.estimate_run(sketches, estimates);
            let gate = self.state.worst() + self.window;
            let mut survivors = [0_u32; BLOCK_ROWS + SLACK];
            let kept = self.computer.isa().keys_below(estimates, gate, &mut survivors);
            for position in &survivors[..kept] {
                let (row, estimate) = (next + position, estimates[*position as usize]);
                if word >> (row - first) & 1 != 0 {
                    self.find(row, estimate);
                }
            }
            self.scanned += count as u64;
            next += count as u32;
        }
    }

    #[inline(always)]
    fn push(&mut self, row: u32) {
        self.computer.prefetch(row);
        self.blocks[self.turn & 1][self.filled] = row;
        self.filled += 1;
        if self.filled == BLOCK_ROWS {
            if self.turn > 0 {
                self.estimate((self.turn - 1) & 1, BLOCK_ROWS);
            }
            self.turn += 1;
            self.filled = 0;
        }
    }

    #[inline(always)]
    fn finish(mut self) -> u64 {
        if self.turn > 0 {
            self.estimate((self.turn - 1) & 1, BLOCK_ROWS);
        }
        self.estimate(self.turn & 1, self.filled);
        self.scanned
    }

    #[inline(always)]
    fn estimate(&mut self, block: usize, count: usize) {
        let mut estimates = [0.0_f32; BLOCK_ROWS];
        let estimates = &mut estimates[..count];
        self.computer.estimate(&self.blocks[block][..count], estimates);
        self.scanned += count as u64;
        let gate = self.state.worst() + self.window;
        let mut survivors = [0_u32; BLOCK_ROWS + SLACK];
        let kept = self.computer.isa().keys_below(estimates, gate, &mut survivors);
        for position in &survivors[..kept] {
            self.find(self.blocks[block][*position as usize], estimates[*position as usize]);
        }
    }

    #[inline(always)]
    fn find(&mut self, row: u32, estimate: f32) {
        // What came before in this block may have lowered the bar.
        if estimate <= self.state.worst() + self.window {
            self.state.find(row, estimate, self.window);
        }
    }
}
