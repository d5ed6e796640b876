//! An IVF-PQ index that takes rows while it is searched.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use dvse_simd::Level;
use dvse_types::Metric;

use super::assign::code_rows;
use super::lists::{GrowingLists, Pending};
use super::params::{IvfParams, IvfParamsError, Probing};
use super::search::Target;
use super::sections;
use super::train::{Trained, train};
use crate::ann::{AnnIndex, Neighbor, SearchError, SearchParams, SearchStats};
use crate::candidates::ROWS_MAX;
use crate::flat::FlatIndex;
use crate::hnsw::{LinkError, LinkProgress};
use crate::kinds::IndexParams;
use crate::row_set::RowSet;
use crate::scratch::Scratch;
use crate::sections::SectionSink;
use crate::vectors::{Rows, VectorView, with_rows};

/// Rows coded between two looks at `stop` and published together.
const BATCH_ROWS: u32 = 4096;

/// Inverted lists over rows that are appended by someone else. Any number of threads search them while one links.
///
/// The lists are trained once, when there are rows enough or at the first flush; then each row goes into its list by
/// itself. So the index is a function of the rows' order, the parameters and where it was trained, not of threads, of
/// the instruction set or of how calls are cut. Rows not linked yet are the caller's to scan
/// ([`SearchStats::covered`] says from where).
///
/// A deleted row stays in its list and is hidden by the [`RowSet`]; it goes when the segment is rebuilt.
pub struct GrowingIvf {
    rows: Rows,
    flat: FlatIndex,
    rows_max: u32,
    metric: Metric,
    params: IvfParams,
    level: Level,
    filled: OnceLock<Filled>,
    linked: AtomicU32,
    linker: Mutex<Pending>,
}

/// What there is after training.
#[derive(Debug)]
struct Filled {
    trained: Trained,
    lists: GrowingLists,
}

impl GrowingIvf {
    /// An empty index for at most `rows_max` of `rows` (cut to [`ROWS_MAX`]).
    ///
    /// # Errors
    /// A parameter out of range.
    pub fn new(
        rows: Rows,
        rows_max: u32,
        metric: Metric,
        params: IvfParams,
    ) -> Result<GrowingIvf, IvfParamsError> {
        params.check(rows.dim())?;
        Ok(GrowingIvf {
            flat: FlatIndex::new(rows.clone(), metric),
            rows,
            rows_max: rows_max.min(ROWS_MAX),
            metric,
            params,
            level: dvse_simd::detect(),
            filled: OnceLock::new(),
            linked: AtomicU32::new(0),
            linker: Mutex::new(Pending::default()),
        })
    }

    /// Uses the kernels of another instruction set (or the best available one below it).
    #[must_use]
    pub fn with_level(self, level: Level) -> GrowingIvf {
        GrowingIvf { level, flat: self.flat.with_level(level), ..self }
    }

    /// Looks otherwise far.
    #[must_use]
    pub fn with_probing(self, probing: Probing) -> GrowingIvf {
        GrowingIvf { params: IvfParams { probing, ..self.params }, ..self }
    }

    /// The rows it is over.
    #[must_use]
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// What it is built with.
    #[must_use]
    pub fn params(&self) -> &IvfParams {
        &self.params
    }

    /// Rows in lists: `0..linked()`. It only grows.
    #[must_use]
    pub fn linked(&self) -> u32 {
        self.linked.load(Ordering::Acquire)
    }

    /// The number of lists, 0 before they are trained.
    #[must_use]
    pub fn lists(&self) -> u32 {
        self.filled.get().map_or(0, |filled| filled.trained.list_count)
    }

    /// Whether rows can be put into lists without a flush: the lists are trained, or `rows` are enough to train them on.
    #[must_use]
    pub fn can_link(&self, rows: u32) -> bool {
        self.filled.get().is_some() || rows >= self.params.train_at(self.rows_max)
    }

