//! Graphs with rows in half precision: what is found, kept, opened and refused, and indexes that are read where they lie.

use dvse_index::*;
use dvse_types::Metric;

use crate::data::*;

/// Enough for a transform to be learned from rows that come.
const ROWS: usize = 2100;

fn params(codes: Option<RowCodes>, halves: bool) -> HnswParams {
    HnswParams { m: 8, ef_construction: 60, codes, halves, ..HnswParams::default() }
}

fn kept(index: &dyn AnnIndex) -> MemorySections {
    let mut sections = MemorySections::new();
    index.persist(&mut sections).unwrap();
    sections
}

fn without_halves(sections: &MemorySections) -> MemorySections {
    let mut kept = MemorySections::new();
    for (name, bytes) in sections.iter().filter(|(name, _)| !name.contains("half")) {
        kept.begin(name).unwrap();
        kept.append(bytes).unwrap();
    }
    kept
}

fn open(
    sections: &MemorySections,
    values: &[f32],
    dim: usize,
    metric: Metric,
    place: Placement,
) -> SealedHnsw {
    let rows = MappedRows::from_values(values, dim).unwrap();
    SealedHnsw::open_placed(sections, rows, metric, place).unwrap()
}

const PLACES: [Placement; 4] = [
    Placement { rows_on_disk: false, index_on_disk: false },
    Placement { rows_on_disk: true, index_on_disk: false },
    Placement { rows_on_disk: false, index_on_disk: true },
    Placement { rows_on_disk: true, index_on_disk: true },
];

/// The same rows come back with halves and without, wherever the parts are read from, by walks, masked walks and scans.
#[test]
fn answers_are_those_of_whole_rows() {
    for (dim, codes) in
        [(20, None), (100, Some(RowCodes::Scalar8)), (130, Some(RowCodes::RaBitQ { bits: 2 }))]
    {
        for metric in METRICS {
            let mut values = prepared(clustered(ROWS + 20, dim, 9, 4), dim, metric);
            let queries = values.split_off(ROWS * dim);
            let sections = kept(&linked(&values, dim, metric, params(codes, true)));
            assert!(sections.section("rows.half").is_some());
            let floats = open(&without_halves(&sections), &values, dim, metric, PLACES[0]);
            let bytes = ROWS * dim.next_multiple_of(32) * 2;
            for place in PLACES {
                let halves = open(&sections, &values, dim, metric, place);
                assert!(halves.params().halves && !floats.params().halves);
                // In the wide lists there are two bytes more for each neighbour.
                let lists = if place.index_on_disk { (ROWS * 2 * 8 * 2) as u64 } else { 0 };
                assert_eq!(halves.index_bytes(), floats.index_bytes() + bytes as u64 + lists);
                for level in available_levels() {
                    let (halves, floats) = (
                        open(&sections, &values, dim, metric, place).with_level(*level),
                        open(&without_halves(&sections), &values, dim, metric, PLACES[0]).with_level(*level),
                    );
                    for query in queries.chunks_exact(dim) {
                        check(&halves, &floats, query, &format!("{dim} {metric:?} {place:?} {level}"));
                    }
                }
            }
        }
    }
}

#[track_caller]
fn check(halves: &SealedHnsw, floats: &SealedHnsw, query: &[f32], what: &str) {
    let params = SearchParams::new(10, 100);
    let words = [0x5555_5555_5555_5555; ROWS.div_ceil(64)];
    for set in [RowSet::All, RowSet::Bitmap(&words), RowSet::Below(1300)] {
        let ((first, _), (second, _)) =
            (search(halves, query, params, set), search(floats, query, params, set));
        same(&first, &second, what);
        let (mut scratch, mut first, mut second) = (Scratch::new(), Vec::new(), Vec::new());
        halves.scan(query, &params, set, &mut scratch, &mut first).unwrap().unwrap();
        floats.scan(query, &params, set, &mut scratch, &mut second).unwrap().unwrap();
        same(&first, &second, what);
    }
}

/// A sum by the kernel for four rows differs from one for a single row in its last bits, and so may which of two rows
/// that are as far is returned: nothing else.
#[track_caller]
fn same(first: &[Neighbor], second: &[Neighbor], what: &str) {
    assert_eq!(first.len(), second.len(), "{what}");
    assert!(first.is_sorted_by(|a, b| (a.distance, a.row) < (b.distance, b.row)), "{what}: {first:?}");
    for (first, second) in first.iter().zip(second) {
        let close = (first.distance - second.distance).abs() <= 1e-5 * second.distance.abs().max(1.0);
        assert!(close, "{what}: {first:?} {second:?}");
    }
}

/// Where halves are of no use the index still knows that they were asked for: it is not built anew for want of them.
#[test]
fn halves_that_are_of_no_use_are_not_kept() {
    let dim = 16;
    let rows = |values: &[f32]| MappedRows::from_values(values, dim).unwrap();
    let bytes: Vec<f32> =
        clustered(ROWS, dim, 5, 3).iter().map(|x| (x * 40.0 + 128.0).round().clamp(0.0, 255.0)).collect();
    let offset: Vec<f32> = clustered(ROWS, dim, 5, 3).iter().map(|x| x + 1e4).collect();
    let few = clustered(300, dim, 5, 3);
    let whole = HnswParams { sketches: false, ..params(None, true) };
    for (what, values, params) in [
        ("bytes", &bytes, params(None, true)),
        ("a common offset", &offset, params(None, true)),
        ("rows too few for sketches", &few, params(None, true)),
        ("walks over whole rows", &few, whole),
    ] {
        let sections = kept(&linked(values, dim, Metric::L2, params));
        assert!(sections.section("half.meta").is_some() && sections.section("rows.half").is_none(), "{what}");
        let opened = SealedHnsw::open(&sections, rows(values), Metric::L2).unwrap();
        let asked = IndexParams::Graph(params);
        assert!(opened.built_with().unwrap().builds_same(&asked), "{what}");
        assert!(kept(&opened).iter().eq(sections.iter()), "{what}");
    }
}

#[test]
fn halves_are_kept_again_and_refused_in_another_size() {
    let (dim, metric) = (40, Metric::L2);
    let values = clustered(ROWS, dim, 5, 7);
    let sections = kept(&linked(&values, dim, metric, params(None, true)));
    for place in PLACES {
        let opened = open(&sections, &values, dim, metric, place);
        assert!(kept(&opened).iter().eq(sections.iter()), "{place:?}");
    }
    let other = IndexParams::Graph(params(None, false));
    let built = open(&sections, &values, dim, metric, PLACES[0]).built_with().unwrap();
    assert!(!built.builds_same(&other) && built.builds_same(&IndexParams::Graph(params(None, true))));
    let mut shorter = sections.clone();
    shorter.get_mut("rows.half").unwrap().truncate(128);
    let rows = MappedRows::from_values(&values, dim).unwrap();
    let refused = SealedHnsw::open(&shorter, rows, metric).unwrap_err();
    let size = OpenIndexError::Size { section: "rows.half", expected: (ROWS * 64 * 2) as u64, got: 128 };
    assert_eq!(refused.to_string(), size.to_string());
}
