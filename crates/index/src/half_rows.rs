//! Rows in half precision, compared before whole rows are.
//!
//! A search that has its candidates compares them in full, and most of what it reads there is read to find that a row is not
//! among the nearest. Half precision says so from half the bytes, or from memory where whole rows lie on a disk. It
//! says so for certain: rows are left out only where the bound below proves that `k` others have a smaller distance *as
//! single floats compute it*, by any of the kernels. So what is returned is what comparing every candidate in full returns, ties
//! included, but for the last bits in which the kernels for one row and for four differ.
//!
//! # The bound
//!
//! Rows are kept as halves of `x' = 2^s · x`, with `s` such that the largest value of the segment lies between 2¹⁴ and 2¹⁵:
//! none is too large for a half, and values down to 2⁻²⁹ of the largest keep all their bits. A query is scaled alike,
//! which is exact, and what is said below of distances is said of scaled ones; the scale's square is `area = 2^2s`.
//!
//! Let `x̂` be the half row, `error` the largest `|x' − x̂|` of the segment (measured in double precision when it was
//! written), `norm` the largest `|x'| + error`, `u = 2⁻²⁴`, and `n` the values of a row. In whatever order a kernel adds, fused
//! or not, its sum of `n` squared differences is wrong by a part of at most `γ = (n + 3) u ÷ (1 − (n + 3) u)`, and its sum of
//! `n` products by at most `γ · |q| · |x|` (Higham 2002, 3.1); each of them may lose 2⁻¹⁴⁹ besides where it falls below
//! the normal numbers. `g = 1.01 · (n + 8) · u` exceeds `γ ÷ (1 − γ)` for all `n` there are (65 536), and `tiny = (n + 8) · 2⁻¹⁴⁹
//! · area` what an unscaled sum loses. In the scaled sums that loss is part of `ATOM`, 2⁻⁶⁰, which is added to `error`.
//!
//! *Squared distances.* `h` is what the kernel says of `x̂`, `f` what it says of `x`. As `| |q − x'| − |q − x̂| | ≤ error`,
//!
//! ```text
//! f · area ≤ (√(h · (1 + g)) + error)² · (1 + g) + tiny                = most(h)
//! f · area ≥ (√(h · (1 − g)) − error)² · (1 − g) − tiny                where the root is above error
//! ```
//!
//! Both rise with `h`. Let `h_k` be the k-th least of all `h`: at least `k` rows have `f · area ≤ most(h_k)`. A row whose least
//! `f · area` is above that is farther than those `k`, and that is so where
//!
//! ```text
//! h > (√((most(h_k) + tiny) ÷ (1 − g)) + error)² ÷ (1 − g)
//! ```
//!
//! *Products.* With `h = −⟨q, x̂⟩` and `f = −⟨q, x⟩` as computed, `|f · area − h| ≤ |q| · (error + 2 g · norm) + 2 · tiny`, and
//! `f = 1 − ⟨q, x⟩` is rounded once more, by `u · |1 − ⟨q, x⟩|`. A row is farther than `k` others where its `h` exceeds `h_k` by
//! more than twice that.
//!
//! Where numbers come near the largest float nothing is left out.
//!
//! # When there are none
//!
//! Rows that halves do not tell apart (a common offset that is far larger than the differences; one row thousands of times
//! longer than all others) would be compared twice. Such a segment keeps none, and says so in its header. Nor does one
//! whose rows are bytes, which are exact and shorter still.

use dvse_simd::{AlignedBuf, Isa, Op, f16_bits_to_f32, f32_to_f16};
use dvse_types::turn;

use crate::candidates::{pack, unpack_distance, unpack_row};
use crate::computer::Kernel;
use crate::sections::{OpenIndexError, Placement, SectionBytes, SectionSink, SectionSource, damaged, sized};
use crate::vectors::VectorView;

const META: &str = "half.meta";
const ROWS: &str = "rows.half";

const MAGIC: u64 = u64::from_le_bytes(*b"DVSEhalf");
const VERSION: u32 = 1;

/// The header says that there are no rows, or that there are.
const NONE: u32 = 0;
const KEPT: u32 = 1;

/// Rows begin at multiples of so many halves, a cache line.
const ALIGNED: usize = 32;

