//! How much of the truth a result found.

/// The share of `found` that belongs to the true `k` nearest, counted by distance: a row as close as the true k-th
/// is right whichever of several equally close rows the truth happens to list.
///
/// `found` holds distances of what was returned, `truth` those of the exact result, both best first. `slack` is the
/// relative error that the two sides' arithmetic may differ by (`1e-6` for `f32` against `f64`; 0 for equal
/// arithmetic). With no truth to find (`k` or `truth` empty) the recall is 1.
#[must_use]
pub fn recall_at(k: usize, found: &[f32], truth: &[f32], slack: f32) -> f32 {
    let k = k.min(truth.len());
    if k == 0 {
        return 1.0;
    }
    let kth = truth[k - 1];
    let bound = kth + kth.abs() * slack;
    let right = found.iter().take(k).filter(|distance| **distance <= bound).count();
    right as f32 / k as f32
}

/// Mean and tail of the recall of many queries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecallSummary {
    /// The mean over the queries.
    pub mean: f32,
    /// The 5th percentile: 95 % of the queries have at least this recall.
    pub p5: f32,
    /// The worst query.
    pub min: f32,
}

impl RecallSummary {
    /// Sums up the recall of each query; `None` when there is none.
    #[must_use]
    pub fn of(per_query: &[f32]) -> Option<RecallSummary> {
        let mut sorted = per_query.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        let min = *sorted.first()?;
        let mean = sorted.iter().map(|r| f64::from(*r)).sum::<f64>() / sorted.len() as f64;
        Some(RecallSummary { mean: mean as f32, p5: sorted[sorted.len() / 20], min })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_at_the_kth_distance_are_right() {
        assert_eq!(recall_at(2, &[1.0, 2.0], &[1.0, 2.0, 2.0], 0.0), 1.0);
        assert_eq!(recall_at(2, &[1.0, 2.5], &[1.0, 2.0, 2.0], 0.0), 0.5);
        assert_eq!(recall_at(4, &[1.0], &[1.0, 2.0], 0.0), 0.5);
        assert_eq!(recall_at(3, &[], &[], 0.0), 1.0);
        assert_eq!(recall_at(1, &[-2.0], &[-2.000_000_2], 1e-6), 1.0);
    }

    #[test]
    fn the_tail_is_the_twentieth_part() {
        let mut recalls = vec![1.0; 95];
        recalls.extend([0.2; 5]);
        let summary = RecallSummary::of(&recalls).unwrap();
        assert_eq!(summary.p5, 1.0);
        recalls.push(0.2);
        assert_eq!(RecallSummary::of(&recalls).unwrap().p5, 0.2);
        assert!(RecallSummary::of(&[]).is_none());
    }
}
