//! Search and linking by sketches: exact answers from inexact estimates, and what is kept of them.

mod bytes;
mod damage;
mod exact;
mod growing;
mod recall;

use dvse_index::*;
use dvse_types::Metric;

use crate::data::*;

/// Parameters that link fast.
fn quick() -> HnswParams {
    HnswParams { m: 12, ef_construction: 60, ..HnswParams::default() }
}

/// Rows that are all known from the start, so that every one of them is linked by its sketch.
fn sealed_rows(values: &[f32], dim: usize) -> Rows {
    Rows::Sealed(MappedRows::from_values(values, dim).unwrap())
}

/// A graph over rows that are all known from the start, flushed.
fn linked_sealed(values: &[f32], dim: usize, metric: Metric, params: HnswParams) -> GrowingHnsw {
    let n = (values.len() / dim) as u32;
    let index = GrowingHnsw::new(sealed_rows(values, dim), n, metric, params).unwrap();
    index.link(n, true, pool(2), &|| false).unwrap();
    index
}

/// What an index keeps of itself.
fn kept(index: &dyn AnnIndex) -> MemorySections {
    let mut sections = MemorySections::new();
    index.persist(&mut sections).unwrap();
    sections
}

/// A header in `sketch.meta`, so that no test passes because sketches were never made.
fn has_sketches(index: &dyn AnnIndex) -> bool {
    kept(index).iter().any(|(name, bytes)| name == "sketch.meta" && bytes.len() == 64)
}

/// The distance of every row by the flat index.
fn exact_distances(rows: Rows, metric: Metric, query: &[f32]) -> Vec<f32> {
    let n = rows.len() as usize;
    let mut distances = vec![f32::NAN; n];
    let (found, _) = search(&FlatIndex::new(rows, metric), query, SearchParams::new(n, n), RowSet::All);
    assert_eq!(found.len(), n);
    for neighbor in found {
        distances[neighbor.row as usize] = neighbor.distance;
    }
    distances
}

/// Checks all that a result promises whatever was found: rows of the set, each once, with their exact distances, in
/// order.
fn check_result(found: &[Neighbor], exact: &[f32], set: RowSet<'_>, what: &str) {
    let largest = exact.iter().fold(1.0_f32, |largest, distance| largest.max(distance.abs()));
    for neighbor in found {
        let expected = exact[neighbor.row as usize];
        // Kernels of one and of four rows sum in different orders; of a product all terms may cancel.
        let slack = 1e-5 * expected.abs() + 1e-6 * largest;
        assert!((neighbor.distance - expected).abs() <= slack, "{what}: {neighbor:?}, exactly {expected}");
        assert!(set.contains(neighbor.row), "{what}: {neighbor:?} is not in the set");
    }
    for pair in found.windows(2) {
        let ordered = (pair[0].distance, pair[0].row) < (pair[1].distance, pair[1].row);
        assert!(ordered, "{what}: {pair:?}");
    }
    let mut rows: Vec<u32> = found.iter().map(|neighbor| neighbor.row).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), found.len(), "{what}: a row came twice");
}

/// A bitmap of rows for which a draw below `one_in` is 0.
fn bitmap(n: usize, one_in: usize, seed: u64) -> Vec<u64> {
    let mut random = Random(seed);
    let mut bits = vec![0_u64; n.div_ceil(64)];
    for row in 0..n {
        if random.below(one_in) == 0 {
            bits[row / 64] |= 1 << (row % 64);
        }
    }
    bits
}
