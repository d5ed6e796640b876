//! A collection on this machine: a shard, and the log that orders its writes.

mod bodies;
mod error;
mod mark;
mod queue;
mod status;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dvse_storage::{Directory, RecoveryMode, Wal, WalOptions};
use dvse_types::{Classify, CollectionSchema, ErrorKind, SeqNo};
use parking_lot::{Condvar, Mutex, RwLock};

pub use self::error::{OpenCollectionError, WriteError};
pub use self::mark::MarkOutcome;
pub use self::status::{CollectionStatus, Health};

use self::bodies::Bodies;
use self::queue::Queue;
use crate::background::Waker;
use crate::config::EngineConfig;
use crate::maintenance::{Goal, MaintenanceError, Step, StepContext};
use crate::op_codec;
use crate::shard::Shard;
use crate::view::CollectionView;

/// When a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Once it is on the disk: it survives a power loss.
    Synced,
    /// Once it is in the log's buffer: it survives nothing yet, and becomes durable with the next synced write, seal
    /// or clean close.
    Buffered,
}

/// The answer to a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteReceipt {
    /// Its position in the log; of a duplicate, that of the entry that holds its last record.
    pub seq: SeqNo,
    /// For each operation how many points it touched; of a duplicate nothing.
    pub touched: Vec<usize>,
    /// What became of its mark, if it has one.
    pub mark: Option<MarkOutcome>,
}

/// One collection with its own write-ahead log. All methods may be called from many threads.
pub struct EmbeddedCollection {
    name: String,
    shard: Shard,
    wal: RwLock<Option<Wal>>,
    queue: Mutex<Queue>,
    bodies: Bodies,
    /// Held by whoever applies, so that entries are applied in order.
    applying: Mutex<()>,
    pool: Arc<rayon::ThreadPool>,
    waker: Option<Arc<Waker>>,
    closing: AtomicBool,
    poison: Mutex<Option<Arc<str>>>,
    /// Why the last step of maintenance failed, if it did.
    failure: Mutex<Option<(ErrorKind, Arc<str>)>>,
    /// Told after each step of maintenance.
    worked: Condvar,
    worked_lock: Mutex<u64>,
}

impl EmbeddedCollection {
    /// Makes a collection in an empty directory, without a thread of its own: maintenance runs in
    /// [`EmbeddedCollection::step`], [`EmbeddedCollection::settle`] and, when too much waits, inside writes.
    ///
    /// # Errors
    /// [`OpenCollectionError`] when the schema cannot be or the disk refuses.
    pub fn create_in(
        dir: &Arc<dyn Directory>,
        name: &str,
        schema: CollectionSchema,
        config: EngineConfig,
    ) -> Result<EmbeddedCollection, OpenCollectionError> {
        let pool = thread_pool(&config)?;
        EmbeddedCollection::create(dir, name, schema, config, pool, None)
    }

    /// Opens a collection that [`EmbeddedCollection::create_in`] made; the directory must be nobody else's.
    ///
    /// # Errors
    /// [`OpenCollectionError`] with the file and offset of what is damaged.
    pub fn open_in(
        dir: &Arc<dyn Directory>,
        name: &str,
        config: EngineConfig,
    ) -> Result<EmbeddedCollection, OpenCollectionError> {
        let pool = thread_pool(&config)?;
        EmbeddedCollection::open(dir, name, config, pool, None)
    }

    pub(crate) fn create(
        dir: &Arc<dyn Directory>,
        name: &str,
        schema: CollectionSchema,
        config: EngineConfig,
        pool: Arc<rayon::ThreadPool>,
        waker: Option<Arc<Waker>>,
    ) -> Result<EmbeddedCollection, OpenCollectionError> {
        dir.create_dir(WAL_DIR).map_err(crate::shard::OpenShardError::from)?;
        let shard = Shard::create(Arc::clone(dir), schema, config)?;
        EmbeddedCollection::start(dir, name, shard, pool, waker)
    }