/// The exponents of 2 that rows are scaled by lie within this, so that the scale is a float.
const EXPONENT_MAX: i32 = 120;

/// The largest value of a segment is scaled to between this power of 2 and half of it.
const TOP_EXPONENT: i32 = 15;

/// Halves are kept where their largest error is at most this part of how far apart two rows are, so that they tell at least
/// those apart whose distances differ by a few percent.
const ERROR_PART: f64 = 1.0 / 256.0;

/// Pairs of rows looked at for that.
const PAIRS: u32 = 1024;

/// What scaled sums lose below the normal numbers, as a distance: √(65 544 · 2⁻¹⁴⁹) is below 2⁻⁶⁶.
const ATOM: f64 = 1.0 / (1_u64 << 60) as f64;

/// Scaled queries longer than this could bring a sum to infinity.
const QUERY_SQUARED_MAX: f32 = 1e36;

/// Distances as floats compute them are taken to be finite up to here.
const DISTANCE_MAX: f64 = 1e38;

/// Rows asked for ahead.
const ROWS_AHEAD: usize = 8;

/// Rows converted between two offers ([`turn`]).
const ROWS_A_TURN: u32 = 32;

/// The header.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Meta {
    magic: u64,
    version: u32,
    dim: u32,
    rows: u32,
    kind: u32,
    exponent: i32,
    error: f32,
    norm: f32,
    reserved: [u32; 7],
}

/// What the halves of a segment's rows are like.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Facts {
    /// Rows are multiplied by 2 to this power.
    exponent: i32,
    /// The largest distance between a scaled row and its halves.
    error: f32,
    /// The largest length of a scaled row, and the error.
    norm: f32,
}

/// A distance by its halves: which bound holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum HalfForm {
    /// A squared distance.
    Squared,
    /// `constant` less a product, of which the halves have the negated product.
    Product { constant: f64 },
}

/// The half rows of a sealed index, or that there is no use for any.
#[derive(Debug)]
pub(crate) struct HalfRows {
    meta: Meta,
    rows: Option<SectionBytes>,
    stride: usize,
    /// Whether whole rows are so dear that halves are compared whenever they could spare one.
    eager: bool,
}

impl HalfRows {
    /// Writes the first `count` rows as halves; only that they were asked for where they are of no use, or where
    /// `is_useful` says so.
    pub(crate) fn write<V: VectorView>(
        rows: &V,
        count: u32,
        is_useful: bool,
        sink: &mut dyn SectionSink,
    ) -> std::io::Result<()> {
        let facts = if is_useful { Facts::of(rows, count) } else { None };
        let meta = Meta {
            magic: MAGIC,
            version: VERSION,
            dim: rows.dim() as u32,
            rows: count,
            kind: if facts.is_some() { KEPT } else { NONE },
            exponent: facts.map_or(0, |facts| facts.exponent),
            error: facts.map_or(0.0, |facts| facts.error),
            norm: facts.map_or(0.0, |facts| facts.norm),
            reserved: [0; 7],
        };
        sink.begin(META)?;
        sink.append(bytemuck::bytes_of(&meta))?;
        let Some(facts) = facts else { return Ok(()) };
        sink.begin(ROWS)?;
        let stride = stride_of(rows.dim());
        let mut narrow = Narrow::new(rows.dim(), facts.exponent);
        let mut piece = Vec::with_capacity(ROWS_A_TURN as usize * stride);
        for row in 0..count {
            piece.extend_from_slice(narrow.narrow(rows.row(row)));
            if piece.len() == piece.capacity() || row + 1 == count {
                turn::offer();
                sink.append(bytemuck::cast_slice(&piece))?;
                piece.clear();
            }
        }
        Ok(())
    }

    /// Opens the halves of `rows` rows of `dim` values; `None` where an index was written without.
    pub(crate) fn open(
        source: &dyn SectionSource,
        dim: usize,
        rows: u32,
        placement: Placement,
    ) -> Result<Option<HalfRows>, OpenIndexError> {
        if source.section(META).is_none() {
            let orphaned = source.section(ROWS).is_some();
            return if orphaned { Err(OpenIndexError::Missing { section: META }) } else { Ok(None) };
        }
        let meta = read_meta(source, dim, rows)?;
        let stride = stride_of(dim);
        let halves = if meta.kind == KEPT {
            let bytes = sized(source, ROWS, u64::from(rows) * stride as u64 * 2, 4)?;
            Some(bytes.placed(placement))
        } else if let Some(bytes) = source.section(ROWS) {
            let got = bytes.as_slice().len() as u64;
            return Err(OpenIndexError::Size { section: ROWS, expected: 0, got });
        } else {
            None
        };
        Ok(Some(HalfRows { meta, rows: halves, stride, eager: placement.rows_on_disk }))
    }

