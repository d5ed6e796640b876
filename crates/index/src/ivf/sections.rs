//! The sections of inverted lists: a fixed header and six arrays, read in place. See `docs/format/ivf.md`.

use dvse_simd::SCAN_ROWS;
use dvse_types::Metric;

use super::lists::{GrowingLists, Lists, Pending, ROWS, Run};
use super::params::{IvfParams, LISTS_MAX, Probing};
use super::train::{Model, Trained};
use crate::graph::adjacency::EMPTY;
use crate::quant::centroids::{Centroids, Column, blocks_of, norms_of};
use crate::quant::pq::{Codebooks, PqShape, codeword_norms};
use crate::sections::{
    OpenIndexError, SectionBytes, SectionSink, SectionSource, damaged, metric_code, sized,
};

const META: &str = "ivf.meta";
const CENTROIDS: &str = "ivf.centroids";
const CODEWORDS: &str = "ivf.codewords";
const COUNTS: &str = "ivf.counts";
const ROW_NUMBERS: &str = "ivf.rows";
const TERMS: &str = "ivf.terms";
const CODES: &str = "ivf.codes";

const MAGIC: u64 = u64::from_le_bytes(*b"DVSEivfq");
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
    pub(super) lists: u32,
    sub_dim: u32,
    seed: u64,
    /// What the parameters asked for; `lists` is what was taken.
    lists_asked: u32,
    train_rows: u32,
    blocks: u32,
    reserved: [u32; 3],
}

/// Whether there is a header, or anything that only inverted lists have.
pub(super) fn are_in(source: &dyn SectionSource) -> bool {
    [META, CENTROIDS, CODEWORDS, COUNTS].iter().any(|name| source.section(name).is_some())
}

/// Writes growing lists, or an index without lists when there are none. The caller keeps the linker away.
pub(super) fn write(
    filled: Option<(&Trained, &GrowingLists)>,
    pending: &Pending,
    metric: Metric,
    dim: usize,
    rows: u32,
    params: &IvfParams,
    sink: &mut dyn SectionSink,
) -> std::io::Result<()> {
    let lists = filled.map_or(0, |(trained, _)| trained.list_count);
    let counts: Vec<u32> = match filled {
        Some((_, filled)) => (0..lists).map(|list| filled.count(list)).collect(),
        None => Vec::new(),
    };
    let meta = Meta {
        magic: MAGIC,
        version: VERSION,
        metric: metric_code(metric),
        dim: u32::try_from(dim).unwrap_or(u32::MAX),
        rows,
        lists,
        sub_dim: u32::from(params.sub_dim),
        seed: params.seed,
        lists_asked: params.lists,
        train_rows: params.train_rows,
        blocks: counts.iter().map(|count| count.div_ceil(ROWS)).sum(),
        reserved: [0; 3],
    };
    let columns = filled.map_or(&[][..], |(trained, _)| &trained.lists.columns);
    let codewords = filled.map_or(&[][..], |(trained, _)| &trained.codewords);
    let arrays = [
        (META, bytemuck::bytes_of(&meta)),
        (CENTROIDS, bytemuck::cast_slice(columns)),
        (CODEWORDS, bytemuck::cast_slice(codewords)),
        (COUNTS, bytemuck::cast_slice(&counts)),
    ];
    for (name, bytes) in arrays {
        sink.begin(name)?;
        sink.append(bytes)?;
    }
    for name in [ROW_NUMBERS, TERMS, CODES] {
        sink.begin(name)?;
        let Some((trained, growing)) = filled else { continue };
        let block_bytes = trained.model(metric).books.shape.block_bytes();
        for list in 0..lists {
            growing.for_each_block(pending, block_bytes, list, |rows, terms, codes| match name {
                ROW_NUMBERS => sink.append(bytemuck::cast_slice(rows)),
                TERMS if metric == Metric::InnerProduct => Ok(()),
                TERMS => sink.append(bytemuck::cast_slice(terms)),
                _ => sink.append(codes),
            })?;
        }
    }
    Ok(())
}

/// The sections of sealed lists, every number checked.
#[derive(Debug)]
pub(super) struct IvfSections {
    pub(super) meta: Meta,
    centroids: SectionBytes,
    codewords: SectionBytes,
    counts: SectionBytes,
    rows: SectionBytes,
    terms: SectionBytes,
    codes: SectionBytes,
    /// The first block of each list, and the end.
    starts: Vec<u32>,
    list_norms: Vec<Column>,
    codeword_norms: Vec<Column>,
}

