//! The sketches of an index that grows.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use dvse_simd::{Full, Isa, Level, Op, RowsReader, dispatch};
use dvse_types::{Metric, turn};
use rayon::prelude::*;

use super::calibrate::{Calibrate, Tuning};
use super::codes::{CodeWriter, growing_codes};
use super::entries::Entries;
use super::fit::{SAMPLE_ROWS, SAMPLE_ROWS_GROWING, fit, long_rows_lead, sample_rows};
use super::layout::Layout;
use super::query::Space;
use super::transform::{EncodeScratch, Transform};
use crate::vectors::VectorView;

/// Rows encoded by one task.
const ROWS_A_TASK: usize = 128;

/// Rows encoded before they are appended: what one call may hold in memory.
const ROWS_A_STEP: u32 = 8192;

/// What rows are coded by: learned over some rows, of use for others like them.
#[derive(Debug, Clone)]
pub struct SketchBasis {
    pub(crate) transform: Transform,
    pub(crate) tuning: Tuning,
}

/// Rows of another index may be coded less well by its transform: until that is measured, noise counts so many times.
const FOREIGN_NOISE: f32 = 1.5;

/// A transform that is offered is kept while its estimates are wrong by no more than so many times what those of one
/// learned anew are: about what two samples of the same rows differ by.
const OFFERED_NOISE_MAX: f32 = 1.05;

/// The transform, and sketches as far as rows are encoded. One thread encodes, any number read.
pub(crate) struct GrowingSketches {
    transform: Transform,
    tuning: ArcSwap<Tuning>,
    /// Whether the transform was learned from other rows, and how good it is for these was not measured yet.
    foreign: AtomicBool,
    metric: Metric,
    level: Level,
    /// Sketches there is room for.
    rows_max: u32,
    /// The largest norm of an encoded row, as the bits of a float: norms are not negative, so their bits order as they do.
    norm_max: AtomicU32,
    /// The largest norm of a row that is linked or in the batch being linked, and up to which row that is known.
    linked_norm_max: AtomicU32,
    linked_norm_end: AtomicU32,
    reader: RowsReader,
    writer: Mutex<CodeWriter>,
    entries: ArcSwap<Entries>,
}

/// Rows coded between two offers ([`turn`]).
const ROWS_A_TURN: usize = 32;

impl GrowingSketches {
    /// Learns from a sample of the first `known` rows; there is room for `rows_max` sketches. `None` when that many
    /// are more than can be addressed.
    ///
    /// Where a transform is offered that makes nearly as little noise as what was learned, that one is taken: codes of
    /// other segments are by it, and a query is made ready once for all of them.
    #[expect(clippy::too_many_arguments, reason = "what is learned from, and how")]
    pub(crate) fn learn<V: VectorView>(
        rows: &V,
        known: u32,
        rows_max: u32,
        metric: Metric,
        seed: u64,
        level: Level,
        pool: Option<&rayon::ThreadPool>,
        offered: Option<&SketchBasis>,
    ) -> Option<GrowingSketches> {
        let sample = sample_rows(known, if pool.is_some() { SAMPLE_ROWS } else { SAMPLE_ROWS_GROWING });
        let lift = metric == Metric::InnerProduct && long_rows_lead(rows, &sample, level);
        let layout = Layout::for_dim(rows.dim() + usize::from(lift));
        let transform = fit(rows, &sample, layout, seed, level, pool, lift);
        let sketches = GrowingSketches::new(transform, Tuning::default(), rows_max, metric, level)?;
        let learned = sketches.calibrate(rows, &sample)?;
        sketches.tuning.store(Arc::new(learned));
        let alike = |basis: &&SketchBasis| basis.transform.lift().is_some() == lift;
        let Some(SketchBasis { transform, tuning }) = offered.filter(alike) else { return Some(sketches) };
        let other = GrowingSketches::new(transform.clone(), *tuning, rows_max, metric, level)?;
        let measured = other.calibrate(rows, &sample)?;
        if measured.noise > learned.noise * OFFERED_NOISE_MAX {
            return Some(sketches);
        }
        other.tuning.store(Arc::new(measured));
        Some(other)
    }

