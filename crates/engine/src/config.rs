//! The settings of the engine.

use std::fmt;
use std::sync::Arc;

use dvse_index::Level;

use crate::merge::MergePace;

/// The settings of a [`crate::Database`] or of one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Threads that link, seal and merge in the background, default 1. With 0 there is no background at all:
    /// maintenance runs only inside [`crate::EmbeddedCollection::settle`] and [`crate::EmbeddedCollection::step`].
    pub background_threads: usize,
    /// Rows after which a growing segment is sealed, default 131 072, at least 1.
    ///
    /// A row is linked once while it grows and once more when its segment is merged, so a larger value saves work
    /// and takes memory until the segment is sealed.
    pub growing_rows_max: usize,
    /// Bytes of vectors and payloads after which a growing segment is sealed, default 256 MiB.
    pub growing_bytes_max: usize,
    /// Bytes of vectors that may wait to be linked, default 256 MiB; beyond it writers wait.
    ///
    /// Rows that are not linked are compared one by one, by codes of a cache line or two where there is a graph to be.
    pub tail_bytes_max: usize,
    /// Bytes of log after which the growing segment is sealed however small it is, default 256 MiB. Bounds the time
    /// to open a collection.
    pub wal_bytes_max: u64,
    /// Bytes of one file of the log, default 16 MiB. A log is emptied by whole files, and what is left is read again when
    /// the collection is opened. A file is reserved as a whole, so that the disk is found full
    /// before a write is taken and not in the middle of it.
    pub wal_segment_bytes: u64,
    /// A collection of at most so many bytes has all its checksums verified when it is opened, default 256 MiB; a
    /// larger one verifies its large sections in the background.
    pub verify_bytes_max: u64,
    /// How fast merges may write, default without bounds.
    pub merge_pace: MergePace,
    /// The instruction set of vectors compared, default the best there is; one the processor lacks gives the one below
    /// it. Lower ones are for measuring what the better ones bring.
    pub level: Level,
    /// Called first on every thread that links, seals and merges in the background. The engine cannot ask the system
    /// to run these threads after others; whoever opens it can, here.
    pub thread_started: ThreadHook,
}

/// Something to be called on a thread that begins. By default nothing.
#[derive(Clone, Default)]
pub struct ThreadHook(Option<Arc<dyn Fn() + Send + Sync>>);

impl ThreadHook {
    /// Calls `hook`.
    pub fn new(hook: impl Fn() + Send + Sync + 'static) -> ThreadHook {
        ThreadHook(Some(Arc::new(hook)))
    }

    pub(crate) fn call(&self) {
        if let Some(hook) = &self.0 {
            hook();
        }
    }
}

impl PartialEq for ThreadHook {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for ThreadHook {}

impl fmt::Debug for ThreadHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "ThreadHook(set)" } else { "ThreadHook(none)" })
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            background_threads: 1,
            growing_rows_max: 131_072,
            growing_bytes_max: 256 << 20,
            tail_bytes_max: 256 << 20,
            wal_bytes_max: 256 << 20,
            wal_segment_bytes: 16 << 20,
            verify_bytes_max: 256 << 20,
            level: dvse_index::detect_level(),
            thread_started: ThreadHook::default(),
            merge_pace: MergePace::default(),
        }
    }
}
