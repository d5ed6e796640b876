//! A model in Python as an embedder.

use std::ffi::c_long;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dvse_embed::{EmbedError, Embedder, ModelError, ModelIdentity};
use dvse_types::Vector;

use crate::array::check;
use crate::worker::{self, Answer, Job, Running};
use crate::{LoadError, ModelPath};

/// How a model is called.
#[derive(Debug, Clone)]
pub struct PythonOptions {
    /// Texts of one call, at most. Default 64.
    pub batch: NonZeroUsize,
    /// How long one call may take. Default 60 s.
    pub timeout: Duration,
    /// How long loading may take, with the first call. Default 300 s: some frameworks take a minute to be imported.
    pub load_timeout: Duration,
    /// Folders to look for modules in, before all others.
    pub search: Vec<PathBuf>,
    /// A virtual environment to look for packages in, made with the same version of Python.
    pub environment: Option<PathBuf>,
}

impl Default for PythonOptions {
    fn default() -> PythonOptions {
        PythonOptions {
            batch: NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN),
            timeout: Duration::from_secs(60),
            load_timeout: Duration::from_secs(300),
            search: Vec::new(),
            environment: None,
        }
    }
}

/// A callable of Python that embeds texts: `embed(list[str])` returns an array of float32, C-contiguous, with one row a text.
///
/// The texts of a call are sorted by their length and given to the model in batches of like length, which saves models that pad
/// their input most of their work; results come in the order of the texts.
///
/// The vectors of a call are the memory of the array that the model returned, without a copy, if nobody else can reach that from then
/// on: a `numpy.ndarray` (no class derived from it) that owns its memory, or a view of one, to which the model has kept no reference,
/// and no weak one either. Anything else is copied once, as is what the model may still write to. The memory goes back to NumPy
/// when the last vector of the call is gone.
///
/// One thread runs the model, however many call it: they take turns. Nobody else holds Python's lock while it works.
///
/// A call that takes longer than [`PythonOptions::timeout`] fails with [`ModelError::Late`], and an exception is raised in the
/// model (`dvse.ModelDeadline`, a `BaseException`). It reaches code in Python at its next step, code in C when that returns.
/// Until the model is back, calls wait for it as long as a call may take and fail with [`ModelError::Busy`] then; nothing else of
/// the process is held up. Then it works again.
pub struct PythonEmbedder {
    model: ModelIdentity,
    batch: usize,
    timeout: Duration,
    thread: c_long,
    calls: Mutex<Calls>,
    running: Arc<Running>,
    is_interrupting: Arc<AtomicBool>,
}

/// The way to the thread of the model. At most one job is on its way, so an answer is always that of the last job.
struct Calls {
    jobs: Option<Sender<Job>>,
    answers: Receiver<Answer>,
    last: u64,
    /// Since when the last job is not waited for any more.
    given_up: Option<Instant>,
    worker: Option<JoinHandle<()>>,
}

