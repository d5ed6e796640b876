//! Graphs whose rows have codes of a quantiser: what is found, kept, opened and refused.

use dvse_index::*;
use dvse_types::{Metric, Rescore};

use crate::data::*;
use crate::sections::check_cut_and_missing;

const CODES: [RowCodes; 5] = [
    RowCodes::Scalar8,
    RowCodes::RaBitQ { bits: 1 },
    RowCodes::RaBitQ { bits: 2 },
    RowCodes::RaBitQ { bits: 4 },
    RowCodes::RaBitQ { bits: 8 },
];

const SECTIONS: [&str; 2] = ["codes.center", "codes.rows"];

fn params(codes: RowCodes, layers: bool) -> HnswParams {
    HnswParams { m: 8, ef_construction: 60, layers, codes: Some(codes), ..HnswParams::default() }
}

fn kept(values: &[f32], dim: usize, metric: Metric, params: HnswParams) -> MemorySections {
    let index = linked(values, dim, metric, params);
    let mut sections = MemorySections::new();
    index.persist(&mut sections).unwrap();
    sections
}

fn open(
    sections: &MemorySections,
    values: &[f32],
    dim: usize,
    metric: Metric,
) -> Result<SealedHnsw, OpenIndexError> {
    SealedHnsw::open(sections, MappedRows::from_values(values, dim).unwrap(), metric)
}

fn recall(index: &SealedHnsw, values: &[f32], queries: &[f32], asked: SearchParams, scan: bool) -> f32 {
    let (dim, mut scratch, mut found) = (index.dim(), Scratch::new(), Vec::new());
    let recalls: Vec<f32> = queries
        .chunks_exact(dim)
        .map(|query| {
            let truth = brute_force(values, dim, index.metric(), query);
            if scan {
                assert!(index.scan(query, &asked, RowSet::All, &mut scratch, &mut found).unwrap().is_some());
            } else {
                index.search(query, &asked, RowSet::All, &mut scratch, &mut found).unwrap();
            }
            assert_eq!(found.len(), asked.k);
            // Whatever chose them, distances are those of the rows themselves, in order.
            assert!(found.is_sorted_by(|a, b| (a.distance, a.row) < (b.distance, b.row)));
            for neighbor in &found {
                let exact = truth.iter().find(|(_, row)| *row == neighbor.row).unwrap().0 as f32;
                assert!(
                    (exact - neighbor.distance).abs() <= 1e-4 * exact.abs().max(1.0),
                    "{exact} {neighbor:?}"
                );
            }
            let truth: Vec<f32> = truth.iter().take(asked.k).map(|(distance, _)| *distance as f32).collect();
            let found: Vec<f32> = found.iter().map(|neighbor| neighbor.distance).collect();
            recall_at(asked.k, &found, &truth, 1e-4)
        })
        .collect();
    RecallSummary::of(&recalls).unwrap().mean
}

fn base_and_queries(n: usize, dim: usize, metric: Metric) -> (Vec<f32>, Vec<f32>) {
    let mut values = prepared(clustered(n + 50, dim, 12, 8), dim, metric);
    let queries = values.split_off(n * dim);
    (values, queries)
}

/// 2 500 rows of 48 dimensions: the nearest ten at `ef` 100, by a walk over either graph and by a scan.
#[test]
fn the_nearest_are_found_by_any_codes() {
    let dim = 48;
    for metric in METRICS {
        let (values, queries) = base_and_queries(2500, dim, metric);
        for (number, codes) in CODES.into_iter().enumerate() {
            let layers = number % 2 == 0;
            let index =
                open(&kept(&values, dim, metric, params(codes, layers)), &values, dim, metric).unwrap();
            assert!(index.has_codes() && index.params().codes == Some(codes) && index.basis().is_none());
            // Codes of one bit want more candidates than others.
            let floor = match (codes, metric) {
                (RowCodes::RaBitQ { bits: 1 }, _) => 0.85,
                (_, Metric::InnerProduct) => 0.93,
                _ => 0.97,
            };
            for scan in [false, true] {
                let found = recall(&index, &values, &queries, SearchParams::new(10, 100), scan);
                println!("{metric:?} {codes:?} scan {scan}: {found}");
                assert!(found >= floor, "{metric:?} {codes:?} scan {scan}: {found} is below {floor}");
            }
        }
    }
}

