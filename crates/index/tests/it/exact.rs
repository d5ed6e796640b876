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

/// The order of rows by length, as a file would hold it.
fn norm_order(values: &[f32], dim: usize) -> Option<NormOrder> {
    let norms: Vec<f32> = values.chunks_exact(dim).map(|row| norm(row) as f32).collect();
    let lists = NormLists::sort(&norms)?;
    let norms = SectionBytes::from_vec(lists.norms.iter().flat_map(|norm| norm.to_le_bytes()).collect());
    let rows = SectionBytes::from_vec(lists.rows.iter().flat_map(|row| row.to_le_bytes()).collect());
    NormOrder::open(norms, rows, (values.len() / dim) as u32)
}

/// Rows of lengths that differ: each a thousand times as long at most as the shortest.
fn uneven(rows: usize, dim: usize, seed: u64, spread: f32) -> Vec<f32> {
    let mut values = clustered(rows, dim, 40, seed);
    for (number, row) in values.chunks_exact_mut(dim).enumerate() {
        let factor = spread.powf((number * 7919 % rows) as f32 / rows as f32);
        row.iter_mut().for_each(|value| *value *= factor);
    }
    values
}

#[test]
fn rows_left_out_by_their_length_change_no_answer() {
    let (rows, dim) = (5_000_usize, 12);
    let half: Vec<u64> =
        (0..rows.div_ceil(64)).map(|word| if word % 3 == 0 { 0 } else { u64::MAX }).collect();
    let few = vec![0b1001_u64; rows.div_ceil(64)];
    for metric in [Metric::L2, Metric::InnerProduct] {
        // Twice: at the edge of what floats hold, where distances overflow or come to nothing.
        for (spread, scale) in [(1000.0, 1.0), (2.0, 1.0), (1000.0, 1e15), (30.0, 1e-21), (1e6, 1e-40)] {
            let mut values = uneven(rows, dim, 5, spread);
            values.iter_mut().for_each(|value| *value *= scale);
            let matrix = Rows::Sealed(MappedRows::from_values(&values, dim).unwrap());
            let order = norm_order(&values, dim).unwrap();
            let zero = vec![0.0; dim];
            let far: Vec<f32> = values[..dim].iter().map(|value| value * -50.0).collect();
            let mut queries: Vec<&[f32]> = values.chunks_exact(dim).step_by(601).collect();
            queries.extend([&zero[..], &far]);
            for level in available_levels() {
                let plain = FlatIndex::new(matrix.clone(), metric).with_level(*level);
                let ordered = plain.clone().with_norms(order.clone());
                for query in &queries {
                    for set in
                        [RowSet::All, RowSet::Bitmap(&half), RowSet::Bitmap(&few), RowSet::Below(4_500)]
                    {
                        for k in [1, 10, 300, 4_999] {
                            let params = SearchParams::new(k, 1);
                            let (expected, _) = search(&plain, query, params, set);
                            let (found, _) = search(&ordered, query, params, set);
                            // Kernels of four rows and of one round differently, and who is with whom differs.
                            let length =
                                |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                            let alike = |(one, other): (&Neighbor, &Neighbor)| {
                                let row = &values[one.row as usize * dim..][..dim];
                                let scale = match metric {
                                    Metric::L2 => f64::from(one.distance),
                                    _ => length(query) * length(row),
                                };
                                let off = f64::from(one.distance) - f64::from(other.distance);
                                one == other || off.abs() <= 1e-5 * scale + 1e-37
                            };
                            let off = found.iter().zip(&expected).find(|pair| !alike(*pair));
                            assert!(
                                found.len() == expected.len() && off.is_none(),
                                "{metric:?}, {spread}, {scale}, k {k}, {level:?}: {off:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn rows_of_very_different_length_are_left_out() {
    let (rows, dim) = (20_000, 12);
    let values = uneven(rows, dim, 8, 1000.0);
    for metric in [Metric::L2, Metric::InnerProduct] {
        let index = FlatIndex::new(Rows::Sealed(MappedRows::from_values(&values, dim).unwrap()), metric)
            .with_norms(norm_order(&values, dim).unwrap());
        let compared =
            |query: &[f32]| search(&index, query, SearchParams::new(10, 1), RowSet::All).1.distances;
        let compared: u64 = values.chunks_exact(dim).step_by(1_999).map(compared).sum::<u64>() / 11;
        assert!(compared < rows as u64 / 3, "{metric:?}: {compared} of {rows} rows compared");
    }
}

#[test]
fn rows_of_one_length_are_not_ordered() {
    let values = prepared(clustered(500, 8, 5, 3), 8, Metric::Cosine);
    assert!(norm_order(&values, 8).is_none());
    assert!(NormLists::sort(&[]).is_none());
    assert!(NormLists::sort(&[0.0, 0.0]).is_none());
    let lists = NormLists::sort(&[3.0, 1.0, 2.0, 1.0]).unwrap();
    assert_eq!(lists, NormLists { norms: vec![1.0, 1.0, 2.0, 3.0], rows: vec![1, 3, 2, 0] });
}

#[test]
fn an_order_of_another_size_is_refused() {
    let bytes = |count: usize| SectionBytes::from_vec(vec![0; count]);
    assert!(NormOrder::open(bytes(8), bytes(8), 2).is_some());
    for (norms, rows) in [(8, 4), (4, 8), (12, 12), (7, 8), (0, 0)] {
        assert!(NormOrder::open(bytes(norms), bytes(rows), 2).is_none(), "{norms}, {rows}");
    }
}
