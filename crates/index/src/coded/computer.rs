//! Estimates of distances from codes, for every traversal.

use dvse_simd::{CACHE_LINE, Isa, Op};

use super::{CodedQuery, Coder, RowCodes};
use crate::candidates::pack;
use crate::computer::{DistanceComputer, Prefetch};
use crate::sketch::adaptive::Estimator;

/// Rows asked for before they are read: codes are a few lines each.
const ROWS_AHEAD: usize = 8;

/// Estimates from one query.
pub(crate) struct CodeComputer<'a, I> {
    isa: I,
    coder: &'a Coder,
    query: &'a CodedQuery,
    rows: &'a [u8],
    row_bytes: usize,
    code_bytes: usize,
}

impl<'a, I: Isa> CodeComputer<'a, I> {
    /// `rows` are whole rows of the coder.
    #[inline(always)]
    pub(crate) fn new(
        isa: I,
        coder: &'a Coder,
        query: &'a CodedQuery,
        rows: &'a [u8],
    ) -> CodeComputer<'a, I> {
        let code_bytes = coder.codes().code_bytes(coder.dim());
        CodeComputer { isa, coder, query, rows, row_bytes: coder.row_bytes(), code_bytes }
    }

    #[inline(always)]
    fn row(&self, row: u32) -> &'a [u8] {
        let start = row as usize * self.row_bytes;
        &self.rows[start..start + self.row_bytes]
    }

    /// How far the estimate for a row is from the truth most often.
    #[inline(always)]
    pub(crate) fn deviation(&self, row: u32) -> f32 {
        self.query.factors.deviation(&self.coder.factors(self.row(row)))
    }

    /// Estimates the distances to rows by the kernel of the codes, and asks for the codes of rows `ahead` in between.
    #[inline(always)]
    fn estimate(&self, rows: &[u32], out: &mut [f32], ahead: &[u32]) {
        match self.coder.codes() {
            RowCodes::RaBitQ { bits: 1 } => self.estimate_by::<Planes<1>>(rows, out, ahead),
            RowCodes::RaBitQ { bits: 2 } => self.estimate_by::<Planes<2>>(rows, out, ahead),
            RowCodes::RaBitQ { bits: 4 } => self.estimate_by::<Nibbles>(rows, out, ahead),
            RowCodes::Scalar8 | RowCodes::RaBitQ { .. } => self.estimate_by::<Bytes>(rows, out, ahead),
        }
    }

    #[inline(always)]
    fn estimate_by<K: Product>(&self, rows: &[u32], out: &mut [f32], ahead: &[u32]) {
        let mut ahead = ahead.iter();
        let (fours, rest) = rows.as_chunks::<4>();
        let (out_fours, out_rest) = out.as_chunks_mut::<4>();
        for (rows, out) in fours.iter().zip(out_fours) {
            for row in ahead.by_ref().take(4) {
                self.prefetch(*row);
            }
            // Spelled out: a closure given to `map` is not always compiled into the loop.
            let [a, b, c, d] = *rows;
            let rows = [self.row(a), self.row(b), self.row(c), self.row(d)];
            let codes = [
                &rows[0][..self.code_bytes],
                &rows[1][..self.code_bytes],
                &rows[2][..self.code_bytes],
                &rows[3][..self.code_bytes],
            ];
            let sums = K::four(self.isa, self.query, codes);
            for ((out, sum), row) in out.iter_mut().zip(sums).zip(rows) {
                *out = self.query.factors.estimate(&self.coder.factors(row), sum);
            }
        }
        for (out, row) in out_rest.iter_mut().zip(rest) {
            let row = self.row(*row);
            let sum = K::one(self.isa, self.query, &row[..self.code_bytes]);
            *out = self.query.factors.estimate(&self.coder.factors(row), sum);
        }
        for row in ahead {
            self.prefetch(*row);
        }
    }

    /// Asks for the first rows of a batch; gives the others.
    #[inline(always)]
    fn begin<'b>(&self, rows: &'b [u32]) -> &'b [u32] {
        let (first, rest) = rows.split_at(rows.len().min(ROWS_AHEAD));
        for row in first {
            self.prefetch(*row);
        }
        rest
    }

    #[inline(always)]
    fn prefetch(&self, row: u32) {
        self.isa.prefetch(self.row(row), self.row_bytes.div_ceil(CACHE_LINE));
    }
}

impl<I: Isa> Estimator for CodeComputer<'_, I> {
    type Isa = I;

    fn isa(&self) -> I {
        self.isa
    }

    #[inline(never)]
    fn estimate_and_fetch(&self, rows: &[u32], out: &mut [f32], ahead: &[u32]) {
        self.isa.run(Estimate { computer: self, rows, out, ahead });
        // A row that is near may seem to be nearer than the query itself.
        out.iter_mut().for_each(|estimate| *estimate = estimate.max(0.0));
    }
}

impl<I: Isa> DistanceComputer for CodeComputer<'_, I> {
    fn score(&self, row: u32) -> f32 {
        let mut out = [0.0];
        self.isa.run(Estimate { computer: self, rows: &[row], out: &mut out, ahead: &[] });
        out[0]
    }

    fn score4(&self, rows: [u32; 4]) -> [f32; 4] {
        let mut out = [0.0; 4];
        self.isa.run(Estimate { computer: self, rows: &rows, out: &mut out, ahead: &[] });
        out
    }

    #[inline(never)]
    fn score_batch(&self, batch: &[u32], bound: u64, fresh: &mut Vec<u64>, _prefetch: Prefetch) {
        self.isa.run(ScoreBatch { computer: self, batch, bound, fresh });
    }
}

