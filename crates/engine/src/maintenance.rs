//! What a shard does beside taking writes: linking, sealing, indexing, merging. One step at a time, so that tests and
//! simulations can run it as they like; a thread runs it for everyone else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dvse_index::LinkError;
use dvse_storage::{CheckedFileError, ManifestError, write_atomic};
use dvse_types::{Classify, ErrorKind, SeqNo};

use crate::apply::next_number;
use crate::build::GraphBuild;
use crate::growing::{GrowError, GrowingSegment};
use crate::manifest::{Manifest, ManifestSegment};
use crate::merge::{MergeJob, MergePick, is_dying, is_rest_due, pick_merge, pick_rested};
use crate::seal::{RowPick, SealError, write_data, write_field_index, write_graphs};
use crate::sealed::{OpenSegmentError, SealedSegment};
use crate::sections::{data_file, field_file, graph_file, live_file};
use crate::segment::{Segment, SegmentId, SegmentRead};
use crate::shard::{Shard, remove_strangers, storage_kind};
use crate::view::ViewState;

/// Rows linked in one step, so that a step takes a fraction of a second.
pub(crate) const LINK_STEP_ROWS: u32 = 2_048;

/// A step of maintenance failed. The state is as before the step; the step can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// Files cannot be written.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A file that was just written cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenSegmentError),
    /// The manifest cannot be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Live rows cannot be written.
    #[error(transparent)]
    LiveRows(#[from] CheckedFileError),
    /// Rows cannot be linked.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A graph or growing segment cannot be made.
    #[error(transparent)]
    Grow(#[from] GrowError),
    /// The log could not be made durable, so nothing that rests on it was published.
    #[error("the log is not durable: {0}")]
    Log(Arc<str>),
}

impl Classify for MaintenanceError {
    fn kind(&self) -> ErrorKind {
        match self {
            MaintenanceError::Seal(SealError::File(error)) => storage_kind(error.kind()),
            MaintenanceError::Seal(SealError::Read(fault)) => fault.kind(),
            MaintenanceError::Seal(SealError::Graph(_)) | MaintenanceError::Link(_) => ErrorKind::Internal,
            MaintenanceError::Open(OpenSegmentError::File(error)) => storage_kind(error.kind()),
            MaintenanceError::Open(_) => ErrorKind::Corrupt,
            MaintenanceError::Manifest(error) => storage_kind(error.kind()),
            MaintenanceError::LiveRows(error) => storage_kind(error.kind()),
            MaintenanceError::Grow(_) => ErrorKind::Overloaded,
            MaintenanceError::Log(_) => ErrorKind::Unavailable,
        }
    }
}

/// How maintenance is to go about a step.
pub(crate) struct StepContext<'a> {
    /// Threads to link with.
    pub(crate) pool: &'a rayon::ThreadPool,
    /// Asked between batches of rows; linking ends early when it says so.
    pub(crate) stop: &'a (dyn Fn() -> bool + Sync),
    /// Makes the log durable up to a position, before a manifest that includes it is published.
    pub(crate) log_durable: &'a dyn Fn(SeqNo) -> Result<(), MaintenanceError>,
    /// What is to be done.
    pub(crate) goal: Goal,
}

/// How far maintenance is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Only what was asked to be sealed, at once: rows that are not linked yet are linked after that.
    Sealed,
    /// Everything that is due.
    Tidy,
    /// That, and what would be due after a few more writes, which do not come: small collections become one segment.
    Rested,
    /// Everything, until every row is linked and small segments are one.
    Settled,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was done; there may be more.
    Worked,
    /// There is nothing to do.
    Idle,
}

/// The maintaining side of a shard.
#[derive(Debug)]
pub(crate) struct Maintainer {
    /// What the manifest says, with the segments that have come in the place of others since. Only sealed ones.
    pub(crate) base: ViewState,
    /// Whether the manifest is behind `base`.
    dirty: bool,
    /// The newest file of live rows of each segment, and how many were alive.
    live_files: HashMap<SegmentId, (u64, u32)>,
    job: Option<Job>,
    unverified: Vec<Arc<SealedSegment>>,
}

/// Work that takes many steps.
#[derive(Debug)]
enum Job {
    Build(GraphBuild),
    Merge(MergeJob),
}

