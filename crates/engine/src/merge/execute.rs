//! A merge under way, and what it does to views.

use std::sync::Arc;

use dvse_types::CollectionSchema;

use super::merge_dir;
use super::policy::MergePick;
use super::reuse::Reuse;
use crate::apply::next_number;
use crate::build::GraphBuild;
use crate::live_rows::LiveRows;
use crate::maintenance::{Goal, MaintenanceError};
use crate::seal::{RowPick, write_data};
use crate::sealed::SealedSegment;
use crate::segment::{Segment, SegmentId, SegmentRead, SegmentState};
use crate::shard::Shard;
use crate::view::ViewState;

/// Rows are copied when the merge starts; then the graphs are built; then the new segment takes the place of the old.
#[derive(Debug)]
pub(crate) struct MergeJob {
    /// The old segments, and which of their rows the new one has, in its order.
    inputs: Vec<(SegmentId, Vec<u32>)>,
    pub(crate) build: GraphBuild,
}

impl MergeJob {
    /// Writes the rows that are alive in the durable base, those of the largest segment first.
    pub(crate) fn start(
        shard: &Shard,
        base: &ViewState,
        pick: MergePick,
        schema: &CollectionSchema,
        goal: Goal,
    ) -> Result<MergeJob, MaintenanceError> {
        let id = SegmentId(next_number(&shard.numbers));
        let mut inputs = Vec::new();
        let mut picks = Vec::new();
        let mut states: Vec<_> =
            base.segments.iter().filter(|state| pick.segments.contains(&state.segment.id())).collect();
        // The graph that spares most comes first: its rows keep their lists.
        let largest = (0..states.len()).max_by_key(|at| (states[*at].live.live(), std::cmp::Reverse(*at)));
        if let Some(largest) = largest {
            states[..=largest].rotate_right(1);
        }
        for state in &states {
            let segment: &dyn SegmentRead = state.segment.read();
            segment.check().map_err(crate::seal::SealError::from)?;
            let rows: Vec<u32> = state.live.iter().collect();
            inputs.push((state.segment.id(), rows.clone()));
            picks.push(RowPick { segment, rows });
        }
        let fields: Vec<_> =
            schema.payload_indexes.iter().map(|(path, kind)| (path.clone(), *kind)).collect();
        write_data(&merge_dir(shard, goal), id, schema, &picks, &fields)?;
        let segment = Arc::new(SealedSegment::open(&*shard.dir, id, schema, shard.config.level)?);
        let mut build = GraphBuild::start(segment, schema)?;
        if let (Some(state), Some((_, rows))) = (states.first(), inputs.first())
            && let Segment::Sealed(from) = &state.segment
        {
            build.reuse(Reuse::new(Arc::clone(from), rows));
        }
        Ok(MergeJob { inputs, build })
    }

    pub(crate) fn has_input(&self, id: SegmentId) -> bool {
        self.inputs.iter().any(|(input, _)| *input == id)
    }

    /// Puts the new segment in the place of the old ones. Rows that died since the merge began die in it.
    pub(crate) fn replace_inputs(&self, state: &mut ViewState, output: Option<&Arc<SealedSegment>>) {
        let Some(first) = state.segments.iter().position(|entry| self.has_input(entry.segment.id())) else {
            return;
        };
        let mut live = LiveRows::all(self.inputs.iter().map(|(_, rows)| rows.len() as u32).sum());
        let mut offset = 0;
        for (id, rows) in &self.inputs {
            let old = state.segments.iter().find(|entry| entry.segment.id() == *id);
            for (position, row) in rows.iter().enumerate() {
                if !old.is_some_and(|entry| entry.live.contains(*row)) {
                    live.kill(offset + position as u32);
                }
            }
            offset += rows.len() as u32;
        }
        state.segments.retain(|entry| !self.has_input(entry.segment.id()));
        if let Some(output) = output {
            let segment = Segment::Sealed(Arc::clone(output));
            state.segments.insert(first, SegmentState { segment, live: Arc::new(live) });
        }
    }
}
