//! The composition root: opens the data, serves it, and takes it down in order.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::serve::ListenerExt;
use dvse_embed::Embedder;
use dvse_engine::{Database, EngineConfig, MergePace, ThreadHook};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::body_buffers::BodyBuffers;
use crate::config::{Config, LogFormat};
use crate::embedding::Embedding;
use crate::ingest::{self, Pipeline, PipelineSpec, Pipelines, Role, TwoPipelines};
use crate::pace::BytesPerSecond;
use crate::priority::{stand_back, step_forward};
use crate::rest::router;
use crate::telemetry::Telemetry;

/// How often recorded durations are folded into histograms.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Threads that move bytes between sockets and memory. More than cores, so that one of them is at the sockets while
/// others copy bodies of many megabytes.
const IO_THREADS: usize = 4;
/// The stack of a thread that parses requests: enough for the deepest JSON the parser follows, in a debug build too.
const HANDLER_STACK_BYTES: usize = 8 << 20;

/// A running node.
#[derive(Debug)]
pub struct Node {
    runtime: Runtime,
    /// Only its blocking threads are used: they run the handlers of writes.
    writers: Runtime,
    address: SocketAddr,
    app: Arc<App>,
    roles: Mutex<Vec<Role>>,
    stopping: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
    upkeep: JoinHandle<()>,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The threads could not be started.
    #[error("cannot start threads")]
    Runtime(#[source] std::io::Error),
    /// The data could not be opened.
    #[error("cannot open the data folder {}", path.display())]
    OpenData {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: Box<dvse_engine::DatabaseError>,
    },
    /// The address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The log filter of the configuration is not one.
    #[error("setting log.filter is {filter:?}, which is not a filter of log messages: {reason}")]
    LogFilter {
        /// The filter.
        filter: String,
        /// What is wrong.
        reason: String,
    },
    /// The signals that stop a node could not be watched.
    #[error("cannot watch signals")]
    Signals(#[source] std::io::Error),
}

/// Why a node did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The data could not be closed. Everything acknowledged as durable is still in the log.
    #[error("cannot close the data folder")]
    CloseData(#[source] Box<dvse_engine::DatabaseError>),
    /// Serving had ended with an error.
    #[error("serving ended with an error")]
    Serve(#[source] std::io::Error),
}

/// Why a pipeline did not begin.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Two pipelines would have one name.
    #[error(transparent)]
    Two(#[from] TwoPipelines),
    /// The machine gives no thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// Why [`run`] ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The node did not stop cleanly.
    #[error(transparent)]
    Stop(#[from] StopError),
}

impl Node {
    /// Opens the data, listens, and serves on threads of its own.
    ///
    /// # Errors
    /// The data cannot be opened, or the address cannot be listened on.
    pub fn start(config: Config) -> Result<Node, StartError> {
        Node::start_with(config, Vec::new())
    }

    /// Does what [`start`](Node::start) does, with models for texts beside the bundled one.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_with(config: Config, models: Vec<Arc<dyn Embedder>>) -> Result<Node, StartError> {
        let embedding = Embedding::new(models);
        // Handlers wait in `spawn_blocking`; its threads are bounded by the permits that requests hold, and by the models.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(IO_THREADS)
            .max_blocking_threads(config.search_threads.get() + 2 + embedding.loaded())
            .thread_stack_size(HANDLER_STACK_BYTES)
            .thread_name("dvse-server")
            .on_thread_start(step_forward)
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        let write_nice = config.write_nice;
        let writers = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(config.write_threads.get() + 1)
            .thread_stack_size(HANDLER_STACK_BYTES)
            .thread_name("dvse-write")
            .on_thread_start(move || stand_back(write_nice))
            .build()
            .map_err(StartError::Runtime)?;
        let background_nice = config.background_nice;
        let engine = EngineConfig {
            background_threads: config.background_threads,
            growing_rows_max: config.growing_rows_max,
            tail_bytes_max: config.tail_bytes_max,
            thread_started: ThreadHook::new(move || stand_back(background_nice)),
            merge_pace: config
                .merge_bytes_per_s
                .map_or_else(MergePace::default, |rate| MergePace::new(Arc::new(BytesPerSecond::new(rate)))),
            ..EngineConfig::default()
        };
        // Listening comes first: a node that is there already is noticed before any file is touched.
        let listener = runtime
            .block_on(TcpListener::bind(config.http))
            .map_err(|source| StartError::Listen { address: config.http, source })?;
        let address =
            listener.local_addr().map_err(|source| StartError::Listen { address: config.http, source })?;
        let database = Database::open(&config.data, engine)
            .map_err(|source| StartError::OpenData { path: config.data.clone(), source: Box::new(source) })?;
        if config.api_key.is_none() && !address.ip().is_loopback() {
            tracing::warn!(%address, "anyone who reaches this address can read and change everything: no api key is set");
        }
        let app = Arc::new(App {
            database: Arc::new(database),
            config,
            embedding,
            pipelines: Pipelines::default(),
            telemetry: Telemetry::default(),
            body_buffers: BodyBuffers::default(),
            write_threads: writers.handle().clone(),
        });
        let (stopping, stop) = watch::channel(false);
        let server = runtime.spawn(serve(listener, router(&app), stop.clone()));
        let upkeep = runtime.spawn(keep_up(Arc::clone(&app), stop));
        tracing::info!(%address, collections = app.database.names().len(), "serving");
        Ok(Node { runtime, writers, address, app, roles: Mutex::default(), stopping, server, upkeep })
    }

    /// Where REST is served, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The collections, for the program that embeds the node.
    #[must_use]
    pub fn database(&self) -> &Arc<Database> {
        &self.app.database
    }

    /// Begins a pipeline into a collection of this node. What ends it, a collection that does not fit included, is told by its
    /// status and the log of messages; the node serves on.
    ///
    /// # Errors
    /// There is one into that collection already, or the machine gives no thread.
    pub fn ingest(&self, spec: PipelineSpec) -> Result<(), IngestError> {
        let (config, progress) = (&spec.config, Arc::clone(&spec.progress));
        let topic = config.raw_events.to_string();
        let pipeline = Arc::new(Pipeline::new(&config.collection, &spec.source, &topic, progress));
        self.app.pipelines.add(Arc::clone(&pipeline))?;
        self.runtime.spawn(ingest::log_changes(Arc::clone(&pipeline)));
        let surroundings = ingest::Surroundings {
            database: Arc::clone(&self.app.database),
            write_nice: self.app.config.write_nice,
            collections_max: self.app.config.limits.collections_max,
        };
        let role = Role::start(pipeline, spec, surroundings).map_err(IngestError::Thread)?;
        self.roles.lock().unwrap_or_else(PoisonError::into_inner).push(role);
        Ok(())
    }

    /// Brings the batches of pipelines to their end, stops accepting, waits for the requests begun until the deadline, and closes the data.
    ///
    /// # Errors
    /// The data cannot be closed; everything acknowledged as durable is still in the log.
    pub fn stop(self) -> Result<(), StopError> {
        let Node { runtime, writers, app, roles, stopping, mut server, upkeep, .. } = self;
        let deadline = app.config.stop_deadline;
        stop_ingest(roles.into_inner().unwrap_or_else(PoisonError::into_inner), Instant::now() + deadline);
        // The receivers are alive as long as the tasks are; without them there is nothing to tell.
        let _ = stopping.send(true);
        let served = runtime.block_on(async {
            let _ = upkeep.await;
            match tokio::time::timeout(deadline, &mut server).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Ok(()),
                Err(_) => {
                    tracing::warn!(?deadline, "requests were still open at the stop deadline");
                    server.abort();
                    Ok(())
                }
            }
        });
        runtime.shutdown_timeout(deadline);
        writers.shutdown_timeout(deadline);
        app.database.close().map_err(|error| StopError::CloseData(Box::new(error)))?;
        tracing::info!("stopped");
        served.map_err(StopError::Serve)
    }
}

/// Stops the pipelines side by side.
fn stop_ingest(roles: Vec<Role>, deadline: Instant) {
    roles.iter().for_each(Role::begin_stop);
    for role in roles {
        let collection = role.collection().to_owned();
        if !role.finish_stop(deadline) {
            tracing::warn!(
                collection,
                "a batch was still under way at the stop deadline; its records are taken again"
            );
        }
    }
}

async fn serve(
    listener: TcpListener,
    router: axum::Router,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    // Answers are small and written whole: waiting to fill a packet would only delay them.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch off packet coalescing");
        }
    });
    let stopped = async move {
        let _ = stop.wait_for(|stopping| *stopping).await;
    };
    axum::serve(listener, router).with_graceful_shutdown(stopped).await
}

