//! Graphs that live through any sequence of inserts, flushes, deletes and merges while rows keep coming.
//!
//! What `adopt` does step by step over rows that are all there, at random and over rows that grow: layered and flat graphs,
//! with sketches and without, with codes learned anew and inherited.

use dvse_index::*;
use dvse_types::Metric;
use proptest::prelude::*;

use crate::data::*;

const DIM: usize = 8;

/// Rows there are to take from: enough that a growing graph learns to make sketches on the way.
const SUPPLY: usize = 6000;

/// What may happen to a segment.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many rows are appended and linked, but for an incomplete batch; calls may stop half way.
    Grow(usize),
    /// All that is there is linked.
    Flush,
    /// Of a hundred live rows so many are deleted.
    Delete(u8),
    /// The segment is sealed and its live rows go on in another.
    Merge { step: u32, inherit: bool },
}

/// A segment that grows.
struct Segment {
    index: GrowingHnsw,
    writer: RowsWriter,
    /// Which of the supply each row is.
    ids: Vec<usize>,
    live: Vec<bool>,
}

impl Segment {
    fn new(metric: Metric, params: HnswParams, basis: Option<&SketchBasis>) -> Segment {
        let (writer, reader) = GrowingRows::with_capacity(DIM, SUPPLY).unwrap();
        let index = GrowingHnsw::new(Rows::Growing(reader), SUPPLY as u32, metric, params).unwrap();
        let index = basis.into_iter().fold(index, GrowingHnsw::with_basis);
        Segment { index, writer, ids: Vec::new(), live: Vec::new() }
    }

    fn append(&mut self, values: &[f32], id: usize) {
        self.writer.append(&values[id * DIM..][..DIM]).unwrap();
        self.ids.push(id);
        self.live.push(true);
    }

    fn rows(&self) -> u32 {
        self.ids.len() as u32
    }

    fn live_rows(&self) -> Vec<u32> {
        (0..self.rows()).filter(|row| self.live[*row as usize]).collect()
    }

    fn values(&self, values: &[f32]) -> Vec<f32> {
        self.ids.iter().flat_map(|id| &values[id * DIM..][..DIM]).copied().collect()
    }

    fn link(&self, flush: bool) {
        self.index.link(self.rows(), flush, pool(2), &|| false).unwrap();
    }

    /// The live rows in a segment of their own, taken over where that is allowed.
    fn merged(mut self, values: &[f32], step: u32, inherit: bool) -> Segment {
        self.check(values);
        let from = sealed(&self.index, &self.values(values));
        assert_eq!(from.reachable(), self.rows());
        let kept = self.live_rows();
        let basis = from.basis().filter(|_| inherit);
        let mut next = Segment::new(self.index.metric(), *self.index.params(), basis.as_ref());
        kept.iter().for_each(|row| next.append(values, self.ids[*row as usize]));
        if next.index.can_adopt(&from, kept.len() as u32) {
            while !next.index.adopt(&from, &kept, next.index.linked() + step, pool(2)).unwrap().done {}
            assert_eq!(next.index.linked(), next.rows());
            assert_eq!(next.index.reachable(), next.rows(), "a row taken over cannot be reached");
        }
        next
    }

    /// Flushed, every row is reached, and a search as wide as the segment returns every live row and no other.
    fn check(&mut self, values: &[f32]) {
        self.link(true);
        assert_eq!((self.index.linked(), self.index.reachable()), (self.rows(), self.rows()));
        let live = self.live_rows();
        let mut bits = vec![0_u64; self.ids.len().div_ceil(64)];
        live.iter().for_each(|row| bits[*row as usize / 64] |= 1 << (row % 64));
        let query = &values[..DIM];
        let asked = SearchParams::new(self.ids.len().max(1), self.ids.len().max(1));
        let (found, stats) = search(&self.index, query, asked, RowSet::Bitmap(&bits));
        let mut rows: Vec<u32> = found.iter().map(|neighbor| neighbor.row).collect();
        rows.sort_unstable();
        assert!(!stats.stopped_early);
        assert!(rows == live, "{} of {} live rows are found", rows.len(), live.len());
    }
}

fn run(values: &[f32], metric: Metric, params: HnswParams, steps: &[(Step, u64)]) {
    let mut segment = Segment::new(metric, params, None);
    let mut next = 0;
    for (step, seed) in steps {
        let mut random = Random(*seed);
        match *step {
            Step::Grow(count) => {
                for _ in 0..count {
                    segment.append(values, next % SUPPLY);
                    next += 1;
                    if random.below(200) == 0 {
                        let limit = random.below(3);
                        let asked = std::cell::Cell::new(0);
                        let stop = || asked.replace(asked.get() + 1) >= limit;
                        segment.index.link(segment.rows(), false, pool(2), &stop).unwrap();
                    }
                }
                segment.link(false);
            }
            Step::Flush => segment.link(true),
            Step::Delete(percent) => {
                let gone = |live: &mut bool| *live &= random.below(100) >= usize::from(percent);
                segment.live.iter_mut().for_each(gone);
            }
            Step::Merge { step, inherit } => segment = segment.merged(values, step, inherit),
        }
    }
    segment.check(values);
}

fn steps() -> impl Strategy<Value = Vec<(Step, u64)>> {
    let step = prop_oneof![
        4 => (1_usize..900).prop_map(Step::Grow),
        1 => Just(Step::Flush),
        3 => (1_u8..=60).prop_map(Step::Delete),
        3 => (1_u32..700, any::<bool>()).prop_map(|(step, inherit)| Step::Merge { step, inherit }),
    ];
    prop::collection::vec((step, any::<u64>()), 1..9)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn every_live_row_is_reached_whatever_came_before(
        metric in prop::sample::select(METRICS.to_vec()),
        layers in any::<bool>(),
        sketches in any::<bool>(),
        // Short lists and poor candidates lose most rows; others take other paths.
        m in prop::sample::select(vec![4_u16, 4, 10]),
        distinct in prop::sample::select(vec![1_usize, 60, SUPPLY, SUPPLY]),
        steps in steps(),
    ) {
        let pool_of = clustered(distinct, DIM, 8, 3);
        let values: Vec<f32> = (0..SUPPLY).flat_map(|id| pool_of[id % distinct * DIM..][..DIM].to_vec()).collect();
        let values = prepared(values, DIM, metric);
        let params = HnswParams { m, ef_construction: 2 * m, layers, sketches, ..HnswParams::default() };
        run(&values, metric, params, &steps);
    }
}

/// Each form of graph past the rows at which it learns to make sketches, with a merge on either side of them.
#[test]
fn every_row_is_reached_after_growth_and_merges_of_each_form() {
    let merge = |inherit| Step::Merge { step: 333, inherit };
    let steps: Vec<(Step, u64)> = [
        Step::Grow(1500),
        Step::Delete(20),
        merge(false),
        Step::Grow(1700),
        Step::Delete(30),
        merge(true),
        Step::Grow(400),
        Step::Flush,
        Step::Grow(150),
        Step::Delete(60),
        merge(true),
        Step::Grow(300),
    ]
    .into_iter()
    .zip(0..)
    .collect();
    for metric in METRICS {
        let values = prepared(clustered(SUPPLY, DIM, 8, 3), DIM, metric);
        for layers in [true, false] {
            for sketches in [true, false] {
                let params =
                    HnswParams { m: 4, ef_construction: 8, layers, sketches, ..HnswParams::default() };
                run(&values, metric, params, &steps);
            }
        }
    }
}
