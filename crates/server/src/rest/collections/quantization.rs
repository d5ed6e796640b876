//! `quantization_config`: what walks over a graph read of a point, in the dialect's words and in ours.
//!
//! The dialect's scalar quantization is our `sq8`, its binary one `rabitq` of one or two bits; both are rescored by whole
//! vectors. A part that would be without effect is refused rather than taken.

use dvse_types::Quantization;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Value")]
pub enum QuantizationBody {
    /// As without saying anything: nothing said, or the dialect's `"Disabled"`.
    Usual,
    /// One of those there are.
    As {
        /// Which.
        quantization: Quantization,
        /// Whether codes are said to be in memory, or not to be.
        always_ram: Option<bool>,
    },
    /// Anything else: field, value and what to do instead.
    Refused(String),
}

impl From<Value> for QuantizationBody {
    fn from(value: Value) -> Self {
        match &value {
            Value::Null => QuantizationBody::Usual,
            Value::String(text) if text == "Disabled" => QuantizationBody::Usual,
            Value::Object(object) => match read(object) {
                Ok((quantization, always_ram)) => QuantizationBody::As { quantization, always_ram },
                Err(reason) => QuantizationBody::Refused(reason),
            },
            other => QuantizationBody::Refused(refused("", other, KINDS)),
        }
    }
}

const KINDS: &str = "say one of {\"sketch\": {}}, {\"sq8\": {}}, {\"rabitq\": {\"bits\": 4}} and {\"none\": {}}, or \
    the dialect's scalar or binary";

fn refused(field: &str, value: &Value, remedy: &str) -> String {
    format!("`quantization_config{field}`: {value} ({remedy})")
}

fn read(object: &Map<String, Value>) -> Result<(Quantization, Option<bool>), String> {
    let (kind, parts) = match object.iter().next() {
        Some((kind, Value::Object(parts))) if object.len() == 1 => (kind.as_str(), parts),
        _ => return Err(refused("", &Value::Object(object.clone()), KINDS)),
    };
    let known: &[&str] = match kind {
        "sketch" | "none" | "sq8" => &[],
        "rabitq" => &["bits"],
        "scalar" => &["type", "quantile", "always_ram"],
        "binary" => &["encoding", "query_encoding", "always_ram"],
        _ => return Err(refused("", &Value::Object(object.clone()), KINDS)),
    };
    let field = |part: &str| format!(".{kind}.{part}");
    for (part, value) in parts {
        if !known.contains(&part.as_str()) {
            return Err(refused(&field(part), value, "there is no such parameter; leave it out"));
        }
    }
    // Nulls are the dialect's way of leaving a part out.
    let part = |name: &str| parts.get(name).filter(|value| !value.is_null());
    // Whether that is so is a question of where the graph is: see `index.rs`.
    let always_ram = match part("always_ram") {
        None => None,
        Some(Value::Bool(always_ram)) => Some(*always_ram),
        Some(value) => return Err(refused(&field("always_ram"), value, "it is true or false")),
    };
    let quantization = match kind {
        "sketch" => Ok(Quantization::Sketch),
        "none" => Ok(Quantization::None),
        "sq8" => Ok(Quantization::Scalar8),
        "rabitq" => {
            let bits = part("bits").cloned().unwrap_or(json!(4));
            let known = Quantization::RABITQ_BITS.into_iter().find(|known| bits == json!(known));
            known
                .map(|bits| Quantization::RaBitQ { bits })
                .ok_or_else(|| refused(&field("bits"), &bits, "there are 1, 2, 4 and 8"))
        }
        "scalar" => {
            if let Some(value) = part("type").filter(|value| **value != json!("int8")) {
                return Err(refused(&field("type"), value, "int8 is the only type"));
            }
            if let Some(value) = part("quantile").filter(|value| value.as_f64() != Some(1.0)) {
                let remedy = "each vector has a scale of its own and nothing is cut off; leave it out";
                return Err(refused(&field("quantile"), value, remedy));
            }
            Ok(Quantization::Scalar8)
        }
        _ => {
            if let Some(value) = part("query_encoding").filter(|value| **value != json!("default")) {
                let remedy = "queries have 8 bits a value with codes of any length; leave it out";
                return Err(refused(&field("query_encoding"), value, remedy));
            }
            match part("encoding") {
                None => Ok(Quantization::RaBitQ { bits: 1 }),
                Some(encoding) if *encoding == json!("one_bit") => Ok(Quantization::RaBitQ { bits: 1 }),
                Some(encoding) if *encoding == json!("two_bits") => Ok(Quantization::RaBitQ { bits: 2 }),
                Some(other) => Err(refused(&field("encoding"), other, "there are one_bit and two_bits")),
            }
        }
    };
    quantization.map(|quantization| (quantization, always_ram))
}

/// As it is shown, where it is not the usual.
#[must_use]
pub fn shown(quantization: Quantization, always_ram: bool) -> Option<Value> {
    match quantization {
        Quantization::Sketch => None,
        Quantization::None => Some(json!({"none": {}})),
        // In the words of the dialect, which clients can read.
        Quantization::Scalar8 => Some(json!({"scalar": {"type": "int8", "always_ram": always_ram}})),
        Quantization::RaBitQ { bits: 1 } => {
            Some(json!({"binary": {"always_ram": always_ram, "encoding": "one_bit"}}))
        }
        Quantization::RaBitQ { bits: 2 } => {
            Some(json!({"binary": {"always_ram": always_ram, "encoding": "two_bits"}}))
        }
        Quantization::RaBitQ { bits } => Some(json!({"rabitq": {"bits": bits}})),
    }
}
