//! A graph is kept and opened; a damaged one is refused or answers within its bounds.

use dvse_index::*;
use dvse_types::Metric;

use crate::data::*;

fn small() -> (Vec<f32>, GrowingHnsw, MemorySections) {
    let values = clustered(120, 5, 3, 1);
    let params = HnswParams { m: 4, ef_construction: 16, ..HnswParams::default() };
    let index = linked(&values, 5, Metric::L2, params);
    let mut sections = MemorySections::new();
    index.persist(&mut sections).unwrap();
    (values, index, sections)
}

fn open(sections: &MemorySections, values: &[f32]) -> Result<SealedHnsw, OpenIndexError> {
    SealedHnsw::open(sections, MappedRows::from_values(values, 5).unwrap(), Metric::L2)
}

#[test]
fn an_opened_graph_is_the_one_kept() {
    let (values, index, sections) = small();
    let sealed = open(&sections, &values).unwrap();
    assert_eq!(sealed.params(), *index.params());
    assert_eq!(sealed.reachable(), 120);
    for query in values.chunks_exact(5) {
        let params = SearchParams::new(7, 20);
        assert_eq!(search(&index, query, params, RowSet::All), search(&sealed, query, params, RowSet::All));
    }
    let mut again = MemorySections::new();
    sealed.persist(&mut again).unwrap();
    assert!(again.iter().eq(sections.iter()));
}

#[test]
fn each_byte_flipped_is_an_error_or_an_answer_never_a_panic() {
    let (values, _, sections) = small();
    let names: Vec<String> = sections.iter().map(|(name, _)| name.to_owned()).collect();
    let (mut refused, mut answered) = (0, 0);
    for name in &names {
        let len = sections.iter().find(|(other, _)| other == name).unwrap().1.len();
        for at in 0..len {
            for flip in [1_u8, 0x80, 0xff] {
                let mut damaged = sections.clone();
                damaged.get_mut(name).unwrap()[at] ^= flip;
                match open(&damaged, &values) {
                    Err(error) => {
                        refused += 1;
                        assert!(error.to_string().starts_with("section hnsw."), "{name} byte {at}: {error}");
                    }
                    Ok(index) => {
                        answered += 1;
                        let (found, _) =
                            search(&index, &values[..5], SearchParams::new(10, 130), RowSet::All);
                        assert!(found.iter().all(|neighbor| neighbor.row < 120));
                        assert!(index.reachable() <= 120);
                    }
                }
            }
        }
    }
    // Ids out of range, levels, offsets and header fields are found; a wrong id within range is what checksums
    // around the sections are for.
    assert!(refused > 1000 && answered > 100, "{refused} refused, {answered} answered");
}

#[test]
fn cut_and_missing_sections_are_named() {
    let (values, _, sections) = small();
    let names = ["hnsw.meta", "hnsw.levels", "hnsw.layer0", "hnsw.offsets", "hnsw.upper"];
    check_cut_and_missing(&names, &sections, |sections| open(sections, &values).err());
}

/// Cuts a byte off each section, then leaves it out; opening has to name it both times.
pub(crate) fn check_cut_and_missing(
    names: &[&str],
    sections: &MemorySections,
    open: impl Fn(&MemorySections) -> Option<OpenIndexError>,
) {
    for name in names {
        let mut cut = sections.clone();
        cut.get_mut(name).unwrap().pop();
        let error = open(&cut).unwrap();
        assert!(matches!(error, OpenIndexError::Size { section, .. } if section == *name), "{error}");
        let mut kept = MemorySections::new();
        for (other, bytes) in sections.iter().filter(|(other, _)| other != name) {
            kept.begin(other).unwrap();
            kept.append(bytes).unwrap();
        }
        let error = open(&kept).unwrap();
        assert!(matches!(error, OpenIndexError::Missing { section } if section == *name), "{error}");
    }
}

#[test]
fn a_graph_over_other_rows_is_refused() {
    let (values, _, sections) = small();
    assert!(open(&sections, &values[5..]).is_err());
    let other_dim = MappedRows::from_values(&values[..480], 4).unwrap();
    assert!(SealedHnsw::open(&sections, other_dim, Metric::L2).is_err());
    let rows = MappedRows::from_values(&values, 5).unwrap();
    let error = SealedHnsw::open(&sections, rows, Metric::Cosine).unwrap_err();
    assert!(error.to_string().contains("metric"), "{error}");
}

#[test]
fn rows_that_do_not_fit_their_shape_are_refused() {
    assert_eq!(
        MappedRows::from_values(&[1.0; 7], 2).unwrap_err(),
        RowsError::Size { got: 28, rows: 3, stride: 2 }
    );
    assert_eq!(MappedRows::from_values(&[], 0).unwrap_err(), RowsError::Dim { dim: 0, stride: 0 });
    let bytes = SectionBytes::from_vec(vec![0; 128]);
    assert!(MappedRows::new(bytes.clone(), 16, 16, 2).is_ok());
    assert!(MappedRows::new(bytes.clone(), 17, 16, 2).is_err());
    assert!(MappedRows::new(bytes.clone(), 16, 16, 3).is_err());
    assert!(MappedRows::new(bytes, 16, usize::MAX, u32::MAX).is_err());
}