impl Maintainer {
    pub(crate) fn new(
        base: ViewState,
        manifest: &Manifest,
        unverified: Vec<Arc<SealedSegment>>,
    ) -> Maintainer {
        let alive = base.segments.iter().map(|state| (state.segment.id(), state.live.live()));
        let alive: HashMap<_, _> = alive.collect();
        let live_files = manifest.segments.iter().filter(|entry| entry.live > 0);
        let live_files = live_files
            .map(|entry| (entry.id, (entry.live, alive.get(&entry.id).copied().unwrap_or(0))))
            .collect();
        Maintainer { base, dirty: false, live_files, job: None, unverified }
    }

    /// Does the most urgent thing there is to do.
    pub(crate) fn step(
        &mut self,
        shard: &Shard,
        context: &StepContext<'_>,
    ) -> Result<Step, MaintenanceError> {
        let point = shard.applier.lock().seal_points.first().cloned();
        if let Some(point) = point {
            return self.step_seal(shard, context, point);
        }
        if self.dirty {
            self.publish(shard, context)?;
            return Ok(Step::Worked);
        }
        if context.goal == Goal::Sealed {
            return Ok(Step::Idle);
        }
        let rested = context.goal == Goal::Rested && is_rest_due(shard.view().state(), self.base.seq);
        if rested || self.deaths_due(shard) {
            shard.seal()?;
            return Ok(Step::Worked);
        }
        if self.step_link(shard, context)? || self.step_job(shard, context)? {
            return Ok(Step::Worked);
        }
        if self.start_job(shard, context)? || self.step_field_index(shard, context)? {
            return Ok(Step::Worked);
        }
        if let Some(segment) = self.unverified.pop() {
            if let Err(error) = segment.verify_all() {
                segment.condemn(&error);
            }
            return Ok(Step::Worked);
        }
        Ok(Step::Idle)
    }

    /// How far the graphs under work are: rows linked and rows to be linked.
    pub(crate) fn progress(&self) -> Option<(u64, u64)> {
        self.job.as_ref().map(|job| match job {
            Job::Build(build) => build.progress(),
            Job::Merge(merge) => merge.build.progress(),
        })
    }

    /// Writes one growing segment of a seal point, or publishes the point when all are written.
    fn step_seal(
        &mut self,
        shard: &Shard,
        context: &StepContext<'_>,
        point: ViewState,
    ) -> Result<Step, MaintenanceError> {
        for state in &point.segments {
            let Segment::Growing(growing) = &state.segment else { continue };
            let rows = state.live.rows();
            if rows == 0 {
                continue;
            }
            // An index that is about to be replaced is not completed first.
            let replaced = !growing.is_as_asked(&shard.view().state().schema);
            if context.goal != Goal::Sealed && !replaced {
                let linked = growing.link(LINK_STEP_ROWS, true, context.pool, context.stop)?;
                if linked || (context.stop)() {
                    return Ok(Step::Worked);
                }
            }
            let sealed = Arc::new(seal_growing(shard, context, growing, rows, &point)?);
            let mut applier = shard.applier.lock();
            for state in applier.states_mut() {
                replace(state, &sealed);
            }
            shard.publish(&applier);
            return Ok(Step::Worked);
        }
        let mut next = point;
        next.segments.retain(|state| matches!(state.segment, Segment::Sealed(_)));
        let before = std::mem::replace(&mut self.base, next);
        if let Err(error) = self.publish(shard, context) {
            self.base = before;
            return Err(error);
        }
        shard.applier.lock().seal_points.remove(0);
        Ok(Step::Worked)
    }

