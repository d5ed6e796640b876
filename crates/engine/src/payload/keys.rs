//! What a payload holds under a path, as keys of an index.

use dvse_types::{FieldKind, Payload, PayloadPath, PointId, Value, parse_datetime_micros};

/// Calls `visit` with each value under a path; an array at the end of the path is looked into.
pub(crate) fn for_each_value<'v>(path: &PayloadPath, payload: &'v Payload, visit: &mut dyn FnMut(&'v Value)) {
    path.visit(payload, &mut |value| match value {
        Value::Array(elements) => elements.iter().for_each(&mut *visit),
        other => visit(other),
    });
}

/// What an index takes from one payload, each key once.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct FieldKeys {
    /// Keys of the kinds keyword and UUID.
    pub(crate) texts: Vec<String>,
    /// Keys of the other kinds, in an order-preserving code.
    pub(crate) codes: Vec<u64>,
    /// Whether there are values that a test which the index answers could pass and that it does not hold; such a
    /// row is to be looked at itself.
    pub(crate) others: bool,
}

impl FieldKeys {
    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.codes.is_empty()
    }
}

/// Collects the keys of a payload.
pub(crate) fn field_keys(kind: FieldKind, path: &PayloadPath, payload: &Payload) -> FieldKeys {
    let mut keys = FieldKeys::default();
    for_each_value(path, payload, &mut |value| match (kind, value) {
        (FieldKind::Keyword, Value::String(text)) => keys.texts.push(text.clone()),
        // Looked at by tests of inequality, which integers can pass as well.
        (FieldKind::Keyword, Value::Number(_)) => keys.others = true,
        (FieldKind::Uuid, Value::String(text)) => match parse_uuid(text) {
            Some(uuid) => keys.texts.push(uuid_text(uuid)),
            None => keys.others = true,
        },
        (FieldKind::Integer, Value::Number(number)) => match number.as_i64() {
            Some(number) => keys.codes.push(code_of_i64(number)),
            // Looked at by ranges.
            None => keys.others = true,
        },
        (FieldKind::Float, Value::Number(number)) => match number.as_f64() {
            Some(number) => keys.codes.push(code_of_f64(number)),
            None => keys.others = true,
        },
        (FieldKind::Bool, Value::Bool(truth)) => keys.codes.push(code_of_bool(*truth)),
        (FieldKind::Datetime, Value::String(text)) => {
            keys.codes.extend(parse_datetime_micros(text).map(code_of_i64));
        }
        _ => {}
    });
    keys.texts.sort_unstable();
    keys.texts.dedup();
    keys.codes.sort_unstable();
    keys.codes.dedup();
    keys
}

const SIGN: u64 = 1 << 63;

pub(crate) fn code_of_i64(value: i64) -> u64 {
    value.cast_unsigned() ^ SIGN
}

pub(crate) fn i64_of_code(code: u64) -> i64 {
    (code ^ SIGN).cast_signed()
}

pub(crate) fn code_of_bool(value: bool) -> u64 {
    u64::from(value)
}

/// A code in the order of the numbers; both zeros have one code.
pub(crate) fn code_of_f64(value: f64) -> u64 {
    let bits = if value == 0.0 { 0 } else { value.to_bits() };
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

pub(crate) fn f64_of_code(code: u64) -> f64 {
    f64::from_bits(if code & SIGN == 0 { !code } else { code & !SIGN })
}

/// Reads a UUID in any of its spellings.
pub(crate) fn parse_uuid(text: &str) -> Option<u128> {
    match text.parse() {
        Ok(PointId::Uuid(uuid)) => Some(uuid),
        _ => None,
    }
}

/// The one spelling under which an index keeps a UUID.
pub(crate) fn uuid_text(uuid: u128) -> String {
    PointId::Uuid(uuid).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn codes_keep_the_order() {
        let numbers = [f64::NEG_INFINITY, -1e300, -1.5, -0.0, 1e-300, 2.0, f64::INFINITY];
        let codes: Vec<u64> = numbers.iter().map(|n| code_of_f64(*n)).collect();
        assert!(codes.is_sorted());
        assert!(numbers.iter().zip(&codes).all(|(n, code)| f64_of_code(*code) == *n));
        assert_eq!(code_of_f64(0.0), code_of_f64(-0.0));
        let numbers = [i64::MIN, -1, 0, 1, i64::MAX];
        assert!(numbers.map(code_of_i64).is_sorted());
        assert!(numbers.iter().all(|n| i64_of_code(code_of_i64(*n)) == *n));
    }

    #[test]
    fn arrays_give_each_element_once() {
        let path: PayloadPath = "a".parse().unwrap();
        let payload = json!({"a": ["x", "y", "x", 3, null]});
        let keys = field_keys(FieldKind::Keyword, &path, payload.as_object().unwrap());
        assert_eq!(keys.texts, ["x", "y"]);
        assert!(keys.others);
        let keys = field_keys(FieldKind::Integer, &path, payload.as_object().unwrap());
        assert_eq!(keys.codes, [code_of_i64(3)]);
    }
}
