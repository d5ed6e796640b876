//! The candidates that matter, compared exactly.

use dvse_simd::Isa;

use super::adaptive::Members;
use super::frontier::Frontier;
use crate::byte_rows::ExactRows;
use crate::candidates::{pack, unpack_distance, unpack_row};
use crate::computer::{Kernel, Prefetch};
use crate::scratch::Beam;
use crate::vectors::VectorView;

/// Rows are whole vectors here and lie anywhere: all lines of a few ahead. Leaving all but four lines a row to the
/// hardware, which follows a stream but not into the next page, took a quarter longer at 384 and at 784 dimensions.
const PREFETCH: Prefetch = Prefetch { rows_ahead: 6, lines: usize::MAX };

/// Leaves the best `k` of the members whose estimate is at most `estimate_max` in the beam's pool, with exact distances.
#[inline(always)]
pub(crate) fn rerank_frontier<I: Isa, V: VectorView, K: Kernel, M: Members>(
    exact: &ExactRows<'_, I, V, K>,
    frontier: &Frontier,
    members: M,
    estimate_max: f32,
    k: usize,
    beam: &mut Beam,
) -> u64 {
    beam.batch.clear();
    let near = frontier.candidates().filter(|(row, estimate)| *estimate <= estimate_max && members.has(*row));
    beam.batch.extend(near.map(|(row, _)| row));
    rerank_batch(exact, k, beam)
}

/// Leaves the best `k` of the pool's candidates in it with exact distances: of those whose estimate is at most the k-th
/// least and `window`.
#[inline(always)]
pub(crate) fn rerank_pool<I: Isa, V: VectorView, K: Kernel>(
    exact: &ExactRows<'_, I, V, K>,
    window: f32,
    k: usize,
    beam: &mut Beam,
) -> u64 {
    let keys = beam.pool.keys();
    let kth = keys.get(k.wrapping_sub(1)).map_or(f32::INFINITY, |key| unpack_distance(*key));
    let bound = pack(kth + window, crate::candidates::ROWS_MAX);
    beam.batch.clear();
    beam.batch.extend(keys.iter().take_while(|key| **key <= bound | 1).map(|key| unpack_row(*key)));
    rerank_batch(exact, k, beam)
}

/// Leaves the best `k` rows of the beam's batch in its pool, with exact distances: those that halves leave in it are compared
/// in full.
pub(crate) fn rerank_batch<I: Isa, V: VectorView, K: Kernel>(
    exact: &ExactRows<'_, I, V, K>,
    k: usize,
    beam: &mut Beam,
) -> u64 {
    let by_halves = exact.narrow(k, &mut beam.batch, &mut beam.fresh);
    beam.pool.reset(k.min(beam.batch.len()));
    exact.score_batch(&beam.batch, &mut beam.fresh, PREFETCH);
    beam.pool.merge(&mut beam.fresh);
    by_halves + beam.batch.len() as u64
}
