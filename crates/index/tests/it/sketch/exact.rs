//! Distances returned are exact, on every path through the search.

use dvse_index::*;
use dvse_types::Metric;

use super::*;

/// (k, ef): the adaptive walk, ef below k, the plain beam by ef and by k, more wanted than there is.
const WANTED: [(usize, usize); 7] =
    [(10, 10), (10, 64), (40, 5), (100, 256), (10, 300), (300, 300), (300, 40)];

fn check_all_paths(index: &dyn AnnIndex, rows: &Rows, queries: &[f32], what: &str) {
    let (dim, n) = (index.dim(), rows.len() as usize);
    assert!(has_sketches(index), "{what}");
    let (half, few) = (bitmap(n, 2, 1), bitmap(n, 20, 2));
    let mut one = vec![0_u64; n.div_ceil(64)];
    one[n / 2 / 64] |= 1 << (n / 2 % 64);
    let sets = [
        ("all", RowSet::All),
        ("a half", RowSet::Bitmap(&half)),
        ("one in twenty", RowSet::Bitmap(&few)),
        ("one row", RowSet::Bitmap(&one)),
        ("the first", RowSet::Below(n as u32 / 3)),
        ("below the end", RowSet::Below(n as u32)),
        ("none", RowSet::Below(0)),
    ];
    for (number, query) in queries.chunks_exact(dim).enumerate() {
        let exact = exact_distances(rows.clone(), index.metric(), query);
        for (name, set) in sets {
            let members = (0..n as u32).filter(|row| set.contains(*row)).count();
            for (k, ef) in WANTED.into_iter().chain([(n + 50, 1), (n, n)]) {
                let what = format!("{what}, query {number}, {name}, k {k}, ef {ef}");
                let (found, stats) = search(index, query, SearchParams::new(k, ef), set);
                assert_eq!(found.len(), k.min(members), "{what}");
                assert!(!stats.stopped_early && stats.covered == n as u32, "{what}: {stats:?}");
                check_result(&found, &exact, set, &what);
            }
        }
    }
}

/// Dimensions for each layout: 24 is one line of 7 bits, 100 two, 200 two of 4 bits with every direction kept, 384 with
/// a projection.
#[test]
fn every_distance_is_exact_on_every_path() {
    let n = 2600;
    for dim in [24, 100, 200, 384] {
        for metric in METRICS {
            let mut values = prepared(clustered(n + 2, dim, 20, 11), dim, metric);
            let queries = values.split_off(n * dim);
            let rows = sealed_rows(&values, dim);
            let what = |which: &str| format!("dim {dim}, {metric:?}, {which}");
            if dim == 24 || dim == 384 {
                let index = linked(&values, dim, metric, quick());
                check_all_paths(&index, &rows, &queries, &what("growing rows"));
                check_all_paths(&sealed(&index, &values), &rows, &queries, &what("growing rows, opened"));
            }
            let index = linked_sealed(&values, dim, metric, quick());
            check_all_paths(&index, &rows, &queries, &what("sealed rows"));
        }
    }
}

/// All rows equal, equal in groups far larger than a list, and near the borders between: every row stays reachable and
/// is returned when all are asked for.
#[test]
fn every_row_of_many_duplicates_is_reachable_and_returned() {
    let n = 3200;
    type Group = fn(usize) -> usize;
    let orders: [(&str, Group); 4] = [
        ("all equal", |_| 0),
        ("groups of 80, mixed", |row| row % 40),
        ("groups of 80, in a row", |row| row / 80),
        ("one among equals", |row| usize::from(row == 1700)),
    ];
    for dim in [8, 200] {
        let distinct = clustered(40, dim, 8, 3);
        for (name, place) in orders {
            let values: Vec<f32> =
                (0..n).flat_map(|row| distinct[place(row) * dim..][..dim].to_vec()).collect();
            for metric in METRICS {
                let values = prepared(values.clone(), dim, metric);
                let rows = sealed_rows(&values, dim);
                let exact = exact_distances(rows, metric, &values[..dim]);
                let params = HnswParams { m: 8, ef_construction: 40, ..HnswParams::default() };
                let index = match dim {
                    8 => linked(&values, dim, metric, params),
                    _ => linked_sealed(&values, dim, metric, params),
                };
                let what = format!("{name}, dim {dim}, {metric:?}");
                assert!(has_sketches(&index), "{what}");
                let sealed = sealed(&index, &values);
                assert_eq!((index.reachable(), sealed.reachable()), (n as u32, n as u32), "{what}");
                for index in [&index as &dyn AnnIndex, &sealed] {
                    for k in [n, 100] {
                        let (found, _) = search(index, &values[..dim], SearchParams::new(k, k), RowSet::All);
                        assert_eq!(found.len(), k, "{what}, k {k}");
                        check_result(&found, &exact, RowSet::All, &what);
                    }
                }
            }
        }
    }
}

/// The square of such a query's distance is no float: estimates are infinite, and still there are answers.
#[test]
fn queries_and_rows_too_long_for_a_float_get_answers() {
    let (n, dim) = (700, 16);
    let params = SearchParams::new(10, 20);
    let wild = |values: Vec<f32>, query: Vec<f32>, what: &str| {
        for metric in [Metric::L2, Metric::InnerProduct] {
            let index = linked_sealed(&values, dim, metric, quick());
            for params in [params, SearchParams::new(10, 300)] {
                let (found, _) = search(&index, &query, params, RowSet::All);
                assert_eq!(found.len(), 10, "{what}, {metric:?}, {params:?}");
                assert!(found.iter().all(|neighbor| !neighbor.distance.is_nan()), "{what}: {found:?}");
            }
        }
    };
    let values = clustered(n, dim, 5, 1);
    wild(values.clone(), vec![1e25; dim], "a long query");
    wild(vec![1.0; n * dim], vec![1e25; dim], "a long query among equal rows");
    wild(values.iter().map(|x| x * 1e22).collect(), values[..dim].to_vec(), "long rows");
    wild(values.iter().map(|x| x * 1e-25).collect(), values[..dim].to_vec(), "short rows");
    wild(values.iter().map(|x| x * 1e-42).collect(), vec![0.0; dim], "rows below the normal floats");
}