async fn keep_up(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => app.telemetry.upkeep(),
            _ = stop.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// Starts a node and serves until the process is told to stop (SIGINT or SIGTERM); `started` is called once it
/// serves.
///
/// # Errors
/// The node does not start, or does not stop cleanly.
pub fn run(config: Config, started: impl FnOnce(&Node)) -> Result<(), RunError> {
    start_logging(&config)?;
    let node = Node::start(config)?;
    started(&node);
    let signal = node.runtime.block_on(stop_signal()).map_err(StartError::Signals)?;
    tracing::info!(signal, "stopping");
    node.stop()?;
    Ok(())
}

async fn stop_signal() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}

/// Writes log messages to standard error from now on, for the whole process. A program that has set up its own
/// logging keeps it.
///
/// # Errors
/// The filter of the configuration is not one.
pub fn start_logging(config: &Config) -> Result<(), StartError> {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(&config.log_filter).map_err(|error| StartError::LogFilter {
        filter: config.log_filter.clone(),
        reason: error.to_string(),
    })?;
    // Colours are for terminals; in a file they are in the way.
    let colours = std::io::stderr().is_terminal();
    let logging =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // An error means that a subscriber is there already.
    let _ = match config.log_format {
        LogFormat::Text => logging.try_init(),
        LogFormat::Json => logging.json().flatten_event(true).try_init(),
    };
    Ok(())
}
