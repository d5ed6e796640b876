//! One query over inverted lists, growing or sealed.
//!
//! ```text
//! 1  all centroids are scored; lists are taken nearest first
//! 2  the query's tables; each list is scanned and rows whose estimate is among the best `rerank` are kept
//! 3  these are compared exactly; the best k are the result
//! ```
//!
//! A set so small that reading its rows costs no more than that is scanned exactly instead.

use dvse_simd::{Isa, Level, Op, SCAN_ROWS, dispatch};
use dvse_types::{Metric, Rescore};

use super::lists::{Lists, ROWS, Run};
use super::params::Probing;
use super::train::Model;
use crate::ann::{Neighbor, SearchError, SearchParams, SearchStats};
use crate::candidates::{pack, unpack_distance, unpack_row};
use crate::computer::{DistanceComputer, Kernel, Prefetch, RowComputer, with_kernel};
use crate::flat::{FlatIndex, collect};
use crate::graph::adjacency::Slot;
use crate::quant::adc::{Tables, bounded};
use crate::quant::centroids::{LANES, dots_of_blocks};
use crate::row_set::RowSet;
use crate::scratch::{Beam, Scratch};
use crate::vectors::VectorView;

/// Rows compared exactly at a time.
const BATCH_ROWS: usize = 64;

/// Lists put in order at a time: a search seldom needs all.
const ORDERED: usize = 64;

/// Below this share of rows in the set, blocks are asked for rows of it before they are scored. Above, hardly any
/// block is without.
const SPARSE: f32 = 1.0 / 16.0;

/// The rows are known long before they are compared and lie anywhere: asked for farther ahead than a traversal can,
/// 16 rows and 8 lines instead of 8 and 4, they cost a tenth less.
const REACH: Prefetch = Prefetch { rows_ahead: 16, lines: 8 };

/// What a byte of codes costs in bytes of rows that are read one after the other: measured as 2.1 ns for 48 bytes
/// of codes against 29 ns for 1 536 bytes of row.
const CODE_BYTE: u64 = 2;

/// Memory that searches reuse.
#[derive(Default)]
pub(crate) struct Workspace {
    tables: Tables,
    /// The query, padded with zeros to whole columns.
    query: Vec<f32>,
    /// Keys of (score, list) of all lists.
    order: Vec<u64>,
    /// What a list adds to the estimates of its rows.
    bases: Vec<f32>,
    sums: Vec<u16>,
    candidates: Vec<u64>,
}

/// What a query is run against.
pub(super) struct Target<'a, L, V> {
    pub(super) model: Model<'a>,
    pub(super) lists: &'a L,
    /// Rows from here on are not looked at.
    pub(super) limit: u32,
    pub(super) rows: &'a V,
    pub(super) flat: &'a FlatIndex,
    pub(super) level: Level,
    pub(super) probing: Probing,
}

/// How far a search goes.
#[derive(Debug, Clone, Copy)]
struct Plan {
    k: usize,
    /// Rows compared exactly.
    rerank: usize,
    /// Rows scanned, unless lists are counted.
    scan: u64,
    /// Lists looked into, or 0.
    lists: u32,
    /// Rows to be held before the search may end.
    wanted: usize,
    sparse: bool,
    max_distances: u64,
}

