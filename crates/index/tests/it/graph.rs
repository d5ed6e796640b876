//! What a linked graph keeps to: determinism, reachability, recall, masks.

use std::sync::atomic::{AtomicBool, Ordering};

use dvse_index::*;
use dvse_types::Metric;

use crate::data::*;

fn sections(index: &GrowingHnsw) -> Vec<(String, Vec<u8>)> {
    let mut sections = MemorySections::new();
    index.persist(&mut sections).unwrap();
    sections.iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect()
}

/// Mean recall@10 over queries drawn from the same clusters.
fn recall(
    index: &dyn AnnIndex,
    values: &[f32],
    queries: &[f32],
    ef: usize,
    set: RowSet<'_>,
    allowed: impl Fn(u32) -> bool,
) -> RecallSummary {
    let dim = index.dim();
    let mut recalls = Vec::new();
    for query in queries.chunks_exact(dim) {
        let mut truth = brute_force(values, dim, index.metric(), query);
        truth.retain(|(_, row)| allowed(*row));
        let truth: Vec<f32> = truth.iter().take(10).map(|(distance, _)| *distance as f32).collect();
        let (found, _) = search(index, query, SearchParams::new(10, ef), set);
        assert!(found.iter().all(|neighbor| allowed(neighbor.row)), "a hidden row was returned");
        let found: Vec<f32> = found.iter().map(|neighbor| neighbor.distance).collect();
        recalls.push(recall_at(10, &found, &truth, 1e-4));
    }
    RecallSummary::of(&recalls).unwrap()
}

/// A base and queries of the same clusters.
fn base_and_queries(n: usize, dim: usize, metric: Metric) -> (Vec<f32>, Vec<f32>) {
    let mut values = prepared(clustered(n + 100, dim, 20, 11), dim, metric);
    let queries = values.split_off(n * dim);
    (values, queries)
}

#[test]
fn the_graph_does_not_depend_on_threads_or_on_how_calls_are_cut() {
    let (n, dim) = (3000, 24);
    for metric in METRICS {
        let (values, _) = base_and_queries(n, dim, metric);
        let params = HnswParams { m: 8, ef_construction: 40, ..HnswParams::default() };
        let reference = sections(&linked(&values, dim, metric, params));
        for threads in [1, 4] {
            let index = GrowingHnsw::new(growing_rows(&values, dim), n as u32, metric, params).unwrap();
            index.link(n as u32, true, pool(threads), &|| false).unwrap();
            assert!(sections(&index) == reference, "{threads} threads, {metric:?}");
        }
        // Rows arrive while others are linked; calls stop half way.
        let (mut writer, reader) = GrowingRows::with_capacity(dim, n).unwrap();
        let index = GrowingHnsw::new(Rows::Growing(reader), n as u32, metric, params).unwrap();
        append_and_link(&mut writer, &values, |upto, stop| {
            let progress = index.link(upto, false, pool(2), stop).unwrap();
            assert_eq!(progress.linked, index.linked());
            progress.linked
        });
        index.link(n as u32, true, pool(2), &|| false).unwrap();
        assert!(sections(&index) == reference, "cut into calls, {metric:?}");
    }
}

#[test]
fn another_seed_is_another_graph() {
    let (values, _) = base_and_queries(500, 8, Metric::L2);
    let graph = |seed| {
        let params = HnswParams { seed, m: 8, ..HnswParams::default() };
        sections(&linked(&values, 8, Metric::L2, params))
    };
    assert!(graph(1) == graph(1));
    assert!(graph(1) != graph(2));
}

