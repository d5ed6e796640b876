//! Payloads: JSON objects, and the paths into them.

use std::fmt;
use std::str::FromStr;

pub use serde_json::Value;

/// The payload of a point: a JSON object. Keys are kept in sorted order.
pub type Payload = serde_json::Map<String, Value>;

/// How deep a payload, and a path into it, may nest.
pub const NESTING_MAX: usize = 64;

/// One step of a [`PayloadPath`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathStep {
    /// The value under a key of an object.
    Key(String),
    /// The element of an array at a position, from 0.
    Index(usize),
    /// Every element of an array.
    Each,
}

/// A path into a payload: `a.b`, `list[].x`, `list[0].x`, `"key.with.dots".x`.
///
/// A value that is an array is looked into when the path ends there: its elements are the path's values. A path
/// never steps into an array without saying so (`[]` or `[n]`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayloadPath {
    text: String,
    steps: Vec<PathStep>,
}

/// A text that is not a payload path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a payload path: {reason} at byte {position}")]
pub struct ParsePathError {
    /// The text.
    pub path: String,
    /// What is wrong.
    pub reason: &'static str,
    /// Where, as a byte offset.
    pub position: usize,
}

impl PayloadPath {
    /// The steps from the payload's top level; at least one, and the first is a key.
    #[must_use]
    pub fn steps(&self) -> &[PathStep] {
        &self.steps
    }

    /// The path as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Calls `visit` with each value the path leads to, in order. Arrays at the end of the path are passed whole.
    pub fn visit<'v>(&self, payload: &'v Payload, visit: &mut dyn FnMut(&'v Value)) {
        if let Some((PathStep::Key(key), rest)) = self.steps.split_first()
            && let Some(value) = payload.get(key)
        {
            visit_from(value, rest, visit);
        }
    }

    /// Whether the path leads to a value (any value, `null` included).
    #[must_use]
    pub fn exists(&self, payload: &Payload) -> bool {
        let mut found = false;
        self.visit(payload, &mut |_| found = true);
        found
    }

    /// Removes every value the path leads to. Array elements are removed from their array.
    pub fn remove(&self, payload: &mut Payload) {
        match self.steps.as_slice() {
            [PathStep::Key(key)] => drop(payload.remove(key)),
            [PathStep::Key(key), rest @ ..] => {
                if let Some(value) = payload.get_mut(key) {
                    remove_from(value, rest);
                }
            }
            _ => {}
        }
    }

    /// Merges the top-level keys of `patch` into the object at this path, making objects on the way where
    /// there are none. `[]` merges into each element; an index beyond the array changes nothing.
    pub fn merge(&self, payload: &mut Payload, patch: &Payload) {
        if let Some((PathStep::Key(key), rest)) = self.steps.split_first() {
            let value = payload.entry(key.clone()).or_insert(Value::Null);
            merge_into(value, rest, patch);
        }
    }
}

fn visit_from<'v>(value: &'v Value, steps: &[PathStep], visit: &mut dyn FnMut(&'v Value)) {
    let Some((step, rest)) = steps.split_first() else {
        visit(value);
        return;
    };
    match (step, value) {
        (PathStep::Key(key), Value::Object(object)) => {
            if let Some(inner) = object.get(key) {
                visit_from(inner, rest, visit);
            }
        }
        (PathStep::Index(index), Value::Array(array)) => {
            if let Some(inner) = array.get(*index) {
                visit_from(inner, rest, visit);
            }
        }
        (PathStep::Each, Value::Array(array)) => {
            for inner in array {
                visit_from(inner, rest, visit);
            }
        }
        _ => {}
    }
}

fn remove_from(value: &mut Value, steps: &[PathStep]) {
    match (steps, value) {
        ([PathStep::Key(key)], Value::Object(object)) => drop(object.remove(key)),
        ([PathStep::Index(index)], Value::Array(array)) if *index < array.len() => {
            array.remove(*index);
        }
        ([PathStep::Each], Value::Array(array)) => array.clear(),
        ([PathStep::Key(key), rest @ ..], Value::Object(object)) => {
            if let Some(inner) = object.get_mut(key) {
                remove_from(inner, rest);
            }
        }
        ([PathStep::Index(index), rest @ ..], Value::Array(array)) => {
            if let Some(inner) = array.get_mut(*index) {
                remove_from(inner, rest);
            }
        }
        ([PathStep::Each, rest @ ..], Value::Array(array)) => {
            array.iter_mut().for_each(|inner| remove_from(inner, rest));
        }
        _ => {}
    }
}

fn merge_into(value: &mut Value, steps: &[PathStep], patch: &Payload) {
    match steps.split_first() {
        None | Some((PathStep::Key(_), _)) => {
            if !value.is_object() {
                *value = Value::Object(Payload::new());
            }
            let Value::Object(object) = value else { return };
            match steps.split_first() {
                Some((PathStep::Key(key), rest)) => {
                    merge_into(object.entry(key.clone()).or_insert(Value::Null), rest, patch);
                }
                _ => {
                    for (key, inner) in patch {
                        object.insert(key.clone(), inner.clone());
                    }
                }
            }
        }
        Some((PathStep::Index(index), rest)) => {
            if let Value::Array(array) = value
                && let Some(inner) = array.get_mut(*index)
            {
                merge_into(inner, rest, patch);
            }
        }
        Some((PathStep::Each, rest)) => {
            if let Value::Array(array) = value {
                array.iter_mut().for_each(|inner| merge_into(inner, rest, patch));
            }
        }
    }
}

