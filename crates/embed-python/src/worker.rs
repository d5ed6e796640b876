//! The thread on which a model runs.

use std::ffi::c_long;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use dvse_embed::{ModelError, ModelIdentity};
use dvse_types::Vector;
use pyo3::prelude::*;

use crate::load::{call, load};
use crate::{LoadError, ModelPath, PythonOptions, interrupt};

/// A batch to embed. It owns all it needs, because who asked may give up before it is done.
pub struct Job {
    /// Its number, from 1.
    pub number: u64,
    pub texts: Vec<String>,
}

/// The rows of a job, one after another and not looked at yet, or why there are none.
pub type Answer = Result<Vector, ModelError>;

/// A model's identity and the thread that may call it, as Python numbers it.
pub type Ready = Result<(ModelIdentity, c_long), LoadError>;

/// Which job runs, and which one has been interrupted. Both are read and written only by threads that are attached to Python, one at
/// a time, so that an interrupt meets the job it is for or none.
#[derive(Debug, Default)]
pub struct Running {
    job: AtomicU64,
    interrupted: AtomicU64,
}

impl Running {
    /// Interrupts a job if it still runs. Waits for as long as the model keeps Python to itself.
    pub fn interrupt(&self, job: u64, thread: c_long) {
        Python::attach(|py| {
            if self.job.load(Ordering::Acquire) == job {
                interrupt::raise_in(py, thread);
                self.interrupted.store(job, Ordering::Release);
            }
        });
    }
}

/// Loads a model, tells how that went, and embeds until nobody asks any more.
pub fn run(
    path: &ModelPath,
    options: &PythonOptions,
    ready: &Sender<Ready>,
    jobs: Receiver<Job>,
    answers: &Sender<Answer>,
    running: &Arc<Running>,
) {
    // Attached for good, so that what the model keeps for this thread stays; detached while there is nothing to do.
    Python::attach(|py| {
        let loaded = match load(py, path, options) {
            Ok(loaded) => loaded,
            Err(error) => {
                // Whoever asked may have given up.
                drop(ready.send(Err(error)));
                return;
            }
        };
        let (dim, thread) = (loaded.identity.dim, loaded.thread);
        if ready.send(Ok((loaded.identity, thread))).is_err() {
            return;
        }
        let mut jobs = jobs;
        loop {
            let (job, back) = py.detach(move || (jobs.recv(), jobs));
            jobs = back;
            let Ok(job) = job else { return };
            let number = job.number;
            running.job.store(number, Ordering::Release);
            let answer = embed(&loaded.model, &job.texts, dim);
            running.job.store(0, Ordering::Release);
            if running.interrupted.load(Ordering::Acquire) == number {
                interrupt::take_back(py, thread);
            }
            if answers.send(answer).is_err() {
                return;
            }
        }
    });
}

fn embed(model: &Bound<'_, PyAny>, texts: &[String], dim: usize) -> Answer {
    let array = call(model, texts)?;
    if array.dim() != dim {
        return Err(ModelError::Dimensions { got: array.dim(), expected: dim });
    }
    array.into_vector()
}
