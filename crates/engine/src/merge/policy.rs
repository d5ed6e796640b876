//! Which segments are to be merged.

use dvse_types::SeqNo;

use crate::live_rows::LiveRows;
use crate::segment::{Segment, SegmentId};
use crate::view::ViewState;

/// Segments that are to become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MergePick {
    pub(crate) segments: Vec<SegmentId>,
}

/// More segments than this are not left standing: a query walks each one's graph, and a walk of a graph of half the
/// rows costs almost as much as that of the whole.
const SEGMENTS_MAX: usize = 4;

/// A segment with a larger share of dead rows, in percent, is written anew. Dead rows are walked over and take space; as the
/// graph is taken over, a tenth at a time costs no more than a fifth did when it was linked afresh.
const DEAD_PERCENT_MAX: u64 = 10;

/// The same for segments of so many rows at most. As a collection is rewritten, so many rows as died wait in a growing
/// segment, and a query pays for that one: by its rows, up to about a thousand, and once for there being one. A small segment is
/// written anew in a moment, and its share of the query is worth it.
const DEAD_PERCENT_MAX_OFTEN: [(u64, u64); 2] = [(64 << 10, 1), (OFTEN_ROWS_MAX, 3)];

/// Rows up to which a segment is written anew often, and dead rows that are too few to care about.
const OFTEN_ROWS_MAX: u64 = 256 << 10;
const OFTEN_DEAD_MIN: u64 = 128;

/// A segment is merged with a larger one only if it has at least the fourth part of its rows: so a row is rewritten a
/// number of times that grows with the logarithm of the collection.
const RATIO_MAX: u64 = 4;

/// Rows of the largest segment that merging makes.
const ROWS_MAX: u64 = 16_000_000;

/// A segment as the policy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    id: SegmentId,
    live: u64,
    dead: u64,
    bytes: u64,
}

/// Chooses. With `settle` small segments are merged however their sizes relate, as long as they are together no
/// larger than one growing segment can be (`small_bytes`).
pub(crate) fn pick_merge(base: &ViewState, settle: bool, small_bytes: u64) -> Option<MergePick> {
    pick(sealed(base), settle, small_bytes)
}

fn sealed(base: &ViewState) -> Vec<Candidate> {
    let candidates = base.segments.iter().filter_map(|state| match &state.segment {
        Segment::Sealed(segment) => Some(Candidate {
            id: segment.id(),
            live: state.live.live().into(),
            dead: state.live.dead().into(),
            bytes: segment.disk_bytes(),
        }),
        Segment::Growing(_) => None,
    });
    candidates.collect()
}

/// Whether a collection that nobody writes to is to be sealed, so that it becomes one segment: it is small, has a sealed
/// segment, and enough rows that grew or died, some of them after `sealed_to`.
pub(crate) fn is_rest_due(now: &ViewState, sealed_to: SeqNo) -> bool {
    let (mut rows, mut changed, mut sealed) = (0, 0, false);
    for state in &now.segments {
        rows += u64::from(state.live.rows());
        match &state.segment {
            Segment::Growing(_) => changed += u64::from(state.live.rows()),
            Segment::Sealed(_) => {
                changed += u64::from(state.live.dead());
                sealed = true;
            }
        }
    }
    sealed && now.seq > sealed_to && changed >= OFTEN_DEAD_MIN && rows <= OFTEN_ROWS_MAX
}

/// The merge that makes one segment of a small collection that nobody writes to: with several segments, or enough dead rows,
/// it answers an eighth to a quarter fewer queries a second than it could (`bench/results/upkeep.md`).
pub(crate) fn pick_rested(base: &ViewState) -> Option<MergePick> {
    rested(&sealed(base))
}

fn rested(candidates: &[Candidate]) -> Option<MergePick> {
    let rows: u64 = candidates.iter().map(|candidate| candidate.live + candidate.dead).sum();
    let dead: u64 = candidates.iter().map(|candidate| candidate.dead).sum();
    let pays = candidates.len() > 1 || dead >= OFTEN_DEAD_MIN;
    (pays && rows <= OFTEN_ROWS_MAX)
        .then(|| MergePick { segments: candidates.iter().map(|candidate| candidate.id).collect() })
}

/// Whether so many rows have died that a segment is to be written anew.
pub(crate) fn is_dying(live: &LiveRows) -> bool {
    too_many_dead(live.live().into(), live.dead().into())
}

fn too_many_dead(live: u64, dead: u64) -> bool {
    let rows = live + dead;
    let often = DEAD_PERCENT_MAX_OFTEN.iter().find(|(most, _)| rows <= *most && dead >= OFTEN_DEAD_MIN);
    dead * 100 > rows * often.map_or(DEAD_PERCENT_MAX, |(_, percent)| *percent)
}

