//! `dvse collection`: list, describe, create and delete collections.

use clap::{Subcommand, ValueEnum};
use dvse_types::{HnswSpec, IndexSpec, IvfPqSpec, Rerank};
use serde_json::{Map, Value, json};

use crate::client::{Client, Connection, segment};
use crate::failure::{Failure, Result};
use crate::output::{Format, Output, Table, grouped};

/// What to do with which collection.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  dvse collection create books --dim 384 --metric cosine\n  dvse collection info books"
)]
pub struct CollectionArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: CollectionCommand,
}

/// What can be done with collections.
#[derive(Debug, Subcommand)]
pub enum CollectionCommand {
    /// List the collections and their sizes.
    #[command(after_help = "Example:\n  dvse collection list")]
    List {
        /// How to print them.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        /// Where the server is.
        #[command(flatten)]
        connection: Connection,
    },
    /// Show what a collection is made of and how it is doing.
    #[command(after_help = "Example:\n  dvse collection info wordnet --format jsonl")]
    Info {
        /// The collection, or an alias of it.
        name: String,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        /// Where the server is.
        #[command(flatten)]
        connection: Connection,
    },
    /// Create an empty collection.
    #[command(
        after_help = "Example:\n  dvse collection create books --dim 384 --metric cosine --index title:keyword"
    )]
    Create(CreateArguments),
    /// Change the index of a collection while it is searched.
    #[command(
        after_help = "The server builds the new index beside the old one, segment by segment; `dvse collection info` says\n\
                      how many are left.\n\n\
                      Example:\n  dvse collection update books --index ivf_pq --nprobe 16"
    )]
    Update(UpdateArguments),
    /// Delete a collection and all its points.
    #[command(after_help = "Example:\n  dvse collection delete books --yes")]
    Delete {
        /// The collection.
        name: String,
        /// Do it: there is no way back.
        #[arg(long)]
        yes: bool,
        /// Where the server is.
        #[command(flatten)]
        connection: Connection,
    },
    /// Give a collection another name beside its own, or move that name.
    #[command(after_help = "Example:\n  dvse collection alias books-2026 books")]
    Alias {
        /// The collection.
        name: String,
        /// The other name.
        alias: String,
        /// Where the server is.
        #[command(flatten)]
        connection: Connection,
    },
}

/// What a new collection is made of.
#[derive(Debug, clap::Args)]
pub struct CreateArguments {
    /// Its name.
    pub name: String,
    /// Values a vector has.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub dim: u32,
    /// How two vectors are compared.
    #[arg(long, value_enum, default_value_t = MetricName::Cosine)]
    pub metric: MetricName,
    /// The model of the vectors; texts for another are refused.
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// The kind of index over the vectors (flat, hnsw, nsw, ivf_pq), or a payload field to index, as FIELD:KIND (keyword,
    /// integer, float, bool, datetime, uuid).
    #[arg(long, value_name = "KIND|FIELD:KIND")]
    pub index: Vec<String>,
    /// The parameters of the index.
    #[command(flatten)]
    pub params: IndexArguments,
    /// Where the server is.
    #[command(flatten)]
    pub connection: Connection,
}

/// What is to change about a collection.
#[derive(Debug, clap::Args)]
pub struct UpdateArguments {
    /// Its name, or an alias of it.
    pub name: String,
    /// The kind of index over the vectors.
    #[arg(long, value_enum)]
    pub index: Option<IndexName>,
    /// The vector field [default: all].
    #[arg(long, value_name = "NAME")]
    pub vector: Option<String>,
    /// The parameters of the index.
    #[command(flatten)]
    pub params: IndexArguments,
    /// Where the server is.
    #[command(flatten)]
    pub connection: Connection,
}

/// The parameters of an index.
#[derive(Debug, clap::Args)]
pub struct IndexArguments {
    /// Links a point has in a graph.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=128))]
    pub m: Option<u32>,
    /// Candidates an insertion into a graph considers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..=4_096))]
    pub ef_construct: Option<u32>,
    /// What walks read: sketch, sq8, rabitq:BITS (1, 2, 4, 8) or none.
    #[arg(long, value_name = "NAME")]
    pub quantize: Option<QuantizationName>,
    /// Compare found points by f32, or by f16 first (same answer).
    #[arg(long, value_name = "NAME", value_parser = parse_rerank)]
    pub rerank: Option<Rerank>,
    /// Read vectors from disk one by one, for when memory is short.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", hide_possible_values = true, value_parser = clap::value_parser!(bool))]
    pub on_disk: Option<bool>,
    /// Links, codes and f16 rows likewise.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", hide_possible_values = true, value_parser = clap::value_parser!(bool))]
    pub index_on_disk: Option<bool>,
    /// Inverted lists; 0 for about √n.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=65_536))]
    pub lists: Option<u32>,
    /// Inverted lists a search looks into; 0 goes by its candidates.
    #[arg(long, value_name = "N")]
    pub nprobe: Option<u32>,
}

