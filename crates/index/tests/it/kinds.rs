//! The kinds of indexes behind one face: a flat graph keeps what a layered one keeps, and sections say what they are of.

use dvse_index::*;
use dvse_types::Metric;

use crate::data::*;

fn nsw() -> HnswParams {
    HnswParams { m: 12, ef_construction: 100, layers: false, ..HnswParams::default() }
}

fn kinds() -> [(&'static str, IndexParams); 4] {
    [
        ("hnsw", IndexParams::Graph(HnswParams { layers: true, ..nsw() })),
        ("nsw", IndexParams::Graph(nsw())),
        ("nsw", IndexParams::Graph(HnswParams { sketches: false, ..nsw() })),
        ("ivf_pq", IndexParams::Lists(IvfParams { lists: 16, ..IvfParams::default() })),
    ]
}

fn grown(values: &[f32], dim: usize, metric: Metric, params: IndexParams) -> GrowingIndex {
    let rows = growing_rows(values, dim);
    let index = GrowingIndex::new(rows.clone(), rows.len(), metric, params).unwrap();
    while index.link_step(700, true, pool(2), &|| false).unwrap().is_some() {}
    assert_eq!(index.linked(), rows.len());
    assert_eq!(index.waiting(), 0);
    index
}

fn reopened(index: &dyn AnnIndex, values: &[f32]) -> std::sync::Arc<dyn AnnIndex> {
    let mut sections = MemorySections::new();
    index.persist(&mut sections).unwrap();
    let rows = MappedRows::from_values(values, index.dim()).unwrap();
    open_index(&sections, rows, index.metric(), detect_level(), Placement::default()).unwrap()
}

fn mean_recall(index: &dyn AnnIndex, values: &[f32], queries: &[f32], ef: usize) -> f32 {
    let dim = index.dim();
    let recalls: Vec<f32> = queries
        .chunks_exact(dim)
        .map(|query| {
            let truth = brute_force(values, dim, index.metric(), query);
            let truth: Vec<f32> = truth.iter().take(10).map(|(distance, _)| *distance as f32).collect();
            let (found, _) = search(index, query, SearchParams::new(10, ef), RowSet::All);
            let found: Vec<f32> = found.iter().map(|neighbor| neighbor.distance).collect();
            recall_at(10, &found, &truth, 1e-4)
        })
        .collect();
    RecallSummary::of(&recalls).unwrap().mean
}

fn base_and_queries(n: usize, dim: usize, metric: Metric) -> (Vec<f32>, Vec<f32>) {
    let mut values = prepared(clustered(n + 100, dim, 20, 11), dim, metric);
    let queries = values.split_off(n * dim);
    (values, queries)
}

/// 6 000 rows of 32 dimensions in 20 clusters, m 12, `ef_construction` 100: at `ef` 128 a flat graph reaches what the
/// layered one does.
#[test]
fn a_flat_graph_reaches_the_recall_of_a_layered_one() {
    let dim = 32;
    for metric in METRICS {
        let (values, queries) = base_and_queries(6000, dim, metric);
        let floor = if metric == Metric::InnerProduct { 0.96 } else { 0.99 };
        for (kind, params) in kinds().into_iter().filter(|(kind, _)| *kind != "ivf_pq") {
            let index = grown(&values, dim, metric, params);
            let sealed = reopened(&index, &values);
            for index in [&index as &dyn AnnIndex, &*sealed] {
                assert_eq!((index.kind(), index.covered()), (kind, 6000));
                let recall = mean_recall(index, &values, &queries, 128);
                println!("{metric:?} {params:?}: {recall}");
                assert!(recall >= floor, "{metric:?} {params:?}: {recall} is below {floor}");
            }
        }
    }
}

#[test]
fn every_row_of_a_flat_graph_can_be_reached() {
    for (values, dim) in [
        (clustered(3000, 16, 30, 5), 16),
        // Equal rows, zeros, and a constant dimension.
        ([1.0, 0.0, 0.0].repeat(900), 3),
        (vec![0.0; 900], 1),
    ] {
        for sketches in [true, false] {
            let params = HnswParams { m: 4, ef_construction: 20, sketches, ..nsw() };
            let index = linked(&values, dim, Metric::L2, params);
            assert_eq!(
                index.reachable() as usize,
                values.len() / dim,
                "{dim} dimensions, sketches {sketches}"
            );
            assert_eq!(sealed(&index, &values).reachable(), index.reachable());
        }
    }
}

/// What was built is read from the sections, so that who asks for something else can tell.
#[test]
fn sections_say_what_they_were_built_with() {
    let dim = 8;
    let (values, queries) = base_and_queries(900, dim, Metric::L2);
    for (kind, params) in kinds() {
        let index = grown(&values, dim, Metric::L2, params);
        let sealed = reopened(&index, &values);
        let again = reopened(&*sealed, &values);
        for other in [&*sealed, &*again] {
            assert_eq!(other.kind(), kind);
            for (_, asked) in kinds() {
                let same = other.built_with().unwrap().builds_same(&asked);
                assert_eq!(same, params.builds_same(&asked), "{params:?} for {asked:?}");
                assert_eq!(same, params == asked);
            }
        }
        for query in queries.chunks_exact(dim) {
            let asked = SearchParams::new(5, 60);
            let answer = search(&*sealed, query, asked, RowSet::All).0;
            assert_eq!(search(&*again, query, asked, RowSet::All).0, answer);
        }
    }
    let flat = FlatIndex::new(growing_rows(&values, dim), Metric::L2);
    assert_eq!(flat.built_with(), None);
}

/// A flat graph has no upper layers and a graph no form but the four there are.
#[test]
fn a_form_that_cannot_be_is_refused() {
    let values = clustered(200, 4, 4, 2);
    for (layers, form_byte) in [(true, 1), (true, 4), (false, 8), (false, 128)] {
        let index = linked(&values, 4, Metric::L2, HnswParams { m: 4, layers, ..nsw() });
        let mut sections = MemorySections::new();
        index.persist(&mut sections).unwrap();
        let meta = sections.get_mut("hnsw.meta").unwrap();
        let at = meta.len() - 4;
        meta[at] |= form_byte;
        let rows = MappedRows::from_values(&values, 4).unwrap();
        let error = SealedHnsw::open(&sections, rows, Metric::L2).unwrap_err();
        assert!(matches!(error, OpenIndexError::Damaged { section: "hnsw.meta", .. }), "{error}");
    }
}

/// Lists asked for by number: looking into all of them, and comparing everything they hold, is an exact search.
#[test]
fn a_search_may_name_lists_and_rows_compared() {
    let dim = 8;
    let (values, queries) = base_and_queries(4000, dim, Metric::L2);
    let params = IvfParams { lists: 64, ..IvfParams::default() };
    let index = grown(&values, dim, Metric::L2, IndexParams::Lists(params));
    let mut work = Vec::new();
    for lists in [1, 4, 16, 64] {
        let (mut distances, mut hops) = (0, 0);
        for query in queries.chunks_exact(dim) {
            let asked = SearchParams { lists, rerank: 30, ..SearchParams::new(10, 10) };
            let (found, stats) = search(&index, query, asked, RowSet::All);
            assert_eq!(found.len(), 10);
            distances += stats.distances;
            hops += stats.hops;
        }
        // A search goes on only where the lists asked for hold fewer than are wanted.
        assert!(hops >= 100 * u64::from(lists), "{hops}");
        work.push(distances);
    }
    assert!(work.is_sorted() && work[0] * 2 < work[3], "{work:?}");
}