impl<L: Lists, V: VectorView> Target<'_, L, V> {
    pub(super) fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        set: RowSet<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<Neighbor>,
    ) -> Result<SearchStats, SearchError> {
        out.clear();
        let passing = passing(set, self.limit);
        let Some(plan) = self.plan(params, passing) else {
            let stats = self.flat.scan(query, params.k, 0..self.limit, set, scratch, out)?;
            return Ok(SearchStats { covered: self.limit, ..stats });
        };
        let mut work = std::mem::take(&mut scratch.ivf);
        let result = scratch.prepare(query, self.rows.dim(), self.rows.stride()).map(|(query, beam, _)| {
            let stats = with_kernel!(self.model.metric, kernel => dispatch(
                self.level,
                QueryOp { target: self, kernel, query, set, plan, beam, work: &mut work },
            ));
            collect(beam, params.k, out);
            stats
        });
        scratch.ivf = work;
        result
    }

    /// How far to go, or `None` when the rows of the set are better compared one by one.
    fn plan(&self, params: &SearchParams, passing: u32) -> Option<Plan> {
        let most = passing as usize;
        let probing = self.probing.asked(params);
        if params.whole_rows {
            return None;
        }
        let ef = params.ef.max(params.k).min(most);
        let rerank = match probing.rerank {
            0 => ef,
            fixed => (fixed as usize).max(params.k).min(most),
        };
        let rerank = match params.rescore {
            Rescore::Usual => rerank,
            Rescore::Chosen => params.k.min(most),
            Rescore::AtLeast(rows) => rerank.max(rows.min(most)),
        };
        let share = passing as f32 / self.limit.max(1) as f32;
        let scan = match probing.lists {
            0 => ef as f64 * f64::from(probing.rows_per_candidate) / f64::from(share.sqrt()),
            // Lists are about as long as each other.
            lists => f64::from(self.limit) * f64::from(lists) / f64::from(self.model.list_count.max(1)),
        };
        let scan = (scan as u64).min(u64::from(self.limit));
        // Bytes read either way; comparing exactly is the better answer at the same price.
        let row_bytes = 4 * self.rows.stride() as u64;
        let scan_bytes = CODE_BYTE * scan * self.model.books.shape.block_bytes() as u64 / u64::from(ROWS)
            + (rerank as u64 + u64::from(self.model.list_count)) * row_bytes;
        if u64::from(passing) * row_bytes <= scan_bytes && u64::from(passing) <= params.max_distances {
            return None;
        }
        Some(Plan {
            k: params.k,
            rerank,
            scan,
            lists: probing.lists,
            wanted: if probing.lists == 0 { rerank } else { params.k.min(most) },
            sparse: share < SPARSE,
            max_distances: params.max_distances,
        })
    }
}

/// Rows below `limit` in the set.
fn passing(set: RowSet<'_>, limit: u32) -> u32 {
    match set {
        RowSet::All => limit,
        RowSet::Below(end) => end.min(limit),
        RowSet::Bitmap(words) => {
            let whole = (limit / 64) as usize;
            let full: u32 = words.iter().take(whole).map(|word| word.count_ones()).sum();
            let rest = words.get(whole).map_or(0, |word| word & ((1 << (limit % 64)) - 1));
            full + rest.count_ones()
        }
    }
}

struct QueryOp<'a, L, V, K> {
    target: &'a Target<'a, L, V>,
    kernel: K,
    /// As long as the rows' stride.
    query: &'a [f32],
    set: RowSet<'a>,
    plan: Plan,
    beam: &'a mut Beam,
    work: &'a mut Workspace,
}

