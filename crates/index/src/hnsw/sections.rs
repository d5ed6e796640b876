//! The sections of a graph: a fixed header and four arrays, read in place.
//!
//! | section | element | count |
//! |---|---|---|
//! | `hnsw.meta` | [`Meta`], 64 bytes | 1 |
//! | `hnsw.levels` | u8, a row's top level | rows |
//! | `hnsw.layer0` | u32, neighbour or 2³²−1 | rows × 2m |
//! | `hnsw.offsets` | u32, first upper block of a row (0 where the level is 0) | rows |
//! | `hnsw.upper` | u32, neighbour or 2³²−1 | upper blocks × m |
//!
//! The header's last field is 1 for a flat graph (NSW), plus 2 where walks are to read whole rows.
//! All numbers are little-endian. Block `offset + l − 1` holds the neighbours of a row on layer `l`.

use dvse_simd::Isa;
use dvse_types::Metric;

use super::narrow::{NarrowLists, gather_narrow};
use super::params::HnswParams;
use crate::graph::adjacency::{Adjacency, EMPTY, Entry, Slot};
use crate::graph::growing::{GrowingGraph, LEVEL_MAX};
use crate::sections::{
    OpenIndexError, Placement, SectionBytes, SectionSink, SectionSource, damaged, metric_code, sized,
    write_items,
};
use crate::visited::VisitedSet;

const META: &str = "hnsw.meta";
const LEVELS: &str = "hnsw.levels";
const LAYER0: &str = "hnsw.layer0";
const OFFSETS: &str = "hnsw.offsets";
const UPPER: &str = "hnsw.upper";

const MAGIC: u64 = u64::from_le_bytes(*b"DVSEhnsw");
const VERSION: u32 = 1;

/// The header.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Meta {
    magic: u64,
    version: u32,
    metric: u32,
    pub(super) dim: u32,
    pub(super) rows: u32,
    pub(super) m: u32,
    ef_construction: u32,
    alpha: f32,
    batch_max: u32,
    seed: u64,
    entry_row: u32,
    entry_level: u32,
    upper_blocks: u32,
    /// [`FORM_FLAT`] and [`FORM_WHOLE_ROWS`], added.
    form: u32,
}

/// The graph was made without upper layers.
const FORM_FLAT: u32 = 1;

/// The graph was made to be searched without sketches.
const FORM_WHOLE_ROWS: u32 = 2;

/// Writes a growing graph. The caller keeps the linker away.
pub(super) fn write(
    graph: &GrowingGraph,
    metric: Metric,
    dim: usize,
    params: &HnswParams,
    sink: &mut dyn SectionSink,
) -> std::io::Result<()> {
    let entry = graph.entry().unwrap_or(Entry { row: 0, level: 0, limit: 0 });
    let rows = entry.limit;
    let meta = Meta {
        magic: MAGIC,
        version: VERSION,
        metric: metric_code(metric),
        dim: u32::try_from(dim).unwrap_or(u32::MAX),
        rows,
        m: u32::from(params.m),
        ef_construction: u32::from(params.ef_construction),
        alpha: params.alpha,
        batch_max: u32::from(params.batch_max),
        seed: params.seed,
        entry_row: entry.row,
        entry_level: u32::from(entry.level),
        upper_blocks: graph.upper_used(),
        form: if params.layers { 0 } else { FORM_FLAT } + if params.sketches { 0 } else { FORM_WHOLE_ROWS },
    };
    sink.begin(META)?;
    sink.append(bytemuck::bytes_of(&meta))?;
    sink.begin(LEVELS)?;
    write_items(rows, sink, |row, bytes| bytes.push(graph.level(row)))?;
    sink.begin(LAYER0)?;
    write_items(rows, sink, |row, bytes| put_slots(graph.slots(0, row), bytes))?;
    sink.begin(OFFSETS)?;
    write_items(rows, sink, |row, bytes| bytes.extend(graph.upper_offset(row).to_le_bytes()))?;
    sink.begin(UPPER)?;
    write_items(graph.upper_used(), sink, |block, bytes| put_slots(graph.upper_block(block), bytes))
}

fn put_slots<S: Slot>(slots: &[S], bytes: &mut Vec<u8>) {
    for slot in slots {
        bytes.extend(slot.get().to_le_bytes());
    }
}

/// The sections of a sealed graph, sizes checked.
#[derive(Debug)]
pub(super) struct GraphSections {
    pub(super) meta: Meta,
    levels: SectionBytes,
    layer0: SectionBytes,
    /// The same in half the memory, where numbers of rows fit.
    narrow: Option<NarrowLists>,
    offsets: SectionBytes,
    upper: SectionBytes,
}

