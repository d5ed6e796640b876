//! Sketches are kept and opened; damaged ones are refused or answer within their bounds.

use dvse_index::*;
use dvse_types::Metric;

use super::*;

const ROWS: usize = 520;
const NAMES: [&str; 6] =
    ["sketch.meta", "sketch.mean", "sketch.scales", "sketch.matrix", "sketch.entries", "sketch.codes"];

fn small(dim: usize, metric: Metric) -> (Vec<f32>, GrowingHnsw, MemorySections) {
    let values = prepared(clustered(ROWS, dim, 3, 1), dim, metric);
    let params = HnswParams { m: 4, ef_construction: 16, ..HnswParams::default() };
    let index = linked_sealed(&values, dim, metric, params);
    let sections = kept(&index);
    (values, index, sections)
}

fn open(sections: &MemorySections, values: &[f32], dim: usize) -> Result<SealedHnsw, OpenIndexError> {
    SealedHnsw::open(sections, MappedRows::from_values(values, dim).unwrap(), Metric::L2)
}

/// Opens what an opened index kept again.
fn sealed_from(index: &SealedHnsw, values: &[f32]) -> SealedHnsw {
    let rows = MappedRows::from_values(values, index.dim()).unwrap();
    SealedHnsw::open(&kept(index), rows, index.metric()).unwrap()
}

fn without(sections: &MemorySections, gone: &[&str]) -> MemorySections {
    let mut kept = MemorySections::new();
    for (name, bytes) in sections.iter().filter(|(name, _)| !gone.contains(name)) {
        kept.begin(name).unwrap();
        kept.append(bytes).unwrap();
    }
    kept
}

#[test]
fn an_opened_index_answers_as_the_one_kept() {
    for dim in [5, 100, 200, 260] {
        for metric in METRICS {
            let (values, index, sections) = small(dim, metric);
            let opened = sealed(&index, &values);
            let again = sealed_from(&opened, &values);
            for copy in [&opened, &again] {
                assert!(kept(copy).iter().eq(sections.iter()), "dim {dim}, {metric:?}");
            }
            for query in values.chunks_exact(dim).step_by(13) {
                for (k, ef) in [(7, 20), (7, 300), (7, 3)] {
                    let params = SearchParams::new(k, ef);
                    for set in [RowSet::All, RowSet::Bitmap(&[u64::MAX; 5])] {
                        let what = format!("dim {dim}, {metric:?}, k {k}, ef {ef}");
                        let (first, second) =
                            (search(&opened, query, params, set), search(&again, query, params, set));
                        assert_eq!(first, second, "{what}");
                        // The growing one may begin its walks elsewhere and sum in another order.
                        let (found, _) = search(&index, query, params, set);
                        assert_eq!(found.len(), k, "{what}");
                        if ef == 300 {
                            let rows = |found: &[Neighbor]| found.iter().map(|n| n.row).collect::<Vec<u32>>();
                            assert_eq!(rows(&found), rows(&first.0), "{what}");
                        }
                    }
                }
            }
        }
    }
}

/// Flips bytes of all sections of sketches, every `stride`-th of the large ones.
fn flip(dim: usize, stride: usize) -> (usize, usize) {
    let (values, _, mut sections) = small(dim, Metric::L2);
    let exact = exact_distances(sealed_rows(&values, dim), Metric::L2, &values[..dim]);
    let (mut refused, mut answered) = (0, 0);
    for name in NAMES {
        let len = sections.get_mut(name).unwrap().len();
        for at in (0..len).step_by(if len > 4096 { stride } else { 1 }) {
            let flips: &[u8] = if len > 4096 { &[[1, 0x80, 0xff][at % 3]] } else { &[1, 0x80, 0xff] };
            for flip in flips {
                sections.get_mut(name).unwrap()[at] ^= flip;
                match open(&sections, &values, dim) {
                    Err(error) => {
                        refused += 1;
                        let named = match &error {
                            // Lines and entries are the header's; it is the other sections that do not fit it.
                            OpenIndexError::Size { section, .. } => {
                                name == "sketch.meta" && section.starts_with("sketch.")
                            }
                            OpenIndexError::Version { section, .. } => *section == name,
                            OpenIndexError::Damaged { section, element, .. } => {
                                let element_bytes = if name == "sketch.matrix" { 1 } else { 4 };
                                let expected = if name == "sketch.meta" { 0 } else { at / element_bytes };
                                *section == name && *element == expected as u64
                            }
                            OpenIndexError::Missing { .. } => false,
                        };
                        assert!(named, "{name} byte {at} ^ {flip:#x}: {error}");
                    }
                    Ok(index) => {
                        answered += 1;
                        // Of step, slope, noise and largest norm any number will do; all before them is checked.
                        assert!(name != "sketch.meta" || at >= 32, "byte {at} of the header was not checked");
                        // Candidates may be the wrong ones; what is said of them is right.
                        for (k, ef) in [(10, 130), (10, 300)] {
                            let params = SearchParams::new(k, ef);
                            let (found, _) = search(&index, &values[..dim], params, RowSet::All);
                            check_result(
                                &found,
                                &exact,
                                RowSet::All,
                                &format!("{name} byte {at} ^ {flip:#x}"),
                            );
                        }
                    }
                }
                sections.get_mut(name).unwrap()[at] ^= flip;
            }
        }
    }
    assert!(open(&sections, &values, dim).is_ok());
    (refused, answered)
}