    pub(crate) fn open(
        dir: &Arc<dyn Directory>,
        name: &str,
        config: EngineConfig,
        pool: Arc<rayon::ThreadPool>,
        waker: Option<Arc<Waker>>,
    ) -> Result<EmbeddedCollection, OpenCollectionError> {
        let shard = Shard::open(Arc::clone(dir), config)?;
        EmbeddedCollection::start(dir, name, shard, pool, waker)
    }

    /// Opens the log and applies what the segments lack.
    fn start(
        dir: &Arc<dyn Directory>,
        name: &str,
        shard: Shard,
        pool: Arc<rayon::ThreadPool>,
        waker: Option<Arc<Waker>>,
    ) -> Result<EmbeddedCollection, OpenCollectionError> {
        let options = WalOptions { segment_bytes: shard.config.wal_segment_bytes, ..WalOptions::default() };
        let (wal, _) = Wal::open(dir.sub(WAL_DIR), options, RecoveryMode::CutTornTail)?;
        let watermark = shard.watermark();
        let (first, last) = (wal.first(), wal.last());
        if last < watermark || (last > watermark && first > watermark.next()) {
            return Err(OpenCollectionError::LogGap { watermark, first, last });
        }
        if last > watermark {
            for record in wal.read(watermark.next())? {
                let record = record?;
                let batch = op_codec::decode(&record.body)
                    .map_err(|source| OpenCollectionError::Entry { seq: record.seq, source })?;
                shard
                    .apply(record.seq, &batch)
                    .map_err(|source| OpenCollectionError::Apply { seq: record.seq, source })?;
            }
        }
        Ok(EmbeddedCollection {
            name: name.to_owned(),
            queue: Mutex::new(Queue::new(last.max(watermark).next(), shard.view().state().sources.clone())),
            bodies: Bodies::default(),
            shard,
            wal: RwLock::new(Some(wal)),
            applying: Mutex::new(()),
            pool,
            waker,
            closing: AtomicBool::new(false),
            poison: Mutex::new(None),
            failure: Mutex::new(None),
            worked: Condvar::new(),
            worked_lock: Mutex::new(0),
        })
    }

    /// The collection's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The schema as it is now.
    #[must_use]
    pub fn schema(&self) -> Arc<CollectionSchema> {
        Arc::clone(self.view().schema())
    }

    /// The newest state: immutable, consistent, and cheap to take.
    #[must_use]
    pub fn view(&self) -> Arc<CollectionView> {
        self.shard.view()
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }

    /// Does one step of maintenance; whether there was anything to do. For tests and simulations, which run without
    /// a background thread.
    ///
    /// # Errors
    /// [`WriteError`] when the step failed; it is tried again by the next call.
    pub fn step(&self) -> Result<bool, WriteError> {
        Ok(self.run_step(Goal::Tidy)? == Step::Worked)
    }

    pub(crate) fn run_step(&self, goal: Goal) -> Result<Step, WriteError> {
        let log_durable = |seq: SeqNo| self.make_log_durable(seq);
        let closing = || goal != Goal::Sealed && self.closing.load(Ordering::Relaxed);
        let context = StepContext { pool: &self.pool, stop: &closing, log_durable: &log_durable, goal };
        let outcome = self.step_and_purge(&context);
        *self.failure.lock() =
            outcome.as_ref().err().map(|error| (error.kind(), Arc::from(error.to_string())));
        *self.worked_lock.lock() += 1;
        self.worked.notify_all();
        outcome.map_err(|error| WriteError::maintenance(error.kind(), error.to_string().into()))
    }

    fn step_and_purge(&self, context: &StepContext<'_>) -> Result<Step, MaintenanceError> {
        let mut maintainer = self.shard.maintainer.lock();
        let before = self.shard.watermark();
        if self.log_bytes() > self.shard.config.wal_bytes_max && self.shard.applied() > before {
            self.shard.seal()?;
        }
        let step = maintainer.step(&self.shard, context)?;
        let watermark = self.shard.watermark();
        if watermark > before
            && let Some(wal) = self.wal.read().as_ref()
        {
            // What could not be purged now is purged with the next seal.
            drop(wal.purge_before(watermark.next()));
        }
        if step == Step::Idle {
            // Nothing else makes a buffered write durable when nothing is written after it.
            self.make_log_durable(self.shard.applied())?;
        }
        Ok(step)
    }

