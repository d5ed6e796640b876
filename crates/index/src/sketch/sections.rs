//! The sections of sketches: a fixed header and five arrays, read in place or copied where they are small.
//!
//! | section | element | count |
//! |---|---|---|
//! | `sketch.meta` | [`Meta`], 64 bytes | 1 |
//! | `sketch.mean` | f32 | dim |
//! | `sketch.scales` | f32, what an integer of a lane's row is worth | lanes |
//! | `sketch.matrix` | i8, `[lanes / 64][dim padded to 4 / 4][64][4]` | lanes × padded dim |
//! | `sketch.entries` | u32, a row | entries |
//! | `sketch.codes` | a sketch, `lines × 64` bytes | rows |
//! | `sketch.lift` | f32: radius, mean and column by lane; there in version 2 alone | 2 + lanes |
//!
//! All numbers are little-endian. What a sketch looks like is told in [`super::layout`].

use super::calibrate::Tuning;
use super::codes::{CodeView, SealedCodes};
use super::entries::{ENTRIES_MAX, Entries};
use super::layout::{CodeBits, Layout};
use super::transform::{Lift, Transform};
use crate::sections::{OpenIndexError, Placement, SectionBytes, SectionSink, SectionSource, damaged, sized};

const META: &str = "sketch.meta";
const MEAN: &str = "sketch.mean";
const SCALES: &str = "sketch.scales";
const MATRIX: &str = "sketch.matrix";
const ENTRIES: &str = "sketch.entries";
const CODES: &str = "sketch.codes";
const LIFT: &str = "sketch.lift";

const MAGIC: u64 = u64::from_le_bytes(*b"DVSEsket");
/// Without and with rows lifted to a sphere.
const FLAT: u32 = 1;
const LIFTED: u32 = 2;

/// The header.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Meta {
    magic: u64,
    version: u32,
    dim: u32,
    rows: u32,
    bits: u32,
    lines: u32,
    entries: u32,
    step: f32,
    slope: f32,
    noise: f32,
    norm_max: f32,
    reserved: [u32; 4],
}

/// What is written beside the codes.
pub(crate) struct SketchFacts<'a> {
    pub(crate) transform: &'a Transform,
    pub(crate) entries: &'a [u32],
    pub(crate) tuning: Tuning,
    pub(crate) norm_max: f32,
}

/// Writes the sketches of the first `rows` rows.
pub(crate) fn write<C: CodeView>(
    facts: &SketchFacts<'_>,
    codes: &C,
    rows: u32,
    sink: &mut dyn SectionSink,
) -> std::io::Result<()> {
    let layout = facts.transform.layout();
    let (mean, scales, matrix) = facts.transform.parts();
    let meta = Meta {
        magic: MAGIC,
        version: if facts.transform.lift().is_some() { LIFTED } else { FLAT },
        dim: facts.transform.dim() as u32,
        rows,
        bits: if layout.bits() == CodeBits::Four { 4 } else { 7 },
        lines: layout.lines() as u32,
        entries: facts.entries.len() as u32,
        step: facts.transform.step(),
        slope: facts.tuning.slope,
        noise: facts.tuning.noise,
        norm_max: facts.norm_max,
        reserved: [0; 4],
    };
    let parts: [(&str, &[u8]); 5] = [
        (META, bytemuck::bytes_of(&meta)),
        (MEAN, bytemuck::cast_slice(mean)),
        (SCALES, bytemuck::cast_slice(scales)),
        (MATRIX, matrix),
        (ENTRIES, bytemuck::cast_slice(facts.entries)),
    ];
    for (name, bytes) in parts {
        sink.begin(name)?;
        sink.append(bytes)?;
    }
    if let Some(lift) = facts.transform.lift() {
        sink.begin(LIFT)?;
        sink.append(bytemuck::cast_slice(&[lift.radius, lift.mean]))?;
        sink.append(bytemuck::cast_slice(&lift.column))?;
    }
    sink.begin(CODES)?;
    crate::sections::write_items(rows, sink, |row, bytes| bytes.extend_from_slice(codes.sketch(row)))
}

/// The sketches of a sealed index.
#[derive(Debug)]
pub(crate) struct SketchSections {
    meta: Meta,
    transform: Transform,
    entries: Entries,
    codes: SectionBytes,
}

