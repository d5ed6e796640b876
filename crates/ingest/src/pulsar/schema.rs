//! The schemas of our topics in the registry of a cluster, and how they stand to those that are there.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ureq::http::Method;

use super::admin::Admin;
use crate::log::LogError;
use crate::topic::TopicName;

/// The schemas, as `docs/format` has them. That of records is in the words of Avro, as Pulsar wants it for JSON; that of events is
/// `vector-indexed.proto` as `protoc --descriptor_set_out` writes it.
const RAW_EVENTS: &str = include_str!("../../../../docs/format/raw-events.json");
const VECTOR_INDEXED: &[u8] = include_bytes!("../../../../docs/format/vector-indexed.pb");

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
    Schema { kind: "PROTOBUF_NATIVE", text: schema.to_string() }
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
        if versions.iter().any(|version| self.is(version)) {
            return Ok(Registered::Later { version, more: self.more_in(newest) });
        }
        let path = format!("{}/compatibility", path(topic));
        let answer = admin.send(&Method::POST, &path, Some(&self.body()))?;
        let is_compatible =
            ["compatibility", "isCompatibility"].iter().find_map(|name| answer.get(name)?.as_bool());
        if is_compatible == Some(true) {
            return Ok(Registered::Earlier { version });
        }
        let rule =
            answer.get("schemaCompatibilityStrategy").and_then(Value::as_str).unwrap_or("the cluster's rule");
        let problem = format!("{} ({rule})", self.differences(newest));
        Err(LogError::Schema { topic: topic.clone(), version, problem })
    }

    fn is(&self, version: &Value) -> bool {
        let kind = version.get("type").and_then(Value::as_str);
        kind == Some(self.kind) && parsed(version.get("data")) == serde_json::from_str(&self.text).ok()
    }

    /// Which fields another schema has and ours does not, as far as that can be told.
    fn more_in(&self, version: &Value) -> String {
        let (ours, theirs) = (
            fields(serde_json::from_str(&self.text).ok().as_ref()),
            fields(parsed(version.get("data")).as_ref()),
        );
        let more: Vec<&str> = theirs
            .iter()
            .filter(|(name, _)| ours.iter().all(|(other, _)| other != name))
            .map(|(name, _)| &**name)
            .collect();
        if more.is_empty() { String::new() } else { format!(" and has {}", more.join(", ")) }
    }

    /// How another schema differs from ours.
    fn differences(&self, version: &Value) -> String {
        let kind = version.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind != self.kind {
            return format!("it is of type {kind}, and has to be of {}", self.kind);
        }
        let (ours, theirs) = (
            fields(serde_json::from_str(&self.text).ok().as_ref()),
            fields(parsed(version.get("data")).as_ref()),
        );
        let mut text = String::new();
        for (name, kind) in &ours {
            let there = theirs.iter().find(|(other, _)| other == name);
            let difference = match there {
                Some((_, there)) if there == kind => continue,
                Some((_, there)) => format!("field {name} is {there} there and {kind} here"),
                None => format!("field {name} is missing there"),
            };
            let _infallible = write!(text, "{}{difference}", if text.is_empty() { "" } else { ", " });
        }
        for (name, _) in theirs.iter().filter(|(name, _)| ours.iter().all(|(other, _)| other != name)) {
            let _infallible =
                write!(text, "{}field {name} is missing here", if text.is_empty() { "" } else { ", " });
        }
        if text.is_empty() { "it describes another message".to_owned() } else { text }
    }
}

fn number(version: &Value) -> u64 {
    version.get("version").and_then(Value::as_u64).unwrap_or_default()
}

fn parsed(text: Option<&Value>) -> Option<Value> {
    serde_json::from_str(text?.as_str()?).ok()
}

/// Names and types of the fields of a record in the words of Avro; none of other kinds.
fn fields(schema: Option<&Value>) -> Vec<(String, String)> {
    let fields = schema.and_then(|schema| schema.get("fields")).and_then(Value::as_array);
    let field = |field: &Value| {
        let name = field.get("name")?.as_str()?.to_owned();
        Some((name, field.get("type")?.to_string()))
    };
    fields.into_iter().flatten().filter_map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(schema: &Value) -> Value {
        json!({"version": 3, "type": "JSON", "data": schema.to_string()})
    }

    #[test]
    fn differences_are_told_by_field() {
        let ours = raw_events();
        let mut schema: Value = serde_json::from_str(RAW_EVENTS).unwrap();
        assert!(ours.is(&version(&schema)));
        schema["fields"].as_array_mut().unwrap().push(json!({"name": "language", "type": "string"}));
        assert_eq!(ours.more_in(&version(&schema)), " and has language");
        schema["fields"][0]["type"] = json!("long");
        let told = ours.differences(&version(&schema));
        assert_eq!(
            told,
            "field source_id is \"long\" there and \"string\" here, field language is missing here"
        );
        let told = vector_indexed().differences(&version(&schema));
        assert_eq!(told, "it is of type JSON, and has to be of PROTOBUF_NATIVE");
    }
}
