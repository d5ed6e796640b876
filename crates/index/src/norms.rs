//! Rows in the order of their length, by which an exact scan leaves out what cannot be near.
//!
//! By the triangle inequality a row *v* is at least ||*q*| − |*v*|| from a query *q*, and by Cauchy–Schwarz their product is at most
//! |*q*| · |*v*|. So once *k* rows are known, only rows of a band of lengths can come before them. A scan begins with
//! the rows whose length says most for them and ends where neither side of the order can hold another. Nothing is lost: what is
//! left out is farther than the *k*-th by more than rounding can be wrong.
//!
//! Pictures, counts and ratings differ much in length; embeddings mostly do not, and of unit length there is no order.

use std::ops::Range;

use dvse_types::Metric;

use crate::sections::SectionBytes;

/// Rows compared before anything is known, and between two looks at what is left.
pub(crate) const STRIDE: usize = 512;

/// The order pays where it leaves out so much: rows read in any other order than they lie cost more each.
const SPARES_ONE_IN: usize = 4;

/// Lengths that differ by less than this part leave nothing out.
const SPREAD_MIN: f32 = 1e-3;

/// All rows of a segment by length.
#[derive(Debug, Clone)]
pub struct NormOrder {
    norms: SectionBytes,
    rows: SectionBytes,
    len: u32,
}

/// The lengths in ascending order and the rows they are of, as [`NormOrder::open`] takes them: little-endian, four bytes each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NormLists {
    /// Lengths.
    pub norms: Vec<f32>,
    /// Rows.
    pub rows: Vec<u32>,
}

impl NormLists {
    /// Sorts rows by their lengths; `None` where the order would be of no use, because all are of about the same length.
    #[must_use]
    pub fn sort(norms: &[f32]) -> Option<NormLists> {
        let least = norms.iter().copied().min_by(f32::total_cmp)?;
        let most = norms.iter().copied().max_by(f32::total_cmp)?;
        if least >= most * (1.0 - SPREAD_MIN) {
            return None;
        }
        let mut rows: Vec<u32> = (0..u32::try_from(norms.len()).ok()?).collect();
        rows.sort_unstable_by(|a, b| norms[*a as usize].total_cmp(&norms[*b as usize]).then(a.cmp(b)));
        let norms = rows.iter().map(|row| norms[*row as usize]).collect();
        Some(NormLists { norms, rows })
    }
}

impl NormOrder {
    /// Reads the lists of `len` rows where they lie; `None` where they are of another size.
    #[must_use]
    pub fn open(norms: SectionBytes, rows: SectionBytes, len: u32) -> Option<NormOrder> {
        let fits = |section: Option<usize>| section == Some(len as usize);
        let fit = fits(norms.cast::<f32>().map(<[f32]>::len)) && fits(rows.cast::<u32>().map(<[u32]>::len));
        fit.then_some(NormOrder { norms, rows, len })
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// The rows at some places of the order.
    pub(crate) fn rows(&self, places: Range<usize>) -> &[u32] {
        self.rows.cast().and_then(|rows| rows.get(places)).unwrap_or(&[])
    }

    fn norms(&self) -> &[f32] {
        self.norms.cast().unwrap_or(&[])
    }
}

/// What is left of the order for one query.
pub(crate) struct Band<'a> {
    order: &'a NormOrder,
    reach: Reach,
    /// The places looked at, one run that grows.
    seen: Range<usize>,
}

impl<'a> Band<'a> {
    /// The band of a query, `dim` values of length `norm`, of which nothing was looked at.
    pub(crate) fn new(order: &'a NormOrder, metric: Metric, norm: f64, dim: usize) -> Band<'a> {
        let first = match metric {
            Metric::InnerProduct => order.norms().len(),
            Metric::L2 | Metric::Cosine => order.norms().partition_point(|length| f64::from(*length) < norm),
        };
        Band { order, reach: Reach { metric, norm, dim: dim as f64 }, seen: first..first }
    }

    /// The places that may hold rows nearer than `kth`.
    fn left(&self, kth: f32) -> Range<usize> {
        let (norms, kth) = (self.order.norms(), f64::from(kth));
        let (below, above) = norms.split_at(self.seen.start.min(norms.len()));
        let start = below.partition_point(|length| self.reach.is_beyond(*length, kth));
        let above = &above[self.seen.len().min(above.len())..];
        let end = self.seen.end + above.partition_point(|length| !self.reach.is_beyond(*length, kth));
        start..end
    }

    /// Whether looking at what is left in this order is worth it.
    pub(crate) fn pays(&self, kth: f32) -> bool {
        let all = self.order.norms().len();
        self.left(kth).len() <= all - all / SPARES_ONE_IN
    }

    /// The next rows to be looked at; empty when none is left that could be nearer than `kth`.
    pub(crate) fn next(&mut self, kth: f32) -> &'a [u32] {
        let left = self.left(kth);
        let norms = self.order.norms();
        let gap = |place: usize| norms.get(place).map_or(f64::INFINITY, |length| self.reach.gap(*length));
        let (down, up) = (left.start < self.seen.start, self.seen.end < left.end);
        let downwards = down && (!up || gap(self.seen.start - 1) <= gap(self.seen.end));
        let places = if downwards {
            left.start.max(self.seen.start.saturating_sub(STRIDE))..self.seen.start
        } else if up {
            self.seen.end..left.end.min(self.seen.end + STRIDE)
        } else {
            return &[];
        };
        self.seen = self.seen.start.min(places.start)..self.seen.end.max(places.end);
        self.order.rows(places)
    }
}

/// How near a row of some length can come to a query.
struct Reach {
    metric: Metric,
    norm: f64,
    dim: f64,
}

/// The unit of rounding of a float.
const ROUNDING: f64 = f32::EPSILON as f64 / 2.0;

impl Reach {
    /// How much a length says against a row.
    fn gap(&self, length: f32) -> f64 {
        match self.metric {
            Metric::InnerProduct => -f64::from(length),
            Metric::L2 | Metric::Cosine => (f64::from(length) - self.norm).abs(),
        }
    }

    /// Whether every row of this length compares farther than `kth`, as kernels compare it.
    ///
    /// A sum of n products of floats, in whatever order, is wrong by no more than n + 2 roundings of the sum of their
    /// magnitudes, and what is below the least normal float may be lost (Higham 2002, §3.1). The magnitudes are the sum itself
    /// for squares, and no more than |q| · |v| for products. A length was rounded once from a double; four roundings cover it and
    /// the query's.
    fn is_beyond(&self, length: f32, kth: f64) -> bool {
        let length = f64::from(length);
        let wrong = (self.dim + 2.0) * ROUNDING;
        let lost = (self.dim + 2.0) * f64::from(f32::MIN_POSITIVE);
        match self.metric {
            Metric::InnerProduct => {
                let most = self.norm * length * (1.0 + 4.0 * ROUNDING + wrong) + lost;
                -most > kth
            }
            Metric::L2 | Metric::Cosine => {
                let apart = (self.norm - length).abs() - 4.0 * ROUNDING * (self.norm + length) - lost.sqrt();
                apart > 0.0 && apart * apart * (1.0 - wrong) - lost > kth
            }
        }
    }
}
