//! `dvse query`: asks a collection a question in words. The server embeds the text.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::client::{Client, Connection, segment};
use crate::failure::{Failure, Remedy as _, Result};
use crate::output::{Format, Output, Table};

/// What to ask whom.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  dvse query \"a small boat moved with a paddle\" --limit 3\n  \
                        dvse query \"very hungry\" --filter '{\"must\":[{\"key\":\"pos\",\"match\":{\"value\":\"adjective\"}}]}'")]
pub struct QueryArguments {
    /// The question.
    pub text: String,
    /// The collection to ask.
    #[arg(long, short, value_name = "NAME", default_value = "wordnet")]
    pub collection: String,
    /// How many answers.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Only points that pass this filter, in JSON.
    #[arg(long, value_name = "JSON")]
    pub filter: Option<String>,
    /// The vector field, where the collection has named ones.
    #[arg(long, value_name = "NAME")]
    pub using: Option<String>,
    /// The model that embeds the text [default: that of the field].
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Candidates the graph search keeps: more is slower and finds more.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub ef: Option<u32>,
    /// Compare with every vector.
    #[arg(long)]
    pub exact: bool,
    /// Payload fields to show, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub fields: Vec<String>,
    /// How to print the answers.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Where the server is.
    #[command(flatten)]
    pub connection: Connection,
}

/// Asks and prints the answers.
///
/// # Errors
/// The server cannot be reached or refuses, the filter is not JSON, or the output cannot be written.
pub fn run(arguments: &QueryArguments, output: &Output) -> Result<()> {
    let client = Client::new(&arguments.connection)?;
    let hits = ask(&client, arguments)?;
    match arguments.format {
        Format::Jsonl => hits.iter().try_for_each(|hit| output.json(hit)),
        Format::Table => table_of(&hits, &arguments.fields).print(output),
    }
}

fn ask(client: &Client, arguments: &QueryArguments) -> Result<Vec<Value>> {
    let mut document = Map::from_iter([("text".to_owned(), json!(arguments.text))]);
    if let Some(model) = &arguments.model {
        document.insert("model".to_owned(), json!(model));
    }
    let mut body = json!({"query": document, "limit": arguments.limit, "with_payload": true});
    if !arguments.fields.is_empty() {
        body["with_payload"] = json!(arguments.fields);
    }
    if let Some(filter) = &arguments.filter {
        body["filter"] = parse_filter(filter)?;
    }
    if let Some(using) = &arguments.using {
        body["using"] = json!(using);
    }
    let params = Map::from_iter(
        arguments
            .ef
            .map(|ef| ("hnsw_ef".to_owned(), json!(ef)))
            .into_iter()
            .chain(arguments.exact.then(|| ("exact".to_owned(), json!(true)))),
    );
    if !params.is_empty() {
        body["params"] = Value::Object(params);
    }
    let path = format!("/collections/{}/points/query", segment(&arguments.collection));
    match client.post(&path, &body)?.get_mut("points").map(Value::take) {
        Some(Value::Array(hits)) => Ok(hits),
        _ => Err(Failure::new("the answer has no list of points")),
    }
}

/// The model asked for, or the one that is part of this program.
///
/// # Errors
/// The program's table is damaged.
pub fn model_name(asked: Option<&str>) -> Result<String> {
    use dvse_embed::Embedder as _;
    match asked {
        Some(name) => Ok(name.to_owned()),
        None => Ok(dvse_embed::StaticEmbedder::bundled()?.model().name.clone()),
    }
}

/// Reads a filter given on the command line.
///
/// # Errors
/// It is not a JSON object.
pub fn parse_filter(text: &str) -> Result<Value> {
    let example =
        || "a filter looks like {\"must\":[{\"key\":\"pos\",\"match\":{\"value\":\"noun\"}}]}".to_owned();
    let filter: Value =
        serde_json::from_str(text).doing(|| format!("--filter {text:?} is not JSON")).help(example)?;
    if !filter.is_object() {
        return Err(Failure::new(format!("--filter {text:?} is not a JSON object")).with_help(example()));
    }
    Ok(filter)
}

/// How many payload fields a table shows when none are named: those that most hits have and that are
/// short, as they fit best.
const FIELDS_MAX: usize = 5;

fn table_of(hits: &[Value], fields: &[String]) -> Table {
    let payloads = || hits.iter().filter_map(|hit| hit.get("payload")?.as_object());
    let mut columns = fields.to_vec();
    if columns.is_empty() {
        // For each field, how many hits lack it, and how long its values are: common and short ones come first.
        let mut fields: BTreeMap<&String, (usize, usize)> = BTreeMap::new();
        for (key, value) in payloads().flatten() {
            let (lacking, length) = fields.entry(key).or_insert((hits.len(), 0));
            *lacking -= 1;
            *length += cell(value).chars().count();
        }
        let mut ranked: Vec<_> = fields.into_iter().map(|(key, rank)| (rank, key)).collect();
        ranked.sort_unstable();
        columns.extend(ranked.into_iter().take(FIELDS_MAX).map(|(_, key)| key.clone()));
    }
    let mut table = Table::new(["score", "id"].into_iter().map(str::to_owned).chain(columns.iter().cloned()));
    for hit in hits {
        let score = hit.get("score").and_then(Value::as_f64).unwrap_or(f64::NAN);
        let id = hit.get("id").map(cell).unwrap_or_default();
        let value = |column: &String| hit.get("payload")?.get(column).map(cell);
        let values = columns.iter().map(|column| value(column).unwrap_or_default());
        table.row([format!("{score:.4}"), id].into_iter().chain(values));
    }
    table
}

/// A JSON value as a person writes it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_the_payload_fields_there_are() {
        let hits = [
            json!({"id": 7, "score": 0.5, "payload": {"words": ["a", "b"], "pos": "noun"}}),
            json!({"id": 8, "score": 0.25, "payload": {"extra": null, "pos": "verb"}}),
        ];
        let lines = table_of(&hits, &[]).lines();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["score", "id", "pos", "extra", "words"]);
        assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["0.5000", "7", "noun", "a,", "b"]);
        assert_eq!(table_of(&hits, &["words".to_owned()]).lines()[0].trim_end(), " score  id  words");
    }

    #[test]
    fn a_filter_that_is_not_an_object_is_refused_with_an_example() {
        for text in ["", "{", "[]", "7"] {
            let failure = parse_filter(text).unwrap_err().to_string();
            assert!(failure.contains("help: a filter looks like"), "{failure}");
        }
    }
}