/// A call in a function that has the instruction set. Not a closure: those are not always compiled into it.
struct Estimate<'a, 'b, I> {
    computer: &'a CodeComputer<'b, I>,
    rows: &'a [u32],
    out: &'a mut [f32],
    ahead: &'a [u32],
}

impl<I: Isa> Op for Estimate<'_, '_, I> {
    type Output = ();

    #[inline(always)]
    fn run<J: Isa>(self, _: J) {
        self.computer.estimate(self.rows, self.out, self.ahead);
    }
}

/// See [`DistanceComputer::score_batch`].
struct ScoreBatch<'a, 'b, I> {
    computer: &'a CodeComputer<'b, I>,
    batch: &'a [u32],
    bound: u64,
    fresh: &'a mut Vec<u64>,
}

/// Rows estimated together.
const BLOCK_ROWS: usize = 64;

impl<I: Isa> Op for ScoreBatch<'_, '_, I> {
    type Output = ();

    #[inline(always)]
    fn run<J: Isa>(self, _: J) {
        let ScoreBatch { computer, batch, bound, fresh } = self;
        fresh.clear();
        fresh.resize(batch.len(), 0);
        let mut kept = 0;
        let mut estimates = [0.0_f32; BLOCK_ROWS];
        for rows in batch.chunks(BLOCK_ROWS) {
            let estimates = &mut estimates[..rows.len()];
            computer.estimate(rows, estimates, computer.begin(rows));
            for (estimate, row) in estimates.iter().zip(rows) {
                let key = pack(*estimate, *row);
                fresh[kept] = key;
                kept += usize::from(key < bound);
            }
        }
        fresh.truncate(kept);
    }
}

/// Σ code · query, exact, by the kernel of some codes.
trait Product {
    fn one<I: Isa>(isa: I, query: &CodedQuery, codes: &[u8]) -> i32;

    fn four<I: Isa>(isa: I, query: &CodedQuery, codes: [&[u8]; 4]) -> [i32; 4];
}

/// Signed bytes.
struct Bytes;

impl Product for Bytes {
    #[inline(always)]
    fn one<I: Isa>(isa: I, query: &CodedQuery, codes: &[u8]) -> i32 {
        isa.dot_i8(&query.values, bytemuck::cast_slice(codes))
    }

    #[inline(always)]
    fn four<I: Isa>(isa: I, query: &CodedQuery, [a, b, c, d]: [&[u8]; 4]) -> [i32; 4] {
        let rows = [
            bytemuck::cast_slice(a),
            bytemuck::cast_slice(b),
            bytemuck::cast_slice(c),
            bytemuck::cast_slice(d),
        ];
        isa.dot_i8_x4(&query.values, rows)
    }
}

/// Halves of bytes, a line of 128 at a time.
struct Nibbles;

/// Lanes of the largest piece that a kernel takes, and bytes of its codes.
const PIECE_LANES: usize = 512;
const PIECE_BYTES: usize = PIECE_LANES / 2;

impl Product for Nibbles {
    #[inline(always)]
    fn one<I: Isa>(isa: I, query: &CodedQuery, codes: &[u8]) -> i32 {
        let pieces = query.values.chunks(PIECE_LANES).zip(codes.chunks(PIECE_BYTES));
        pieces.fold(0, |sum, (query, codes)| {
            sum + match codes.len() / CACHE_LINE {
                1 => isa.sketch4::<1>(query, codes),
                2 => isa.sketch4::<2>(query, codes),
                3 => isa.sketch4::<3>(query, codes),
                _ => isa.sketch4::<4>(query, codes),
            }
        })
    }

    #[inline(always)]
    fn four<I: Isa>(isa: I, query: &CodedQuery, codes: [&[u8]; 4]) -> [i32; 4] {
        let mut sums = [0; 4];
        for (piece, query) in query.values.chunks(PIECE_LANES).enumerate() {
            let (start, len) = (piece * PIECE_BYTES, query.len() / 2);
            let [a, b, c, d] = codes;
            let codes = [
                &a[start..start + len],
                &b[start..start + len],
                &c[start..start + len],
                &d[start..start + len],
            ];
            let found = match len / CACHE_LINE {
                1 => isa.sketch4_x4::<1>(query, codes),
                2 => isa.sketch4_x4::<2>(query, codes),
                3 => isa.sketch4_x4::<3>(query, codes),
                _ => isa.sketch4_x4::<4>(query, codes),
            };
            for (sum, found) in sums.iter_mut().zip(found) {
                *sum += found;
            }
        }
        sums
    }
}

/// Planes of single bits.
struct Planes<const BITS: usize>;

impl<const BITS: usize> Product for Planes<BITS> {
    #[inline(always)]
    fn one<I: Isa>(isa: I, query: &CodedQuery, codes: &[u8]) -> i32 {
        isa.planes::<BITS>(&query.values, codes)
    }

    #[inline(always)]
    fn four<I: Isa>(isa: I, query: &CodedQuery, codes: [&[u8]; 4]) -> [i32; 4] {
        isa.planes_x4::<BITS>(&query.values, codes)
    }
}