impl SketchSections {
    /// Opens the sketches over `rows` rows of `dim` values; `None` where an index was written without.
    pub(crate) fn open(
        source: &dyn SectionSource,
        dim: usize,
        rows: u32,
        placement: Placement,
    ) -> Result<Option<SketchSections>, OpenIndexError> {
        if source.section(META).is_none() {
            // An index without sketches has none of their sections; one that only lost the header is damaged.
            let orphaned = [MEAN, SCALES, MATRIX, ENTRIES, CODES, LIFT]
                .iter()
                .any(|name| source.section(name).is_some());
            return if orphaned { Err(OpenIndexError::Missing { section: META }) } else { Ok(None) };
        }
        let (meta, layout) = read_meta(source, dim, rows)?;
        let floats = |section, count: usize| {
            let bytes = sized(source, section, 4 * count as u64, 1)?;
            let values = numbers::<f32>(&bytes);
            match values.iter().position(|value| !value.is_finite()) {
                None => Ok(values),
                Some(element) => {
                    Err(damaged(section, element, "a value", values[element].to_bits(), "a finite number"))
                }
            }
        };
        let mean = floats(MEAN, dim)?;
        let scales = floats(SCALES, layout.lanes())?;
        let matrix_bytes = layout.lanes() * dim.next_multiple_of(4);
        let matrix = sized(source, MATRIX, matrix_bytes as u64, 1)?;
        // −128 would overflow what kernels sum in pairs.
        if let Some(element) = matrix.as_slice().iter().position(|byte| *byte == 0x80) {
            return Err(damaged(MATRIX, element, "a value", 0x80_u32, "-127 to 127"));
        }
        let transform = Transform::from_parts(layout, meta.step, &mean, &scales, matrix.as_slice()).ok_or(
            OpenIndexError::Size {
                section: MATRIX,
                expected: matrix_bytes as u64,
                got: matrix.as_slice().len() as u64,
            },
        )?;
        let transform = if meta.version == LIFTED {
            let values = floats(LIFT, 2 + layout.lanes())?;
            let lift = Lift { radius: values[0], mean: values[1], column: values[2..].to_vec() };
            let radius = lift.radius.to_bits();
            let is_sphere = (lift.radius * lift.radius).is_normal() && lift.radius > 0.0;
            let lifted = if is_sphere { transform.with_lift(lift) } else { None };
            lifted.ok_or_else(|| damaged(LIFT, 0, "the radius", radius, "the bits of a number above 0"))?
        } else {
            transform
        };
        let entries = sized(source, ENTRIES, 4 * u64::from(meta.entries), 1)?;
        let entries = numbers::<u32>(&entries);
        if let Some(element) = entries.iter().position(|row| *row >= rows) {
            let got = entries[element];
            return Err(damaged(ENTRIES, element, "an entry", got, "a row that there is"));
        }
        let codes = sized(source, CODES, u64::from(rows) * layout.bytes() as u64, 1)?.placed(placement);
        let view = SealedCodes::new(codes.as_slice(), layout);
        let entries = Entries::copy(&entries, rows, layout, &view);
        Ok(Some(SketchSections { meta, transform, entries, codes }))
    }

    pub(crate) fn transform(&self) -> &Transform {
        &self.transform
    }

    pub(crate) fn entries(&self) -> &Entries {
        &self.entries
    }

    pub(crate) fn tuning(&self) -> Tuning {
        Tuning { slope: self.meta.slope, noise: self.meta.noise }
    }

    pub(crate) fn norm_max(&self) -> f32 {
        self.meta.norm_max
    }

    /// The sketches, found once a search.
    pub(crate) fn codes(&self) -> SealedCodes<'_> {
        SealedCodes::new(self.codes.as_slice(), self.transform.layout())
    }

    /// Writes the sections again.
    pub(crate) fn copy_to(&self, sink: &mut dyn SectionSink) -> std::io::Result<()> {
        let facts = SketchFacts {
            transform: &self.transform,
            entries: self.entries.rows(),
            tuning: self.tuning(),
            norm_max: self.norm_max(),
        };
        write(&facts, &self.codes(), self.meta.rows, sink)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.codes.as_slice().len() as u64 + self.transform.bytes()
    }
}

fn read_meta(source: &dyn SectionSource, dim: usize, rows: u32) -> Result<(Meta, Layout), OpenIndexError> {
    let bytes = sized(source, META, size_of::<Meta>() as u64, 1)?;
    let meta: Meta = bytemuck::pod_read_unaligned(bytes.as_slice());
    if meta.magic != MAGIC {
        let expected = format!("{MAGIC}");
        return Err(OpenIndexError::Damaged {
            section: META,
            element: 0,
            what: "the magic number",
            got: meta.magic,
            expected,
        });
    }
    if meta.version == 0 || meta.version > LIFTED {
        return Err(OpenIndexError::Version { section: META, got: meta.version, newest: LIFTED });
    }
    let facts = [("the dimension", meta.dim, dim as u32), ("the number of rows", meta.rows, rows)];
    for (what, got, expected) in facts {
        if got != expected {
            return Err(damaged(META, 0, what, got, format!("{expected} as the rows have")));
        }
    }
    let bits = match meta.bits {
        4 => CodeBits::Four,
        7 => CodeBits::Seven,
        got => return Err(damaged(META, 0, "the bits of a value", got, "4 or 7")),
    };
    let Some(layout) = Layout::new(bits, meta.lines as usize) else {
        return Err(damaged(META, 0, "the lines of a sketch", meta.lines, "1 to 4"));
    };
    if meta.entries == 0 || meta.entries as usize > ENTRIES_MAX {
        return Err(damaged(META, 0, "the number of entries", meta.entries, "1 to 128"));
    }
    let positive = [
        ("the step", meta.step),
        ("the slope", meta.slope),
        ("the noise", meta.noise),
        ("the largest norm", meta.norm_max),
    ];
    for (what, value) in positive {
        if !(value.is_finite() && value >= 0.0) {
            return Err(damaged(META, 0, what, value.to_bits(), "the bits of a finite number, not below 0"));
        }
    }
    if meta.reserved != [0; 4] {
        return Err(damaged(META, 0, "the reserved field", 1_u32, "0"));
    }
    Ok((meta, layout))
}

/// A copy of a section as numbers of four bytes.
fn numbers<T: bytemuck::AnyBitPattern>(bytes: &SectionBytes) -> Vec<T> {
    bytes.as_slice().chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}
