//! `dvse ingest`: brings the records of a topic into a collection.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dvse_embed::ModelIdentity;
use dvse_ingest::pipeline::{self, Parts, PipelineConfig, PipelineError, Progress, ensure_topics};
use dvse_ingest::{Embedder, Sink, SinkError, TopicName};
use dvse_server::ingest::{Admin, NoModel, Pipeline, Pipelines, Target, TextModel, Unfit, fit};
use dvse_types::{CollectionSchema, Metric};
use serde_json::{Value, json};

use super::model::{EmbedderName, ModelCalls, parse_embedder};
use super::rest_sink::{RestSink, sink_error};
use super::steer::{self, SteerCommand};
use super::{LogPlace, PARTITIONS, Waiting, block_on, log_failure, parse_place};
use crate::client::{Client, Connection, Refusal, segment};
use crate::failure::{Failure, Remedy as _, Result};
use crate::output::{Output, grouped};
use crate::progress::Board;
use crate::stop::Stop;

/// From where to where.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = "Each record takes effect once, whatever crashes. Ctrl-C ends it after the batch under way.\n\
                        Example: dvse ingest --from file:log --collection docs"
)]
pub struct IngestArguments {
    /// Look at pipelines that run, or steer them.
    #[command(subcommand)]
    pub command: Option<SteerCommand>,
    /// The log: file:DIR or pulsar://HOST:PORT.
    #[arg(long, value_name = "SOURCE", required = true, value_parser = parse_place)]
    pub from: Option<LogPlace>,
    /// The collection; it is created when there is none.
    #[arg(long, short, value_name = "NAME", required = true)]
    pub collection: Option<String>,
    /// What makes vectors of texts: static, python:MODULE:CALLABLE, torchscript:FILE, onnx:FILE, or none.
    #[arg(long, value_name = "NAME", default_value = "static", value_parser = parse_embedder)]
    pub embedder: EmbedderName,
    /// How models in Python are called.
    #[command(flatten)]
    pub calls: ModelCalls,
    /// The topic with the records, where it is another one than raw-events.
    #[arg(long, value_name = "NAME")]
    pub topic: Option<TopicName>,
    /// Records of a batch, at most.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: u32,
    /// End once nothing is left.
    #[arg(long)]
    pub until_empty: bool,
    /// Where to answer with metrics, and to be steered.
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    pub metrics: Option<SocketAddr>,
    /// Report no progress.
    #[arg(long, short)]
    pub quiet: bool,
    /// Where the server is.
    #[command(flatten)]
    pub connection: Connection,
}

/// Pause between two tries to reach the server, and between two looks at the workers.
const CONNECT_PAUSE: Duration = Duration::from_millis(250);
const WATCH_PAUSE: Duration = Duration::from_millis(50);

/// What the workers get.
struct Connected {
    client: Client,
    collection: String,
    target: Target,
    model: Option<Arc<dyn dvse_embed::Embedder>>,
}

impl Parts for Connected {
    fn sink(&self) -> Box<dyn Sink> {
        let Target { dim, metric } = self.target;
        Box::new(RestSink::new(self.client.clone(), &self.collection, dim, metric))
    }

    fn embedder(&self) -> Box<dyn Embedder> {
        match &self.model {
            Some(model) => Box::new(TextModel(Arc::clone(model))),
            None => Box::new(NoModel),
        }
    }
}