impl IndexArguments {
    /// The parts of a request body that these are.
    fn parts(&self) -> Vec<(&'static str, Value)> {
        let object = |pairs: [(&str, Option<Value>); 3]| -> Map<String, Value> {
            pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
        };
        let number = |value: Option<u32>| value.map(Value::from);
        let graph = [
            ("m", number(self.m)),
            ("ef_construct", number(self.ef_construct)),
            ("on_disk", self.index_on_disk.map(Value::from)),
        ];
        let lists = [("lists", number(self.lists)), ("nprobe", number(self.nprobe)), ("", None)];
        let mut parts = vec![("hnsw_config", object(graph)), ("ivf_pq_config", object(lists))];
        parts.retain(|(_, part)| !part.is_empty());
        let mut parts: Vec<_> = parts.into_iter().map(|(key, part)| (key, Value::Object(part))).collect();
        parts.extend(self.rerank.map(|rerank| ("rerank", json!(rerank.name()))));
        parts.extend(self.quantize.map(|quantization| {
            let part = match quantization.0 {
                dvse_types::Quantization::None => json!({"none": {}}),
                dvse_types::Quantization::Sketch => json!({"sketch": {}}),
                dvse_types::Quantization::Scalar8 => json!({"sq8": {}}),
                dvse_types::Quantization::RaBitQ { bits } => json!({"rabitq": {"bits": bits}}),
            };
            ("quantization_config", part)
        }));
        parts
    }
}

/// Reads what candidates are compared by.
///
/// # Errors
/// There is no such thing.
pub fn parse_rerank(text: &str) -> std::result::Result<Rerank, String> {
    Rerank::from_name(text).ok_or_else(|| "it must be f32 or f16".to_owned())
}

/// What a search in a graph reads of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantizationName(pub dvse_types::Quantization);

impl std::str::FromStr for QuantizationName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<QuantizationName, String> {
        use dvse_types::Quantization;
        let bits = |bits: &str| {
            let bits = bits.parse().ok().filter(|bits| Quantization::RABITQ_BITS.contains(bits));
            bits.map(|bits| Quantization::RaBitQ { bits })
        };
        let found = match text {
            "none" => Some(Quantization::None),
            "sketch" => Some(Quantization::Sketch),
            "sq8" => Some(Quantization::Scalar8),
            other => other.strip_prefix("rabitq:").and_then(bits),
        };
        found.map(QuantizationName).ok_or_else(|| {
            "it must be sketch, sq8, rabitq:1, rabitq:2, rabitq:4, rabitq:8 or none".to_owned()
        })
    }
}

impl QuantizationName {
    /// As the engine calls it.
    pub fn quantization(self) -> dvse_types::Quantization {
        self.0
    }
}

impl std::fmt::Display for QuantizationName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use dvse_types::Quantization;
        match self.0 {
            Quantization::None => f.write_str("none"),
            Quantization::Sketch => f.write_str("sketch"),
            Quantization::Scalar8 => f.write_str("sq8"),
            Quantization::RaBitQ { bits } => write!(f, "rabitq:{bits}"),
        }
    }
}

/// A kind of index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IndexName {
    /// Compares with every vector.
    Flat,
    /// Hierarchical navigable small world graph.
    Hnsw,
    /// Navigable small world graph without upper layers.
    Nsw,
    /// Inverted lists with product codes.
    #[value(name = "ivf_pq")]
    IvfPq,
}

impl IndexName {
    /// The index with usual parameters.
    pub fn spec(self) -> IndexSpec {
        match self {
            IndexName::Flat => IndexSpec::Flat,
            IndexName::Hnsw => IndexSpec::Hnsw(HnswSpec::default()),
            IndexName::Nsw => IndexSpec::Nsw(HnswSpec::default()),
            IndexName::IvfPq => IndexSpec::IvfPq(IvfPqSpec::default()),
        }
    }
}