    fn make_log_durable(&self, seq: SeqNo) -> Result<(), MaintenanceError> {
        let wal = self.wal.read();
        let Some(wal) = wal.as_ref() else { return Err(MaintenanceError::Log("the log is closed".into())) };
        if seq <= wal.durable() {
            return Ok(());
        }
        wal.sync_to(seq).map_err(|error| MaintenanceError::Log(self.log_failed(error).to_string().into()))
    }

    fn log_bytes(&self) -> u64 {
        self.wal.read().as_ref().map_or(0, Wal::bytes)
    }

    /// Works until every row is linked, no merge is due and small segments are one. `progress` is told how many
    /// vectors are indexed and how many there are, and ends the work by returning false.
    ///
    /// # Errors
    /// [`WriteError`] when a step failed.
    pub fn settle(&self, progress: &mut dyn FnMut(usize, usize) -> bool) -> Result<(), WriteError> {
        loop {
            let (indexed, vectors) = self.indexed();
            if !progress(indexed, vectors) || self.run_step(Goal::Settled)? == Step::Idle {
                return Ok(());
            }
        }
    }

    /// Does all that is due, and what the background does for a collection that nobody writes to for a while: a small one
    /// (up to 262 144 rows) becomes one segment without dead rows, once 128 rows or more have changed.
    ///
    /// # Errors
    /// [`WriteError`] when a step failed.
    pub fn rest(&self) -> Result<(), WriteError> {
        while self.run_step(Goal::Rested)? == Step::Worked {}
        Ok(())
    }

    /// Seals the growing segment as it is and publishes the manifest: the log is then empty.
    ///
    /// # Errors
    /// [`WriteError`] when the disk refuses.
    pub fn flush(&self) -> Result<(), WriteError> {
        self.shard
            .seal()
            .map_err(|error| WriteError::maintenance(ErrorKind::Overloaded, error.to_string().into()))?;
        while self.run_step(Goal::Sealed)? == Step::Worked {}
        Ok(())
    }

    /// Refuses new writes, seals what is growing and closes the log, so that the next opening has nothing to do.
    /// Views stay readable. Closing twice is fine.
    ///
    /// # Errors
    /// [`WriteError`] when the disk refuses; what was acknowledged is safe in the log even then.
    pub fn close(&self) -> Result<(), WriteError> {
        self.closing.store(true, Ordering::Release);
        self.worked.notify_all();
        if self.wal.read().is_none() {
            return Ok(());
        }
        let flushed = if self.poison.lock().is_some() { Ok(()) } else { self.flush() };
        // Waits for the writers that are in it.
        let Some(wal) = self.wal.write().take() else { return Ok(()) };
        flushed?;
        wal.close().map_err(|error| self.log_failed(error))
    }

    /// Refuses everything that would touch the files, which are about to be removed.
    pub(crate) fn retire(&self) {
        self.closing.store(true, Ordering::Release);
        self.worked.notify_all();
        drop(self.wal.write().take());
        // A step under way ends at the next question whether to stop; after it no other begins.
        drop(self.shard.maintainer.lock());
    }

    /// Whether the collection was closed or dropped.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

/// The directory of the log, inside the collection's.
const WAL_DIR: &str = "wal";

/// The threads that link.
pub(crate) fn thread_pool(config: &EngineConfig) -> Result<Arc<rayon::ThreadPool>, OpenCollectionError> {
    let started = config.thread_started.clone();
    rayon::ThreadPoolBuilder::new()
        .start_handler(move |_| started.call())
        .num_threads(config.background_threads.max(1))
        .thread_name(|thread| format!("dvse-link-{thread}"))
        .build()
        .map(Arc::new)
        .map_err(|error| OpenCollectionError::Threads { reason: error.to_string() })
}

impl std::fmt::Debug for EmbeddedCollection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedCollection").field("name", &self.name).finish_non_exhaustive()
    }
}
