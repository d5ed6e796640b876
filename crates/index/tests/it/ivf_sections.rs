//! Inverted lists are kept and opened; damaged ones are refused or answer within their bounds.

use dvse_index::*;
use dvse_types::Metric;

use crate::data::*;
use crate::ivf::{linked_ivf, sealed_ivf};
use crate::sections::check_cut_and_missing;

const NAMES: [&str; 7] =
    ["ivf.meta", "ivf.centroids", "ivf.codewords", "ivf.counts", "ivf.rows", "ivf.terms", "ivf.codes"];

fn small(metric: Metric) -> (Vec<f32>, GrowingIvf, MemorySections) {
    let values = prepared(clustered(200, 5, 3, 1), 5, metric);
    let params = IvfParams { lists: 3, sub_dim: 2, train_rows: 70, seed: 4, ..IvfParams::default() };
    let index = linked_ivf(&values, 5, metric, params);
    let mut sections = MemorySections::new();
    index.persist(&mut sections).unwrap();
    (values, index, sections)
}

fn open(sections: &MemorySections, values: &[f32]) -> Result<SealedIvf, OpenIndexError> {
    SealedIvf::open(sections, MappedRows::from_values(values, 5).unwrap(), Metric::L2)
}

/// Goes through the lists, and all of them.
fn through_lists() -> Probing {
    Probing { lists: 3, rerank: 40, rows_per_candidate: 1 }
}

#[test]
fn opened_lists_are_those_kept() {
    for metric in METRICS {
        let (values, index, sections) = small(metric);
        let sealed = sealed_ivf(&index, &values);
        assert_eq!(sealed.params(), *index.params());
        assert_eq!((sealed.lists(), index.lists()), (3, 3));
        let index = index.with_probing(through_lists());
        let sealed = sealed.with_probing(through_lists());
        for query in values.chunks_exact(5) {
            let params = SearchParams::new(1, 20);
            let (from_sealed, _) = search(&sealed, query, params, RowSet::All);
            assert_eq!(search(&index, query, params, RowSet::All).0, from_sealed);
        }
        let mut again = MemorySections::new();
        sealed.persist(&mut again).unwrap();
        assert!(again.iter().eq(sections.iter()));
        assert!(sections.iter().map(|(name, _)| name).eq({
            let mut names = NAMES;
            names.sort_unstable();
            names
        }));
        let bytes: usize = sections.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(sealed.index_bytes() as usize >= bytes - 64, "{} of {bytes}", sealed.index_bytes());
    }
}

#[test]
fn an_index_kept_before_training_opens_over_no_rows() {
    let index = GrowingIvf::new(growing_rows(&[], 5), 100, Metric::L2, IvfParams::default()).unwrap();
    let sealed = sealed_ivf(&index, &[]);
    assert_eq!((sealed.covered(), sealed.lists()), (0, 0));
    assert!(search(&sealed, &[0.0; 5], SearchParams::new(3, 3), RowSet::All).0.is_empty());
}

#[test]
fn each_byte_flipped_is_an_error_or_an_answer_never_a_panic() {
    let (values, _, sections) = small(Metric::L2);
    let (mut refused, mut answered) = (0, 0);
    for name in NAMES {
        let len = sections.iter().find(|(other, _)| *other == name).unwrap().1.len();
        for at in 0..len {
            for flip in [1_u8, 0x80, 0xff] {
                let mut damaged = sections.clone();
                damaged.get_mut(name).unwrap()[at] ^= flip;
                match open(&damaged, &values) {
                    Err(error) => {
                        refused += 1;
                        assert!(error.to_string().starts_with("section ivf."), "{name} byte {at}: {error}");
                    }
                    Ok(index) => {
                        answered += 1;
                        let index = index.with_probing(through_lists());
                        let (found, _) = search(&index, &values[..5], SearchParams::new(10, 1), RowSet::All);
                        assert!(found.len() == 10 && found.iter().all(|neighbor| neighbor.row < 200));
                    }
                }
            }
        }
    }
    // Header, counts, row numbers and non-finite numbers are found; wrong codes and terms are what checksums around
    // the sections are for.
    println!("{refused} refused, {answered} answered");
    assert!(refused > 2500 && answered > 2500, "{refused} refused, {answered} answered");
}

#[test]
fn damage_is_named_with_its_place() {
    let (values, _, sections) = small(Metric::L2);
    let check = |section: &str, element: usize, value: u32, says: &str| {
        let mut damaged = sections.clone();
        damaged.get_mut(section).unwrap()[element * 4..][..4].copy_from_slice(&value.to_le_bytes());
        let error = open(&damaged, &values).unwrap_err().to_string();
        assert!(error.contains(section) && error.contains(says), "{error}");
    };
    check("ivf.meta", 0, 7, "the magic number");
    check("ivf.meta", 2, 9, "format version 9");
    check("ivf.meta", 3, 1, "the metric");
    check("ivf.meta", 4, 0, "the dimension");
    check("ivf.meta", 7, 0, "sub_dim");
    check("ivf.meta", 6, 4, "the number of lists");
    check("ivf.meta", 13, 1, "the reserved field");
    check("ivf.counts", 1, 100_000, "element 1: the rows of a list");
    check("ivf.counts", 2, 0, "the sum of all rows");
    check("ivf.rows", 0, 200, "element 0: a row");
    check("ivf.rows", 5, u32::MAX, "element 5: a row");
    check("ivf.terms", 3, f32::NAN.to_bits(), "element 3");
    check("ivf.centroids", 2, f32::INFINITY.to_bits(), "element 2");
    check("ivf.codewords", 1, f32::NAN.to_bits(), "element 1");
    // A row that stands in two places hides another.
    let first = sections.iter().find(|(name, _)| *name == "ivf.rows").unwrap().1[..4].to_vec();
    check("ivf.rows", 1, u32::from_le_bytes(first.try_into().unwrap()), "element 1: a row");
}

#[test]
fn cut_and_missing_sections_are_named() {
    let (values, _, sections) = small(Metric::L2);
    check_cut_and_missing(&NAMES, &sections, |sections| open(sections, &values).err());
}

#[test]
fn lists_over_other_rows_are_refused() {
    let (values, _, sections) = small(Metric::L2);
    assert!(open(&sections, &values[5..]).is_err());
    let other_dim = MappedRows::from_values(&values[..800], 4).unwrap();
    assert!(SealedIvf::open(&sections, other_dim, Metric::L2).is_err());
    let rows = MappedRows::from_values(&values, 5).unwrap();
    let error = SealedIvf::open(&sections, rows, Metric::Cosine).unwrap_err();
    assert!(error.to_string().contains("metric"), "{error}");
}
