//! Flat search is exact; a beam as wide as the graph is too.

use dvse_index::*;
use dvse_types::Metric;
use proptest::prelude::*;

use crate::data::*;

/// The result has the true distances (up to rounding), in order, ties by row, without repeats.
fn check_exact(found: &[Neighbor], truth: &[(f64, u32)], k: usize) {
    assert_eq!(found.len(), k.min(truth.len()));
    for (neighbor, (distance, _)) in found.iter().zip(truth) {
        let slack = 1e-4 * (1.0 + distance.abs());
        assert!((f64::from(neighbor.distance) - distance).abs() < slack, "{neighbor:?}, expected {distance}");
    }
    for pair in found.windows(2) {
        assert!((pair[0].distance, pair[0].row) < (pair[1].distance, pair[1].row), "{pair:?}");
    }
}

#[test]
fn flat_search_equals_brute_force_at_every_level() {
    for metric in METRICS {
        for dim in [1, 2, 15, 16, 17, 64, 100] {
            let values = prepared(clustered(300, dim, 5, 1), dim, metric);
            let query = prepared(clustered(1, dim, 1, 2), dim, metric);
            let truth = brute_force(&values, dim, metric, &query);
            for level in available_levels() {
                for rows in
                    [growing_rows(&values, dim), Rows::Sealed(MappedRows::from_values(&values, dim).unwrap())]
                {
                    let index = FlatIndex::new(rows, metric).with_level(*level);
                    for k in [0, 1, 10, 300, 1000] {
                        let (found, stats) = search(&index, &query, SearchParams::new(k, 1), RowSet::All);
                        check_exact(&found, &truth, k);
                        assert_eq!(stats.distances, if k == 0 { 0 } else { 300 });
                    }
                }
            }
        }
    }
}

#[test]
fn flat_scan_keeps_to_range_and_set() {
    let dim = 8;
    let values = clustered(500, dim, 5, 3);
    let index = FlatIndex::new(growing_rows(&values, dim), Metric::L2);
    let query = &values[..dim];
    let mut bitmap = vec![0_u64; 8];
    for row in (0..500).step_by(7) {
        bitmap[row / 64] |= 1 << (row % 64);
    }
    let sets = [
        RowSet::All,
        RowSet::Below(250),
        RowSet::Bitmap(&bitmap),
        RowSet::Bitmap(&bitmap[..2]),
        RowSet::Bitmap(&[]),
    ];
    for set in sets {
        for range in [0..500_u32, 100..300, 63..65, 64..64, 400..4000, 600..700] {
            let mut out = Vec::new();
            index.scan(query, 1000, range.clone(), set, &mut Scratch::new(), &mut out).unwrap();
            let mut rows: Vec<u32> = out.iter().map(|neighbor| neighbor.row).collect();
            rows.sort_unstable();
            let expected: Vec<u32> =
                (0..500).filter(|row| range.contains(row) && set.contains(*row)).collect();
            assert_eq!(rows, expected, "{set:?} {range:?}");
        }
    }
}

#[test]
fn a_query_of_another_dimension_is_refused() {
    let values = clustered(10, 8, 1, 3);
    let index = linked(&values, 8, Metric::L2, HnswParams::default());
    let flat = FlatIndex::new(growing_rows(&values, 8), Metric::L2);
    for index in [&index as &dyn AnnIndex, &flat] {
        let mut out = vec![Neighbor { row: 1, distance: 1.0 }];
        let params = SearchParams::new(1, 1);
        let result = index.search(&[0.0; 7], &params, RowSet::All, &mut Scratch::new(), &mut out);
        assert_eq!(result, Err(SearchError::Dimension { expected: 8, got: 7 }));
        assert!(out.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Every row is reachable after a flush, so a beam as wide as the graph finds them all.
    #[test]
    fn a_full_beam_is_exact(
        n in 0_usize..200,
        dim in 1_usize..20,
        seed in any::<u64>(),
        m in 4_u16..12,
        efc in 1_u16..40,
        distinct in 1_usize..200,
        metric in prop::sample::select(METRICS.to_vec()),
    ) {
        // Few distinct vectors make many duplicates.
        let pool_of = clustered(distinct, dim, 3, seed);
        let mut random = Random(seed);
        let values: Vec<f32> =
            (0..n).flat_map(|_| pool_of[random.below(distinct) * dim..][..dim].to_vec()).collect();
        let values = prepared(values, dim, metric);
        let params = HnswParams { m, ef_construction: efc, seed, ..HnswParams::default() };
        let index = linked(&values, dim, metric, params);
        prop_assert_eq!(index.reachable() as usize, n);
        let query = prepared(clustered(1, dim, 1, seed ^ 1), dim, metric);
        let truth = brute_force(&values, dim, metric, &query);
        let sealed = sealed(&index, &values);
        for k in [1, 10, n, n + 5] {
            let params = SearchParams::new(k, n.max(1));
            let (found, stats) = search(&index, &query, params, RowSet::All);
            check_exact(&found, &truth, k);
            let (from_sealed, sealed_stats) = search(&sealed, &query, params, RowSet::All);
            prop_assert_eq!(&found, &from_sealed);
            prop_assert_eq!(stats, sealed_stats);
        }
    }
}