impl IvfSections {
    /// Finds the sections and checks every number in them.
    pub(super) fn open(source: &dyn SectionSource, metric: Metric) -> Result<IvfSections, OpenIndexError> {
        let meta = read_meta(source, metric)?;
        let (dim, lists) = (meta.dim as usize, meta.lists as usize);
        let shape = PqShape { dim, sub_dim: meta.sub_dim as usize };
        let trained = u64::from(meta.lists != 0);
        let slots = u64::from(meta.blocks) * u64::from(ROWS);
        let terms = if metric == Metric::InnerProduct { 0 } else { slots };
        let column = size_of::<Column>() as u64;
        let centroids = sized(source, CENTROIDS, blocks_of(lists) as u64 * dim as u64 * column, 4)?;
        let codewords = sized(source, CODEWORDS, trained * shape.padded_dim() as u64 * column, 4)?;
        let counts = sized(source, COUNTS, lists as u64 * 4, 4)?;
        let rows = sized(source, ROW_NUMBERS, slots * 4, 4)?;
        let terms = sized(source, TERMS, terms * 4, 4)?;
        let codes = sized(source, CODES, u64::from(meta.blocks) * shape.block_bytes() as u64, 1)?;
        for (name, section) in [(CENTROIDS, &centroids), (CODEWORDS, &codewords), (TERMS, &terms)] {
            check_finite(name, section)?;
        }
        let starts = starts(&meta, counts.cast().unwrap_or(&[]))?;
        check_rows(&meta, &starts, counts.cast().unwrap_or(&[]), rows.cast().unwrap_or(&[]))?;
        let list_norms = norms_of(centroids.cast().unwrap_or(&[]), dim, lists);
        let words = codewords.cast().unwrap_or(&[]);
        let codeword_norms = if words.is_empty() { Vec::new() } else { codeword_norms(shape, words) };
        Ok(IvfSections {
            meta,
            centroids,
            codewords,
            counts,
            rows,
            terms,
            codes,
            starts,
            list_norms,
            codeword_norms,
        })
    }

    /// The centroids and codewords, found once a search.
    pub(super) fn model(&self, metric: Metric) -> Model<'_> {
        let dim = self.meta.dim as usize;
        Model {
            metric,
            list_count: self.meta.lists,
            lists: Centroids { columns: self.centroids.cast().unwrap_or(&[]), norms: &self.list_norms, dim },
            books: Codebooks {
                shape: PqShape { dim, sub_dim: self.meta.sub_dim as usize },
                codewords: self.codewords.cast().unwrap_or(&[]),
                norms: &self.codeword_norms,
            },
        }
    }

    /// The lists, found once a search.
    pub(super) fn lists(&self) -> SealedLists<'_> {
        SealedLists {
            starts: &self.starts,
            counts: self.counts.cast().unwrap_or(&[]),
            rows: self.rows.cast().unwrap_or(&[]),
            terms: self.terms.cast().unwrap_or(&[]),
            codes: self.codes.as_slice(),
            block_bytes: PqShape { dim: self.meta.dim as usize, sub_dim: self.meta.sub_dim as usize }
                .block_bytes(),
        }
    }

    /// Writes the sections as they are.
    pub(super) fn copy_to(&self, sink: &mut dyn SectionSink) -> std::io::Result<()> {
        sink.begin(META)?;
        sink.append(bytemuck::bytes_of(&self.meta))?;
        for (name, section) in self.arrays() {
            sink.begin(name)?;
            sink.append(section.as_slice())?;
        }
        Ok(())
    }

    fn arrays(&self) -> [(&'static str, &SectionBytes); 6] {
        [
            (CENTROIDS, &self.centroids),
            (CODEWORDS, &self.codewords),
            (COUNTS, &self.counts),
            (ROW_NUMBERS, &self.rows),
            (TERMS, &self.terms),
            (CODES, &self.codes),
        ]
    }

    pub(super) fn bytes(&self) -> u64 {
        let own =
            size_of_val(&*self.starts) + size_of_val(&*self.list_norms) + size_of_val(&*self.codeword_norms);
        let mapped: usize = self.arrays().iter().map(|(_, section)| section.as_slice().len()).sum();
        (own + mapped) as u64
    }

    /// What the index was built with; the probing is not kept.
    pub(super) fn params(&self) -> IvfParams {
        IvfParams {
            lists: self.meta.lists_asked,
            sub_dim: self.meta.sub_dim as u16,
            train_rows: self.meta.train_rows,
            seed: self.meta.seed,
            probing: Probing::default(),
        }
    }
}

