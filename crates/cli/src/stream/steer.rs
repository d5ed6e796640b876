//! `dvse ingest status`, `pause`, `resume` and `drain`: pipelines that run, in a server or in a `dvse ingest` of their own.

use std::thread;
use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::{Value, json};

use crate::client::{Client, Connection, segment};
use crate::failure::{Failure, Result};
use crate::output::{Format, Output, Table, grouped};

/// What to do with pipelines that run.
#[derive(Debug, Subcommand)]
pub enum SteerCommand {
    /// Show how pipelines do: state, what is left, and what was done.
    #[command(after_help = STATUS_HELP)]
    Status(StatusArguments),
    /// Begin no batch from now on; the one under way is brought to its end.
    #[command(
        after_help = "The log keeps what is sent, up to its bound. A server that is started anew does not pause.\n\n\
                      Example:\n  dvse ingest pause --collection docs"
    )]
    Pause(SteerArguments),
    /// Take what comes again, also where a pipeline has stopped by itself.
    #[command(after_help = "Example:\n  dvse ingest resume --collection docs")]
    Resume(SteerArguments),
    /// Go on until nothing is left, and begin no batch from then on.
    #[command(
        after_help = "Fails if something is left when the time is over; the pipeline goes on draining.\n\n\
                      Example:\n  dvse ingest drain --collection docs --timeout 600"
    )]
    Drain(SteerArguments),
}

const STATUS_HELP: &str = "AGE is how old a record can be that is not in the collection yet, in seconds. For a pipeline that runs as a\n\
     `dvse ingest` of its own, give the address of its --metrics as --url.\n\n\
     Example:\n  dvse ingest status --format jsonl";

/// Which pipelines to show.
#[derive(Debug, clap::Args)]
pub struct StatusArguments {
    /// Only the one into this collection.
    #[arg(long, short, value_name = "NAME")]
    pub collection: Option<String>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Where they run.
    #[command(flatten)]
    pub connection: Connection,
}

/// Which pipelines to steer.
#[derive(Debug, clap::Args)]
pub struct SteerArguments {
    /// The one into this collection [default: all].
    #[arg(long, short, value_name = "NAME")]
    pub collection: Option<String>,
    /// Where they run.
    #[command(flatten)]
    pub connection: Connection,
}

/// A single answer may take longer than what is left of the time: whoever asks for a second gets an answer, too.
const ANSWER_S: u64 = 10;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Shows or steers.
///
/// # Errors
/// There is no such pipeline, or it does not do what it was asked in time.
pub fn run(command: &SteerCommand, output: &Output) -> Result<()> {
    match command {
        SteerCommand::Status(arguments) => show(arguments, output),
        SteerCommand::Pause(arguments) => steer(arguments, "pause", &["paused"], output),
        SteerCommand::Drain(arguments) => steer(arguments, "drain", &["drained"], output),
        SteerCommand::Resume(arguments) => steer(arguments, "resume", &["running", "waiting"], output),
    }
}

fn show(arguments: &StatusArguments, output: &Output) -> Result<()> {
    let client = Client::new(&arguments.connection)?;
    let pipelines = find(&client, arguments.collection.as_deref())?;
    match arguments.format {
        Format::Jsonl => pipelines.iter().try_for_each(|pipeline| output.json(pipeline)),
        Format::Table => table(&pipelines).print(output),
    }
}

fn find(client: &Client, collection: Option<&str>) -> Result<Vec<Value>> {
    if let Some(collection) = collection {
        return Ok(vec![client.get(&format!("/ingest/{}", segment(collection)))?]);
    }
    let found = client.get("/ingest")?;
    Ok(found.get("pipelines").and_then(Value::as_array).cloned().unwrap_or_default())
}

fn table(pipelines: &[Value]) -> Table {
    let mut table =
        Table::new(["collection", "source", "state", "left", "age", "records", "dead letters", "why"]);
    for pipeline in pipelines {
        let number = |field: &str| grouped(pipeline.get(field).and_then(Value::as_u64).unwrap_or_default());
        let age = pipeline.get("age_seconds").and_then(Value::as_f64).unwrap_or_default();
        table.row([
            text(pipeline, "collection"),
            text(pipeline, "source"),
            text(pipeline, "state"),
            number("lag_records"),
            format!("{age:.1}"),
            number("records"),
            number("dead_letters"),
            text(pipeline, "reason"),
        ]);
    }
    table
}

fn text(pipeline: &Value, field: &str) -> String {
    pipeline.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Asks all of them, then waits for all.
fn steer(arguments: &SteerArguments, verb: &str, wanted: &[&str], output: &Output) -> Result<()> {
    let timeout = arguments.connection.timeout.saturating_add(ANSWER_S);
    let client = Client::new(&Connection { timeout, ..arguments.connection.clone() })?;
    let names: Vec<String> = match &arguments.collection {
        Some(name) => vec![name.clone()],
        None => find(&client, None)?.iter().map(|pipeline| text(pipeline, "collection")).collect(),
    };
    if names.is_empty() {
        return Err(Failure::new("no pipeline runs there").with_help(
            "begin one: dvse serve --ingest SOURCE --collection NAME;\n\
             one that runs as `dvse ingest` is found at the address of its --metrics: --url http://HOST:PORT",
        ));
    }
    let deadline = Instant::now() + Duration::from_secs(arguments.connection.timeout);
    for name in &names {
        // Waiting is done here, so that no connection is open for long.
        client.post(&format!("/ingest/{}/{verb}?timeout=1", segment(name)), &json!({}))?;
    }
    loop {
        let looked = names.iter().map(|name| client.get(&format!("/ingest/{}", segment(name))));
        let pipelines: Vec<Value> = looked.collect::<Result<_>>()?;
        let is_done = |pipeline: &Value| wanted.contains(&text(pipeline, "state").as_str());
        if pipelines.iter().all(is_done) {
            return table(&pipelines).print(output);
        }
        let stopped = |pipeline: &&Value| text(pipeline, "state") == "stopped";
        if let Some(stopped) = pipelines.iter().find(stopped) {
            let what = format!(
                "ingest into {} has stopped: {}",
                text(stopped, "collection"),
                text(stopped, "reason")
            );
            return Err(Failure::new(what).with_help("mend that, then: dvse ingest resume"));
        }
        if Instant::now() >= deadline {
            return Err(late(&pipelines, is_done, verb));
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn late(pipelines: &[Value], is_done: impl Fn(&Value) -> bool, verb: &str) -> Failure {
    let left = pipelines.iter().filter(|pipeline| !is_done(pipeline)).map(|pipeline| {
        let lag = pipeline.get("lag_records").and_then(Value::as_u64).unwrap_or_default();
        let why = match text(pipeline, "reason") {
            reason if reason.is_empty() => String::new(),
            reason => format!(" ({reason})"),
        };
        format!(
            "ingest into {} is {}{why}: {} records are left",
            text(pipeline, "collection"),
            text(pipeline, "state"),
            grouped(lag)
        )
    });
    Failure::new(left.collect::<Vec<_>>().join("; ")).with_help(format!(
        "it goes on; see `dvse ingest status`, or ask again with more time: dvse ingest {verb} --timeout SECONDS"
    ))
}