    /// Takes the transform of another index. `None` when so many sketches are more than can be addressed.
    pub(crate) fn with_basis(
        basis: &SketchBasis,
        rows_max: u32,
        metric: Metric,
        level: Level,
    ) -> Option<GrowingSketches> {
        let tuning = Tuning { noise: basis.tuning.noise * FOREIGN_NOISE, ..basis.tuning };
        let sketches = GrowingSketches::new(basis.transform.clone(), tuning, rows_max, metric, level)?;
        sketches.foreign.store(true, Ordering::Relaxed);
        Some(sketches)
    }

    fn new(
        transform: Transform,
        tuning: Tuning,
        rows_max: u32,
        metric: Metric,
        level: Level,
    ) -> Option<GrowingSketches> {
        let (writer, reader) = growing_codes(transform.layout(), rows_max as usize).ok()?;
        Some(GrowingSketches {
            transform,
            tuning: ArcSwap::from_pointee(tuning),
            foreign: AtomicBool::new(false),
            metric,
            level,
            rows_max,
            norm_max: AtomicU32::new(0),
            linked_norm_max: AtomicU32::new(0),
            linked_norm_end: AtomicU32::new(0),
            reader,
            writer: Mutex::new(writer),
            entries: ArcSwap::default(),
        })
    }

    /// Measures how good another index's transform is for the first `known` rows, if that was not done. Called by the
    /// linker.
    pub(crate) fn settle_tuning<V: VectorView>(&self, rows: &V, known: u32) {
        if self.foreign.swap(false, Ordering::Relaxed)
            && let Some(tuning) = self.calibrate(rows, &sample_rows(known, SAMPLE_ROWS_GROWING))
        {
            self.tuning.store(Arc::new(tuning));
        }
    }

    /// Measures noise and slope on the sample: on sketches of its own, as the rows are not encoded yet.
    fn calibrate<V: VectorView>(&self, rows: &V, sample: &[u32]) -> Option<Tuning> {
        let layout = self.transform.layout();
        let (mut writer, reader) = growing_codes(layout, sample.len()).ok()?;
        let mut scratch = EncodeScratch::default();
        let mut sketch = vec![0; layout.bytes()];
        for row in sample {
            let vector = rows.row(*row);
            let encode = Encode { sketches: self, vector, scratch: &mut scratch, sketch: &mut sketch };
            self.raise_norm(dispatch(self.level, encode));
            writer.append(&sketch).ok()?;
        }
        let calibrate = Calibrate {
            rows,
            codes: &reader.rows(),
            transform: &self.transform,
            sample,
            space: self.space(),
        };
        Some(dispatch(self.level, calibrate))
    }

    pub(crate) fn transform(&self) -> &Transform {
        &self.transform
    }

    pub(crate) fn tuning(&self) -> Tuning {
        **self.tuning.load()
    }

    pub(crate) fn space(&self) -> Space {
        space_of(self.metric, self.norm_max())
    }

    /// What the estimates of linking are of.
    pub(crate) fn link_space(&self) -> Space {
        match self.metric {
            Metric::L2 | Metric::Cosine => Space::Euclidean,
            Metric::InnerProduct if self.transform.lift().is_some() => Space::Sphere,
            // How many rows are encoded depends on when they came, and so may the last bits of an estimate: linking
            // counts from the rows it knows alone.
            Metric::InnerProduct => space_of(self.metric, self.linked_norm_max()),
        }
    }

    fn norm_max(&self) -> f32 {
        f32::from_bits(self.norm_max.load(Ordering::Relaxed))
    }

    /// The largest norm of a linked row where the metric needs it, else 0.
    pub(crate) fn linked_norm_max(&self) -> f32 {
        f32::from_bits(self.linked_norm_max.load(Ordering::Relaxed))
    }

    /// Takes the norms of the rows below `end` into account, which are linked or about to be. Called by the linker.
    pub(crate) fn raise_linked_norm<V: VectorView>(&self, rows: &V, end: u32) {
        let range = self.linked_norm_end.fetch_max(end, Ordering::Relaxed)..end;
        if self.metric == Metric::InnerProduct {
            let norm = dispatch(self.level, LargestNorm { rows, range });
            self.linked_norm_max.fetch_max(norm.to_bits(), Ordering::Relaxed);
        }
    }