/// Codes alone choose less well than codes and whole rows; whole rows alone are what a graph without codes reads.
#[test]
fn what_is_rescored_is_as_asked() {
    let dim = 48;
    let (values, queries) = base_and_queries(2500, dim, Metric::L2);
    let codes = RowCodes::RaBitQ { bits: 1 };
    let index = open(&kept(&values, dim, Metric::L2, params(codes, true)), &values, dim, Metric::L2).unwrap();
    let by = |rescore| {
        let asked = SearchParams { rescore, ..SearchParams::new(10, 60) };
        recall(&index, &values, &queries, asked, false)
    };
    let (chosen, usual, more) = (by(Rescore::Chosen), by(Rescore::Usual), by(Rescore::AtLeast(200)));
    println!("{chosen} {usual} {more}");
    assert!(chosen + 0.1 < usual && usual <= more && more > 0.95, "{chosen} {usual} {more}");
    let whole = SearchParams { whole_rows: true, ..SearchParams::new(10, 100) };
    assert!(recall(&index, &values, &queries, whole, false) > 0.98);
    let query = &queries[..dim];
    let (_, stats) =
        search(&index, query, SearchParams { rescore: Rescore::AtLeast(200), ..whole }, RowSet::All);
    assert!(stats.hops > 0);
}

#[test]
fn sets_budgets_and_empty_answers_hold() {
    let dim = 16;
    let (values, queries) = base_and_queries(1500, dim, Metric::L2);
    for codes in CODES {
        let index =
            open(&kept(&values, dim, Metric::L2, params(codes, true)), &values, dim, Metric::L2).unwrap();
        let words: Vec<u64> = (0..1500_usize.div_ceil(64))
            .map(|word| if word == 23 { 0x00ff } else { 0x1111_1111_1111_1111 })
            .collect();
        let passes = |row: u32| words[row as usize / 64] >> (row % 64) & 1 == 1;
        for query in queries.chunks_exact(dim).take(10) {
            let asked = SearchParams::new(10, 200);
            let (found, _) = search(&index, query, asked, RowSet::Bitmap(&words));
            assert!(
                found.len() == 10 && found.iter().all(|neighbor| passes(neighbor.row)),
                "{codes:?} {found:?}"
            );
            let nearest = brute_force(&values, dim, Metric::L2, query);
            let nearest: Vec<u32> =
                nearest.iter().map(|(_, row)| *row).filter(|row| passes(*row)).take(10).collect();
            let hit = found.iter().filter(|neighbor| nearest.contains(&neighbor.row)).count();
            assert!(hit >= 7, "{codes:?}: {hit}");
            let (found, _) = search(&index, query, asked, RowSet::Below(7));
            assert!(found.len() <= 7 && found.iter().all(|neighbor| neighbor.row < 7));
            let (found, stats) =
                search(&index, query, SearchParams { max_distances: 1, ..asked }, RowSet::All);
            assert!(stats.stopped_early && found.len() <= 10);
            assert!(search(&index, query, SearchParams::new(0, 5), RowSet::All).0.is_empty());
        }
    }
}

/// Constants, equal rows, zeros, a huge value, none or one row: answers are complete and exact.
#[test]
fn odd_rows_are_found() {
    let huge: Vec<f32> = (0..700).map(|at| if at % 70 == 3 { 1e9 } else { at as f32 % 5.0 }).collect();
    for (values, dim) in [
        (vec![0.0; 600], 2),
        ([1.0, 0.0, 0.0].repeat(200), 3),
        (vec![7.5; 100], 100),
        (huge, 7),
        (vec![3.0, 4.0], 2),
        (Vec::new(), 4),
    ] {
        let rows = values.len() / dim;
        for codes in CODES {
            let sections = kept(&values, dim, Metric::L2, params(codes, false));
            let index = open(&sections, &values, dim, Metric::L2).unwrap();
            assert_eq!(index.covered() as usize, rows);
            for query in values.chunks_exact(dim).take(20) {
                let (found, _) = search(&index, query, SearchParams::new(5, 64), RowSet::All);
                assert_eq!(found.len(), rows.min(5), "{codes:?} {dim}");
                assert_eq!(found[0].distance, 0.0, "{codes:?} {dim}");
            }
        }
    }
}