    fn step_link(&self, shard: &Shard, context: &StepContext<'_>) -> Result<bool, MaintenanceError> {
        let view = shard.view();
        for state in &view.state().segments {
            let Segment::Growing(growing) = &state.segment else { continue };
            if !growing.is_as_asked(&view.state().schema) {
                continue;
            }
            let flush = context.goal == Goal::Settled;
            if growing.link(LINK_STEP_ROWS, flush, context.pool, context.stop)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn step_job(&mut self, shard: &Shard, context: &StepContext<'_>) -> Result<bool, MaintenanceError> {
        let Some(job) = &mut self.job else { return Ok(false) };
        let build = match job {
            Job::Build(build) => build,
            Job::Merge(merge) => &mut merge.build,
        };
        build.keep_up(&shard.view().state().schema)?;
        if build.link(context)? {
            return Ok(true);
        }
        if (context.stop)() {
            return Ok(true);
        }
        let finished = build.finish(shard, context)?;
        match self.job.take() {
            Some(Job::Merge(merge)) => self.finish_merge(shard, &merge, finished),
            _ => self.swap_in(shard, &Arc::new(finished)),
        }
        self.publish(shard, context)?;
        Ok(true)
    }

    fn finish_merge(&mut self, shard: &Shard, merge: &MergeJob, output: SealedSegment) {
        let output = (output.rows() > 0).then(|| Arc::new(output));
        let mut applier = shard.applier.lock();
        for state in applier.states_mut() {
            merge.replace_inputs(state, output.as_ref());
        }
        shard.publish(&applier);
        drop(applier);
        merge.replace_inputs(&mut self.base, output.as_ref());
        self.unverified.retain(|segment| !merge.has_input(segment.id()));
        self.dirty = true;
    }

    /// Puts another form of a segment in its place, everywhere.
    fn swap_in(&mut self, shard: &Shard, segment: &Arc<SealedSegment>) {
        let mut applier = shard.applier.lock();
        for state in applier.states_mut() {
            replace(state, segment);
        }
        shard.publish(&applier);
        drop(applier);
        replace(&mut self.base, segment);
        self.dirty = true;
    }

    fn start_job(&mut self, shard: &Shard, context: &StepContext<'_>) -> Result<bool, MaintenanceError> {
        let schema = Arc::clone(&shard.view().state().schema);
        let settle = context.goal == Goal::Settled;
        let rested = || pick_rested(&self.base).filter(|_| context.goal == Goal::Rested);
        if let Some(pick) = self.merge_due(shard, settle).or_else(rested) {
            self.job = Some(Job::Merge(MergeJob::start(shard, &self.base, pick, &schema, context.goal)?));
            return Ok(true);
        }
        for state in &self.base.segments {
            if let Segment::Sealed(segment) = &state.segment
                && GraphBuild::is_due(segment, &schema)
            {
                self.job = Some(Job::Build(GraphBuild::start(Arc::clone(segment), &schema)?));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The merge that is due, if there is one. Rows count as dead once their death is durable: a row that died
    /// since may be needed again when the log is replayed.
    pub(crate) fn merge_due(&self, shard: &Shard, settle: bool) -> Option<MergePick> {
        pick_merge(&self.base, settle, shard.config.growing_bytes_max as u64)
    }

    /// Whether rows have died in a segment that would be written anew if their death were durable.
    fn deaths_due(&self, shard: &Shard) -> bool {
        let view = shard.view();
        let now = &view.state().segments;
        self.base.segments.iter().any(|base| {
            let newest = now.iter().find(|state| state.segment.id() == base.segment.id());
            newest.is_some_and(|state| is_dying(&state.live) && !is_dying(&base.live))
        })
    }

    fn step_field_index(
        &mut self,
        shard: &Shard,
        context: &StepContext<'_>,
    ) -> Result<bool, MaintenanceError> {
        let Some((segment, path, kind)) = self.missing_field_index(shard) else { return Ok(false) };
        let version = next_number(&shard.numbers);
        write_field_index(&shard.dir, segment.id(), version, &*segment, segment.rows(), (&path, kind))?;
        let next = segment.with_field_file(&*shard.dir, &path, version)?;
        self.swap_in(shard, &Arc::new(next));
        self.publish(shard, context)?;
        Ok(true)
    }

    /// A payload index that the schema has and a segment has not.
    pub(crate) fn missing_field_index(
        &self,
        shard: &Shard,
    ) -> Option<(Arc<SealedSegment>, dvse_types::PayloadPath, dvse_types::FieldKind)> {
        let schema = Arc::clone(&shard.view().state().schema);
        for state in &self.base.segments {
            let Segment::Sealed(segment) = &state.segment else { continue };
            if segment.check().is_err() {
                continue;
            }
            for (path, kind) in &schema.payload_indexes {
                if !segment.field_indexes().any(|(known, has, _)| known == path && has == *kind) {
                    return Some((Arc::clone(segment), path.clone(), *kind));
                }
            }
        }
        None
    }

    /// Writes the base as the manifest, and after that removes the files it no longer names.
    fn publish(&mut self, shard: &Shard, context: &StepContext<'_>) -> Result<(), MaintenanceError> {
        (context.log_durable)(self.base.seq)?;
        let mut segments = Vec::new();
        for state in &self.base.segments {
            let Segment::Sealed(segment) = &state.segment else { continue };
            let id = segment.id();
            // Rows only ever die, so an equal number alive means the same rows.
            let live = match self.live_files.get(&id) {
                _ if state.live.dead() == 0 => 0,
                Some((version, alive)) if *alive == state.live.live() => *version,
                _ => {
                    let version = next_number(&shard.numbers);
                    let body: &[u8] = bytemuck::cast_slice(state.live.words());
                    write_atomic(&*shard.dir, &live_file(id, version), body)?;
                    self.live_files.insert(id, (version, state.live.live()));
                    version
                }
            };
            let fields = segment.field_indexes().filter(|(_, _, version)| *version > 0);
            let fields = fields.map(|(path, _, version)| (path.clone(), version)).collect();
            let (rows, graph) = (segment.rows(), segment.graph_version());
            segments.push(ManifestSegment { id, rows, graph, live, fields });
        }
        let manifest = Manifest {
            schema: (*self.base.schema).clone(),
            watermark: self.base.seq,
            next_number: shard.numbers.load(Ordering::Relaxed),
            segments,
            sources: self.base.sources.clone(),
        };
        shard.manifests.publish(&manifest.encode())?;
        self.dirty = false;
        shard.watermark.store(self.base.seq.0, Ordering::Release);
        self.live_files.retain(|id, _| manifest.segments.iter().any(|segment| segment.id == *id));
        self.remove_strangers(shard);
        Ok(())
    }

    /// Removes segment files that nothing uses.
    pub(crate) fn remove_strangers(&self, shard: &Shard) {
        let mut known = HashSet::new();
        let mut keep = |segment: &SealedSegment| {
            known.insert(data_file(segment.id()));
            known.insert(graph_file(segment.id(), segment.graph_version()));
            for (_, _, version) in segment.field_indexes() {
                known.insert(field_file(segment.id(), version));
            }
        };
        let applier = shard.applier.lock();
        let states = applier.seal_points.iter().chain([&applier.state, &self.base]);
        for state in states.flat_map(|state| &state.segments) {
            if let Segment::Sealed(segment) = &state.segment {
                keep(segment);
            }
        }
        drop(applier);
        if let Some(Job::Merge(merge)) = &self.job {
            keep(merge.build.segment());
        }
        known.extend(self.live_files.iter().map(|(id, (version, _))| live_file(*id, *version)));
        remove_strangers(&*shard.dir, &known);
    }
}

/// Puts a sealed segment in the place of the segment of the same number.
fn replace(state: &mut ViewState, sealed: &Arc<SealedSegment>) {
    for entry in &mut state.segments {
        if entry.segment.id() == sealed.id() {
            entry.segment = Segment::Sealed(Arc::clone(sealed));
        }
    }
}

/// Writes a growing segment as it is, dead rows included: so its rows keep their numbers and its graph stays right.
fn seal_growing(
    shard: &Shard,
    context: &StepContext<'_>,
    growing: &GrowingSegment,
    rows: u32,
    point: &ViewState,
) -> Result<SealedSegment, MaintenanceError> {
    let id = growing.id();
    let fields: Vec<_> =
        point.schema.payload_indexes.iter().map(|(path, kind)| (path.clone(), *kind)).collect();
    let picks = [RowPick { segment: growing, rows: (0..rows).collect() }];
    write_data(&shard.dir, id, &point.schema, &picks, &fields)?;
    let mut sealed = SealedSegment::open(&*shard.dir, id, &point.schema, shard.config.level)?;
    let graphs: Vec<_> = growing
        .vector_fields()
        .filter_map(|(name, field)| field.graph.map(|graph| (name.clone(), graph)))
        .filter(|(_, graph)| graph.covered() > 0)
        .collect();
    if !graphs.is_empty() {
        let version = next_number(&shard.numbers);
        write_graphs(&shard.dir, id, version, &graphs, context.pool)?;
        sealed = sealed.with_graphs(&*shard.dir, version, &point.schema)?;
    }
    Ok(sealed)
}
