//! `dvse export`: writes all points of a collection into a file that `dvse import` reads.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::client::{Client, Connection, segment};
use crate::failure::{Failure, Remedy as _, Result};
use crate::output::Output;
use crate::progress::{Board, Task};
use crate::query::parse_filter;

/// What to write where.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Points come in the order of their ids, one JSON object a line: id, vector, payload. Vectors of\n\
                        a cosine collection come back with length 1, as they are stored.\n\n\
                        Example:\n  dvse export --collection wordnet --output wordnet.jsonl.gz"
)]
pub struct ExportArguments {
    /// The collection.
    #[arg(long, short, value_name = "NAME")]
    pub collection: String,
    /// The file, compressed when it ends in .gz; "-" is standard output.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Only points that pass this filter, in JSON.
    #[arg(long, value_name = "JSON")]
    pub filter: Option<String>,
    /// Leave out the vectors.
    #[arg(long)]
    pub no_vectors: bool,
    /// Points in an answer.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch: u32,
    /// Report no progress.
    #[arg(long, short)]
    pub quiet: bool,
    /// Where the server is.
    #[command(flatten)]
    pub connection: Connection,
}

/// Writes the file.
///
/// # Errors
/// The server cannot be reached or refuses, or the file cannot be written. A file is there under its name only
/// when it is whole.
pub fn run(arguments: &ExportArguments, output: &Output) -> Result<()> {
    let client = Client::new(&arguments.connection)?;
    let filter = arguments.filter.as_deref().map(parse_filter).transpose()?;
    let path = format!("/collections/{}", segment(&arguments.collection));
    let mut count = json!({"exact": true});
    if let Some(filter) = &filter {
        count["filter"] = filter.clone();
    }
    // Before the file is touched: an unknown collection is the most likely mistake.
    let total = client.post(&format!("{path}/points/count"), &count)?.get("count").and_then(Value::as_u64);
    let mut task = Board::new(arguments.quiet).task("export", "points", total);
    if arguments.output.as_os_str() == "-" {
        let mut writer = output.buffered();
        copy(&client, &path, arguments, filter, &mut writer, &mut task, Failure::of_output)?;
        writer.flush().map_err(Failure::of_output)?;
    } else {
        to_file(&client, &path, arguments, filter, &mut task)?;
    }
    task.finish();
    Ok(())
}

fn to_file(
    client: &Client,
    path: &str,
    arguments: &ExportArguments,
    filter: Option<Value>,
    task: &mut Task,
) -> Result<()> {
    let target = &arguments.output;
    let part = with_suffix(target, ".part");
    let failed = |error: io::Error| {
        Failure::from(anyhow::Error::new(error).context(format!("cannot write {}", part.display())))
            .with_help("check that the folder exists, may be written to and has room")
    };
    let file = BufWriter::new(File::create(&part).map_err(failed)?);
    let written = if target.extension().is_some_and(|extension| extension == "gz") {
        // Digits of random numbers hardly shrink further at a higher level, which takes several times as long.
        let mut encoder = GzEncoder::new(file, Compression::fast());
        copy(client, path, arguments, filter, &mut encoder, task, failed)
            .and_then(|()| encoder.finish().map_err(failed))
    } else {
        let mut file = file;
        copy(client, path, arguments, filter, &mut file, task, failed).map(|()| file)
    };
    let closed = written
        .and_then(|file| file.into_inner().map_err(|error| failed(error.into_error())))
        .and_then(|file| file.sync_all().map_err(failed));
    if let Err(failure) = closed {
        drop(fs::remove_file(&part));
        return Err(failure);
    }
    fs::rename(&part, target).doing(|| format!("cannot rename {} to {}", part.display(), target.display()))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}

fn copy(
    client: &Client,
    path: &str,
    arguments: &ExportArguments,
    filter: Option<Value>,
    writer: &mut dyn Write,
    task: &mut Task,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<()> {
    let mut body = json!({
        "limit": arguments.batch,
        "with_payload": true,
        "with_vector": !arguments.no_vectors,
    });
    if let Some(filter) = filter {
        body["filter"] = filter;
    }
    loop {
        let mut page = client.post(&format!("{path}/points/scroll"), &body)?;
        let Some(Value::Array(points)) = page.get_mut("points").map(Value::take) else {
            return Err(Failure::new("the answer has no list of points"));
        };
        for mut point in points {
            let mut line = json!({"id": point["id"].take(), "payload": point["payload"].take()});
            if !arguments.no_vectors {
                line["vector"] = point["vector"].take();
            }
            // In one piece: the compressor takes about a microsecond for each write, and a vector has hundreds of numbers.
            let mut line = line.to_string();
            line.push('\n');
            writer.write_all(line.as_bytes()).map_err(&failed)?;
            task.add(1);
        }
        match page.get_mut("next_page_offset").map(Value::take) {
            None | Some(Value::Null) => return Ok(()),
            Some(next) => body["offset"] = next,
        }
    }
}