#[test]
fn kept_again_it_is_the_same_and_others_can_tell() {
    let dim = 20;
    let (values, _) = base_and_queries(300, dim, Metric::Cosine);
    for codes in CODES {
        let sections = kept(&values, dim, Metric::Cosine, params(codes, true));
        let index = open(&sections, &values, dim, Metric::Cosine).unwrap();
        let mut again = MemorySections::new();
        index.persist(&mut again).unwrap();
        assert!(again.iter().eq(sections.iter()));
        for other in CODES {
            let asked = IndexParams::Graph(params(other, true));
            assert_eq!(index.built_with().unwrap().builds_same(&asked), codes == other);
        }
        let plain = IndexParams::Graph(HnswParams { codes: None, ..params(codes, true) });
        assert!(!index.built_with().unwrap().builds_same(&plain));
        assert!(index.index_bytes() >= 300 * codes.row_bytes(dim) as u64);
    }
    let wrong = HnswParams { codes: Some(RowCodes::RaBitQ { bits: 3 }), ..HnswParams::default() };
    assert!(GrowingHnsw::new(growing_rows(&values, dim), 300, Metric::L2, wrong).is_err());
}

#[test]
fn codes_are_the_same_on_any_number_of_threads() {
    // More rows than are summed, and than are coded, at a time.
    let (dim, n) = (12, 9_000);
    let (values, _) = base_and_queries(n, dim, Metric::L2);
    for codes in CODES {
        let params = HnswParams { m: 4, ef_construction: 8, ..params(codes, false) };
        let index = linked(&values, dim, Metric::L2, params);
        let written = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut sections = MemorySections::new();
            index.persist_on((threads > 0).then_some(&pool), &mut sections).unwrap();
            let sections = sections.iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
            sections.collect::<Vec<_>>()
        };
        let alone = written(0);
        assert!(alone.iter().any(|(name, _)| name == "codes.rows"));
        for threads in [1, 3] {
            assert_eq!(written(threads), alone, "{codes:?}, {threads} threads");
        }
    }
}

#[test]
fn cut_and_missing_codes_are_named() {
    let (values, _) = base_and_queries(60, 5, Metric::L2);
    let sections = kept(&values, 5, Metric::L2, params(RowCodes::RaBitQ { bits: 2 }, true));
    check_cut_and_missing(&["codes.meta", "codes.center", "codes.rows"], &sections, |sections| {
        open(sections, &values, 5, Metric::L2).err()
    });
}

/// Every byte of the codes changed in three ways: refused with a name, or searched within bounds.
#[test]
fn each_byte_of_codes_flipped_is_an_error_or_an_answer() {
    let (values, _) = base_and_queries(40, 5, Metric::L2);
    for codes in [RowCodes::Scalar8, RowCodes::RaBitQ { bits: 1 }, RowCodes::RaBitQ { bits: 4 }] {
        let sections = kept(&values, 5, Metric::L2, params(codes, true));
        let (mut refused, mut answered) = (0, 0);
        for name in std::iter::once("codes.meta").chain(SECTIONS) {
            let len = sections.iter().find(|(other, _)| *other == name).unwrap().1.len();
            for at in 0..len {
                for flip in [1_u8, 0x80, 0xff] {
                    let mut damaged = sections.clone();
                    damaged.get_mut(name).unwrap()[at] ^= flip;
                    match open(&damaged, &values, 5, Metric::L2) {
                        Err(error) => {
                            refused += 1;
                            assert!(error.to_string().starts_with("section codes."), "{name} {at}: {error}");
                        }
                        Ok(index) => {
                            answered += 1;
                            let (found, _) =
                                search(&index, &values[..5], SearchParams::new(10, 40), RowSet::All);
                            assert!(
                                found
                                    .iter()
                                    .all(|neighbor| neighbor.row < 40 && neighbor.distance.is_finite())
                            );
                        }
                    }
                }
            }
        }
        assert!(refused > 100 && answered > 500, "{codes:?}: {refused} refused, {answered} answered");
    }
}