impl PythonEmbedder {
    /// Loads a model and has it embed [`dvse_embed::PROBE_TEXT`], which tells its dimensions. Starts Python if that has not happened yet.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(path: ModelPath, options: PythonOptions) -> Result<PythonEmbedder, LoadError> {
        let name = path.to_string();
        let (jobs, to_do) = mpsc::channel();
        let (done, answers) = mpsc::channel();
        let (tell, ready) = mpsc::channel();
        let running = Arc::new(Running::default());
        let (batch, timeout, load_timeout) = (options.batch.get(), options.timeout, options.load_timeout);
        let theirs = Arc::clone(&running);
        let worker = thread::Builder::new()
            .name("python-model".to_owned())
            .spawn(move || worker::run(&path, &options, &tell, to_do, &done, &theirs))
            .map_err(LoadError::NoThread)?;
        let (model, thread) = match ready.recv_timeout(load_timeout) {
            Ok(told) => told?,
            Err(RecvTimeoutError::Timeout) => {
                return Err(LoadError::Late { path: name, timeout: load_timeout });
            }
            Err(RecvTimeoutError::Disconnected) => return Err(LoadError::Ended { path: name }),
        };
        let calls = Calls { jobs: Some(jobs), answers, last: 0, given_up: None, worker: Some(worker) };
        Ok(PythonEmbedder {
            model,
            batch,
            timeout,
            thread,
            calls: Mutex::new(calls),
            running,
            is_interrupting: Arc::new(AtomicBool::new(false)),
        })
    }

    /// Has one batch embedded.
    fn call(&self, texts: Vec<String>) -> Answer {
        // A panic elsewhere leaves nothing half done in there.
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        self.wait_for_the_last(&mut calls)?;
        calls.last += 1;
        let count = texts.len();
        let job = Job { number: calls.last, texts };
        let sent = calls.jobs.as_ref().map(|jobs| jobs.send(job));
        if !matches!(sent, Some(Ok(()))) {
            return Err(ModelError::Gone);
        }
        match calls.answers.recv_timeout(self.timeout) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                calls.given_up = Some(Instant::now());
                self.interrupt(calls.last);
                Err(ModelError::Late { timeout: self.timeout, texts: count })
            }
            Err(RecvTimeoutError::Disconnected) => Err(ModelError::Gone),
        }
    }

    /// Waits for a job that was given up.
    fn wait_for_the_last(&self, calls: &mut Calls) -> Result<(), ModelError> {
        let Some(since) = calls.given_up else { return Ok(()) };
        match calls.answers.recv_timeout(self.timeout) {
            Ok(_) => {
                calls.given_up = None;
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => {
                // A handler of the model's may have caught the first one.
                self.interrupt(calls.last);
                Err(ModelError::Busy { since: since.elapsed() })
            }
            Err(RecvTimeoutError::Disconnected) => Err(ModelError::Gone),
        }
    }

    /// Tells the model to stop, without waiting: only who is attached to Python can, and a model in C code may keep everybody
    /// from that. So a thread does it that nobody joins, one at a time.
    fn interrupt(&self, job: u64) {
        if self.is_interrupting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (running, is_interrupting) = (Arc::clone(&self.running), Arc::clone(&self.is_interrupting));
        let thread = self.thread;
        let started = thread::Builder::new().name("python-interrupt".to_owned()).spawn(move || {
            running.interrupt(job, thread);
            is_interrupting.store(false, Ordering::Release);
        });
        if started.is_err() {
            self.is_interrupting.store(false, Ordering::Release);
        }
    }
}

impl Embedder for PythonEmbedder {
    fn model(&self) -> &ModelIdentity {
        &self.model
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, EmbedError> {
        if let Some(index) = texts.iter().position(|text| text.trim().is_empty()) {
            return Err(EmbedError::EmptyText { index });
        }
        let mut by_length: Vec<(usize, &str)> = texts.iter().copied().enumerate().collect();
        by_length.sort_by_key(|(_, text)| text.len());
        let mut vectors = vec![Vector::default(); texts.len()];
        for part in by_length.chunks(self.batch) {
            let (places, part): (Vec<usize>, Vec<String>) =
                part.iter().map(|(place, text)| (*place, (*text).to_owned())).unzip();
            let rows = self.call(part)?;
            check(&rows, self.model.dim, &places)?;
            for (place, row) in places.into_iter().zip(rows.rows(self.model.dim)) {
                vectors[place] = row;
            }
        }
        Ok(vectors)
    }
}

impl fmt::Debug for PythonEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PythonEmbedder").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Drop for PythonEmbedder {
    fn drop(&mut self) {
        let calls = self.calls.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The thread ends when it next asks for a job. One whose model does not come back is left behind.
        drop(calls.jobs.take());
        if let Some(worker) = calls.worker.take().filter(|_| calls.given_up.is_none()) {
            drop(worker.join());
        }
    }
}
