//! The sections of coded rows: a fixed header, the center and the rows.
//!
//! | section | element | count |
//! |---|---|---|
//! | `codes.meta` | [`Meta`], 64 bytes | 1 |
//! | `codes.center` | f32 | dim, 0 for scalar codes |
//! | `codes.rows` | codes and factors of a row | rows |
//!
//! All numbers are little-endian. What a row looks like is told in `docs/format/codes.md`.

use dvse_simd::{Level, dispatch};
use dvse_types::{Metric, turn};
use rayon::prelude::*;

use super::coder::Encode;
use super::{Coder, RowCodes};
use crate::quant::rabitq::EncodeScratch;
use crate::sections::{
    OpenIndexError, Placement, SectionBytes, SectionSink, SectionSource, damaged, metric_code, sized,
};
use crate::sketch::entries::Entries;
use crate::vectors::VectorView;

const META: &str = "codes.meta";
const CENTER: &str = "codes.center";
const ROWS: &str = "codes.rows";

const MAGIC: u64 = u64::from_le_bytes(*b"DVSEcode");
const VERSION: u32 = 2;

/// Of data with one dimension, where distances grow as the square of the rank.
const SLOPE_MAX: f32 = 2.0;

const SCALAR8: u32 = 1;
const RABITQ: u32 = 2;

/// Rows a task codes, after it has offered the processor to others ([`turn`]).
const ROWS_A_TURN: u32 = 32;

/// Rows coded before they are handed to the sink.
const ROWS_A_STEP: u32 = 4096;

/// Rows summed by one task: sums of so many are added in order, so that the mean does not depend on threads.
const ROWS_A_SUM: u32 = 4096;

/// The header.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Meta {
    magic: u64,
    version: u32,
    metric: u32,
    dim: u32,
    rows: u32,
    kind: u32,
    bits: u32,
    seed: u64,
    row_bytes: u32,
    /// Since version 2; 0 before.
    slope: f32,
    reserved: [u32; 4],
}

/// What an index has its rows coded by.
pub(crate) struct CodePlan {
    pub(crate) codes: RowCodes,
    pub(crate) metric: Metric,
    pub(crate) seed: u64,
    /// Distances near a row grow with rank to this power; 0 where that is not known.
    pub(crate) slope: f32,
    pub(crate) level: Level,
}

/// Codes the first `rows` rows, on the threads of `pool` where there is one, and writes them. The codes do not depend on
/// the threads.
pub(crate) fn write<V: VectorView>(
    plan: &CodePlan,
    view: &V,
    rows: u32,
    pool: Option<&rayon::ThreadPool>,
    sink: &mut dyn SectionSink,
) -> std::io::Result<()> {
    let dim = view.dim();
    let center = if plan.codes == RowCodes::Scalar8 { Vec::new() } else { mean_of(view, rows, pool) };
    let coder = Coder::new(plan.codes, plan.metric, dim, center, plan.seed)
        .ok_or_else(|| std::io::Error::other("there are no such codes"))?;
    begin_rows(&coder, plan.seed, plan.slope, rows, sink)?;
    let bytes = coder.row_bytes();
    let mut buffer = vec![0_u8; bytes * rows.min(ROWS_A_STEP) as usize];
    for first in (0..rows).step_by(ROWS_A_STEP as usize) {
        let count = (rows - first).min(ROWS_A_STEP) as usize;
        let task = |(task, out): (usize, &mut [u8])| {
            let mut scratch = EncodeScratch::default();
            turn::offer();
            for (out, row) in out.chunks_exact_mut(bytes).zip(first + task as u32 * ROWS_A_TURN..) {
                let vector = &view.row(row)[..dim];
                dispatch(plan.level, Encode { coder: &coder, vector, scratch: &mut scratch, out });
            }
        };
        let (step, part) = (&mut buffer[..count * bytes], bytes * ROWS_A_TURN as usize);
        match pool {
            Some(pool) => pool.install(|| step.par_chunks_mut(part).enumerate().for_each(task)),
            None => step.chunks_mut(part).enumerate().for_each(task),
        }
        sink.append(step)?;
    }
    Ok(())
}

fn begin_rows(
    coder: &Coder,
    seed: u64,
    slope: f32,
    rows: u32,
    sink: &mut dyn SectionSink,
) -> std::io::Result<()> {
    let (kind, bits) = match coder.codes() {
        RowCodes::Scalar8 => (SCALAR8, 8),
        RowCodes::RaBitQ { bits } => (RABITQ, u32::from(bits)),
    };
    let meta = Meta {
        magic: MAGIC,
        version: VERSION,
        metric: metric_code(coder.metric()),
        dim: coder.dim() as u32,
        rows,
        kind,
        bits,
        seed,
        row_bytes: coder.row_bytes() as u32,
        slope,
        reserved: [0; 4],
    };
    sink.begin(META)?;
    sink.append(bytemuck::bytes_of(&meta))?;
    sink.begin(CENTER)?;
    sink.append(bytemuck::cast_slice(coder.center()))?;
    sink.begin(ROWS)
}

