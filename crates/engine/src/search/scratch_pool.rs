//! Working memory of searches, used again.

use dvse_index::Scratch;
use parking_lot::Mutex;

/// Scratches that are not in use. There are never more than searches ran at once.
#[derive(Debug, Default)]
pub(crate) struct ScratchPool {
    idle: Mutex<Vec<Scratch>>,
}

impl ScratchPool {
    pub(crate) fn take(&self) -> Scratch {
        self.idle.lock().pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&self, scratch: Scratch) {
        self.idle.lock().push(scratch);
    }
}
