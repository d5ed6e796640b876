//! Rows that are encoded before they are linked, and searches while that goes on.

use std::sync::atomic::{AtomicBool, Ordering};

use dvse_index::*;
use dvse_types::Metric;

use super::*;

/// 2 700 rows of which 2 560 are linked and 2 640 encoded.
fn partly_linked(values: &[f32], dim: usize, metric: Metric) -> (GrowingHnsw, RowsWriter) {
    let n = values.len() / dim;
    let (mut writer, reader) = GrowingRows::with_capacity(dim, n).unwrap();
    for row in values.chunks_exact(dim).take(2640) {
        writer.append(row).unwrap();
    }
    let index = GrowingHnsw::new(Rows::Growing(reader), n as u32, metric, quick()).unwrap();
    index.link(2560, true, pool(2), &|| false).unwrap();
    for row in values.chunks_exact(dim).skip(2640) {
        writer.append(row).unwrap();
    }
    (index, writer)
}

#[test]
fn rows_encoded_but_not_linked_are_found() {
    let dim = 40;
    for metric in METRICS {
        let values = prepared(clustered(2700, dim, 20, 7), dim, metric);
        let (index, _writer) = partly_linked(&values, dim, metric);
        let linked = index.linked();
        assert_eq!(linked, 2560);
        let mut tail = vec![0_u64; 2700_usize.div_ceil(64)];
        (linked as usize..2700).for_each(|row| tail[row / 64] |= 1 << (row % 64));
        let (tail, all) = (RowSet::Bitmap(&tail), RowSet::All);
        let in_tail = 2640 - linked as usize;
        // (set, k, ef, rows to come back)
        let cases = [
            (all, 10, 20, 10),
            (all, 10, 300, 10),
            (all, 300, 300, 300),
            (all, 2640, 10, 2640),
            (all, 5000, 10, 2640),
            (RowSet::Below(2600), 10, 20, 10),
            (RowSet::Below(2600), 2640, 20, 2600),
            (tail, 10, 20, 10),
            (tail, 200, 20, in_tail),
        ];
        for row in (linked..2640).step_by(7).chain([2639]) {
            let query = &values[row as usize * dim..][..dim];
            let exact = exact_distances(sealed_rows(&values, dim), metric, query);
            for (set, k, ef, count) in cases {
                let what = format!("{metric:?}, row {row}, {k} of {set:.8?}, ef {ef}");
                let (found, stats) = search(&index, query, SearchParams::new(k, ef), set);
                assert_eq!((stats.covered, found.len()), (2640, count), "{what}");
                check_result(&found, &exact, set, &what);
                // Its own row is the nearest of all, but for longer ones by the inner product.
                if set.contains(row) && metric != Metric::InnerProduct {
                    assert_eq!(found[0].row, row, "{what}: {:?}", found[0]);
                }
                if k >= 2640 {
                    let best = (0..2640).filter(|row| set.contains(*row as u32)).map(|row| exact[row]);
                    let best = best.fold(f32::INFINITY, f32::min);
                    assert!((found[0].distance - best).abs() <= 1e-5 * best.abs().max(1.0), "{what}");
                }
            }
        }
        // What came later is neither linked nor encoded.
        let (found, stats) = search(&index, &values[2650 * dim..][..dim], SearchParams::new(10, 50), all);
        assert!(stats.covered == 2640 && found.iter().all(|neighbor| neighbor.row < 2640));
        index.link(2700, true, pool(2), &|| false).unwrap();
        let (found, stats) = search(&index, &values[2650 * dim..][..dim], SearchParams::new(10, 50), all);
        assert_eq!(stats.covered, 2700);
        assert!(metric == Metric::InnerProduct || found[0].row == 2650, "{found:?}");
    }
}

#[test]
fn rows_past_those_the_graph_was_made_for_do_no_harm() {
    let dim = 16;
    let values = clustered(3000, dim, 10, 5);
    let index = GrowingHnsw::new(growing_rows(&values, dim), 2500, Metric::L2, quick()).unwrap();
    index.link(2500, true, pool(2), &|| false).unwrap();
    assert!(has_sketches(&index));
    let (found, stats) = search(&index, &values[..dim], SearchParams::new(10, 50), RowSet::All);
    assert_eq!((found[0].row, stats.covered), (0, 2500));
    sealed(&index, &values[..2500 * dim]);
}

/// Readers search while rows are appended, encoded and linked: every distance is that of its row.
#[test]
fn no_distance_is_wrong_while_rows_are_encoded_and_linked() {
    let (n, dim) = (5000, 20);
    for metric in METRICS {
        let mut values = prepared(clustered(n, dim, 10, 21), dim, metric);
        if metric == Metric::InnerProduct {
            // Longer and longer: what estimates are counted from changes all the time.
            for (row, vector) in values.chunks_exact_mut(dim).enumerate() {
                vector.iter_mut().for_each(|x| *x *= 1.0 + row as f32 / n as f32);
            }
        }
        let (mut writer, reader) = GrowingRows::with_capacity(dim, n).unwrap();
        let params = HnswParams { m: 8, ef_construction: 40, ..HnswParams::default() };
        let index = GrowingHnsw::new(Rows::Growing(reader), n as u32, metric, params).unwrap();
        let finished = AtomicBool::new(false);
        let mask = bitmap(n, 3, 4);
        let search_on = |seed| {
            let mut random = Random(seed);
            let (mut scratch, mut out) = (Scratch::new(), Vec::new());
            let (mut past_the_graph, mut searches, mut last) = (0, 0, 0);
            while !finished.load(Ordering::Relaxed) || searches == 0 {
                let query = &values[random.below(n) * dim..][..dim];
                let (k, ef) = [(10, 40), (5, 2), (300, 300)][random.below(3)];
                let set = [RowSet::All, RowSet::Below(2500), RowSet::Bitmap(&mask)][random.below(3)];
                let linked = index.linked();
                let params = SearchParams::new(k, ef);
                let stats = index.search(query, &params, set, &mut scratch, &mut out).unwrap();
                assert!(stats.covered >= last.max(linked), "{} after {last}", stats.covered);
                last = stats.covered;
                past_the_graph += usize::from(out.iter().any(|neighbor| neighbor.row >= linked));
                let mut exact = vec![f32::NAN; n];
                for neighbor in &out {
                    assert!(neighbor.row < stats.covered);
                    let vector = &values[neighbor.row as usize * dim..][..dim];
                    exact[neighbor.row as usize] = brute_force(vector, dim, metric, query)[0].0 as f32;
                }
                check_result(&out, &exact, set, &format!("{metric:?}, k {k}, ef {ef}"));
                searches += 1;
            }
            (searches, past_the_graph)
        };
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2).map(|seed| scope.spawn(move || search_on(seed))).collect();
            for row in values.chunks_exact(dim) {
                let appended = writer.append(row).unwrap() + 1;
                if appended % 50 == 0 {
                    index.link(appended, false, pool(2), &|| false).unwrap();
                }
            }
            index.link(n as u32, true, pool(2), &|| false).unwrap();
            finished.store(true, Ordering::Relaxed);
            for reader in readers {
                let (searches, past_the_graph) = reader.join().unwrap();
                println!("{metric:?}: {searches} searches, {past_the_graph} with rows past the graph");
            }
        });
        assert_eq!(index.reachable(), n as u32);
    }
}