/// The mean of the first rows.
fn mean_of<V: VectorView>(view: &V, rows: u32, pool: Option<&rayon::ThreadPool>) -> Vec<f32> {
    let sum = |first: u32| {
        let mut sums = vec![0.0_f64; view.dim()];
        for row in first..rows.min(first.saturating_add(ROWS_A_SUM)) {
            if row.is_multiple_of(ROWS_A_TURN) {
                turn::offer();
            }
            sums.iter_mut().zip(view.row(row)).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        sums
    };
    let firsts: Vec<u32> = (0..rows).step_by(ROWS_A_SUM as usize).collect();
    let parts: Vec<Vec<f64>> = match pool {
        Some(pool) => pool.install(|| firsts.par_iter().map(|first| sum(*first)).collect()),
        None => firsts.iter().map(|first| sum(*first)).collect(),
    };
    let mut sums = vec![0.0_f64; view.dim()];
    for part in parts {
        sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    let share = f64::from(rows.max(1)).recip();
    sums.into_iter().map(|sum| (sum * share) as f32).collect()
}

/// The codes of a sealed index.
#[derive(Debug)]
pub(crate) struct CodedRows {
    coder: Coder,
    seed: u64,
    slope: f32,
    len: u32,
    rows: SectionBytes,
    /// Rows that walks are begun from.
    spread: Vec<u32>,
}

impl CodedRows {
    /// Opens the codes of `rows` rows of `dim` values; `None` where an index was written without.
    pub(crate) fn open(
        source: &dyn SectionSource,
        metric: Metric,
        dim: usize,
        rows: u32,
        placement: Placement,
    ) -> Result<Option<CodedRows>, OpenIndexError> {
        if source.section(META).is_none() {
            // An index without codes has none of their sections; one that only lost the header is damaged.
            let orphaned = [CENTER, ROWS].iter().any(|name| source.section(name).is_some());
            return if orphaned { Err(OpenIndexError::Missing { section: META }) } else { Ok(None) };
        }
        let (meta, codes) = read_meta(source, metric, dim, rows)?;
        let values = if codes == RowCodes::Scalar8 { 0 } else { dim };
        let bytes = sized(source, CENTER, 4 * values as u64, 1)?;
        let center: Vec<f32> = bytes.as_slice().chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
        if let Some(element) = center.iter().position(|value| !value.is_finite()) {
            let got = center[element].to_bits();
            return Err(damaged(CENTER, element, "a value", got, "a finite number".to_owned()));
        }
        let row_bytes = codes.row_bytes(dim);
        let bytes = sized(source, ROWS, u64::from(rows) * row_bytes as u64, 1)?.placed(placement);
        let Some(coder) = Coder::new(codes, metric, dim, center, meta.seed) else {
            return Err(damaged(META, 0, "the bits of a value", meta.bits, "1, 2, 4 or 8"));
        };
        for (row, coded) in bytes.as_slice().chunks_exact(row_bytes).enumerate() {
            if !coder.factors(coded).are_sound() {
                let expected = "finite factors, errors not below 0".to_owned();
                return Err(damaged(ROWS, row, "a factor of the row", row as u64, expected));
            }
        }
        let spread = Entries::spread(rows);
        Ok(Some(CodedRows { coder, seed: meta.seed, slope: meta.slope, len: rows, rows: bytes, spread }))
    }

    pub(crate) fn coder(&self) -> &Coder {
        &self.coder
    }

    /// The power of the rank that distances grow with; 0 where it is not known.
    pub(crate) fn slope(&self) -> f32 {
        self.slope
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn rows(&self) -> &[u8] {
        self.rows.as_slice()
    }

    pub(crate) fn spread(&self) -> &[u32] {
        &self.spread
    }

    /// Writes the sections again.
    pub(crate) fn copy_to(&self, sink: &mut dyn SectionSink) -> std::io::Result<()> {
        begin_rows(&self.coder, self.seed, self.slope, self.len, sink)?;
        sink.append(self.rows())
    }

    pub(crate) fn bytes(&self) -> u64 {
        (self.rows().len() + 4 * self.coder.center().len()) as u64
    }
}

fn read_meta(
    source: &dyn SectionSource,
    metric: Metric,
    dim: usize,
    rows: u32,
) -> Result<(Meta, RowCodes), OpenIndexError> {
    let bytes = sized(source, META, size_of::<Meta>() as u64, 1)?;
    let meta: Meta = bytemuck::pod_read_unaligned(bytes.as_slice());
    let wrong = |what, got: u64, expected: String| Err(damaged(META, 0, what, got, expected));
    if meta.magic != MAGIC {
        return wrong("the magic number", meta.magic, format!("{MAGIC}"));
    }
    if meta.version == 0 || meta.version > VERSION {
        return Err(OpenIndexError::Version { section: META, got: meta.version, newest: VERSION });
    }
    let codes = match (meta.kind, meta.bits) {
        (SCALAR8, 8) => RowCodes::Scalar8,
        (RABITQ, bits @ (1 | 2 | 4 | 8)) => RowCodes::RaBitQ { bits: bits as u8 },
        (SCALAR8 | RABITQ, bits) => {
            return wrong("the bits of a value", bits.into(), "1, 2, 4 or 8".to_owned());
        }
        (kind, _) => return wrong("the kind of codes", kind.into(), "1 or 2".to_owned()),
    };
    let facts = [
        ("the metric", meta.metric, metric_code(metric)),
        ("the dimension", meta.dim, dim as u32),
        ("the number of rows", meta.rows, rows),
        ("the bytes of a row", meta.row_bytes, codes.row_bytes(dim) as u32),
    ];
    for (what, got, expected) in facts {
        if got != expected {
            return wrong(what, got.into(), expected.to_string());
        }
    }
    let newest_slope = if meta.version == 1 { 0.0 } else { SLOPE_MAX };
    if !(0.0..=newest_slope).contains(&meta.slope) {
        let bits = meta.slope.to_bits().into();
        return wrong("the slope", bits, format!("the bits of a number from 0 to {newest_slope}"));
    }
    if meta.reserved != [0; 4] {
        return wrong("the reserved field", 1, "0".to_owned());
    }
    Ok((meta, codes))
}
