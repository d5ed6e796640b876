//! How to search the rows that pass.

/// A strategy for one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilterPlan {
    /// Compare with every row that passes.
    Exhaustive,
    /// Walk the graph and hide the rows that do not pass. After `max_distances` comparisons the walk has cost what
    /// comparing with every row that passes costs, and that is done instead.
    InGraph {
        /// The bound on the walk.
        max_distances: u64,
    },
}

/// Comparisons a walk needs for each candidate it keeps, over the whole graph: measured on graphs of 16 links
/// (docs/adr/0006-engine-segments-and-views.md).
const DISTANCES_A_CANDIDATE: u64 = 12;

/// Chooses by the exact number of rows that pass: a walk that must gather `ef` passing candidates sees about
/// `ef / selectivity` rows.
pub(crate) fn plan(passing: u32, linked: u32, ef: usize, full_scan_rows: usize) -> FilterPlan {
    let walk = (ef as u64).saturating_mul(DISTANCES_A_CANDIDATE).saturating_mul(u64::from(linked))
        / u64::from(passing.max(1));
    if (passing as usize) < full_scan_rows || walk >= u64::from(passing) {
        FilterPlan::Exhaustive
    } else {
        FilterPlan::InGraph { max_distances: u64::from(passing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_are_compared_and_many_are_walked() {
        for (passing, linked, ef, full_scan_rows, expect) in [
            (0, 100_000, 64, 2_000, FilterPlan::Exhaustive),
            (1_999, 2_000, 1, 2_000, FilterPlan::Exhaustive),
            (5_000, 100_000, 64, 2_000, FilterPlan::Exhaustive),
            (50_000, 100_000, 64, 2_000, FilterPlan::InGraph { max_distances: 50_000 }),
            (100_000, 100_000, 64, 2_000, FilterPlan::InGraph { max_distances: 100_000 }),
            (100_000, 100_000, 100_000, 2_000, FilterPlan::Exhaustive),
            (100, 100, usize::MAX, 0, FilterPlan::Exhaustive),
        ] {
            assert_eq!(plan(passing, linked, ef, full_scan_rows), expect, "{passing} of {linked}, ef {ef}");
        }
    }
}