impl GraphSections {
    /// Finds the sections and checks every number in them.
    pub(super) fn open(
        source: &dyn SectionSource,
        metric: Metric,
        placement: Placement,
    ) -> Result<GraphSections, OpenIndexError> {
        let meta = read_meta(source, metric)?;
        let rows = u64::from(meta.rows);
        let slots = 4 * u64::from(meta.m);
        let layer0 = sized(source, LAYER0, rows * 2 * slots, 4)?;
        let narrow = if placement.index_on_disk {
            None
        } else {
            NarrowLists::of(layer0.cast().unwrap_or(&[]), meta.rows)
        };
        let sections = GraphSections {
            meta,
            levels: sized(source, LEVELS, rows, 1)?,
            layer0: if narrow.is_some() { layer0 } else { layer0.placed(placement) },
            narrow,
            offsets: sized(source, OFFSETS, rows * 4, 4)?,
            upper: sized(source, UPPER, u64::from(meta.upper_blocks) * slots, 4)?,
        };
        sections.graph().check()?;
        Ok(sections)
    }

    /// The arrays, found once a search.
    pub(super) fn graph(&self) -> SealedGraph<'_> {
        SealedGraph {
            m: self.meta.m as usize,
            levels: self.levels.as_slice(),
            layer0: self.layer0.cast().unwrap_or(&[]),
            narrow: self.narrow.as_ref().map(NarrowLists::as_slice),
            offsets: self.offsets.cast().unwrap_or(&[]),
            upper: self.upper.cast().unwrap_or(&[]),
            entry: (self.meta.rows > 0).then_some(Entry {
                row: self.meta.entry_row,
                level: self.meta.entry_level.min(u32::from(LEVEL_MAX)) as u8,
                limit: self.meta.rows,
            }),
        }
    }

    /// Writes the sections as they are.
    pub(super) fn copy_to(&self, sink: &mut dyn SectionSink) -> std::io::Result<()> {
        sink.begin(META)?;
        sink.append(bytemuck::bytes_of(&self.meta))?;
        let sections =
            [(LEVELS, &self.levels), (LAYER0, &self.layer0), (OFFSETS, &self.offsets), (UPPER, &self.upper)];
        for (name, section) in sections {
            sink.begin(name)?;
            sink.append(section.as_slice())?;
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        // Of the lists of layer 0 those that searches read.
        let wide = self.layer0.as_slice().len() as u64;
        let layer0 = self.narrow.as_ref().map_or(wide, |lists| size_of_val(lists.as_slice()) as u64);
        let sections = [&self.levels, &self.offsets, &self.upper];
        sections.into_iter().map(|section| section.as_slice().len() as u64).sum::<u64>() + layer0
    }

    /// What the graph was built with; the traversal is not kept.
    pub(super) fn params(&self) -> HnswParams {
        HnswParams {
            m: self.meta.m as u16,
            ef_construction: self.meta.ef_construction as u16,
            alpha: self.meta.alpha,
            batch_max: self.meta.batch_max as u16,
            seed: self.meta.seed,
            layers: self.meta.form & FORM_FLAT == 0,
            sketches: self.meta.form & FORM_WHOLE_ROWS == 0,
            ..HnswParams::default()
        }
    }
}

fn read_meta(source: &dyn SectionSource, metric: Metric) -> Result<Meta, OpenIndexError> {
    let bytes = sized(source, META, size_of::<Meta>() as u64, 1)?;
    let meta: Meta = bytemuck::pod_read_unaligned(bytes.as_slice());
    let damaged = |element, what, got: u64, expected: String| {
        Err(OpenIndexError::Damaged { section: META, element, what, got, expected })
    };
    if meta.magic != MAGIC {
        return damaged(0, "the magic number", meta.magic, format!("{MAGIC}"));
    }
    if meta.version == 0 || meta.version > VERSION {
        return Err(OpenIndexError::Version { section: META, got: meta.version, newest: VERSION });
    }
    if meta.metric != metric_code(metric) {
        let expected = format!("{} ({})", metric_code(metric), metric.name());
        return damaged(0, "the metric", meta.metric.into(), expected);
    }
    let as_u16 = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    let params = HnswParams {
        m: as_u16(meta.m),
        ef_construction: as_u16(meta.ef_construction),
        alpha: meta.alpha,
        batch_max: as_u16(meta.batch_max),
        seed: meta.seed,
        ..HnswParams::default()
    };
    if let Err(wrong) = params.check() {
        return damaged(0, wrong.name, wrong.got as u64, format!("{} to {}", wrong.min, wrong.max));
    }
    if meta.rows > crate::candidates::ROWS_MAX {
        return damaged(
            0,
            "the number of rows",
            meta.rows.into(),
            format!("up to {}", crate::candidates::ROWS_MAX),
        );
    }
    if meta.form & !(FORM_FLAT | FORM_WHOLE_ROWS) != 0 {
        return damaged(0, "the form", meta.form.into(), "0 to 3".to_owned());
    }
    if meta.form & FORM_FLAT != 0 && (meta.entry_level, meta.upper_blocks) != (0, 0) {
        return damaged(0, "the upper blocks of a flat graph", meta.upper_blocks.into(), "0".to_owned());
    }
    Ok(meta)
}

