//! Odd data through every kind of index, every quantiser and every metric: whatever rows are like, an answer is complete,
//! its distances are those of its rows, and an index that was kept and opened answers as before.

use dvse_index::*;
use dvse_types::{Metric, NORM_SQUARED_MAX};

use crate::data::*;

/// Rows of some kind.
struct Odd {
    name: &'static str,
    dim: usize,
    values: Vec<f32>,
    /// Whether codes of whatever kind can tell the nearest row from the others.
    is_told_apart: bool,
}

fn odd_data() -> Vec<Odd> {
    let odd = |name, dim, values| Odd { name, dim, values, is_told_apart: true };
    let blurred = |name, dim, values| Odd { name, dim, values, is_told_apart: false };
    let some = clustered(600, 8, 6, 41);
    let every = |n: usize, of: &dyn Fn(usize, f32) -> f32| -> Vec<f32> {
        some.iter()
            .enumerate()
            .map(|(at, value)| if at / 8 % n == 0 { of(at, *value) } else { *value })
            .collect()
    };
    vec![
        odd("one row", 8, some[..8].to_vec()),
        odd("two rows", 8, some[..16].to_vec()),
        odd("fewer rows than a list has places", 8, some[..7 * 8].to_vec()),
        odd("all rows equal", 5, [0.5, -1.5, 2.0, 0.0, 3.25].repeat(600)),
        odd("all rows zero", 9, vec![0.0; 9 * 600]),
        odd("six values a hundred times", 8, some[..48].repeat(100)),
        odd("a third of the rows zero", 8, every(3, &|_, _| 0.0)),
        odd(
            "constant dimensions",
            12,
            some.chunks_exact(2)
                .flat_map(|pair| [pair[0], 7.5, 0.0, -2.0, pair[1], 1e4])
                .take(12 * 600)
                .collect(),
        ),
        odd("one dimension", 1, some[..600].to_vec()),
        odd("one dimension of few values", 1, some[..600].iter().map(|value| value.round()).collect()),
        blurred(
            "huge and tiny rows",
            8,
            every(2, &|at, value| value * if at / 16 % 2 == 0 { 1e17 } else { 1e-20 }),
        ),
        blurred(
            "a huge value in each row",
            8,
            some.iter().enumerate().map(|(at, value)| if at % 8 == 3 { 1e18 } else { *value }).collect(),
        ),
        odd("tiny rows", 8, some.iter().map(|value| value * 1e-20).collect()),
        blurred("denormal rows", 8, some.iter().map(|value| value * 1e-41).collect()),
        odd("huge rows", 8, some.iter().map(|value| value * 1e17).collect()),
        // The longest there may be, and others among them.
        odd("rows as long as may be", 8, longest(&some, 1)),
        blurred("every other row as long as may be", 8, longest(&some, 2)),
        odd("far from the origin", 8, some.iter().map(|value| value + 1000.0).collect()),
    ]
}

/// One in so many rows made as long as a collection lets it be.
fn longest(values: &[f32], one_in: usize) -> Vec<f32> {
    let length = (0.99 * NORM_SQUARED_MAX).sqrt() as f32;
    let mut rows = values.to_vec();
    for row in rows.chunks_exact_mut(8).step_by(one_in) {
        normalize(row);
        row.iter_mut().for_each(|value| *value *= length);
    }
    rows
}

/// Every kind of index by every quantiser.
fn kinds() -> Vec<IndexParams> {
    let graph = HnswParams { m: 8, ef_construction: 40, ..HnswParams::default() };
    let codes = [RowCodes::Scalar8].into_iter().chain([1, 2, 4, 8].map(|bits| RowCodes::RaBitQ { bits }));
    let graphs = [HnswParams { sketches: false, ..graph }, graph]
        .into_iter()
        .chain(codes.map(|codes| HnswParams { codes: Some(codes), ..graph }));
    let graphs = graphs.flat_map(|params| [true, false].map(|layers| HnswParams { layers, ..params }));
    let lists = IndexParams::Lists(IvfParams { lists: 8, sub_dim: 1, ..IvfParams::default() });
    graphs.map(IndexParams::Graph).chain([lists]).collect()
}

