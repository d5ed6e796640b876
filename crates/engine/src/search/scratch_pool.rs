//! Working memory of searches, used again.

use dvse_index::Scratch;
use parking_lot::Mutex;

/// Scratches that are not in use. There are never more than searches ran at once.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "they are a kilobyte each, and moved twice a search")]
pub(crate) struct ScratchPool {
    idle: Mutex<Vec<Box<Scratch>>>,
}

impl ScratchPool {
    pub(crate) fn take(&self) -> Box<Scratch> {
        self.idle.lock().pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&self, scratch: Box<Scratch>) {
        self.idle.lock().push(scratch);
    }
}
