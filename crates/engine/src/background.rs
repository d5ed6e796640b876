//! The thread that runs maintenance for a database.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::config::ThreadHook;
use crate::embedded::EmbeddedCollection;
use crate::maintenance::{Goal, Step};

/// After so long without a write collections are tidied further, see [`Goal::Rested`]: short enough for the searches that
/// follow a load, and a pause that steady writing does not have.
const REST_AFTER: Duration = Duration::from_secs(5);

/// What the thread is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Work,
    Rest,
    End,
}

/// Wakes the maintenance thread.
#[derive(Debug, Default)]
pub(crate) struct Waker {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wanted: bool,
    closing: bool,
}

impl Waker {
    /// Says that there may be work.
    pub(crate) fn wake(&self) {
        let mut state = self.state.lock();
        if !state.wanted {
            state.wanted = true;
            self.changed.notify_one();
        }
    }

    fn close(&self) {
        self.state.lock().closing = true;
        self.changed.notify_one();
    }

    /// Waits for work. After work, nothing coming for `rest_after` is a call, too.
    fn wait(&self, before: Call, rest_after: Duration) -> Call {
        let mut state = self.state.lock();
        while !state.wanted && !state.closing {
            if before != Call::Work {
                self.changed.wait(&mut state);
            } else if self.changed.wait_for(&mut state, rest_after).timed_out() {
                break;
            }
        }
        let call = match &*state {
            State { closing: true, .. } => Call::End,
            State { wanted: true, .. } => Call::Work,
            _ => Call::Rest,
        };
        state.wanted = false;
        call
    }

    /// Whether there may be work, or the thread is to end.
    fn is_called(&self) -> bool {
        let state = self.state.lock();
        state.wanted || state.closing
    }

    /// Whether the thread is to end.
    pub(crate) fn is_closing(&self) -> bool {
        self.state.lock().closing
    }
}

/// The maintenance thread. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Background {
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the thread, which calls `started` first; `collections` says which there are now.
    pub(crate) fn start(
        waker: Arc<Waker>,
        started: ThreadHook,
        collections: impl Fn() -> Vec<Arc<EmbeddedCollection>> + Send + 'static,
    ) -> std::io::Result<Background> {
        let shared = Arc::clone(&waker);
        let thread = std::thread::Builder::new().name("dvse-maintain".to_owned()).spawn(move || {
            started.call();
            let mut call = shared.wait(Call::Rest, REST_AFTER);
            while call != Call::End {
                match call {
                    Call::Rest => while !shared.is_called() && round(&collections(), Goal::Rested) {},
                    _ => while !shared.is_closing() && round(&collections(), Goal::Tidy) {},
                }
                call = shared.wait(call, REST_AFTER);
            }
        })?;
        Ok(Background { waker, thread: Some(thread) })
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(&mut self) {
        self.waker.close();
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was reported when it happened; the collections are whole without it.
            drop(thread.join());
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One step for each collection, so that none waits for all the work of another; whether there was work. A step that
/// fails is kept as the collection's status and tried again with the next write.
fn round(collections: &[Arc<EmbeddedCollection>], goal: Goal) -> bool {
    let mut worked = false;
    for collection in collections.iter().filter(|collection| !collection.is_closing()) {
        worked |= collection.run_step(goal) == Ok(Step::Worked);
    }
    worked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_is_called_once_after_work_and_never_before_it() {
        let waker = Waker::default();
        waker.wake();
        assert_eq!(waker.wait(Call::Rest, Duration::ZERO), Call::Work);
        assert_eq!(waker.wait(Call::Work, Duration::ZERO), Call::Rest);
        assert!(!waker.is_called());
        // While it rests a write comes; with neither it would wait here for ever.
        waker.wake();
        assert!(waker.is_called());
        assert_eq!(waker.wait(Call::Rest, Duration::ZERO), Call::Work);
        waker.wake();
        waker.close();
        assert_eq!(waker.wait(Call::Work, Duration::ZERO), Call::End);
    }
}