/// An index over rows that are all there from the start.
fn built(values: &[f32], dim: usize, metric: Metric, params: IndexParams) -> GrowingIndex {
    let rows = Rows::Sealed(MappedRows::from_values(values, dim).unwrap());
    let index = GrowingIndex::new(rows.clone(), rows.len(), metric, params).unwrap();
    while index.link_step(10_000, true, pool(2), &|| false).unwrap().is_some() {}
    index
}

fn reopened(index: &dyn AnnIndex, values: &[f32]) -> std::sync::Arc<dyn AnnIndex> {
    let mut sections = MemorySections::new();
    index.persist(&mut sections).unwrap();
    let rows = MappedRows::from_values(values, index.dim()).unwrap();
    open_index(&sections, rows, index.metric(), detect_level(), Placement::default()).unwrap()
}

/// The sum of what a distance is made of: what rounding it is measured by.
fn scale_of(metric: Metric, row: &[f32], query: &[f32]) -> f64 {
    let part = |(a, b): (&f32, &f32)| {
        let (a, b) = (f64::from(*a).abs(), f64::from(*b).abs());
        if metric == Metric::L2 { (a + b) * (a + b) } else { a * b }
    };
    row.iter().zip(query).map(part).sum::<f64>() + f64::from(u8::from(metric == Metric::Cosine))
}

/// What an answer promises: rows of the set, each once, in order, with the distances they have.
fn check_answer(what: &str, found: &[Neighbor], odd: &Odd, metric: Metric, query: &[f32], set: RowSet<'_>) {
    assert!(
        found.is_sorted_by(|a, b| (a.distance, a.row) < (b.distance, b.row)),
        "{what}: not in order, or no number: {found:?}"
    );
    for neighbor in found {
        assert!(set.contains(neighbor.row), "{what}: {neighbor:?} is hidden");
        let row = &odd.values[neighbor.row as usize * odd.dim..][..odd.dim];
        let exact = brute_force(row, odd.dim, metric, query)[0].0;
        let off = (exact - f64::from(neighbor.distance)).abs();
        // The second part is what floats cannot tell from 0.
        let slack = 1e-6 * scale_of(metric, row, query) + 1e-44 * odd.dim as f64;
        assert!(off <= slack, "{what}: {neighbor:?} is {exact} away");
    }
    let mut rows: Vec<u32> = found.iter().map(|neighbor| neighbor.row).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), found.len(), "{what}: a row twice");
}

fn bitmap(rows: usize, passes: impl Fn(usize) -> bool) -> Vec<u64> {
    let mut words = vec![0; rows.div_ceil(64)];
    (0..rows).filter(|row| passes(*row)).for_each(|row| words[row / 64] |= 1 << (row % 64));
    words
}

