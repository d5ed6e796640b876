//! Memory for bodies of log records, used again.

use dvse_storage::GatherBuf;
use parking_lot::Mutex;

/// Buffers kept for later: about as many as there are writers at once. Memory that is new for each batch has to be
/// cleared by the kernel page by page: a quarter of all pages that a write had cleared (`perf`, 40 960 × 384).
const KEPT_MAX: usize = 4;

/// What is beyond this is given back to the system.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Buffers that are not in use.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    idle: Mutex<Vec<GatherBuf>>,
}

impl Bodies {
    /// An empty buffer.
    pub(super) fn take(&self) -> GatherBuf {
        self.idle.lock().pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, mut body: GatherBuf) {
        body.clear(KEPT_BYTES_MAX);
        let mut idle = self.idle.lock();
        if idle.len() < KEPT_MAX {
            idle.push(body);
        }
    }
}
