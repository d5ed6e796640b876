//! The thread that runs maintenance for a database.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::config::ThreadHook;
use crate::embedded::EmbeddedCollection;
use crate::maintenance::{Goal, Step};

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

    /// Waits for work; false when the thread is to end.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.wanted && !state.closing {
            self.changed.wait(&mut state);
        }
        state.wanted = false;
        !state.closing
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
            while shared.wait() {
                while !shared.is_closing() && round(&collections()) {}
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
fn round(collections: &[Arc<EmbeddedCollection>]) -> bool {
    let mut worked = false;
    for collection in collections.iter().filter(|collection| !collection.is_closing()) {
        worked |= collection.run_step(Goal::Tidy) == Ok(Step::Worked);
    }
    worked
}
