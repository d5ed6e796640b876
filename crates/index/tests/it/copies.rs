//! Copies: rows that equal each other, by the hundred. Each stays reachable, and none hides another value.

use dvse_index::*;
use dvse_types::Metric;

use crate::data::*;

/// `count` rows that repeat some values, each number moved by up to a part of its size.
fn copies(
    distinct: &[f32],
    dim: usize,
    count: usize,
    noise: f32,
    order: impl Fn(usize) -> usize,
) -> Vec<f32> {
    let mut random = Random(23);
    let row = |number: usize| distinct[order(number) * dim..][..dim].to_vec();
    (0..count).flat_map(row).map(|value| value * (1.0 + noise * (random.unit() - 0.5))).collect()
}

fn nsw(m: u16, ef_construction: u16, sketches: bool) -> HnswParams {
    HnswParams { m, ef_construction, sketches, layers: false, ..HnswParams::default() }
}

/// Each of the values is found at k 1 and `ef` 64, and as many of its copies as there are at a k that wants them all.
fn check(what: &str, index: &dyn AnnIndex, values: &[f32], distinct: &[f32], noise: f32) {
    let dim = index.dim();
    for query in distinct.chunks_exact(dim) {
        let truth = brute_force(values, dim, index.metric(), query);
        let near = |found: &[Neighbor], what: &str| {
            for (neighbor, (distance, _)) in found.iter().zip(&truth) {
                // Of near copies any will do.
                let off = f64::from(neighbor.distance) - distance;
                let scale = query.iter().map(|x| x * x).sum::<f32>().max(1.0);
                let slack = 1e-5 * scale + 40.0 * noise * scale.sqrt();
                assert!(off.abs() <= f64::from(slack), "{what}: {neighbor:?}, the nearest is at {distance}");
            }
        };
        for (k, ef) in [(1, 64), (10, 64), (50, 100)] {
            let (found, _) = search(index, query, SearchParams::new(k, ef), RowSet::All);
            assert_eq!(found.len(), k.min(values.len() / dim), "{what}, k {k}");
            near(&found, &format!("{what}, k {k}, ef {ef}"));
        }
    }
}

#[test]
fn each_value_is_found_and_each_row_reachable_however_many_copies_there_are() {
    for (rows, places, dim) in [(700, 7, 8), (700, 7, 3), (2000, 5, 16), (5000, 11, 12)] {
        for metric in METRICS {
            let distinct = prepared(clustered(places, dim, places, 31), dim, metric);
            for noise in [0.0, 1e-7] {
                for (order, place) in [
                    ("turn by turn", (|i, places, _| i % places) as fn(usize, usize, usize) -> usize),
                    ("one after the other", |i, places, rows| i * places / rows),
                ] {
                    let values = prepared(
                        copies(&distinct, dim, rows, noise, |i| place(i, places, rows)),
                        dim,
                        metric,
                    );
                    for params in
                        [nsw(16, 128, true), nsw(16, 128, false), nsw(4, 20, false), HnswParams::default()]
                    {
                        let index = linked(&values, dim, metric, params);
                        let what = format!(
                            "{rows} rows of {places}, {dim} dimensions, {metric:?}, noise {noise}, {order}, {params:?}"
                        );
                        assert_eq!(index.reachable() as usize, rows, "{what}");
                        // A walk of whole rows by product has room for one value alone, and may end where that is the best
                        // of those around it.
                        if metric != Metric::InnerProduct || (params.sketches && rows > 2048) {
                            check(&what, &index, &values, &distinct, noise);
                            check(&what, &sealed(&index, &values), &values, &distinct, noise);
                        }
                    }
                }
            }
        }
    }
}