    /// The halves, where there are any.
    pub(crate) fn view(&self) -> Option<HalfView<'_>> {
        let rows = self.rows.as_ref()?.cast().unwrap_or(&[]);
        let Meta { exponent, error, norm, .. } = self.meta;
        let facts = Facts { exponent, error, norm };
        Some(HalfView { rows, stride: self.stride, facts, eager: self.eager })
    }

    /// Writes the sections again.
    pub(crate) fn copy_to(&self, sink: &mut dyn SectionSink) -> std::io::Result<()> {
        sink.begin(META)?;
        sink.append(bytemuck::bytes_of(&self.meta))?;
        let Some(rows) = &self.rows else { return Ok(()) };
        sink.begin(ROWS)?;
        sink.append(rows.as_slice())
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.rows.as_ref().map_or(0, |rows| rows.as_slice().len() as u64)
    }
}

fn stride_of(dim: usize) -> usize {
    dim.next_multiple_of(ALIGNED)
}

fn read_meta(source: &dyn SectionSource, dim: usize, rows: u32) -> Result<Meta, OpenIndexError> {
    let bytes = sized(source, META, size_of::<Meta>() as u64, 1)?;
    let meta: Meta = bytemuck::pod_read_unaligned(bytes.as_slice());
    let wrong = |what, got: u64, expected: &str| Err(damaged(META, 0, what, got, expected));
    if meta.magic != MAGIC {
        return wrong("the magic number", meta.magic, &MAGIC.to_string());
    }
    if meta.version == 0 || meta.version > VERSION {
        return Err(OpenIndexError::Version { section: META, got: meta.version, newest: VERSION });
    }
    for (what, got, expected) in
        [("the dimension", meta.dim, dim as u32), ("the number of rows", meta.rows, rows)]
    {
        if got != expected {
            return wrong(what, got.into(), &format!("{expected} as the rows have"));
        }
    }
    if meta.kind > KEPT {
        return wrong("the kind", meta.kind.into(), "0 (no rows) or 1");
    }
    if meta.exponent.abs() > EXPONENT_MAX {
        let got = u64::from(meta.exponent.cast_unsigned());
        return wrong("the exponent", got, &format!("-{EXPONENT_MAX} to {EXPONENT_MAX}"));
    }
    for (what, value) in [("the error", meta.error), ("the largest norm", meta.norm)] {
        if !(value.is_finite() && value >= 0.0) {
            return wrong(what, value.to_bits().into(), "the bits of a finite number, not below 0");
        }
    }
    if meta.reserved != [0; 7] {
        return wrong("the reserved field", 1, "0");
    }
    Ok(meta)
}

/// Makes halves of rows.
struct Narrow {
    scale: f32,
    scaled: Vec<f32>,
    halves: Vec<u16>,
}

impl Narrow {
    fn new(dim: usize, exponent: i32) -> Narrow {
        let stride = stride_of(dim);
        Narrow { scale: scale_of(exponent), scaled: vec![0.0; stride], halves: vec![0; stride] }
    }

    /// The halves of a row, padded with zeros.
    fn narrow(&mut self, row: &[f32]) -> &[u16] {
        // A row's own padding is zeros too.
        for (scaled, value) in self.scaled.iter_mut().zip(row) {
            *scaled = value * self.scale;
        }
        f32_to_f16(&self.scaled, &mut self.halves);
        &self.halves
    }
}