impl<L: Lists, V: VectorView, K: Kernel> Op for QueryOp<'_, L, V, K> {
    type Output = SearchStats;

    fn run<I: Isa>(self, isa: I) -> SearchStats {
        let QueryOp { target, kernel, query, set, plan, beam, work } = self;
        let mut stats = SearchStats { covered: target.limit, ..SearchStats::default() };
        beam.pool.reset(plan.k.min(target.limit as usize));
        beam.batch.clear();
        if plan.k == 0 || plan.rerank == 0 {
            return stats;
        }
        let dim = target.rows.dim();
        let factor = if target.model.metric == Metric::InnerProduct { -1.0 } else { -2.0 };
        score_lists(isa, &target.model, &query[..dim], factor, work);
        work.query.clear();
        work.query.extend_from_slice(&query[..dim]);
        work.query.resize(target.model.books.shape.padded_dim(), 0.0);
        work.tables.fill(isa, &target.model.books, &work.query, factor);
        stats.distances += u64::from(target.model.list_count);

        let computer = RowComputer::new(isa, kernel, query, target.rows);
        let mut best = Best { keys: &mut work.candidates, rerank: plan.rerank, bound: f32::INFINITY };
        best.keys.clear();
        let (mut scanned, mut uncoded, mut ordered) = (0, 0, 0);
        for place in 0..work.order.len() {
            if place == ordered {
                ordered = order_next(&mut work.order, place);
            }
            let list = unpack_row(work.order[place]);
            if let Some(next) = work.order[..ordered].get(place + 1) {
                target.lists.prefetch(unpack_row(*next));
            }
            let held = best.keys.len() + uncoded;
            let far_enough = match plan.lists {
                0 => scanned >= plan.scan,
                lists => place >= lists as usize,
            };
            if far_enough && held >= plan.wanted {
                break;
            }
            if stats.distances + best.keys.len().min(plan.rerank) as u64 >= plan.max_distances {
                stats.stopped_early = true;
                break;
            }
            let count = target.lists.count(list);
            let base = work.bases[list as usize] + work.tables.offset;
            let scan = Scan { tables: &work.tables, base, set, limit: target.limit, sparse: plan.sparse };
            target.lists.for_each_run(list, count, |run| {
                // A block of codes is about as much work as a distance.
                stats.distances += scan.scan(isa, &run, &mut work.sums, &mut best);
            });
            for slot in target.lists.uncoded(list, count) {
                let row = slot.get();
                if row < target.limit && set.contains(row) {
                    uncoded += 1;
                    beam.batch.push(row);
                    if beam.batch.len() == BATCH_ROWS {
                        compare(&computer, beam, &mut stats);
                    }
                }
            }
            scanned += u64::from(count);
            stats.hops += 1;
        }
        best.cut();
        best.keys.sort_unstable();
        for key in &*best.keys {
            beam.batch.push(unpack_row(*key));
            if beam.batch.len() == BATCH_ROWS {
                compare(&computer, beam, &mut stats);
            }
        }
        compare(&computer, beam, &mut stats);
        stats
    }
}

/// Scores every list and puts the keys down without order.
///
/// Like the other two parts that take time (tables and scans), this is a call of its own that is compiled for the
/// instruction set as a whole; what is around them is compiled once for each kind of rows and lists.
#[inline(never)]
fn score_lists<I: Isa>(isa: I, model: &Model<'_>, query: &[f32], factor: f32, work: &mut Workspace) {
    isa.run(ListsOp { model, query, factor, work });
}

struct ListsOp<'a> {
    model: &'a Model<'a>,
    query: &'a [f32],
    factor: f32,
    work: &'a mut Workspace,
}

impl Op for ListsOp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, _isa: I) {
        let ListsOp { model, query, factor, work } = self;
        work.order.clear();
        work.bases.clear();
        let blocks = model.lists.norms.len();
        let mut block = 0;
        while block < blocks {
            let together = (blocks - block).min(4);
            let columns = [0, 1, 2, 3].map(|next| model.lists.block(block + next.min(together - 1)));
            let dots = dots_of_blocks(query, columns);
            for (dots, norms) in dots.iter().zip(&model.lists.norms[block..block + together]) {
                let first = work.bases.len();
                for lane in 0..LANES.min(model.list_count as usize - first) {
                    let base = bounded(factor * dots[lane]);
                    let norm = if model.metric == Metric::InnerProduct { 0.0 } else { norms[lane] };
                    work.bases.push(base);
                    work.order.push(pack(norm + base, (first + lane) as u32));
                }
            }
            block += together;
        }
    }
}

/// Puts the next lists in order; returns up to where they are.
fn order_next(order: &mut [u64], from: usize) -> usize {
    let rest = &mut order[from..];
    if rest.len() > ORDERED {
        let (first, _, _) = rest.select_nth_unstable(ORDERED);
        first.sort_unstable();
        from + ORDERED
    } else {
        rest.sort_unstable();
        order.len()
    }
}

/// The rows with the best estimates so far: twice as many as wanted, cut back when there is no more room.
struct Best<'a> {
    keys: &'a mut Vec<u64>,
    rerank: usize,
    /// Estimates above this are not among the best.
    bound: f32,
}

impl Best<'_> {
    #[inline(always)]
    fn push(&mut self, estimate: f32, row: u32) {
        self.keys.push(pack(estimate, row));
        if self.keys.len() >= 2 * self.rerank + SCAN_ROWS {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.keys.len() > self.rerank {
            let (_, last, _) = self.keys.select_nth_unstable(self.rerank - 1);
            self.bound = unpack_distance(*last);
            self.keys.truncate(self.rerank);
        }
    }
}