/// How deep a value nests: 0 for a scalar, 1 for `[]` or `{}`.
///
/// Walks without recursion, so that a hostile value cannot exhaust the stack.
#[must_use]
pub fn depth(value: &Value) -> usize {
    if !matches!(value, Value::Array(_) | Value::Object(_)) {
        return 0;
    }
    let mut deepest = 0;
    let mut pending = vec![(value, 0_usize)];
    while let Some((value, depth)) = pending.pop() {
        match value {
            Value::Array(array) => {
                deepest = deepest.max(depth + 1);
                pending.extend(array.iter().map(|inner| (inner, depth + 1)));
            }
            Value::Object(object) => {
                deepest = deepest.max(depth + 1);
                pending.extend(object.values().map(|inner| (inner, depth + 1)));
            }
            _ => deepest = deepest.max(depth),
        }
    }
    deepest
}

impl fmt::Display for PayloadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for PayloadPath {
    type Err = ParsePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason, position| ParsePathError { path: text.to_owned(), reason, position };
        let bytes = text.as_bytes();
        let mut steps = Vec::new();
        let mut at = 0;
        loop {
            let (key, after) = if bytes.get(at) == Some(&b'"') {
                let close =
                    text[at + 1..].find('"').ok_or_else(|| fail("a quote is not closed", at))? + at + 1;
                (&text[at + 1..close], close + 1)
            } else {
                let end = text[at..].find(['.', '[']).map_or(text.len(), |offset| at + offset);
                (&text[at..end], end)
            };
            if key.is_empty() {
                return Err(fail("a key is empty", at));
            }
            steps.push(PathStep::Key(key.to_owned()));
            at = after;
            while bytes.get(at) == Some(&b'[') {
                let close = text[at..].find(']').ok_or_else(|| fail("a bracket is not closed", at))? + at;
                let inside = &text[at + 1..close];
                steps.push(if inside.is_empty() {
                    PathStep::Each
                } else {
                    PathStep::Index(
                        inside.parse().map_err(|_| fail("the text in brackets is not a position", at + 1))?,
                    )
                });
                at = close + 1;
            }
            if steps.len() > NESTING_MAX {
                return Err(fail("it has too many steps", at));
            }
            match bytes.get(at) {
                None => return Ok(PayloadPath { text: text.to_owned(), steps }),
                Some(b'.') => at += 1,
                Some(_) => return Err(fail("expected '.', '[' or the end", at)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn payload(value: Value) -> Payload {
        match value {
            Value::Object(object) => object,
            _ => panic!("not an object"),
        }
    }

    fn check_visit(path: &str, of: Value, expect: &[Value]) {
        let path: PayloadPath = path.parse().unwrap();
        let of = payload(of);
        let mut seen = Vec::new();
        path.visit(&of, &mut |value| seen.push(value.clone()));
        assert_eq!(seen, expect, "{path}");
    }

    #[test]
    fn paths_lead_to_values() {
        check_visit("a", json!({"a": 1}), &[json!(1)]);
        check_visit("a.b", json!({"a": {"b": [1, 2]}}), &[json!([1, 2])]);
        check_visit("a[].b", json!({"a": [{"b": 1}, {"c": 2}, {"b": 3}]}), &[json!(1), json!(3)]);
        check_visit("a[1].b", json!({"a": [{"b": 1}, {"b": 3}]}), &[json!(3)]);
        check_visit("\"a.b\".c", json!({"a.b": {"c": null}}), &[json!(null)]);
        check_visit("a.b", json!({"a": [{"b": 1}]}), &[]);
        check_visit("a[][]", json!({"a": [[1], [2, 3]]}), &[json!(1), json!(2), json!(3)]);
    }

    #[test]
    fn texts_that_are_no_paths_say_where() {
        for (text, position) in
            [("", 0), ("a..b", 2), ("a[", 1), ("a[x]", 2), ("\"a", 0), ("a[0]b", 4), ("a.", 2)]
        {
            let error = text.parse::<PayloadPath>().unwrap_err();
            assert_eq!(error.position, position, "{error}");
        }
    }

    #[test]
    fn removing_and_merging_follow_the_path() {
        let mut of = payload(json!({"a": {"b": 1, "c": 2}, "l": [{"x": 1, "y": 2}, {"x": 3}]}));
        "a.b".parse::<PayloadPath>().unwrap().remove(&mut of);
        "l[].x".parse::<PayloadPath>().unwrap().remove(&mut of);
        assert_eq!(of, payload(json!({"a": {"c": 2}, "l": [{"y": 2}, {}]})));
        "n.m".parse::<PayloadPath>().unwrap().merge(&mut of, &payload(json!({"k": 1})));
        "l[1]".parse::<PayloadPath>().unwrap().merge(&mut of, &payload(json!({"k": 2})));
        assert_eq!(of, payload(json!({"a": {"c": 2}, "l": [{"y": 2}, {"k": 2}], "n": {"m": {"k": 1}}})));
    }

    #[test]
    fn depth_counts_containers() {
        assert_eq!(depth(&json!(1)), 0);
        assert_eq!(depth(&json!([])), 1);
        assert_eq!(depth(&json!({"a": [1, {"b": 2}]})), 3);
    }
}