/// How two vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MetricName {
    /// Euclidean distance.
    L2,
    /// Angle.
    Cosine,
    /// Inner product.
    Ip,
}

impl MetricName {
    /// The name in the REST interface.
    pub fn in_requests(self) -> &'static str {
        match self {
            MetricName::L2 => "Euclid",
            MetricName::Cosine => "Cosine",
            MetricName::Ip => "Dot",
        }
    }

    /// The metric itself.
    pub fn metric(self) -> dvse_types::Metric {
        match self {
            MetricName::L2 => dvse_types::Metric::L2,
            MetricName::Cosine => dvse_types::Metric::Cosine,
            MetricName::Ip => dvse_types::Metric::InnerProduct,
        }
    }
}

/// Does it.
///
/// # Errors
/// The server cannot be reached or refuses, or the output cannot be written.
pub fn run(arguments: &CollectionArguments, output: &Output) -> Result<()> {
    match &arguments.command {
        CollectionCommand::List { format, connection } => list(&Client::new(connection)?, *format, output),
        CollectionCommand::Info { name, format, connection } => {
            info(&Client::new(connection)?, name, *format, output)
        }
        CollectionCommand::Create(arguments) => create(arguments, output),
        CollectionCommand::Update(arguments) => update(arguments, output),
        CollectionCommand::Delete { name, yes, connection } => {
            delete(&Client::new(connection)?, name, *yes, output)
        }
        CollectionCommand::Alias { name, alias, connection } => {
            let create = json!({"create_alias": {"collection_name": name, "alias_name": alias}});
            Client::new(connection)?.post("/collections/aliases", &json!({"actions": [create]}))?;
            output.line(format!("{alias} is now another name of {name}"))
        }
    }
}

fn list(client: &Client, format: Format, output: &Output) -> Result<()> {
    let answer = client.get("/collections")?;
    let entries = answer.get("collections").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut names: Vec<&str> = entries.iter().filter_map(|entry| entry.get("name")?.as_str()).collect();
    names.sort_unstable();
    let mut table = Table::new(["collection", "points", "status"]);
    for name in names {
        let found = client.get(&format!("/collections/{}", segment(name)))?;
        let points = found.get("points_count").and_then(Value::as_u64).unwrap_or(0);
        let status = found.get("status").and_then(Value::as_str).unwrap_or("unknown");
        match format {
            Format::Jsonl => output.json(&json!({"name": name, "points": points, "status": status}))?,
            Format::Table => table.row([name.to_owned(), grouped(points), status.to_owned()]),
        }
    }
    match format {
        Format::Jsonl => Ok(()),
        Format::Table => table.print(output),
    }
}

fn info(client: &Client, name: &str, format: Format, output: &Output) -> Result<()> {
    let found = client.get(&format!("/collections/{}", segment(name)))?;
    if format == Format::Jsonl {
        return output.json(&found);
    }
    let mut table = Table::new(["key", "value"]);
    flatten("", &found, &mut table);
    table.print(output)
}

/// Adds a row for each value within a value, named by its path.
fn flatten(path: &str, value: &Value, table: &mut Table) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, inner) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, inner, table);
            }
        }
        Value::String(text) => table.row([path.to_owned(), text.clone()]),
        Value::Null => {}
        other => table.row([path.to_owned(), other.to_string()]),
    }
}

fn create(arguments: &CreateArguments, output: &Output) -> Result<()> {
    let (mut kind, mut fields) = (None, Vec::new());
    for text in &arguments.index {
        // A kind has no colon, and a field and its kind have one.
        match IndexName::from_str(text, true) {
            Ok(name) if !text.contains(':') => kind = Some(name),
            _ => fields.push(parse_index(text)?),
        }
    }
    let client = Client::new(&arguments.connection)?;
    let path = format!("/collections/{}", segment(&arguments.name));
    let mut body = json!({"vectors": {"size": arguments.dim, "distance": arguments.metric.in_requests()}});
    if let Some(model) = &arguments.model {
        body["vectors"]["model"] = json!(model);
    }
    if let Some(kind) = kind {
        body["vectors"]["index"] = json!(kind.spec().name());
    }
    for (key, part) in arguments.params.parts() {
        body["vectors"][key] = part;
    }
    if let Some(on_disk) = arguments.params.on_disk {
        body["vectors"]["on_disk"] = json!(on_disk);
    }
    client.put(&path, &body)?;
    for (field, kind) in fields {
        client
            .put(&format!("{path}/index?wait=true"), &json!({"field_name": field, "field_schema": kind}))?;
    }
    output.line(format!(
        "created {} ({} dimensions, {})",
        arguments.name,
        arguments.dim,
        arguments.metric.metric().name()
    ))
}

