//! The signals that ask this process to stop.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crate::failure::{Failure, Result};

/// Whether Ctrl-C or SIGTERM has come.
#[derive(Default)]
pub struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Notes the first signal from now on. A second one ends the process at once: acknowledged writes are in the log of
    /// the node.
    ///
    /// # Errors
    /// The system does not let signals be watched.
    pub fn watch() -> Result<Arc<Stop>> {
        let stop = Arc::new(Stop::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut signals = {
            // Registered before this function returns, not when the thread gets to run.
            let _inside = runtime.enter();
            Signals::new()?
        };
        let noted = Arc::clone(&stop);
        thread::Builder::new().name("dvse-signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                signals.next().await;
                *noted.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
                noted.changed.notify_all();
                signals.next().await;
            });
            Failure::new("stopped at once; acknowledged writes are in the log").report();
            std::process::exit(130);
        })?;
        Ok(stop)
    }

    /// Whether a signal has come.
    pub fn is_asked(&self) -> bool {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a signal.
    pub fn wait(&self) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        while !*asked {
            asked = self.changed.wait(asked).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        drop(tokio::signal::ctrl_c().await);
    }
}