/// Ingests until told to stop, or until nothing is left if asked so.
///
/// # Errors
/// The log cannot be read or written, the collection cannot be written, or another worker took over.
pub fn run(arguments: &IngestArguments, output: &Output) -> Result<()> {
    if let Some(command) = &arguments.command {
        return steer::run(command, output);
    }
    let (Some(from), Some(collection)) = (&arguments.from, arguments.collection.clone()) else {
        return Err(Failure::new("--from and --collection are needed")
            .with_help("an example is dvse ingest --from file:log --collection docs"));
    };
    let client = Client::new(&arguments.connection)?;
    let stop = Stop::watch()?;
    let board = Board::new(arguments.quiet);
    let progress = Arc::new(Progress::default());
    let log = from.open(Waiting::until(&stop, &board).told_by(&progress))?;
    let topic = arguments.topic.clone().unwrap_or_else(TopicName::raw_events);
    let batch_records = NonZeroUsize::new(arguments.batch as usize).unwrap_or(NonZeroUsize::MIN);
    let config = PipelineConfig {
        raw_events: topic.clone(),
        batch_records,
        until_empty: arguments.until_empty,
        ..PipelineConfig::of(&collection)
    };
    let pipeline =
        Arc::new(Pipeline::new(&collection, &from.to_string(), &topic.to_string(), Arc::clone(&progress)));
    let admin = start_admin(arguments, &pipeline, &board)?;
    let partitions =
        block_on(async { ensure_topics(&*log, &config, PARTITIONS).await.map_err(log_failure) })?;
    let model = arguments.embedder.load(&arguments.calls)?;
    let identity = model.as_deref().map(dvse_embed::Embedder::model);
    pipeline.set_model(identity.map(ModelIdentity::tag));
    let Some(target) = connect(&client, &collection, identity, &board, &stop)? else {
        return Ok(());
    };
    let parts = Connected { client, collection, target, model };
    let ended = thread::scope(|scope| {
        let workers = scope.spawn(|| pipeline::run(&log, &config, partitions, &parts, &progress));
        watch(&progress, &board, &stop, &|| workers.is_finished());
        workers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    if let Some(admin) = admin {
        admin.stop();
    }
    let counts = progress.counts();
    output.line(format!(
        "{} records: {} changes in {} batches, {} dead letters; {} records left",
        grouped(counts.records),
        grouped(counts.changes),
        grouped(counts.batches),
        grouped(counts.dead),
        grouped(counts.lag.records)
    ))?;
    ended.map_err(pipeline_failure)
}

/// Answers with metrics, and lets the pipeline be steered, where that is asked for. Whoever may use the server may use this.
fn start_admin(
    arguments: &IngestArguments,
    pipeline: &Arc<Pipeline>,
    board: &Board,
) -> Result<Option<Admin>> {
    let Some(address) = arguments.metrics else { return Ok(None) };
    let pipelines = Pipelines::default();
    pipelines.add(Arc::clone(pipeline))?;
    let admin = Admin::start(address, Arc::new(pipelines), arguments.connection.api_key.clone());
    let admin = admin
        .help(|| "choose another address with --metrics HOST:PORT; port 0 takes any free one".to_owned())?;
    board.say(&format!("metrics at http://{}/metrics", admin.address()));
    Ok(Some(admin))
}

/// Reads the address to answer at.
///
/// # Errors
/// It is none.
fn parse_address(text: &str) -> std::result::Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map(|mut all| all.next());
    found.ok().flatten().ok_or_else(|| "write HOST:PORT, such as 127.0.0.1:9100".to_owned())
}

/// Waits for the server and returns what there is to know of the collection, which is created if there is none; `None` if told
/// to stop before.
fn connect(
    client: &Client,
    collection: &str,
    model: Option<&ModelIdentity>,
    board: &Board,
    stop: &Stop,
) -> Result<Option<Target>> {
    let path = format!("/collections/{}", segment(collection));
    let mut is_told = false;
    while !stop.is_asked() {
        let failure = match client.get(&path) {
            Ok(found) => {
                return fit(collection, &schema_of(&found, collection)?, model).map(Some).map_err(unfit);
            }
            Err(failure) if failure.cause::<Refusal>().is_some_and(|refusal| refusal.status == 404) => {
                let Some(model) = model else {
                    return Err(unfit(Unfit::NoModel { collection: collection.to_owned() }));
                };
                let vectors = json!({"size": model.dim, "distance": "Cosine", "model": model.tag()});
                match client.put(&path, &json!({"vectors": vectors})) {
                    Ok(_) => continue,
                    // Somebody else made it just now.
                    Err(failure)
                        if failure.cause::<Refusal>().is_some_and(|refusal| refusal.status == 409) =>
                    {
                        continue;
                    }
                    Err(failure) => failure,
                }
            }
            Err(failure) => failure,
        };
        match sink_error(&failure) {
            SinkError::Unavailable(reason) if !is_told => {
                board.say(&format!("waiting: {reason}"));
                is_told = true;
            }
            SinkError::Unavailable(_) => {}
            _ => return Err(failure),
        }
        thread::sleep(CONNECT_PAUSE);
    }
    Ok(None)
}

/// The collection as the server describes it, as far as a pipeline needs to know it.
fn schema_of(found: &Value, collection: &str) -> Result<CollectionSchema> {
    let params = |field: &str| found.pointer(&format!("/config/params/vectors/{field}"));
    let size = params("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
    // Those of named vectors stand a level deeper.
    let Some(dim) = size else {
        return Err(unfit(Unfit::Named { collection: collection.to_owned() }));
    };
    let metric = match params("distance").and_then(Value::as_str) {
        Some("Cosine") => Metric::Cosine,
        Some("Dot") => Metric::InnerProduct,
        Some("Euclid") => Metric::L2,
        other => {
            let what =
                format!("collection {collection} compares by {other:?}, which this client does not know");
            return Err(Failure::new(what).with_help("use a client of the server's version"));
        }
    };
    let mut schema = CollectionSchema::single(dim, metric);
    // The field without a name.
    let model = found.pointer("/models/").and_then(Value::as_str);
    for params in schema.vectors.values_mut() {
        params.model = model.map(str::to_owned);
    }
    Ok(schema)
}

pub fn unfit(error: Unfit) -> Failure {
    let help = error.help();
    Failure::from(error).with_help(help)
}

/// Shows how it goes until the workers end.
fn watch(progress: &Progress, board: &Board, stop: &Stop, is_finished: &dyn Fn() -> bool) {
    let mut task = board.task("ingested", "records", None);
    let mut told = None;
    while !is_finished() {
        if stop.is_asked() {
            progress.stop();
        }
        task.set(progress.counts().records);
        let trouble = progress.trouble();
        if trouble.is_some() && trouble != told {
            board.say(&format!("waiting: {}", trouble.as_deref().unwrap_or_default()));
        }
        told = trouble;
        thread::sleep(WATCH_PAUSE);
    }
    task.set(progress.counts().records);
    task.finish();
}

fn pipeline_failure(error: PipelineError) -> Failure {
    match error {
        PipelineError::Log { partition, source } => log_failure(*source)
            .doing_more(format!("ingest of partition {partition} stopped"), GO_ON.to_owned()),
        PipelineError::Sink { source: SinkError::Fenced(_), .. } => {
            Failure::from(error).with_help("another `dvse ingest` works for this collection; one is enough")
        }
        other => Failure::from(other).with_help(GO_ON),
    }
}

const GO_ON: &str = "when that is mended, the same command goes on where this one stopped";
