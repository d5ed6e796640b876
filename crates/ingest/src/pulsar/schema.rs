//! The schemas of our topics in the registry of a cluster, and how they stand to those that are there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ureq::http::Method;

use super::admin::{Admin, AdminError};
use crate::log::LogError;
use crate::topic::TopicName;

/// The schemas, as `docs/format` has them. That of records is in the words of Avro, as Pulsar wants it for JSON; that of events is
/// `vector-indexed.proto` as `protoc --descriptor_set_out` writes it.
const RAW_EVENTS: &str = include_str!("../../../../docs/format/raw-events.json");
const VECTOR_INDEXED: &[u8] = include_bytes!("../../../../docs/format/vector-indexed.pb");

/// What Pulsar calls a schema of Protobuf.
const PROTOBUF: &str = "PROTOBUF_NATIVE";

/// A schema that a topic is to have.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    /// What Pulsar calls its kind.
    pub kind: &'static str,
    text: String,
}

/// What the registry has of a topic.
pub(super) enum Registered {
    Nothing,
    /// Ours is the newest.
    Ours,
    /// Ours is there, and somebody registered another one since; `more` tells what that has.
    Later {
        version: u64,
        more: String,
    },
    /// Another one, which ours may follow.
    Earlier {
        version: u64,
    },
}

pub(super) fn raw_events() -> Schema {
    Schema { kind: "JSON", text: RAW_EVENTS.to_owned() }
}

pub(super) fn vector_indexed() -> Schema {
    let schema = json!({
        "fileDescriptorSet": STANDARD.encode(VECTOR_INDEXED),
        "rootMessageTypeName": "dvse.ingest.v1.VectorIndexed",
        "rootFileDescriptorName": "vector-indexed.proto",
    });
    Schema { kind: PROTOBUF, text: schema.to_string() }
}

/// The path of a topic's schemas.
pub(super) fn path(topic: &TopicName) -> String {
    format!("schemas/{}/{}/{}", topic.tenant(), topic.namespace(), topic.topic())
}

impl Schema {
    /// What is sent to the registry.
    pub(super) fn body(&self) -> Value {
        json!({"type": self.kind, "schema": self.text, "properties": {}})
    }

    /// Looks up what the registry has.
    ///
    /// # Errors
    /// [`LogError::Schema`] if ours may not follow it.
    pub(super) fn registered(&self, admin: &Admin, topic: &TopicName) -> Result<Registered, LogError> {
        let found = admin.get(&format!("{}/schemas", path(topic)))?.unwrap_or_default();
        let versions = found.get("getSchemaResponses").and_then(Value::as_array).cloned().unwrap_or_default();
        let Some(newest) = versions.iter().max_by_key(|version| number(version)) else {
            return Ok(Registered::Nothing);
        };
        let version = number(newest);
        if self.is(newest) {
            return Ok(Registered::Ours);
        }
        let (ours, theirs) = (self.fields(), fields(newest));
        let incompatible = |problem: String| Err(LogError::Schema { topic: topic.clone(), version, problem });
        if versions.iter().any(|version| self.is(version)) {
            // The broker compares nothing of Protobuf but the name of the message.
            let changed = changed(&ours, &theirs);
            return match self.kind == PROTOBUF && !changed.is_empty() {
                true => incompatible(changed.join(", ")),
                false => Ok(Registered::Later { version, more: more(&ours, &theirs) }),
            };
        }
        let path = format!("{}/compatibility", path(topic));
        let rule = match admin.send(&Method::POST, &path, Some(&self.body())) {
            Ok(answer) if answer.get("compatibility").and_then(Value::as_bool) == Some(true) => {
                return Ok(Registered::Earlier { version });
            }
            Ok(_) => "it says no more".to_owned(),
            // Where they are not compatible a broker fails in place of saying so.
            Err(AdminError::Refused { reason, .. }) if reason.to_lowercase().contains("compatib") => reason,
            Err(error) => return Err(error.into()),
        };
        let mut problem = match newest.get("type").and_then(Value::as_str).unwrap_or_default() {
            kind if kind == self.kind => changed(&ours, &theirs).join(", "),
            kind => format!("it is of type {kind}, and has to be of {}", self.kind),
        };
        if problem.is_empty() {
            problem = format!("the broker says: {rule}");
        }
        incompatible(problem)
    }

    fn fields(&self) -> Vec<Field> {
        fields(&json!({"type": self.kind, "data": self.text}))
    }

    fn is(&self, version: &Value) -> bool {
        let kind = version.get("type").and_then(Value::as_str);
        kind == Some(self.kind) && parsed(version.get("data")) == serde_json::from_str(&self.text).ok()
    }
}

/// A field of a schema: its name, and everything else that readers rely on.
type Field = (String, String);

/// How the fields of ours are in another schema, where they are not the same.
fn changed(ours: &[Field], theirs: &[Field]) -> Vec<String> {
    let difference = |(name, kind): &Field| match theirs.iter().find(|(other, _)| other == name) {
        Some((_, there)) if there == kind => None,
        Some((_, there)) => Some(format!("field {name} is {there} there and {kind} here")),
        None => Some(format!("field {name} is missing there")),
    };
    ours.iter().filter_map(difference).collect()
}

/// Which fields another schema has and ours does not.
fn more(ours: &[Field], theirs: &[Field]) -> String {
    let is_new = |(name, _): &&Field| ours.iter().all(|(other, _)| other != name);
    let names: Vec<&str> = theirs.iter().filter(is_new).map(|(name, _)| &**name).collect();
    if names.is_empty() { String::new() } else { format!(" and has {} more", names.join(", ")) }
}

fn number(version: &Value) -> u64 {
    version.get("version").and_then(Value::as_u64).unwrap_or_default()
}