#[test]
fn each_byte_flipped_is_an_error_or_a_right_distance_never_a_panic() {
    // Codes may be anything: a wrong one is what checksums around the sections are for.
    let (refused, answered) = flip(5, 1);
    assert!(refused > 300 && answered > 30_000, "{refused} refused, {answered} answered");
    let (refused, answered) = flip(180, 61);
    assert!(refused > 300 && answered > 1000, "{refused} refused, {answered} answered");
}

#[test]
fn cut_and_missing_sections_are_named() {
    for dim in [5, 180] {
        let (values, _, sections) = small(dim, Metric::L2);
        for name in NAMES {
            for longer in [false, true] {
                let mut cut = sections.clone();
                let bytes = cut.get_mut(name).unwrap();
                if longer {
                    bytes.push(0)
                } else {
                    bytes.truncate(bytes.len() - 1)
                }
                let error = open(&cut, &values, dim).unwrap_err();
                assert!(matches!(error, OpenIndexError::Size { section, .. } if section == name), "{error}");
            }
            let error = open(&without(&sections, &[name]), &values, dim).unwrap_err();
            assert!(matches!(error, OpenIndexError::Missing { section } if section == name), "{error}");
            // One section alone, whichever it is, is not an index without sketches.
            let others: Vec<&str> = NAMES.into_iter().filter(|other| *other != name).collect();
            assert!(open(&without(&sections, &others), &values, dim).is_err(), "{name} alone");
        }
    }
}

#[test]
fn sketches_of_other_rows_are_refused() {
    let (values, _, sections) = small(5, Metric::L2);
    let (other_values, _, other) = small(6, Metric::L2);
    // The graph of one index with the sketches of another.
    let mut mixed = without(&sections, &NAMES);
    for (name, bytes) in other.iter().filter(|(name, _)| NAMES.contains(name)) {
        mixed.begin(name).unwrap();
        mixed.append(bytes).unwrap();
    }
    let error = open(&mixed, &values, 5).unwrap_err();
    assert_eq!(
        error.to_string(),
        "section sketch.meta is damaged at element 0: the dimension is 6, expected 5 as the rows have"
    );
    assert!(open(&other, &other_values, 6).is_ok());
}

#[test]
fn an_index_without_sketches_is_opened_and_searched() {
    let dim = 24;
    let mut values = clustered(2620, dim, 10, 9);
    let queries = values.split_off(2600 * dim);
    let full = linked(&values, dim, Metric::L2, HnswParams { sketches: false, ..quick() });
    assert!(!has_sketches(&full));
    let sketched = linked(&values, dim, Metric::L2, quick());
    let dropped = without(&kept(&sketched), &NAMES);
    for sections in [kept(&full), dropped] {
        let index = open(&sections, &values, dim).unwrap();
        assert!(kept(&index).iter().eq(sections.iter()));
        let mut right = 0;
        for query in queries.chunks_exact(dim) {
            let exact = exact_distances(sealed_rows(&values, dim), Metric::L2, query);
            let (found, _) = search(&index, query, SearchParams::new(10, 64), RowSet::All);
            check_result(&found, &exact, RowSet::All, "no sketches");
            let mut sorted = exact.clone();
            sorted.sort_unstable_by(f32::total_cmp);
            right += found.iter().filter(|neighbor| neighbor.distance <= sorted[9] * 1.0001).count();
        }
        assert!(right >= 190, "{right} of 200");
    }
}
