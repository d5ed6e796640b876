//! Which codes there are, and how rows and queries get them.

use dvse_simd::{Isa, Op};
use dvse_types::Metric;

use crate::quant::factors::{FACTOR_BYTES, Factors, MEAN_BYTES, QueryFactors};
use crate::quant::rabitq::{self, EncodeScratch, RaBitQ};
use crate::quant::scalar8;

/// The codes that walks over a sealed graph read of its rows, in place of sketches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowCodes {
    /// 8 bits a value, with a scale and an offset of each row's own.
    Scalar8,
    /// `RaBitQ` (Gao and Long 2024): 1, 2, 4 or 8 bits a value of the rotated row.
    RaBitQ {
        /// Bits a value.
        bits: u8,
    },
}

impl RowCodes {
    /// Whether there are such codes.
    #[must_use]
    pub fn is_known(self) -> bool {
        match self {
            RowCodes::Scalar8 => true,
            RowCodes::RaBitQ { bits } => rabitq::BITS.contains(&bits),
        }
    }

    /// Bytes a row of `dim` values takes, factors included.
    #[must_use]
    pub fn row_bytes(self, dim: usize) -> usize {
        self.code_bytes(dim) + self.factor_bytes()
    }

    pub(crate) fn code_bytes(self, dim: usize) -> usize {
        match self {
            RowCodes::Scalar8 => scalar8::code_bytes(dim),
            RowCodes::RaBitQ { bits } => rabitq::code_bytes(dim, bits),
        }
    }

    fn factor_bytes(self) -> usize {
        match self {
            RowCodes::Scalar8 => FACTOR_BYTES + MEAN_BYTES,
            RowCodes::RaBitQ { .. } => FACTOR_BYTES,
        }
    }
}

/// Makes codes of rows and makes queries ready.
#[derive(Debug, Clone)]
pub(crate) struct Coder {
    codes: RowCodes,
    metric: Metric,
    dim: usize,
    rabitq: Option<RaBitQ>,
}

/// A query made ready. It grows to the largest that was.
#[derive(Debug, Default)]
pub(crate) struct CodedQuery {
    pub(crate) values: Vec<i8>,
    pub(crate) factors: QueryFactors,
}

impl Coder {
    /// Codes of some kind around `center`, which has as many values as a row; scalar codes need none. `None` for codes
    /// that there are not.
    pub(crate) fn new(
        codes: RowCodes,
        metric: Metric,
        dim: usize,
        center: Vec<f32>,
        seed: u64,
    ) -> Option<Coder> {
        let rabitq = match codes {
            RowCodes::RaBitQ { bits } if center.len() == dim => Some(RaBitQ::new(bits, center, seed)),
            RowCodes::RaBitQ { .. } => return None,
            RowCodes::Scalar8 => None,
        };
        codes.is_known().then_some(Coder { codes, metric, dim, rabitq })
    }

    pub(crate) fn codes(&self) -> RowCodes {
        self.codes
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }

    /// What rows are coded around; empty where that is nothing.
    pub(crate) fn center(&self) -> &[f32] {
        self.rabitq.as_ref().map_or(&[], RaBitQ::center)
    }

    /// Bytes of a row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.codes.row_bytes(self.dim)
    }

    /// The factors of a coded row.
    #[inline(always)]
    pub(crate) fn factors(&self, row: &[u8]) -> Factors {
        Factors::read(row.get(self.codes.code_bytes(self.dim)..).unwrap_or(&[]))
    }
}

/// Writes the codes of a vector of `dim` values into `out`, [`Coder::row_bytes`] long.
pub(crate) struct Encode<'a> {
    pub(crate) coder: &'a Coder,
    pub(crate) vector: &'a [f32],
    pub(crate) scratch: &'a mut EncodeScratch,
    pub(crate) out: &'a mut [u8],
}

impl Op for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, _: I) {
        let Encode { coder, vector, scratch, out } = self;
        let (codes, factors) = out.split_at_mut(coder.codes.code_bytes(coder.dim).min(out.len()));
        let made = match &coder.rabitq {
            Some(rabitq) => rabitq.encode(coder.metric, vector, scratch, codes),
            None => scalar8::encode(coder.metric, vector, codes),
        };
        made.write(factors);
    }
}

impl CodedQuery {
    /// Makes a query of `dim` values ready.
    #[inline(always)]
    pub(crate) fn prepare(&mut self, coder: &Coder, query: &[f32]) {
        self.factors = match &coder.rabitq {
            Some(rabitq) => rabitq.prepare(coder.metric, query, &mut self.values),
            None => scalar8::prepare(coder.metric, query, &mut self.values),
        };
    }
}