fn read_meta(source: &dyn SectionSource, metric: Metric) -> Result<Meta, OpenIndexError> {
    let bytes = sized(source, META, size_of::<Meta>() as u64, 1)?;
    let meta: Meta = bytemuck::pod_read_unaligned(bytes.as_slice());
    let wrong =
        |what, got: u64, expected: String| -> Result<Meta, _> { Err(damaged(META, 0, what, got, expected)) };
    if meta.magic != MAGIC {
        return wrong("the magic number", meta.magic, format!("{MAGIC}"));
    }
    if meta.version == 0 || meta.version > VERSION {
        return Err(OpenIndexError::Version { section: META, got: meta.version, newest: VERSION });
    }
    if meta.metric != metric_code(metric) {
        return wrong(
            "the metric",
            meta.metric.into(),
            format!("{} ({})", metric_code(metric), metric.name()),
        );
    }
    let params = IvfParams {
        lists: meta.lists_asked,
        sub_dim: u16::try_from(meta.sub_dim).unwrap_or(u16::MAX),
        ..IvfParams::default()
    };
    if let Err(error) = params.check(meta.dim as usize) {
        return wrong(error.name, error.got, format!("{} to {}", error.min, error.max));
    }
    if meta.dim == 0 {
        return wrong("the dimension", 0, "at least 1".to_owned());
    }
    if meta.rows > crate::candidates::ROWS_MAX {
        let expected = format!("up to {}", crate::candidates::ROWS_MAX);
        return wrong("the number of rows", meta.rows.into(), expected);
    }
    let lists = match (meta.rows, meta.lists_asked) {
        (0, _) => u64::from(meta.lists) <= u64::from(LISTS_MAX),
        (_, 0) => (1..=LISTS_MAX).contains(&meta.lists),
        (_, asked) => meta.lists == asked,
    };
    if !lists {
        return wrong("the number of lists", meta.lists.into(), format!("1 to {LISTS_MAX}, as asked for"));
    }
    let most = u64::from(meta.rows) / u64::from(ROWS) + u64::from(meta.lists);
    if u64::from(meta.blocks) > most {
        return wrong("the number of blocks", meta.blocks.into(), format!("up to {most}"));
    }
    if let Some(reserved) = meta.reserved.iter().find(|reserved| **reserved != 0) {
        return wrong("the reserved field", (*reserved).into(), "0".to_owned());
    }
    Ok(meta)
}

fn check_finite(name: &'static str, section: &SectionBytes) -> Result<(), OpenIndexError> {
    let values: &[f32] = section.cast().unwrap_or(&[]);
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(element) => {
            let bits = u64::from(values[element].to_bits());
            Err(damaged(name, element, "the bits of a number", bits, "those of a finite one".to_owned()))
        }
    }
}

/// The first block of each list, and the end.
fn starts(meta: &Meta, counts: &[u32]) -> Result<Vec<u32>, OpenIndexError> {
    let (mut rows, mut block) = (0_u64, 0_u64);
    let mut starts = Vec::with_capacity(counts.len() + 1);
    for (list, count) in counts.iter().enumerate() {
        starts.push(block as u32);
        rows += u64::from(*count);
        block += u64::from(count.div_ceil(ROWS));
        if rows > u64::from(meta.rows) || block > u64::from(meta.blocks) {
            let expected = format!("{} rows in {} blocks for all lists", meta.rows, meta.blocks);
            return Err(damaged(COUNTS, list, "the rows of a list", *count, expected));
        }
    }
    if rows != u64::from(meta.rows) || block != u64::from(meta.blocks) {
        let expected = format!("{} in {} blocks", meta.rows, meta.blocks);
        return Err(damaged(COUNTS, counts.len(), "the sum of all rows", rows, expected));
    }
    starts.push(block as u32);
    Ok(starts)
}

/// Each row stands once, and what is past a list's end is empty.
fn check_rows(meta: &Meta, starts: &[u32], counts: &[u32], rows: &[u32]) -> Result<(), OpenIndexError> {
    let mut seen = vec![0_u64; (meta.rows as usize).div_ceil(64)];
    for (list, count) in counts.iter().enumerate() {
        let first = starts[list] as usize * SCAN_ROWS;
        for (at, row) in rows[first..starts[list + 1] as usize * SCAN_ROWS].iter().enumerate() {
            let element = first + at;
            if at >= *count as usize {
                if *row != EMPTY {
                    return Err(damaged(ROW_NUMBERS, element, "an empty place", *row, format!("{EMPTY}")));
                }
                continue;
            }
            let new = *row < meta.rows && seen[*row as usize / 64] >> (row % 64) & 1 == 0;
            if !new {
                let expected = format!("a row below {} that stands in no other place", meta.rows);
                return Err(damaged(ROW_NUMBERS, element, "a row", *row, expected));
            }
            seen[*row as usize / 64] |= 1 << (row % 64);
        }
    }
    Ok(())
}

/// Lists read in place.
#[derive(Debug, Clone, Copy)]
pub(super) struct SealedLists<'a> {
    starts: &'a [u32],
    counts: &'a [u32],
    rows: &'a [u32],
    terms: &'a [f32],
    codes: &'a [u8],
    block_bytes: usize,
}

impl Lists for SealedLists<'_> {
    type Slot = u32;

    fn count(&self, list: u32) -> u32 {
        self.counts.get(list as usize).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn for_each_run(&self, list: u32, _count: u32, mut f: impl FnMut(Run<'_, u32>)) {
        let (first, end) = (self.starts[list as usize] as usize, self.starts[list as usize + 1] as usize);
        f(Run {
            codes: &self.codes[first * self.block_bytes..end * self.block_bytes],
            rows: &self.rows[first * SCAN_ROWS..end * SCAN_ROWS],
            terms: self.terms.get(first * SCAN_ROWS..end * SCAN_ROWS).unwrap_or(&[]),
        });
    }

    #[inline(always)]
    fn uncoded(&self, _list: u32, _count: u32) -> &[u32] {
        &[]
    }

    #[inline(always)]
    fn prefetch(&self, list: u32) {
        let first = self.starts[list as usize] as usize;
        dvse_simd::prefetch_read(self.codes.get(first * self.block_bytes..).unwrap_or(&[]), 8);
    }
}