/// 6 000 rows of 32 dimensions in 20 overlapping clusters, m 12, `ef_construction` 100: recall@10 at ef 32 is at
/// least 0.99 for L2 and cosine and 0.87 for the inner product (unnormalised, which HNSW is not made for), at 128
/// 0.995 and 0.96.
#[test]
fn recall_floors_hold_at_every_level() {
    let (n, dim) = (6000, 32);
    for metric in METRICS {
        let (values, queries) = base_and_queries(n, dim, metric);
        let params = HnswParams { m: 12, ef_construction: 100, ..HnswParams::default() };
        let floors = if metric == Metric::InnerProduct { [0.87, 0.96] } else { [0.99, 0.995] };
        for level in available_levels() {
            let rows = growing_rows(&values, dim);
            let index = GrowingHnsw::new(rows, n as u32, metric, params).unwrap().with_level(*level);
            index.link(n as u32, true, pool(2), &|| false).unwrap();
            for (ef, floor) in [32, 128].into_iter().zip(floors) {
                let got = recall(&index, &values, &queries, ef, RowSet::All, |_| true);
                println!("{metric:?} {level} ef {ef}: {got:?}");
                assert!(got.mean >= floor, "{metric:?} {level} ef {ef}: {got:?} is below {floor}");
            }
        }
    }
}

/// Rows of one batch that ignored each other would miss their nearest: those follow each other here.
#[test]
fn recall_holds_for_data_in_an_order_of_likeness() {
    let (n, dim) = (6000, 32);
    let (values, queries) = base_and_queries(n, dim, Metric::L2);
    // Groups of 8 near-equal rows, one group after the other.
    let mut random = Random(3);
    let values: Vec<f32> = values
        .chunks_exact(dim)
        .take(n / 8)
        .flat_map(|row| row.repeat(8))
        .map(|value| value + 0.3 * random.normal())
        .collect();
    let index =
        linked(&values, dim, Metric::L2, HnswParams { ef_construction: 100, ..HnswParams::default() });
    let got = recall(&index, &values, &queries, 64, RowSet::All, |_| true);
    assert!(got.mean >= 0.97, "{got:?}");
}

#[test]
fn several_expansions_a_step_and_any_prefetch_find_the_same_neighbours() {
    let (values, queries) = base_and_queries(3000, 32, Metric::L2);
    let index = linked(&values, 32, Metric::L2, HnswParams::default());
    let mut sections = MemorySections::new();
    index.persist(&mut sections).unwrap();
    for expansions in [1, 2, 5] {
        for (rows_ahead, lines) in [(0, 0), (1, 100), (100, 1), (7, 3)] {
            let traversal = Traversal { expansions, prefetch: Prefetch { rows_ahead, lines } };
            let rows = MappedRows::from_values(&values, 32).unwrap();
            let sealed = SealedHnsw::open(&sections, rows, Metric::L2).unwrap().with_traversal(traversal);
            let got = recall(&sealed, &values, &queries, 64, RowSet::All, |_| true);
            assert!(got.mean >= 0.98, "{traversal:?}: {got:?}");
        }
    }
}

#[test]
fn every_row_is_reachable_in_any_order_and_among_duplicates() {
    let dim = 6;
    let distinct = clustered(400, dim, 8, 3);
    let mut random = Random(9);
    let orders: Vec<(&str, Vec<usize>)> = vec![
        ("in order", (0..400).collect()),
        ("backwards", (0..400).rev().collect()),
        ("at random", (0..2000).map(|_| random.below(400)).collect()),
        ("each many times in a row", (0..2000).map(|i| i / 100).collect()),
        ("all equal", vec![7; 3000]),
        ("one among equals", (0..1500).map(|i| usize::from(i == 700)).collect()),
    ];
    for (name, order) in orders {
        let values: Vec<f32> = order.iter().flat_map(|i| distinct[i * dim..][..dim].to_vec()).collect();
        for metric in METRICS {
            let values = prepared(values.clone(), dim, metric);
            for params in [
                HnswParams { m: 4, ef_construction: 8, ..HnswParams::default() },
                HnswParams { m: 16, ef_construction: 100, ..HnswParams::default() },
            ] {
                let index = linked(&values, dim, metric, params);
                assert_eq!(index.reachable() as usize, order.len(), "{name}, {metric:?}, {params:?}");
                let sealed = sealed(&index, &values);
                assert_eq!(sealed.reachable() as usize, order.len());
                let all = SearchParams::new(order.len(), order.len());
                let (found, _) = search(&sealed, &values[..dim], all, RowSet::All);
                assert_eq!(found.len(), order.len(), "{name}, {metric:?}");
            }
        }
    }
}