    /// Puts the rows below `upto` into lists, on the threads of `pool`, until done or until `stop` (asked before each
    /// batch) says so. A second linker waits for the first.
    ///
    /// Lists that are not trained yet are trained on the first rows as soon as there are
    /// [`IvfParams::train_rows`]; fewer are left for later, unless `flush` asks: then they are trained on a sample of
    /// all rows below `upto`, and that cannot be stopped. A bulk load is best trained by a flush: the first rows
    /// alone may not be like the others.
    ///
    /// # Errors
    /// [`LinkError`]; what was linked before stays linked.
    pub fn link(
        &self,
        upto: u32,
        flush: bool,
        pool: &rayon::ThreadPool,
        stop: &dyn Fn() -> bool,
    ) -> Result<LinkProgress, LinkError> {
        if upto > self.rows_max {
            return Err(LinkError::Full { upto, rows_max: self.rows_max });
        }
        let mut pending = self.linker.lock().map_err(|_| LinkError::Poisoned)?;
        with_rows!(&self.rows, rows => {
            let available = VectorView::len(rows);
            if upto > available {
                return Err(LinkError::NoSuchRows { upto, rows: available });
            }
            let train_at = self.params.train_at(self.rows_max);
            let mut linked = self.linked();
            let Some(filled) = self.trained(rows, upto, train_at, flush, pool, stop) else {
                // Too few rows is all there is to do now; stopped before training is not.
                return Ok(LinkProgress { linked, done: upto == 0 || (upto < train_at && !flush) });
            };
            let model = filled.trained.model(self.metric);
            let shape = model.books.shape;
            while linked < upto {
                if stop() {
                    return Ok(LinkProgress { linked, done: false });
                }
                let end = linked.saturating_add(BATCH_ROWS).min(upto);
                let coded = code_rows(model, rows, linked..end, pool, self.level);
                let codes = coded.codes.chunks_exact(shape.columns());
                for (row, (coded, codes)) in (linked..end).zip(coded.rows.iter().zip(codes)) {
                    filled.lists.append(&mut pending, shape.block_bytes(), coded.list, row, coded.term, codes);
                }
                // Readers take this first, so a row they may look at is in its list.
                self.linked.store(end, Ordering::Release);
                linked = end;
            }
            Ok(LinkProgress { linked, done: true })
        })
    }

    /// What there is after training; trains if it is time to.
    fn trained<V: VectorView>(
        &self,
        rows: &V,
        upto: u32,
        train_at: u32,
        flush: bool,
        pool: &rayon::ThreadPool,
        stop: &dyn Fn() -> bool,
    ) -> Option<&Filled> {
        if let Some(filled) = self.filled.get() {
            return Some(filled);
        }
        // Without a flush the same rows are trained on however calls are cut.
        let sample = if flush { upto } else { train_at };
        if sample == 0 || sample > upto || stop() {
            return None;
        }
        // All the rows there will be for long are there at a flush.
        let lists = self.params.lists_for(if flush { upto } else { self.rows_max });
        let trained = train(rows, sample, lists, &self.params, pool, self.level);
        Some(self.filled.get_or_init(|| Filled { trained, lists: GrowingLists::new(lists) }))
    }
}

impl AnnIndex for GrowingIvf {
    fn kind(&self) -> &'static str {
        "ivf_pq"
    }

    fn built_with(&self) -> Option<IndexParams> {
        Some(IndexParams::Lists(self.params))
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn dim(&self) -> usize {
        self.rows.dim()
    }

    fn covered(&self) -> u32 {
        self.linked()
    }

    fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<SearchStats, SearchError> {
        // The limit first, the rows after it: then there is a row for everything below the limit.
        let limit = self.linked();
        with_rows!(&self.rows, rows => {
            match self.filled.get() {
                Some(filled) if limit > 0 => {
                    let target = Target {
                        model: filled.trained.model(self.metric),
                        lists: &filled.lists,
                        limit,
                        rows,
                        flat: &self.flat,
                        level: self.level,
                        probing: self.params.probing,
                    };
                    target.search(query, params, set, scratch, out)
                }
                _ => {
                    out.clear();
                    scratch.prepare(query, rows.dim(), rows.stride())?;
                    Ok(SearchStats::default())
                }
            }
        })
    }

    /// Writes the rows linked. No linking may go on meanwhile: a second linker waits.
    fn persist_on(&self, _: Option<&rayon::ThreadPool>, sink: &mut dyn SectionSink) -> std::io::Result<()> {
        let Ok(pending) = self.linker.lock() else {
            return Err(std::io::Error::other(LinkError::Poisoned));
        };
        let (dim, linked) = (self.rows.dim(), self.linked());
        let filled = self.filled.get().map(|filled| (&filled.trained, &filled.lists));
        sections::write(filled, &pending, self.metric, dim, linked, &self.params, sink)
    }

    fn index_bytes(&self) -> u64 {
        self.filled.get().map_or(0, |filled| {
            let block_bytes = filled.trained.model(self.metric).books.shape.block_bytes();
            filled.trained.bytes() + filled.lists.bytes(block_bytes)
        })
    }
}
