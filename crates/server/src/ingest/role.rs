//! Runs pipelines inside a node: each has a thread that begins it, and begins it again when asked after a failure.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dvse_embed::ModelIdentity;
use dvse_engine::{Database, DatabaseError, EmbeddedCollection};
use dvse_ingest::pipeline::{
    self, FailureKind, Parts, PipelineConfig, PipelineError, Progress, ensure_topics,
};
use dvse_ingest::{Embedder, LogError, Sink, SinkError, TopicLog};
use dvse_types::Classify;

use super::model::{NoModel, TextModel};
use super::pipelines::Pipeline;
use super::sink::EngineSink;
use super::target::{Unfit, choose, fit, schema_for};
use crate::priority::stand_back;

/// Between two looks whether a pipeline has ended.
const END_LOOK: Duration = Duration::from_millis(10);

/// What a pipeline of a node is made of.
pub struct PipelineSpec {
    /// From where to which collection.
    pub config: PipelineConfig,
    /// The log, as it is shown.
    pub source: String,
    /// The log.
    pub log: Arc<dyn TopicLog>,
    /// Partitions of a topic that is not there yet.
    pub partitions: u32,
    /// The models there are, of which the collection's own is taken, or the first; none if records bring vectors.
    pub models: Vec<Arc<dyn dvse_embed::Embedder>>,
    /// Where it tells how it goes.
    pub progress: Arc<Progress>,
}

/// A pipeline that runs in this node.
#[derive(Debug)]
pub(crate) struct Role {
    pipeline: Arc<Pipeline>,
    thread: JoinHandle<()>,
}

/// What a role needs of its node.
pub(crate) struct Surroundings {
    pub database: Arc<Database>,
    /// How far the threads that write stand back behind those that search.
    pub write_nice: u8,
    pub collections_max: usize,
}

impl Role {
    /// Begins a pipeline on threads of its own.
    pub(crate) fn start(
        pipeline: Arc<Pipeline>,
        spec: PipelineSpec,
        node: Surroundings,
    ) -> std::io::Result<Role> {
        let name = format!("dvse-ingest-{}", pipeline.collection());
        let work = Work { pipeline: Arc::clone(&pipeline), spec, node };
        let thread = thread::Builder::new().name(name).spawn(move || work.run())?;
        Ok(Role { pipeline, thread })
    }

    pub(crate) fn collection(&self) -> &str {
        self.pipeline.collection()
    }

    /// Asks it to end after the batch under way.
    pub(crate) fn begin_stop(&self) {
        self.pipeline.progress().stop();
    }

    /// Waits for its end until the deadline; whether it has ended.
    pub(crate) fn finish_stop(self, deadline: Instant) -> bool {
        while !self.thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(END_LOOK);
        }
        // It catches what its workers panic with.
        drop(self.thread.join());
        true
    }
}

/// Why a pipeline ended by itself, or could not begin.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Log(Box<LogError>),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Collection(Box<DatabaseError>),
    #[error("there are {max} collections, which is this node's limit")]
    TooMany { max: usize },
    #[error("cannot start a worker")]
    Start(#[from] std::io::Error),
    #[error(transparent)]
    Worker(Box<PipelineError>),
    #[error("a worker panicked, which is a defect; the log says more")]
    Panicked,
}

impl Ended {
    /// What failed, if no worker has counted it.
    fn kind(&self) -> Option<FailureKind> {
        match self {
            Ended::Log(_) => Some(FailureKind::Log),
            Ended::Collection(_) | Ended::TooMany { .. } => Some(FailureKind::Collection),
            Ended::Unfit(_) | Ended::Start(_) | Ended::Panicked => Some(FailureKind::Other),
            Ended::Worker(_) => None,
        }
    }

    fn help(&self) -> String {
        let worker = if let Ended::Worker(error) = self { Some(&**error) } else { None };
        let log = match (self, worker) {
            (Ended::Log(error), _) => Some(&**error),
            (_, Some(PipelineError::Log { source, .. })) => Some(&**source),
            _ => None,
        };
        match self {
            Ended::Unfit(unfit) => unfit.help(),
            Ended::TooMany { .. } => "raise the setting limits.collections_max".to_owned(),
            Ended::Collection(error) => error.help().unwrap_or_else(|| RESUME.to_owned()),
            _ if matches!(log, Some(LogError::Busy { .. })) => BUSY.to_owned(),
            _ if matches!(worker, Some(PipelineError::Sink { source: SinkError::Fenced(_), .. })) => {
                FENCED.to_owned()
            }
            _ => RESUME.to_owned(),
        }
    }
}

const RESUME: &str = "when that is mended, `dvse ingest resume` or a restart goes on where it stopped";
const BUSY: &str =
    "one process at a time works on a log in a folder; stop the other one, then `dvse ingest resume`";

