//! `dvse import`: writes the vectors or documents of a file into a collection.

mod documents;
mod rows;
mod send;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::client::{Client, Connection, Refusal, segment};
use crate::collection::MetricName;
use crate::failure::{Failure, Result};
use crate::progress::Board;
use crate::stop::Stop;
use documents::Documents;
use rows::VectorRows;

/// What to write where.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A jsonl line: {\"id\": 7, \"vector\": [...], \"payload\": {...}}, or its other fields as payload.\n\n\
                        Example:\n  dvse import base.npy --collection packages --metric cosine\n  \
                        dvse import docs.jsonl.gz --collection docs --text-field summary"
)]
pub struct ImportArguments {
    /// The file: .npy, .fvecs, .bvecs, idx or .jsonl, plain or .gz.
    pub file: PathBuf,
    /// The collection; it is created when there is none.
    #[arg(long, short, value_name = "NAME")]
    pub collection: String,
    /// The metric of a new collection.
    #[arg(long, value_enum, default_value_t = MetricName::Cosine)]
    pub metric: MetricName,
    /// The field of a line with its id, if it has one.
    #[arg(long, value_name = "NAME", default_value = "id")]
    pub id_field: String,
    /// The field of a line with its vector.
    #[arg(long, value_name = "NAME", default_value = "vector")]
    pub vector_field: String,
    /// The field of a line with a text to embed, in place of a vector.
    #[arg(long, value_name = "NAME")]
    pub text_field: Option<String>,
    /// The model that embeds texts.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// The id of the first vector of a file without ids.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub first_id: u64,
    /// Points in a request.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch: u32,
    /// Requests under way at once.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub connections: u8,
    /// Points to leave out, as an earlier run wrote them.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub skip: u64,
    /// Report no progress.
    #[arg(long, short)]
    pub quiet: bool,
    /// Where the server is.
    #[command(flatten)]
    pub connection: Connection,
}

/// Some points in a row, ready to be sent.
#[derive(Debug)]
pub struct Batch {
    /// The position of the first of them in the file, from 0.
    pub first: u64,
    /// How many there are.
    pub points: u64,
    /// The request's body.
    pub body: String,
}

/// A file of points, read from front to back.
pub trait Source {
    /// The vector fields of the points by name, with their dimensions; the unnamed one is `""`.
    fn dimensions(&self) -> &[(String, usize)];

    /// How many points there are; an estimate for a file that has to be read to know.
    fn total(&self) -> Option<u64>;

    /// The next batch of at most so many points; `None` at the end.
    fn next_batch(&mut self, points_max: u64) -> Result<Option<Batch>>;
}

/// A body is not made larger than this: the server takes 32 MiB unless told otherwise.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Writes the file into the collection.
///
/// # Errors
/// The file cannot be read or understood, the server cannot be reached or refuses. The message says how many
/// points are written and how to go on.
pub fn run(arguments: &ImportArguments) -> Result<()> {
    let client = Client::new(&arguments.connection)?;
    let mut source = open(arguments)?;
    make_ready(&client, arguments, source.as_ref())?;
    let board = Board::new(arguments.quiet);
    // From here on an end half-way says how far it came.
    let stop = Stop::watch()?;
    send::send_all(&client, arguments, source.as_mut(), &board, &|| stop.is_asked())
}

fn open(arguments: &ImportArguments) -> Result<Box<dyn Source>> {
    let name = arguments.file.to_string_lossy();
    if name.ends_with(".jsonl") || name.ends_with(".jsonl.gz") || name.ends_with(".ndjson") {
        return Ok(Box::new(Documents::open(arguments)?));
    }
    if arguments.text_field.is_some() {
        return Err(Failure::new(format!("{name} holds vectors, so there is no --text-field in it"))
            .with_help("texts are read from .jsonl and .jsonl.gz"));
    }
    Ok(Box::new(VectorRows::open(arguments)?))
}

/// Creates the collection, or checks that the one there is suits the file.
fn make_ready(client: &Client, arguments: &ImportArguments, source: &dyn Source) -> Result<()> {
    let path = format!("/collections/{}", segment(&arguments.collection));
    let params = |dim: &usize| json!({"size": dim, "distance": arguments.metric.in_requests()});
    match client.get(&path) {
        Ok(found) => check_dimensions(arguments, source, &found),
        Err(failure) if failure.cause::<Refusal>().is_some_and(|refusal| refusal.status == 404) => {
            let vectors = match source.dimensions() {
                [(name, dim)] if name.is_empty() => params(dim),
                named => named.iter().map(|(name, dim)| (name.clone(), params(dim))).collect::<Value>(),
            };
            client.put(&path, &json!({"vectors": vectors})).map(drop)
        }
        Err(failure) => Err(failure),
    }
}

fn check_dimensions(arguments: &ImportArguments, source: &dyn Source, found: &Value) -> Result<()> {
    let vectors = found.pointer("/config/params/vectors").unwrap_or(&Value::Null);
    for (name, dim) in source.dimensions() {
        let params = if name.is_empty() { Some(vectors) } else { vectors.get(name) };
        let expected = params.and_then(|params| params.get("size")).and_then(Value::as_u64);
        if expected != Some(*dim as u64) {
            let there = expected.map_or("no such vector".to_owned(), |size| format!("{size}"));
            let what = if name.is_empty() { String::new() } else { format!(" {name:?}") };
            return Err(Failure::new(format!(
                "vectors{what} of {} have {dim} dimensions; collection {} has {there}",
                arguments.file.display(),
                arguments.collection
            ))
            .with_help("choose another collection with --collection; it is created when there is none"));
        }
    }
    Ok(())
}