struct RunOp<'a, 'b, S> {
    scan: &'a Scan<'a>,
    run: &'a Run<'a, S>,
    sums: &'a mut Vec<u16>,
    best: &'a mut Best<'b>,
}

impl<S: Slot> Op for RunOp<'_, '_, S> {
    type Output = u64;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> u64 {
        self.scan.scan_blocks(isa, self.run, self.sums, self.best)
    }
}

/// What is needed to scan a list.
struct Scan<'a> {
    tables: &'a Tables,
    base: f32,
    set: RowSet<'a>,
    limit: u32,
    sparse: bool,
}

impl Scan<'_> {
    /// Scores the codes of a run and keeps the best; returns how many blocks were scored.
    #[inline(never)]
    fn scan<I: Isa, S: Slot>(
        &self,
        isa: I,
        run: &Run<'_, S>,
        sums: &mut Vec<u16>,
        best: &mut Best<'_>,
    ) -> u64 {
        isa.run(RunOp { scan: self, run, sums, best })
    }

    #[inline(always)]
    fn scan_blocks<I: Isa, S: Slot>(
        &self,
        isa: I,
        run: &Run<'_, S>,
        sums: &mut Vec<u16>,
        best: &mut Best<'_>,
    ) -> u64 {
        let entries = &self.tables.entries[..];
        let (rows, _) = run.rows.as_chunks::<SCAN_ROWS>();
        let (terms, _) = run.terms.as_chunks::<SCAN_ROWS>();
        sums.resize(run.rows.len().max(sums.len()), 0);
        if self.sparse {
            let mut scored = 0;
            let blocks = run.codes.chunks_exact(entries.len());
            for (number, (codes, rows)) in blocks.zip(rows).enumerate() {
                if rows.iter().any(|row| self.set.contains(row.get())) {
                    isa.fast_scan(codes, entries, &mut sums[..SCAN_ROWS]);
                    self.keep(&sums[..SCAN_ROWS], rows, terms.get(number), best);
                    scored += 1;
                }
            }
            return scored;
        }
        isa.fast_scan(run.codes, entries, &mut sums[..run.rows.len()]);
        for (number, (sums, rows)) in sums.chunks_exact(SCAN_ROWS).zip(rows).enumerate() {
            self.keep(sums, rows, terms.get(number), best);
        }
        rows.len() as u64
    }

    /// Keeps the rows of a block whose estimate is within the bound.
    #[inline(always)]
    fn keep<S: Slot>(
        &self,
        sums: &[u16],
        rows: &[S; SCAN_ROWS],
        terms: Option<&[f32; SCAN_ROWS]>,
        best: &mut Best<'_>,
    ) {
        let terms = terms.unwrap_or(&[0.0; SCAN_ROWS]);
        let estimate = |term: f32, sum: u16| term + (self.base + self.tables.scale * f32::from(sum));
        // Most blocks hold nothing: one minimum tells, taken in lanes. Only then are rows looked at.
        let mut least = [f32::INFINITY; LANES];
        for (terms, sums) in terms.as_chunks::<LANES>().0.iter().zip(sums.as_chunks::<LANES>().0) {
            for (least, (term, sum)) in least.iter_mut().zip(terms.iter().zip(sums)) {
                let estimate = estimate(*term, *sum);
                *least = if estimate < *least { estimate } else { *least };
            }
        }
        if !least.iter().any(|least| *least <= best.bound) {
            return;
        }
        for ((term, sum), row) in terms.iter().zip(sums).zip(rows) {
            let estimate = estimate(*term, *sum);
            if estimate <= best.bound {
                let row = row.get();
                if row < self.limit && self.set.contains(row) {
                    best.push(estimate, row);
                }
            }
        }
    }
}

fn compare<C: DistanceComputer>(computer: &C, beam: &mut Beam, stats: &mut SearchStats) {
    computer.score_batch(&beam.batch, beam.pool.bound(), &mut beam.fresh, REACH);
    beam.pool.merge(&mut beam.fresh);
    stats.distances += beam.batch.len() as u64;
    beam.batch.clear();
}