fn parsed(text: Option<&Value>) -> Option<Value> {
    serde_json::from_str(text?.as_str()?).ok()
}

/// The fields of a registered schema, as far as we can read it.
fn fields(version: &Value) -> Vec<Field> {
    let Some(schema) = parsed(version.get("data")) else { return Vec::new() };
    if version.get("type").and_then(Value::as_str) == Some(PROTOBUF) {
        let set = schema.get("fileDescriptorSet").and_then(Value::as_str).unwrap_or_default();
        let root = schema.get("rootMessageTypeName").and_then(Value::as_str).unwrap_or_default();
        let message = root.rsplit('.').next().unwrap_or_default();
        return descriptor::fields(&STANDARD.decode(set).unwrap_or_default(), message).unwrap_or_default();
    }
    // A record in the words of Avro.
    let fields = schema.get("fields").and_then(Value::as_array);
    let field =
        |field: &Value| Some((field.get("name")?.as_str()?.to_owned(), field.get("type")?.to_string()));
    fields.into_iter().flatten().filter_map(field).collect()
}

/// The little of Protobuf's descriptors that is compared: the fields of a message by name, with number, type and whether repeated.
mod descriptor {
    use super::Field;
    use crate::event::{BYTES, Reader, VARINT};

    /// Numbers in `descriptor.proto`.
    const FILES: u64 = 1;
    const MESSAGES: u64 = 4;
    const NAME: u64 = 1;
    const FIELDS: u64 = 2;
    const NUMBER: u64 = 3;
    const LABEL: u64 = 4;
    const TYPE: u64 = 5;
    /// The types from 1.
    const TYPES: [&str; 18] = [
        "double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "group",
        "message", "bytes", "uint32", "enum", "sfixed32", "sfixed64", "sint32", "sint64",
    ];

    /// Returns the fields of the message of a name; `None` if the bytes are no descriptors.
    pub(super) fn fields(set: &[u8], message: &str) -> Option<Vec<Field>> {
        let files = contents(set, FILES)?;
        let messages =
            files.iter().map(|file| contents(file, MESSAGES)).collect::<Option<Vec<_>>>()?.concat();
        let found = messages.into_iter().find(|body| name(body).as_deref() == Some(message))?;
        contents(found, FIELDS)?.into_iter().map(field).collect()
    }

    fn field(body: &[u8]) -> Option<Field> {
        let value = |number| numbers(body, number)?.last().copied();
        let kind = usize::try_from(value(TYPE)?).ok()?.checked_sub(1).and_then(|at| TYPES.get(at))?;
        let repeated = if value(LABEL) == Some(3) { "repeated " } else { "" };
        Some((name(body)?, format!("{repeated}{kind} = {}", value(NUMBER)?)))
    }

    fn name(body: &[u8]) -> Option<String> {
        contents(body, NAME)?.last().and_then(|name| String::from_utf8(name.to_vec()).ok())
    }

    /// All contents of a field that has a length.
    fn contents(body: &[u8], number: u64) -> Option<Vec<&[u8]>> {
        let mut all = Vec::new();
        visit(body, |field, content| {
            if let (true, Content::Bytes(bytes)) = (field == number, content) {
                all.push(bytes);
            }
        })?;
        Some(all)
    }

    /// All values of a field that is a number.
    fn numbers(body: &[u8], number: u64) -> Option<Vec<u64>> {
        let mut all = Vec::new();
        visit(body, |field, content| {
            if let (true, Content::Number(value)) = (field == number, content) {
                all.push(value);
            }
        })?;
        Some(all)
    }

    enum Content<'a> {
        Number(u64),
        Bytes(&'a [u8]),
    }

    fn visit<'a>(body: &'a [u8], mut visit: impl FnMut(u64, Content<'a>)) -> Option<()> {
        let mut reader = Reader::new(body);
        while !reader.is_at_end() {
            let tag = reader.varint().ok()?;
            match tag & 7 {
                VARINT => visit(tag >> 3, Content::Number(reader.varint().ok()?)),
                BYTES => visit(tag >> 3, Content::Bytes(reader.bytes().ok()?)),
                kind => reader.pass(kind).ok()?,
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(kind: &str, text: &str) -> Value {
        json!({"version": 3, "type": kind, "data": text})
    }

    #[test]
    fn a_schema_in_json_is_compared_by_field() {
        let ours = raw_events();
        let mut schema: Value = serde_json::from_str(RAW_EVENTS).unwrap();
        assert!(ours.is(&version("JSON", &schema.to_string())));
        schema["fields"].as_array_mut().unwrap().push(json!({"name": "language", "type": "string"}));
        let theirs = fields(&version("JSON", &schema.to_string()));
        assert_eq!(
            (more(&ours.fields(), &theirs), changed(&ours.fields(), &theirs).len()),
            (" and has language more".to_owned(), 0)
        );
        schema["fields"][0]["type"] = json!("long");
        let theirs = fields(&version("JSON", &schema.to_string()));
        assert_eq!(
            changed(&ours.fields(), &theirs),
            ["field source_id is \"long\" there and \"string\" here"]
        );
    }

    #[test]
    fn a_schema_in_protobuf_is_read_from_its_descriptor() {
        let ours = vector_indexed().fields();
        assert_eq!(ours.len(), 12, "{ours:?}");
        for (name, kind) in
            [("vector_id", "string = 1"), ("embedding", "repeated float = 2"), ("operation", "enum = 6")]
        {
            assert!(ours.contains(&(name.to_owned(), kind.to_owned())), "{ours:?}");
        }
        for cut in 0..VECTOR_INDEXED.len() {
            drop(descriptor::fields(&VECTOR_INDEXED[..cut], "VectorIndexed"));
        }
    }
}