#[test]
fn islands_of_duplicates_do_not_hide_each_other() {
    // 30 places with many equal vectors each: a search at any place finds vectors of that place.
    let dim = 8;
    for metric in [Metric::L2, Metric::Cosine] {
        let places = prepared(clustered(30, dim, 30, 5), dim, metric);
        for copies in [100, 400] {
            let values: Vec<f32> =
                (0..30 * copies).flat_map(|i| places[i % 30 * dim..][..dim].to_vec()).collect();
            let index = linked(&values, dim, metric, HnswParams::default());
            for place in places.chunks_exact(dim) {
                let (found, _) = search(&index, place, SearchParams::new(10, 32), RowSet::All);
                assert!(
                    found.iter().all(|neighbor| neighbor.distance < 1e-3),
                    "{metric:?} {copies}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn masked_search_finds_what_the_mask_leaves() {
    let (n, dim) = (5000, 24);
    let (values, queries) = base_and_queries(n, dim, Metric::L2);
    let index = linked(&values, dim, Metric::L2, HnswParams::default());
    let sealed = sealed(&index, &values);
    let mut random = Random(17);
    for one_in in [2, 10, 100, 1000] {
        let mut bits = vec![0_u64; n / 64 + 1];
        for row in 0..n {
            if random.below(one_in) == 0 {
                bits[row / 64] |= 1 << (row % 64);
            }
        }
        let set = RowSet::Bitmap(&bits);
        for index in [&index as &dyn AnnIndex, &sealed] {
            let got = recall(index, &values, &queries, 64, set, |row| set.contains(row));
            println!("one in {one_in}: {got:?}");
            assert!(got.mean >= 0.98, "one in {one_in}: {got:?}");
        }
    }
    let below = RowSet::Below(1000);
    let got = recall(&sealed, &values, &queries, 64, below, |row| row < 1000);
    assert!(got.mean >= 0.98, "{got:?}");
    let (found, _) = search(&sealed, &queries[..dim], SearchParams::new(10, 64), RowSet::Bitmap(&[]));
    assert!(found.is_empty());
}

#[test]
fn the_cap_on_distances_ends_a_search_and_is_reported() {
    let (n, dim) = (5000, 24);
    let (values, queries) = base_and_queries(n, dim, Metric::L2);
    let index = linked(&values, dim, Metric::L2, HnswParams::default());
    // A single row passes: without a cap the whole graph is walked.
    let mut bits = vec![0_u64; n / 64 + 1];
    bits[3] = 1;
    for set in [RowSet::Bitmap(&bits), RowSet::All] {
        for cap in [1, 100, 1000] {
            let params = SearchParams { max_distances: cap, ..SearchParams::new(10, n) };
            let (_, stats) = search(&index, &queries[..dim], params, set);
            assert!(stats.stopped_early, "{set:?}, cap {cap}: {stats:?}");
            // The batch in hand is finished, and the descent is not cut short.
            assert!(stats.distances < cap + 400, "{set:?}, cap {cap}: {stats:?}");
        }
        let (found, stats) = search(&index, &queries[..dim], SearchParams::new(10, n), set);
        assert!(!stats.stopped_early);
        assert_eq!(found.len(), if matches!(set, RowSet::All) { 10 } else { 1 });
    }
}

#[test]
fn empty_and_single_graphs_answer() {
    let params = SearchParams::new(10, 10);
    let empty = linked(&[], 3, Metric::L2, HnswParams::default());
    let (found, stats) = search(&empty, &[0.0; 3], params, RowSet::All);
    assert!(found.is_empty() && stats.covered == 0);
    assert_eq!(search(&sealed(&empty, &[]), &[0.0; 3], params, RowSet::All).0, vec![]);
    let one = linked(&[1.0, 2.0, 2.0], 3, Metric::L2, HnswParams::default());
    for index in [&one as &dyn AnnIndex, &sealed(&one, &[1.0, 2.0, 2.0])] {
        let (found, stats) = search(index, &[0.0; 3], params, RowSet::All);
        assert_eq!(found, vec![Neighbor { row: 0, distance: 9.0 }]);
        assert_eq!(stats.covered, 1);
        assert!(search(index, &[0.0; 3], SearchParams::new(0, 10), RowSet::All).0.is_empty());
        assert!(search(index, &[0.0; 3], params, RowSet::Below(0)).0.is_empty());
    }
}

#[test]
fn linking_past_the_rows_or_the_capacity_is_refused() {
    let values = clustered(100, 4, 2, 1);
    let index = GrowingHnsw::new(growing_rows(&values, 4), 150, Metric::L2, HnswParams::default()).unwrap();
    let never = || false;
    assert_eq!(index.link(101, true, pool(1), &never), Err(LinkError::NoSuchRows { upto: 101, rows: 100 }));
    assert_eq!(index.link(151, true, pool(1), &never), Err(LinkError::Full { upto: 151, rows_max: 150 }));
    assert_eq!(index.link(100, true, pool(1), &|| true), Ok(LinkProgress { linked: 0, done: false }));
    assert_eq!(index.link(100, true, pool(1), &never), Ok(LinkProgress { linked: 100, done: true }));
    assert_eq!(index.link(50, true, pool(1), &never), Ok(LinkProgress { linked: 100, done: true }));
}

#[test]
fn parameters_out_of_range_are_named() {
    let wrong = [
        (HnswParams { m: 3, ..HnswParams::default() }, "m is 3, it must be 4 to 128"),
        (
            HnswParams { ef_construction: 0, ..HnswParams::default() },
            "ef_construction is 0, it must be 1 to 4096",
        ),
        (HnswParams { alpha: f32::NAN, ..HnswParams::default() }, "alpha is NaN, it must be 1 to 2"),
        (HnswParams { batch_max: 0, ..HnswParams::default() }, "batch_max is 0, it must be 1 to 4096"),
    ];
    for (params, message) in wrong {
        assert_eq!(params.check().unwrap_err().to_string(), message);
    }
}

/// Readers search while rows are appended and linked; every answer is right for the rows it covers.
#[test]
fn searches_go_on_while_rows_are_linked() {
    let (n, dim) = (4000, 16);
    let values = clustered(n, dim, 10, 21);
    let (mut writer, reader) = GrowingRows::with_capacity(dim, n).unwrap();
    let params = HnswParams { m: 8, ef_construction: 60, ..HnswParams::default() };
    let index = GrowingHnsw::new(Rows::Growing(reader), n as u32, Metric::L2, params).unwrap();
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let search_on = || {
            let mut random = Random(33);
            let (mut scratch, mut out) = (Scratch::new(), Vec::new());
            let (mut searches, mut hits, mut last) = (0, 0, 0);
            while !finished.load(Ordering::Relaxed) || searches == 0 {
                let row = random.below((index.linked() as usize).max(1));
                let query = &values[row * dim..][..dim];
                let params = SearchParams::new(10, 40);
                let stats = index.search(query, &params, RowSet::All, &mut scratch, &mut out).unwrap();
                assert!(stats.covered >= last, "the graph shrank");
                last = stats.covered;
                assert!(out.iter().all(|neighbor| neighbor.row < stats.covered));
                assert_eq!(out.len(), 10.min(stats.covered as usize));
                for neighbor in &out {
                    let vector = &values[neighbor.row as usize * dim..][..dim];
                    let distance: f32 = vector.iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum();
                    assert!((distance - neighbor.distance).abs() <= 1e-3 * (1.0 + distance));
                }
                if stats.covered > row as u32 {
                    searches += 1;
                    hits += u32::from(out[0].distance == 0.0);
                }
            }
            assert!(hits * 100 >= searches * 98, "{hits} of {searches} rows found themselves");
        };
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(search_on)).collect();
        for row in values.chunks_exact(dim) {
            let appended = writer.append(row).unwrap() + 1;
            if appended % 100 == 0 {
                index.link(appended, false, pool(2), &|| false).unwrap();
            }
        }
        index.link(n as u32, true, pool(2), &|| false).unwrap();
        finished.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}
