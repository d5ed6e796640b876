//! How fast merges write.
//!
//! A merge writes as many bytes as its segments have, and the log waits for the same disk: at full speed every write
//! with a sync stands behind it. So a merge writes at the pace it is given, and hurries when holding back would cost
//! more: when writers wait for the maintenance thread, of which there is one, or somebody waits for it to end.

use std::fmt;
use std::sync::Arc;

use dvse_storage::{Directory, PacedDirectory, WritePace};

use crate::maintenance::Goal;
use crate::segment::Segment;
use crate::shard::Shard;
use crate::view::CollectionView;

/// Holds writers back. The engine has no clock; a program that has one implements this.
pub trait Pacer: fmt::Debug + Send + Sync {
    /// Is told of so many bytes before they are written, and returns when it is their time, or soon after `hurried` says
    /// that there is no time to wait. `hurried` may be asked often, but costs more than a look at a flag.
    fn pace(&self, bytes: u64, hurried: &dyn Fn() -> bool);
}

/// The pace of the merges of one database; without bounds by default.
#[derive(Clone, Default)]
pub struct MergePace {
    pacer: Option<Arc<dyn Pacer>>,
    /// A pace is kept only where somebody says when to leave it: in a database with a background thread.
    hurried: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl MergePace {
    /// Lets merges write as `pacer` says.
    #[must_use]
    pub fn new(pacer: Arc<dyn Pacer>) -> MergePace {
        MergePace { pacer: Some(pacer), hurried: None }
    }

    /// The same pace, left whenever `hurried` says so.
    pub(crate) fn with_hurry(self, hurried: impl Fn() -> bool + Send + Sync + 'static) -> MergePace {
        MergePace { pacer: self.pacer, hurried: Some(Arc::new(hurried)) }
    }
}

/// The directory that a merge writes to. Who asked for everything to be done at once waits for it, so nothing is held
/// back.
pub(crate) fn merge_dir(shard: &Shard, goal: Goal) -> Arc<dyn Directory> {
    let MergePace { pacer: Some(pacer), hurried: Some(hurried) } = &shard.config.merge_pace else {
        return Arc::clone(&shard.dir);
    };
    if matches!(goal, Goal::Sealed | Goal::Settled) {
        return Arc::clone(&shard.dir);
    }
    let pace = Arc::new(Paced { pacer: Arc::clone(pacer), hurried: Arc::clone(hurried) });
    Arc::new(PacedDirectory::new(Arc::clone(&shard.dir), pace))
}

/// Whether writers of a collection wait for the maintenance thread, or are about to.
pub(crate) fn is_pressed(view: &CollectionView, tail_bytes_max: usize) -> bool {
    let growing = view.state().segments.iter().filter_map(|state| match &state.segment {
        Segment::Growing(segment) => Some(segment),
        Segment::Sealed(_) => None,
    });
    let (segments, tail_bytes) =
        growing.fold((0, 0), |(count, bytes), segment| (count + 1, bytes + segment.tail_bytes()));
    // One grows; a second one waits to be sealed.
    segments > 1 || tail_bytes > tail_bytes_max as u64 / 2
}

struct Paced {
    pacer: Arc<dyn Pacer>,
    hurried: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl WritePace for Paced {
    fn before_write(&self, bytes: u64) {
        self.pacer.pace(bytes, &*self.hurried);
    }
}

impl fmt::Debug for Paced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Paced").field(&self.pacer).finish()
    }
}

impl fmt::Debug for MergePace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MergePace").field(&self.pacer).finish()
    }
}

impl PartialEq for MergePace {
    /// Equal when both have no bounds, or both the same pacer.
    fn eq(&self, other: &MergePace) -> bool {
        match (&self.pacer, &other.pacer) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for MergePace {}