fn update(arguments: &UpdateArguments, output: &Output) -> Result<()> {
    let mut parts: Map<String, Value> =
        arguments.params.parts().into_iter().map(|(key, part)| (key.to_owned(), part)).collect();
    if let Some(kind) = arguments.index {
        parts.insert("index".to_owned(), json!(kind.spec().name()));
    }
    let on_disk = arguments.params.on_disk;
    if parts.is_empty() && on_disk.is_none() {
        return Err(Failure::new("nothing is to be changed")
            .with_help("name an --index, or a parameter such as --m, --nprobe or --on-disk"));
    }
    let client = Client::new(&arguments.connection)?;
    let path = format!("/collections/{}", segment(&arguments.name));
    let body = match (&arguments.vector, on_disk) {
        (Some(name), _) => {
            parts.extend(on_disk.map(|on_disk| ("on_disk".to_owned(), json!(on_disk))));
            json!({"vectors": {(name.as_str()): parts}})
        }
        (None, None) => Value::Object(parts),
        (None, Some(on_disk)) => {
            // Where vectors are kept is said of each field.
            let fields = vector_names(&client.get(&path)?).into_iter();
            let fields: Map<String, Value> = fields.map(|name| (name, json!({"on_disk": on_disk}))).collect();
            parts.insert("vectors".to_owned(), Value::Object(fields));
            Value::Object(parts)
        }
    };
    client.patch(&path, &body)?;
    let found = client.get(&path)?;
    let left = found.get("segments_to_rebuild").and_then(Value::as_u64).unwrap_or(0);
    let more =
        if left > 0 { format!("; {left} segments are still to be indexed anew") } else { String::new() };
    output.line(format!("changed {}{more}", arguments.name))
}

/// The names of the vector fields of a collection as it is shown.
fn vector_names(found: &Value) -> Vec<String> {
    match found.pointer("/config/params/vectors") {
        // A field may be called `size`; then it is an object.
        Some(Value::Object(unnamed)) if unnamed.get("size").is_some_and(Value::is_u64) => vec![String::new()],
        Some(Value::Object(named)) => named.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

fn parse_index(text: &str) -> Result<(&str, &str)> {
    match text.rsplit_once(':') {
        Some((field, kind)) if dvse_types::FieldKind::from_name(kind).is_some() && !field.is_empty() => {
            Ok((field, kind))
        }
        _ => Err(Failure::new(format!("--index {text:?} is neither a kind nor FIELD:KIND")).with_help(
            "KIND is keyword, integer, float, bool, datetime or uuid, as in --index title:keyword; \
             without a field it is flat, hnsw, nsw or ivf_pq",
        )),
    }
}

fn delete(client: &Client, name: &str, yes: bool, output: &Output) -> Result<()> {
    let path = format!("/collections/{}", segment(name));
    let found = client.get(&path)?;
    let points = grouped(found.get("points_count").and_then(Value::as_u64).unwrap_or(0));
    if !yes {
        return Err(Failure::new(format!("{name} with its {points} points was not deleted"))
            .with_help("add --yes to delete it for good, or keep a copy first with `dvse export`"));
    }
    client.delete(&path)?;
    output.line(format!("deleted {name} with its {points} points"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_fields_are_named_as_they_are_shown() {
        let shown = |vectors: Value| json!({"config": {"params": {"vectors": vectors}}});
        assert_eq!(vector_names(&shown(json!({"size": 3, "distance": "Dot"}))), [""]);
        let named =
            shown(json!({"size": {"size": 3, "distance": "Dot"}, "b": {"size": 1, "distance": "Dot"}}));
        assert_eq!(vector_names(&named), ["b", "size"]);
        assert!(vector_names(&json!({})).is_empty());
    }

    #[test]
    fn an_index_is_a_field_and_a_kind() {
        assert_eq!(parse_index("a.b:keyword").unwrap(), ("a.b", "keyword"));
        assert_eq!(parse_index("a:b:float").unwrap(), ("a:b", "float"));
        for text in ["", "a", ":keyword", "a:word", "a:"] {
            assert!(parse_index(text).unwrap_err().to_string().contains("help: KIND is"), "{text}");
        }
    }
}
