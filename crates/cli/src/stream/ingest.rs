//! `dvse ingest`: brings the records of a topic into a collection.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dvse_embed::ModelIdentity;
use dvse_ingest::pipeline::{self, Parts, PipelineConfig, PipelineError, Progress, ensure_topics};
use dvse_ingest::{Embedder, Sink, SinkError, TopicName};
use dvse_types::Metric;
use serde_json::{Value, json};

use super::model::{EmbedderName, ModelCalls, NoModel, TextModel, parse_embedder};
use super::rest_sink::{RestSink, sink_error};
use super::{LogPlace, PARTITIONS, Waiting, block_on, log_failure, parse_place};
use crate::client::{Client, Connection, Refusal, segment};
use crate::failure::{Failure, Result};
use crate::output::{Output, grouped};
use crate::progress::Board;
use crate::stop::Stop;

/// From where to where.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each record takes effect once, whatever crashes. Ctrl-C ends it after the batch under way.\n\n\
                        Example:\n  dvse ingest --from file:log --collection docs\n  \
                        dvse ingest --from file:log --collection docs --embedder none --until-empty"
)]
pub struct IngestArguments {
    /// The log: file:DIR or pulsar://HOST:PORT.
    #[arg(long, value_name = "SOURCE", value_parser = parse_place)]
    pub from: LogPlace,
    /// The collection; it is created when there is none.
    #[arg(long, short, value_name = "NAME")]
    pub collection: String,
    /// What makes vectors of texts: static, python:MODULE:CALLABLE, torchscript:FILE, onnx:FILE, or none.
    #[arg(long, value_name = "NAME", default_value = "static", value_parser = parse_embedder)]
    pub embedder: EmbedderName,
    /// How models in Python are called.
    #[command(flatten)]
    pub calls: ModelCalls,
    /// The topic with the records.
    #[arg(long, value_name = "NAME", default_value_t = TopicName::raw_events())]
    pub topic: TopicName,
    /// Records of a batch, at most.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: u32,
    /// End once nothing is left.
    #[arg(long)]
    pub until_empty: bool,
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
    dim: usize,
    metric: Metric,
    model: Option<Arc<dyn dvse_embed::Embedder>>,
}

impl Parts for Connected {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(RestSink::new(self.client.clone(), &self.collection, self.dim, self.metric))
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
    let client = Client::new(&arguments.connection)?;
    let stop = Stop::watch()?;
    let board = Board::new(arguments.quiet);
    let log = arguments.from.open(Waiting::until(&stop, &board))?;
    let collection = arguments.collection.clone();
    let batch_records = NonZeroUsize::new(arguments.batch as usize).unwrap_or(NonZeroUsize::MIN);
    let config = PipelineConfig {
        raw_events: arguments.topic.clone(),
        batch_records,
        until_empty: arguments.until_empty,
        ..PipelineConfig::of(&collection)
    };
    let partitions =
        block_on(async { ensure_topics(&*log, &config, PARTITIONS).await.map_err(log_failure) })?;
    let model = arguments.embedder.load(&arguments.calls)?;
    let identity = model.as_deref().map(dvse_embed::Embedder::model);
    let Some((dim, metric)) = connect(&client, &collection, identity, &board, &stop)? else {
        return Ok(());
    };
    let parts = Connected { client, collection, dim, metric, model };
    let progress = Progress::default();
    let ended = thread::scope(|scope| {
        let workers = scope.spawn(|| pipeline::run(&log, &config, partitions, &parts, &progress));
        watch(&progress, &board, &stop, &|| workers.is_finished());
        workers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
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

/// Waits for the server and returns the dimensions and the metric of the collection, which is created if there is none; `None` if told to
/// stop before.
fn connect(
    client: &Client,
    collection: &str,
    model: Option<&ModelIdentity>,
    board: &Board,
    stop: &Stop,
) -> Result<Option<(usize, Metric)>> {
    let path = format!("/collections/{}", segment(collection));
    let mut is_told = false;
    while !stop.is_asked() {
        let failure = match client.get(&path) {
            Ok(found) => return check(&found, collection, model).map(Some),
            Err(failure) if failure.cause::<Refusal>().is_some_and(|refusal| refusal.status == 404) => {
                let Some(model) = model else {
                    let what = format!(
                        "there is no collection {collection}, and no model that tells its dimensions"
                    );
                    let help = format!("create it: dvse collection create {collection} --dim N");
                    return Err(Failure::new(what).with_help(help));
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

fn check(found: &Value, collection: &str, model: Option<&ModelIdentity>) -> Result<(usize, Metric)> {
    let size = found.pointer("/config/params/vectors/size").and_then(Value::as_u64);
    let Some(dim) = size.and_then(|size| usize::try_from(size).ok()) else {
        return Err(Failure::new(format!("the vectors of collection {collection} have names"))
            .with_help("a pipeline fills collections with one vector without a name; choose another one"));
    };
    if let Some(model) = model {
        check_model(found, collection, dim, model)?;
    }
    let metric = match found.pointer("/config/params/vectors/distance").and_then(Value::as_str) {
        Some("Cosine") => Metric::Cosine,
        Some("Dot") => Metric::InnerProduct,
        Some("Euclid") => Metric::L2,
        other => {
            let what =
                format!("collection {collection} compares by {other:?}, which this client does not know");
            return Err(Failure::new(what).with_help("use a client of the server's version"));
        }
    };
    Ok((dim, metric))
}

/// Vectors of two models in one collection would be compared without a meaning.
fn check_model(found: &Value, collection: &str, dim: usize, model: &ModelIdentity) -> Result<()> {
    let help = "choose another collection, or send vectors and use --embedder none";
    // The field without a name.
    match found.pointer("/models/").and_then(Value::as_str) {
        Some(kept) if !model.is(kept) => {
            let what =
                format!("the vectors of collection {collection} are of model {kept}, not of {}", model.tag());
            return Err(Failure::new(what).with_help(help));
        }
        _ => {}
    }
    if model.dim != dim {
        let what =
            format!("collection {collection} has {dim} dimensions, the model {model} makes {}", model.dim);
        return Err(Failure::new(what).with_help(help));
    }
    Ok(())
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