fn pick(mut candidates: Vec<Candidate>, settle: bool, small_bytes: u64) -> Option<MergePick> {
    candidates.sort_unstable_by_key(|candidate| (candidate.live, candidate.id));
    let all = |candidates: &[Candidate]| {
        Some(MergePick { segments: candidates.iter().map(|candidate| candidate.id).collect() })
    };
    let bytes: u64 = candidates.iter().map(|candidate| candidate.bytes).sum();
    if settle && candidates.len() > 1 && bytes <= small_bytes.saturating_mul(2) {
        return all(&candidates);
    }
    if let Some(tier) = tier(&candidates) {
        return all(tier);
    }
    let dying = candidates.iter().rposition(|one| too_many_dead(one.live, one.dead))?;
    // Its graph is taken over, so those that are smaller join it for the price of linking their rows.
    let mut sum = candidates[dying].live;
    let fits = |candidate: &&Candidate| {
        sum += candidate.live;
        sum <= ROWS_MAX
    };
    let smaller = candidates[..dying].iter().rev().take_while(fits).count();
    all(&candidates[dying - smaller..=dying])
}

/// The longest run of small segments each of which is not far smaller than all those before it together.
fn tier(candidates: &[Candidate]) -> Option<&[Candidate]> {
    let excess = candidates.len().saturating_sub(SEGMENTS_MAX);
    let mut sum = 0;
    let mut taken = 0;
    for candidate in candidates {
        let forced = taken <= excess && excess > 0;
        let alike = taken == 0 || candidate.live <= sum * RATIO_MAX;
        if sum + candidate.live > ROWS_MAX || !(forced || alike) {
            break;
        }
        sum += candidate.live;
        taken += 1;
    }
    // Two alike are left: merging at three halves the work, and four are few enough to search.
    let enough = if excess > 0 { 2 } else { 3 };
    (taken >= enough).then(|| &candidates[..taken])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(sizes: &[(u64, u64)]) -> Vec<Candidate> {
        let candidates = sizes.iter().enumerate().map(|(at, (live, dead))| Candidate {
            id: SegmentId(at as u64),
            live: *live,
            dead: *dead,
            bytes: (live + dead) * 100,
        });
        candidates.collect()
    }

    fn check(sizes: &[(u64, u64)], settle: bool, expect: Option<&[u64]>) {
        let expect = expect.map(|ids| MergePick { segments: ids.iter().map(|id| SegmentId(*id)).collect() });
        assert_eq!(pick(candidates(sizes), settle, 100_000), expect, "{sizes:?}");
    }

    #[test]
    fn what_rests_becomes_one_segment_where_it_is_small_and_that_pays() {
        for (sizes, expect) in [
            (&[][..], None),
            (&[(5_000, 127)], None),
            (&[(5_000, 128)], Some(1)),
            (&[(5_000, 0), (10, 0)], Some(2)),
            (&[(250_000, 0), (20_000, 0)], None),
            (&[(300_000, 5_000)], None),
        ] {
            let picked = rested(&candidates(sizes)).map(|pick| pick.segments.len());
            assert_eq!(picked, expect, "{sizes:?}");
        }
    }

    #[test]
    fn segments_alike_are_merged_and_dying_ones_rewritten() {
        check(&[], true, None);
        check(&[(1000, 0)], true, None);
        check(&[(1000, 110)], false, None);
        check(&[(1000, 112)], false, Some(&[0]));
        check(&[(12_000, 127)], false, None);
        check(&[(20_000, 200)], false, None);
        check(&[(20_000, 203)], false, Some(&[0]));
        check(&[(100_000, 3_000)], false, None);
        check(&[(100_000, 3_100)], false, Some(&[0]));
        check(&[(1_000_000, 110_000)], false, None);
        check(&[(1_000_000, 112_000)], false, Some(&[0]));
        check(&[(0, 10)], false, Some(&[0]));
        check(&[(1000, 0), (10, 0)], false, None);
        check(&[(1000, 251), (10, 0)], false, Some(&[1, 0]));
        check(&[(1000, 0), (10, 3), (5, 0)], false, Some(&[2, 1]));
        check(&[(1000, 0), (10, 0)], true, Some(&[1, 0]));
        check(&[(1_000_000, 0), (10, 0)], true, None);
        check(&[(100, 0), (100, 0), (100, 0)], false, Some(&[0, 1, 2]));
        check(&[(100, 0), (100, 0), (10_000, 0)], false, None);
        check(&[(1, 0), (10, 0), (100, 0), (1000, 0), (10_000, 0)], false, Some(&[0, 1]));
    }
}
