//! How to search the rows that pass.

/// Who chooses how the rows that pass a filter are searched: the plan, but where both ways are to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FilterChoice {
    /// The plan, by the number of rows that pass.
    #[default]
    Planned,
    /// Always a scan.
    Scan,
    /// Always the graph, where there is one, whatever it costs and however little it finds.
    Graph,
}

/// A strategy for one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilterPlan {
    /// Compare with every row that passes, in full.
    Exhaustive,
    /// Compare with every row that passes by its compact code, and in full where that is near.
    Coded,
    /// Walk the graph and hide the rows that do not pass. After `max_distances` comparisons the walk has cost what
    /// comparing with every row that passes costs, and that is done instead.
    InGraph {
        /// The bound on the walk.
        max_distances: u64,
    },
}

/// What a plan depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanFacts {
    /// Rows that pass, exactly.
    pub(crate) passing: u32,
    /// Rows of the graph.
    pub(crate) linked: u32,
    /// Whether the graph's rows have compact codes.
    pub(crate) codes: bool,
    /// Values of a vector.
    pub(crate) dim: usize,
    /// Candidates a walk keeps.
    pub(crate) ef: usize,
    /// Fewer rows than this are not walked.
    pub(crate) full_scan_rows: usize,
    /// Whether it is known how near rows have to come to be of use: such a walk ends where it arrives.
    pub(crate) bounded: bool,
}

/// Comparisons a walk needs for each candidate it keeps, over the whole graph: measured on graphs of 16 links
/// (docs/adr/0006-engine-segments-and-views.md).
const DISTANCES_A_CANDIDATE: f64 = 12.0;

/// The power of the inverse selectivity by which comparisons grow. It is above 1: rows that pass are not found one after
/// the other (docs/adr/0011-filters-and-upkeep.md).
const SELECTIVITY_POWER: f64 = 1.5;

/// A comparison of a walk costs so many of a scan, where both read codes: a scan knows what comes next
/// (docs/adr/0011-filters-and-upkeep.md).
const WALK_TO_SCAN: u64 = 3;

/// Candidates that count for a walk with a bound, whatever it is to keep; and such a walk pays from few rows on.
const BOUNDED_EF: usize = 24;

/// Rows of no more than so many values together are compared in full at once: making a query ready for codes, and
/// comparing in full what is near, costs as much. Behind another segment, whose codes are mostly made alike, the query is
/// ready and a bound leaves few rows near: then a few rows are enough.
const EXACT_VALUES_MAX: u64 = 64 << 10;
const EXACT_VALUES_MAX_BOUNDED: u64 = 4 << 10;

impl PlanFacts {
    /// Chooses by the exact number of rows that pass: a walk that must gather `ef` passing candidates sees
    /// the more rows the fewer pass.
    pub(crate) fn plan(&self) -> FilterPlan {
        if self.walk_pays() {
            let ratio = if self.codes { WALK_TO_SCAN } else { 1 };
            FilterPlan::InGraph { max_distances: u64::from(self.passing) / ratio }
        } else {
            self.scan()
        }
    }

    /// The way to compare with every row that passes.
    pub(crate) fn scan(&self) -> FilterPlan {
        let most = if self.bounded { EXACT_VALUES_MAX_BOUNDED } else { EXACT_VALUES_MAX };
        if self.codes && u64::from(self.passing) * self.dim as u64 > most {
            FilterPlan::Coded
        } else {
            FilterPlan::Exhaustive
        }
    }

    fn walk_pays(&self) -> bool {
        let passing = u64::from(self.passing);
        let bounded = self.bounded && self.codes;
        let ef = if bounded { self.ef.min(BOUNDED_EF) } else { self.ef };
        let full_scan_rows = if bounded { 0 } else { self.full_scan_rows };
        let ratio = if self.codes { WALK_TO_SCAN } else { 1 };
        let sparsity = f64::from(self.linked.max(self.passing)) / f64::from(self.passing.max(1));
        let distances = ef as f64 * DISTANCES_A_CANDIDATE * sparsity.powf(SELECTIVITY_POWER);
        let walk = distances * ratio as f64;
        (self.passing as usize) >= full_scan_rows && walk < passing as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_are_compared_and_many_are_walked() {
        for (passing, linked, ef, full_scan_rows, expect, with_codes) in [
            (0, 100_000, 64, 2_000, FilterPlan::Exhaustive, FilterPlan::Exhaustive),
            (500, 100_000, 64, 2_000, FilterPlan::Exhaustive, FilterPlan::Exhaustive),
            (1_999, 2_000, 1, 2_000, FilterPlan::Exhaustive, FilterPlan::Coded),
            (5_000, 100_000, 64, 2_000, FilterPlan::Exhaustive, FilterPlan::Coded),
            (20_000, 100_000, 64, 2_000, FilterPlan::InGraph { max_distances: 20_000 }, FilterPlan::Coded),
            (
                50_000,
                100_000,
                64,
                2_000,
                FilterPlan::InGraph { max_distances: 50_000 },
                FilterPlan::InGraph { max_distances: 16_666 },
            ),
            (100_000, 100_000, 100_000, 2_000, FilterPlan::Exhaustive, FilterPlan::Coded),
            (100, 100, usize::MAX, 0, FilterPlan::Exhaustive, FilterPlan::Exhaustive),
        ] {
            for (codes, expect) in [(false, expect), (true, with_codes)] {
                let facts =
                    PlanFacts { passing, linked, codes, dim: 128, ef, full_scan_rows, bounded: false };
                assert_eq!(facts.plan(), expect, "{facts:?}");
                // With a bound scans of codes become walks, and comparing in full scans of codes, but nothing else.
                let bounded = PlanFacts { bounded: true, ..facts }.plan();
                assert!(bounded == expect || (codes && bounded != FilterPlan::Exhaustive), "{bounded:?}");
            }
        }
    }
}