impl Facts {
    /// Looks at the first `count` rows; `None` where halves are of no use.
    fn of<V: VectorView>(rows: &V, count: u32) -> Option<Facts> {
        let dim = rows.dim();
        let mut largest = 0.0_f32;
        for number in 0..count {
            if number % ROWS_A_TURN == 0 {
                turn::offer();
            }
            largest = rows.row(number).iter().fold(largest, |most, value| most.max(value.abs()));
        }
        let exponent = exponent_for(largest);
        let scale = f64::from(scale_of(exponent));
        let mut narrow = Narrow::new(dim, exponent);
        let (mut error, mut norm) = (0.0_f64, 0.0_f64);
        for number in 0..count {
            if number % ROWS_A_TURN == 0 {
                turn::offer();
            }
            let row = &rows.row(number)[..dim];
            let halves = narrow.narrow(row);
            let (mut errors, mut values) = (0.0_f64, 0.0_f64);
            for (value, half) in row.iter().zip(halves) {
                let value = f64::from(*value) * scale;
                let rest = value - f64::from(f16_bits_to_f32(*half));
                errors += rest * rest;
                values += value * value;
            }
            error = error.max(errors);
            norm = norm.max(values);
        }
        // More than double precision can lose in sums of 65 536.
        const ROUNDED: f64 = 1.0 + 1e-9;
        let error = error.sqrt() * ROUNDED;
        let facts = Facts {
            exponent,
            error: (error as f32).next_up(),
            norm: ((norm.sqrt() * ROUNDED + error) as f32).next_up(),
        };
        // Written so that rows with an infinity keep none.
        let is_useful = error <= ERROR_PART * typical_distance(rows, count) * scale && facts.norm.is_finite();
        (is_useful && count > 0).then_some(facts)
    }
}

/// How far apart two rows are: the geometric mean over some pairs, which a few rows far from all others hardly change.
/// Infinite where no two differ.
fn typical_distance<V: VectorView>(rows: &V, count: u32) -> f64 {
    let (mut logarithms, mut pairs) = (0.0, 0.0);
    for one in (0..count).step_by(count.div_ceil(PAIRS).max(1) as usize) {
        let other = (u64::from(one) + u64::from(count / 2)) % u64::from(count);
        let values = rows.row(one).iter().zip(rows.row(other as u32));
        let squared: f64 = values.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
        if squared > 0.0 {
            logarithms += squared.ln() / 2.0;
            pairs += 1.0;
        }
    }
    if pairs == 0.0 { f64::INFINITY } else { f64::exp(logarithms / pairs) }
}

/// 2 to a power of at most [`EXPONENT_MAX`].
fn scale_of(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

/// The power of 2 that brings a value just below 2 to [`TOP_EXPONENT`].
fn exponent_for(largest: f32) -> i32 {
    let bits = (largest.to_bits() >> 23) as i32;
    // Of a subnormal number, and of 0, one that is too small: the limit comes first.
    (TOP_EXPONENT - 1 - (bits - 127)).clamp(-EXPONENT_MAX, EXPONENT_MAX)
}

/// Half rows, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HalfView<'a> {
    rows: &'a [u16],
    stride: usize,
    facts: Facts,
    eager: bool,
}

impl<'a> HalfView<'a> {
    /// The first `len` halves of a row.
    #[inline(always)]
    fn row(self, row: u32, len: usize) -> &'a [u16] {
        let start = row as usize * self.stride;
        &self.rows[start..start + len]
    }

    /// Scales a query into `memory`; `None` where it is so long that sums could overflow. `query` may be padded with zeros up
    /// to a multiple of 16 values.
    #[inline(always)]
    pub(crate) fn read<'q, I: Isa>(
        self,
        isa: I,
        query: &[f32],
        memory: &'q mut AlignedBuf<f32>,
    ) -> Option<HalfQuery<'q>>
    where
        'a: 'q,
    {
        if memory.len() != query.len() {
            *memory = AlignedBuf::zeroed(query.len());
        }
        let scale = scale_of(self.facts.exponent);
        for (scaled, value) in memory.iter_mut().zip(query) {
            *scaled = value * scale;
        }
        let squared = isa.dot(memory, memory);
        // Written so that NaN is refused.
        (squared <= QUERY_SQUARED_MAX).then_some(HalfQuery { view: self, query: memory, squared })
    }
}

/// A query against half rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HalfQuery<'a> {
    view: HalfView<'a>,
    /// Scaled as the rows are.
    query: &'a [f32],
    /// Its squared length, as computed.
    squared: f32,
}

