//! Holding a worker: paused, or drained.

use super::partition::WorkerState;
use super::progress::Mode;
use super::worker::{Halt, LAG_EVERY, Worker};

impl Worker<'_> {
    /// Returns when the records that were read may be worked on; where there are none, when the next may be read.
    ///
    /// It stands behind the reading, so that a worker that is held knows how old its oldest record is. `asked` is what it was asked
    /// to do when the reading began: a partition is drained if nothing was found since that was asked.
    pub(super) async fn wait_for_leave(&mut self, is_empty: bool, asked: Mode) -> Result<(), Halt> {
        let mut modes = self.progress.modes();
        let mut is_held = false;
        loop {
            let mode = *modes.borrow_and_update();
            let is_drained = is_empty && mode == asked && !is_held;
            match mode {
                Mode::Pause => self.progress.set_state(WorkerState::Paused),
                Mode::Drain { .. } if is_drained => self.progress.set_state(WorkerState::Drained),
                Mode::Run | Mode::Drain { .. } => {
                    self.progress.set_state(WorkerState::Running);
                    return Ok(());
                }
                Mode::Halt | Mode::Stop => return Err(Halt::Stopped),
            }
            is_held = true;
            // The senders may go on meanwhile, up to the bound of the log.
            while tokio::time::timeout(LAG_EVERY, modes.changed()).await.is_err() {
                self.tell_lag(false).await?;
            }
        }
    }
}
