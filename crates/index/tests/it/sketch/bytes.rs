//! Rows of whole numbers are compared as bytes: the same answers, at every level, for every query.

use dvse_index::*;
use dvse_types::Metric;

use super::*;

const ROWS: usize = 700;

/// Rows of whole numbers from 0 to 255, in clusters.
fn whole(n: usize, dim: usize, seed: u64) -> Vec<f32> {
    clustered(n, dim, 5, seed).iter().map(|x| (x * 40.0 + 128.0).round().clamp(0.0, 255.0)).collect()
}

fn without_bytes(sections: &MemorySections) -> MemorySections {
    let mut kept = MemorySections::new();
    for (name, bytes) in sections.iter().filter(|(name, _)| *name != "rows.bytes") {
        kept.begin(name).unwrap();
        kept.append(bytes).unwrap();
    }
    kept
}

#[test]
fn answers_are_those_of_the_floats() {
    for dim in [5, 64, 131, 300] {
        for metric in [Metric::L2, Metric::InnerProduct] {
            let mut values = whole(ROWS + 20, dim, 3);
            let mut queries = values.split_off(ROWS * dim);
            // Every other query has a value that is no byte.
            for (number, query) in
                queries.chunks_exact_mut(dim).enumerate().filter(|(number, _)| number % 2 == 1)
            {
                query[number % dim] += 0.5;
            }
            let index = linked_sealed(&values, dim, metric, quick());
            let sections = kept(&index);
            assert!(sections.section("rows.bytes").is_some());
            let open = |sections: &MemorySections, level| {
                let rows = MappedRows::from_values(&values, dim).unwrap();
                SealedHnsw::open(sections, rows, metric).unwrap().with_level(level)
            };
            for level in available_levels() {
                let (bytes, floats) = (open(&sections, *level), open(&without_bytes(&sections), *level));
                // They are rows, not index.
                assert_eq!(bytes.index_bytes(), floats.index_bytes());
                for query in queries.chunks_exact(dim) {
                    for set in [RowSet::All, RowSet::Bitmap(&[0x5555_5555_5555_5555; 11])] {
                        let params = SearchParams::new(10, 200);
                        let (first, stats) = search(&bytes, query, params, set);
                        let (second, same) = search(&floats, query, params, set);
                        assert_eq!(stats, same);
                        assert_eq!(first.len(), 10);
                        for (first, second) in first.iter().zip(&second) {
                            // Sums of floats round, sums of bytes do not; equal ones may change places.
                            let what = format!("dim {dim}, {metric:?}, {level}: {first:?}, {second:?}");
                            let close =
                                (first.distance - second.distance).abs() <= second.distance.abs() * 1e-5;
                            assert!(close, "{what}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn vectors_of_unit_length_are_not_bytes() {
    let (dim, metric) = (8, Metric::Cosine);
    // Whole numbers, and of length 1.
    let mut values = vec![0.0; ROWS * dim];
    for (row, vector) in values.chunks_exact_mut(dim).enumerate() {
        vector[row % dim] = 1.0;
    }
    let index = linked_sealed(&values, dim, metric, quick());
    assert!(kept(&index).section("rows.bytes").is_none());
}

#[test]
fn bytes_are_kept_again_and_refused_in_another_size() {
    let dim = 20;
    let values = whole(ROWS, dim, 4);
    let sections = kept(&linked_sealed(&values, dim, Metric::L2, quick()));
    let rows = || MappedRows::from_values(&values, dim).unwrap();
    let opened = SealedHnsw::open(&sections, rows(), Metric::L2).unwrap();
    assert!(kept(&opened).iter().eq(sections.iter()));
    let mut shorter = without_bytes(&sections);
    shorter.begin("rows.bytes").unwrap();
    shorter.append(&[0; 64]).unwrap();
    let refused = SealedHnsw::open(&shorter, rows(), Metric::L2).unwrap_err();
    let size = OpenIndexError::Size { section: "rows.bytes", expected: 64 * ROWS as u64, got: 64 };
    assert_eq!(refused.to_string(), size.to_string());
}