impl HalfQuery<'_> {
    /// Whether comparing a batch by halves first can be less work than comparing all of it in full: halves of all rows and
    /// whole rows of the `k` returned against whole rows of all.
    #[inline(always)]
    pub(crate) fn is_worth(&self, k: usize, rows: usize) -> bool {
        if self.view.eager { rows > k } else { rows > 2 * k }
    }

    /// Leaves in the batch those rows that may be among its `k` nearest; how many it compared. `fresh` is overwritten.
    pub(crate) fn narrow<I: Isa, K: Kernel>(
        &self,
        isa: I,
        _kernel: K,
        k: usize,
        batch: &mut Vec<u32>,
        fresh: &mut Vec<u64>,
    ) -> u64 {
        let compared = batch.len();
        isa.run(ScoreHalves::<K> { query: self, batch, fresh, kernel: std::marker::PhantomData });
        let Some(kth) = k.checked_sub(1).filter(|kth| *kth < fresh.len()) else { return compared as u64 };
        let kth = unpack_distance(*fresh.select_nth_unstable(kth).1);
        let limit = self.limit(K::HALF, f64::from(kth));
        batch.clear();
        let near = fresh.iter().filter(|key| f64::from(unpack_distance(**key)) <= limit || limit.is_nan());
        batch.extend(near.map(|key| unpack_row(*key)));
        compared as u64
    }

    /// What a row's distance by halves must not exceed for it to be among the `k` nearest, where the k-th least is `kth`:
    /// see the module.
    fn limit(&self, form: HalfForm, kth: f64) -> f64 {
        const UNIT: f64 = 1.0 / (1_u64 << 24) as f64;
        let facts = self.view.facts;
        let values = (self.query.len() + 8) as f64;
        let g = 1.01 * values * UNIT;
        let area = f64::from(scale_of(facts.exponent)).powi(2);
        let tiny = values * f64::from(f32::from_bits(1)) * area;
        let error = f64::from(facts.error) + ATOM;
        match form {
            HalfForm::Squared => {
                let most = ((kth * (1.0 + g)).sqrt() + error).powi(2) * (1.0 + g) + tiny;
                if most / area > DISTANCE_MAX {
                    return f64::INFINITY;
                }
                (((most + tiny) / (1.0 - g)).sqrt() + error).powi(2) / (1.0 - g)
            }
            HalfForm::Product { constant } => {
                let length = (f64::from(self.squared) * (1.0 + g)).sqrt() + ATOM;
                let product = length * f64::from(facts.norm);
                if product / area > DISTANCE_MAX {
                    return f64::INFINITY;
                }
                let rounded = constant * 2.0 * UNIT * (area + product);
                kth + 2.0 * (length * error + 2.0 * g * product + 2.0 * tiny + rounded)
            }
        }
    }
}

/// Not a closure: those are not always compiled into the function that has the instruction set.
struct ScoreHalves<'a, 'b, K> {
    query: &'a HalfQuery<'b>,
    batch: &'a [u32],
    fresh: &'a mut Vec<u64>,
    kernel: std::marker::PhantomData<K>,
}

impl<K: Kernel> Op for ScoreHalves<'_, '_, K> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let ScoreHalves { query: HalfQuery { view, query, .. }, batch, fresh, .. } = self;
        let len = query.len();
        fresh.clear();
        for row in batch.iter().take(ROWS_AHEAD) {
            isa.prefetch(view.row(*row, len), usize::MAX);
        }
        let mut ahead = batch.iter().skip(ROWS_AHEAD);
        let (fours, rest) = batch.as_chunks::<4>();
        for four in fours {
            for row in ahead.by_ref().take(4) {
                isa.prefetch(view.row(*row, len), usize::MAX);
            }
            // Spelled out: a closure given to `map` is not always compiled into the loop.
            let [a, b, c, d] = *four;
            let rows = [view.row(a, len), view.row(b, len), view.row(c, len), view.row(d, len)];
            let distances = K::four_halves(isa, query, rows);
            fresh.extend(distances.into_iter().zip(four).map(|(distance, row)| pack(distance, *row)));
        }
        for row in rest {
            fresh.push(pack(K::one_halves(isa, query, view.row(*row, len)), *row));
        }
    }
}

#[cfg(test)]
mod tests;