/// Asks for more than there is, for few, and for what a filter leaves.
fn check_index(what: &str, index: &dyn AnnIndex, odd: &Odd, metric: Metric) {
    let (dim, rows) = (odd.dim, odd.values.len() / odd.dim);
    assert_eq!(index.covered() as usize, rows, "{what}");
    let mut queries: Vec<&[f32]> = odd.values.chunks_exact(dim).step_by(rows.div_ceil(7)).collect();
    let (zero, ones) = (vec![0.0; dim], prepared(vec![1.0; dim], dim, metric));
    queries.extend([&zero[..], &ones]);
    let all: Vec<u64> = vec![u64::MAX; rows.div_ceil(64)];
    let last = bitmap(rows, |row| row == rows - 1);
    let later = bitmap(rows, |row| row >= rows / 2);
    let few = bitmap(rows, |row| row % 50 == 7);
    for (number, query) in queries.iter().enumerate() {
        for (name, set) in [
            ("all", RowSet::All),
            ("all by bits", RowSet::Bitmap(&all)),
            ("the last", RowSet::Bitmap(&last)),
            ("the later half", RowSet::Bitmap(&later)),
            ("one in fifty", RowSet::Bitmap(&few)),
            ("the first", RowSet::Below(1)),
            ("none", RowSet::Below(0)),
        ] {
            let passing = (0..rows as u32).filter(|row| set.contains(*row)).count();
            for (k, ef) in [(1, 64), (10, 64), (rows + 5, rows + 5)] {
                let what = format!("{what}, query {number}, set {name}, k {k}");
                let (found, stats) = search(index, query, SearchParams::new(k, ef), set);
                // What gives up says so, and the caller scans.
                if !stats.stopped_early {
                    assert_eq!(found.len(), k.min(passing), "{what}: {stats:?}");
                }
                check_answer(&what, &found, odd, metric, query, set);
                let (mut scanned, mut scratch) = (Vec::new(), Scratch::new());
                let params = SearchParams::new(k, ef);
                if index.scan(query, &params, set, &mut scratch, &mut scanned).unwrap().is_some() {
                    assert_eq!(scanned.len(), k.min(passing), "{what}, scanned");
                    check_answer(&format!("{what}, scanned"), &scanned, odd, metric, query, set);
                }
            }
        }
        // The nearest of all is found, by lists where all of them are looked into. Walks by product may end at a row that has
        // the largest of those around it, and of two values a code of single bits may take the one for the other.
        let is_coarse = matches!(
            index.built_with(),
            Some(IndexParams::Graph(HnswParams { codes: Some(RowCodes::RaBitQ { bits: 1 }), .. }))
        );
        if odd.is_told_apart && !is_coarse && metric != Metric::InnerProduct {
            let params = SearchParams { lists: 8, rerank: rows as u32, ..SearchParams::new(1, 64) };
            let (found, _) = search(index, query, params, RowSet::All);
            let nearest = brute_force(&odd.values, dim, metric, query)[0];
            let row = &odd.values[nearest.1 as usize * dim..][..dim];
            // From afar estimates have but the digits of a float.
            let slack = 1e-5 * scale_of(metric, row, query);
            let off = f64::from(found[0].distance) - nearest.0;
            assert!(off <= slack, "{what}, query {number}: {found:?}, the nearest is {nearest:?}");
        }
    }
}

fn same_answers(what: &str, one: &dyn AnnIndex, other: &dyn AnnIndex, odd: &Odd) {
    let rows = odd.values.len() / odd.dim;
    for query in odd.values.chunks_exact(odd.dim).step_by(rows.div_ceil(9)) {
        for k in [1, 10, rows] {
            let params = SearchParams::new(k, 50);
            let (found, _) = search(one, query, params, RowSet::All);
            assert_eq!(found, search(other, query, params, RowSet::All).0, "{what}, k {k}");
        }
    }
}

fn check_all(metric: Metric) {
    for odd in odd_data() {
        let odd = Odd { values: prepared(odd.values, odd.dim, metric), ..odd };
        let flat =
            FlatIndex::new(Rows::Sealed(MappedRows::from_values(&odd.values, odd.dim).unwrap()), metric);
        check_index(&format!("{}, {metric:?}, flat", odd.name), &flat, &odd, metric);
        for params in kinds() {
            let what = format!("{}, {metric:?}, {params:?}", odd.name);
            let index = built(&odd.values, odd.dim, metric, params);
            let sealed = reopened(&index, &odd.values);
            check_index(&what, &*sealed, &odd, metric);
            same_answers(&what, &*sealed, &*reopened(&*sealed, &odd.values), &odd);
            if let IndexParams::Graph(HnswParams { codes: None, .. }) = params {
                check_index(&format!("{what}, growing"), &index, &odd, metric);
                same_answers(&what, &index, &*sealed, &odd);
            }
        }
    }
}

#[test]
fn odd_rows_by_distance() {
    check_all(Metric::L2);
}

#[test]
fn odd_rows_by_product() {
    check_all(Metric::InnerProduct);
}

#[test]
fn odd_rows_by_cosine() {
    check_all(Metric::Cosine);
}