const FENCED: &str =
    "another pipeline works for this collection, and one is enough; `dvse ingest resume` takes it back";

impl From<LogError> for Ended {
    fn from(error: LogError) -> Ended {
        Ended::Log(Box::new(error))
    }
}

impl From<DatabaseError> for Ended {
    fn from(error: DatabaseError) -> Ended {
        Ended::Collection(Box::new(error))
    }
}

impl From<PipelineError> for Ended {
    fn from(error: PipelineError) -> Ended {
        Ended::Worker(Box::new(error))
    }
}

struct Work {
    pipeline: Arc<Pipeline>,
    spec: PipelineSpec,
    node: Surroundings,
}

impl Work {
    fn run(self) {
        let progress = self.pipeline.progress();
        let collection = self.pipeline.collection();
        loop {
            let outcome = catch_unwind(AssertUnwindSafe(|| self.run_once())).unwrap_or(Err(Ended::Panicked));
            match outcome {
                Err(error) if !progress.is_stopped() => {
                    let (reason, help) = (told(&error), error.help());
                    tracing::error!(collection, reason, help, "ingest stopped");
                    progress.ended(error.kind(), format!("{reason}; {help}"));
                }
                _ => {
                    tracing::info!(collection, "ingest ended");
                    return;
                }
            }
            match progress.wait_for_resume() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return tracing::error!(collection, %error, "ingest cannot wait to be resumed"),
            }
        }
    }

    fn run_once(&self) -> Result<(), Ended> {
        let Work { pipeline, spec, node } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let partitions = runtime.block_on(ensure_topics(&*spec.log, &spec.config, spec.partitions))?;
        let (collection, model) = self.open_collection()?;
        let identity = model.as_deref().map(dvse_embed::Embedder::model);
        let target = fit(pipeline.collection(), &collection.schema(), identity)?;
        pipeline.set_model(identity.map(ModelIdentity::tag));
        tracing::info!(
            collection = pipeline.collection(),
            source = pipeline.source(),
            partitions,
            model = identity.map_or_else(|| "none".to_owned(), ToString::to_string),
            "ingest begins"
        );
        let parts = InNode { collection, dim: target.dim, model, write_nice: node.write_nice };
        Ok(pipeline::run(&spec.log, &spec.config, partitions, &parts, pipeline.progress())?)
    }

    /// Opens the collection, which is made if there is none, and chooses its model.
    #[expect(clippy::type_complexity, reason = "a collection, and a model if there is one")]
    fn open_collection(
        &self,
    ) -> Result<(Arc<EmbeddedCollection>, Option<Arc<dyn dvse_embed::Embedder>>), Ended> {
        let (name, node) = (self.pipeline.collection(), &self.node);
        let models = &self.spec.models;
        loop {
            match node.database.get(name) {
                Ok(found) => {
                    let model = choose(Some(&*found.schema()), models).cloned();
                    return Ok((found, model));
                }
                Err(DatabaseError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(model) = choose(None, models) else {
                return Err(Unfit::NoModel { collection: name.to_owned() }.into());
            };
            if node.database.names().len() >= node.collections_max {
                return Err(Ended::TooMany { max: node.collections_max });
            }
            match node.database.create(name, schema_for(model.model())) {
                Ok(_) => tracing::info!(collection = name, "collection created"),
                // Somebody else made it just now.
                Err(DatabaseError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// An error with what caused it, in one line.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        // Errors often say what their source says.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = inner.source();
    }
    text
}

/// What the workers get.
struct InNode {
    collection: Arc<EmbeddedCollection>,
    dim: usize,
    model: Option<Arc<dyn dvse_embed::Embedder>>,
    write_nice: u8,
}

impl Parts for InNode {
    fn started(&self) {
        stand_back(self.write_nice);
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(EngineSink::new(Arc::clone(&self.collection), self.dim))
    }

    fn embedder(&self) -> Box<dyn Embedder> {
        match &self.model {
            Some(model) => Box::new(TextModel(Arc::clone(model))),
            None => Box::new(NoModel),
        }
    }
}

/// Writes each change of a pipeline's state to the log of the node, until it ends for good.
pub(crate) async fn log_changes(pipeline: Arc<Pipeline>) {
    let collection = pipeline.collection();
    let mut changes = pipeline.progress().watch();
    let mut last = None;
    while !pipeline.progress().is_stopped() {
        let status = pipeline.status();
        // What ended it is told by who runs it.
        if last != Some(status.state) && status.state != dvse_ingest::pipeline::WorkerState::Stopped {
            let state = status.state.name();
            match (status.reason, last) {
                (Some(reason), _) => tracing::warn!(collection, state, reason, "ingest waits"),
                (None, Some(_)) => tracing::info!(collection, state, "ingest changed"),
                (None, None) => {}
            }
        }
        last = Some(status.state);
        if changes.changed().await.is_err() {
            return;
        }
    }
}