/// A graph read in place.
#[derive(Debug, Clone, Copy)]
pub(super) struct SealedGraph<'a> {
    m: usize,
    levels: &'a [u8],
    layer0: &'a [u32],
    narrow: Option<&'a [u16]>,
    offsets: &'a [u32],
    upper: &'a [u32],
    entry: Option<Entry>,
}

impl Adjacency for SealedGraph<'_> {
    type Slot = u32;

    fn entry(&self) -> Option<Entry> {
        self.entry
    }

    fn width(&self) -> usize {
        2 * self.m
    }

    #[inline(always)]
    fn slots(&self, layer: u8, row: u32) -> &[u32] {
        let row = row as usize;
        if layer == 0 {
            let width = 2 * self.m;
            return self.layer0.get(row * width..(row + 1) * width).unwrap_or(&[]);
        }
        match (self.levels.get(row), self.offsets.get(row)) {
            (Some(level), Some(offset)) if layer <= *level => {
                let block = *offset as usize + usize::from(layer) - 1;
                self.upper.get(block * self.m..(block + 1) * self.m).unwrap_or(&[])
            }
            _ => &[],
        }
    }

    #[inline(always)]
    fn gather<I: Isa>(
        &self,
        isa: I,
        row: u32,
        visited: &mut VisitedSet,
        limit: u32,
        out: &mut [u32],
    ) -> usize {
        let fresh = match self.narrow_list(row) {
            Some(list) => gather_narrow(isa, list, visited.words32(), limit, out),
            None => isa.gather_unvisited(self.slots(0, row), visited.words32(), limit, out),
        };
        // A list that names a row twice (only a damaged one does) names it once here.
        visited.insert_all(&mut out[..fresh])
    }

    #[inline(always)]
    fn prefetch(&self, row: u32) {
        match self.narrow_list(row) {
            Some(list) => dvse_simd::prefetch_read(list, 1),
            None => dvse_simd::prefetch_read(self.slots(0, row), 2),
        }
    }
}

impl SealedGraph<'_> {
    /// The list of a row on layer 0 as [`NarrowLists`] has it.
    #[inline(always)]
    fn narrow_list(&self, row: u32) -> Option<&[u16]> {
        let width = 2 * self.m;
        self.narrow?.get(row as usize * width..(row as usize + 1) * width)
    }

    /// The top layer of a row.
    pub(super) fn level(&self, row: u32) -> u8 {
        self.levels.get(row as usize).copied().unwrap_or(0)
    }

    /// Checks every id, level and offset against the sizes.
    fn check(&self) -> Result<(), OpenIndexError> {
        let rows = self.levels.len();
        self.check_entry()?;
        check_ids(LAYER0, self.layer0, |id| (id as usize) < rows, format!("below {rows} or {EMPTY}"))?;
        let blocks = self.upper.len() / self.m;
        for (row, level) in self.levels.iter().enumerate() {
            let (offset, top) = (self.offsets[row], *level);
            if top > LEVEL_MAX {
                return Err(damaged(LEVELS, row, "the level", u64::from(top), format!("up to {LEVEL_MAX}")));
            }
            if top == 0 && offset != 0 {
                return Err(damaged(OFFSETS, row, "the offset of a row of level 0", offset, "0".to_owned()));
            }
            if offset as usize + usize::from(top) > blocks {
                let expected = format!("up to {blocks} less the level {top}");
                return Err(damaged(OFFSETS, row, "the offset", offset, expected));
            }
            for layer in 1..=top {
                let fits = |id: u32| self.levels.get(id as usize).is_some_and(|level| *level >= layer);
                let expected = || format!("a row below {rows} of level {layer} or more, or {EMPTY}");
                check_ids(UPPER, self.slots(layer, row as u32), fits, expected())?;
            }
        }
        Ok(())
    }

    fn check_entry(&self) -> Result<(), OpenIndexError> {
        let top = self.levels.iter().copied().max();
        match (self.entry, top) {
            (Some(entry), Some(top)) => {
                let level = self.levels.get(entry.row as usize).copied();
                if level != Some(entry.level) || entry.level != top {
                    let expected = format!("a row of the highest level, {top}");
                    return Err(damaged(META, 0, "the entry", entry.row, expected));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn check_ids(
    section: &'static str,
    ids: &[u32],
    fits: impl Fn(u32) -> bool,
    expected: String,
) -> Result<(), OpenIndexError> {
    match ids.iter().position(|id| *id != EMPTY && !fits(*id)) {
        None => Ok(()),
        Some(element) => Err(damaged(section, element, "a neighbour", ids[element], expected)),
    }
}