    fn raise_norm(&self, norm: f32) {
        self.norm_max.fetch_max(norm.to_bits(), Ordering::Relaxed);
    }

    /// The sketches there are now.
    pub(crate) fn codes(&self) -> dvse_simd::Rows<'_> {
        self.reader.rows()
    }

    pub(crate) fn entries(&self) -> Arc<Entries> {
        self.entries.load_full()
    }

    /// Takes new entries each time the graph has grown by a quarter. Which entries there are depends on the number of
    /// linked rows alone, and not on when this was called before: rows are linked from them.
    pub(crate) fn refresh_entries(&self, linked: u32) {
        let mut rows = 1;
        while rows + rows / 4 < linked {
            rows += rows / 4 + 1;
        }
        if self.entries.load().taken_from() != rows {
            let entries = Entries::copy(&Entries::spread(rows), rows, self.transform.layout(), &self.codes());
            self.entries.store(Arc::new(entries));
        }
    }

    /// Encodes the rows there are and that have no sketch yet, as far as there is room. A second caller waits.
    pub(crate) fn encode<V: VectorView>(
        &self,
        rows: &V,
        pool: Option<&rayon::ThreadPool>,
    ) -> Result<(), Full> {
        // A panic can leave no half sketch behind: a sketch is appended whole or not at all.
        let mut writer = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bytes = self.transform.layout().bytes();
        let end = rows.len().min(self.rows_max);
        let mut buffer = Vec::new();
        while writer.len() < end {
            let first = writer.len();
            let count = (end - first).min(ROWS_A_STEP) as usize;
            buffer.clear();
            buffer.resize(count * bytes, 0_u8);
            let task = |(task, sketches): (usize, &mut [u8])| {
                let mut scratch = EncodeScratch::default();
                for (row, sketch) in sketches.chunks_exact_mut(bytes).enumerate() {
                    if (row + 1).is_multiple_of(ROWS_A_TURN) {
                        turn::offer();
                    }
                    let vector = rows.row(first + (task * ROWS_A_TASK + row) as u32);
                    let encode = Encode { sketches: self, vector, scratch: &mut scratch, sketch };
                    self.raise_norm(dispatch(self.level, encode));
                }
            };
            let part = ROWS_A_TASK * bytes;
            match pool.filter(|_| count > ROWS_A_TASK) {
                Some(pool) => pool.install(|| buffer.par_chunks_mut(part).enumerate().for_each(task)),
                None => buffer.chunks_mut(part).enumerate().for_each(task),
            }
            for sketch in buffer.chunks_exact(bytes) {
                writer.append(sketch)?;
            }
        }
        Ok(())
    }

    pub(crate) fn bytes(&self) -> u64 {
        let codes = self.writer.lock().map_or(0, |writer| writer.bytes());
        codes + self.transform.bytes()
    }
}

/// The largest norm of some rows.
struct LargestNorm<'a, V> {
    rows: &'a V,
    range: Range<u32>,
}

impl<V: VectorView> Op for LargestNorm<'_, V> {
    type Output = f32;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> f32 {
        let norms = self.range.map(|row| isa.dot(self.rows.row(row), self.rows.row(row)).sqrt());
        norms.fold(0.0, f32::max)
    }
}

/// What the estimates of a metric are of.
pub(crate) fn space_of(metric: Metric, norm_max: f32) -> Space {
    match metric {
        Metric::L2 | Metric::Cosine => Space::Euclidean,
        Metric::InnerProduct => Space::Product { norm_max },
    }
}

/// Writes one sketch; returns the vector's norm where the metric needs it.
struct Encode<'a> {
    sketches: &'a GrowingSketches,
    vector: &'a [f32],
    scratch: &'a mut EncodeScratch,
    sketch: &'a mut [u8],
}

impl Op for Encode<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> f32 {
        let product = self.sketches.metric == Metric::InnerProduct;
        self.sketches.transform.encode(isa, self.vector, !product, self.scratch, self.sketch);
        if product { isa.dot(self.vector, self.vector).sqrt() } else { 0.0 }
    }
}

impl std::fmt::Debug for GrowingSketches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrowingSketches").field("encoded", &self.reader.len()).finish_non_exhaustive()
    }
}
