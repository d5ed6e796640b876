//! Parts of payloads.

use dvse_types::{PathStep, Payload, PayloadSelector, Value};

/// Cuts a payload to what was asked for.
pub(crate) fn project_payload(mut payload: Payload, selector: &PayloadSelector) -> Payload {
    match selector {
        PayloadSelector::None => Payload::new(),
        PayloadSelector::All => payload,
        PayloadSelector::Include(paths) => {
            let paths: Vec<&[PathStep]> = paths.iter().map(|path| path.steps()).collect();
            include_keys(&payload, &paths)
        }
        PayloadSelector::Exclude(paths) => {
            paths.iter().for_each(|path| path.remove(&mut payload));
            payload
        }
    }
}

fn include_keys(object: &Payload, paths: &[&[PathStep]]) -> Payload {
    let mut kept = Payload::new();
    for (key, value) in object {
        let rest = rests(paths, |step| matches!(step, PathStep::Key(wanted) if wanted == key));
        if let Some(part) = include(value, &rest) {
            kept.insert(key.clone(), part);
        }
    }
    kept
}

/// The part of a value that the paths lead to; `None` where none does.
fn include(value: &Value, paths: &[&[PathStep]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    match value {
        _ if paths.is_empty() => None,
        Value::Object(object) => {
            let kept = include_keys(object, paths);
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(elements) => {
            let kept: Vec<Value> = elements
                .iter()
                .enumerate()
                .filter_map(|(position, element)| {
                    let rest = rests(paths, |step| match step {
                        PathStep::Each => true,
                        PathStep::Index(index) => *index == position,
                        PathStep::Key(_) => false,
                    });
                    include(element, &rest)
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        _ => None,
    }
}

/// What follows the first step, for the paths whose first step is the right one.
fn rests<'p>(paths: &[&'p [PathStep]], is_right: impl Fn(&PathStep) -> bool) -> Vec<&'p [PathStep]> {
    paths
        .iter()
        .filter_map(|path| path.split_first())
        .filter(|(step, _)| is_right(step))
        .map(|(_, rest)| rest)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(selector: &str, paths: &[&str], of: Value, expect: Value) {
        let paths = paths.iter().map(|path| path.parse().unwrap()).collect();
        let selector = if selector == "include" {
            PayloadSelector::Include(paths)
        } else {
            PayloadSelector::Exclude(paths)
        };
        let payload = of.as_object().unwrap().clone();
        assert_eq!(Value::Object(project_payload(payload, &selector)), expect, "{selector:?}");
    }

    #[test]
    fn payloads_are_cut_along_paths() {
        let of = json!({"a": {"b": 1, "c": 2}, "l": [{"x": 1, "y": 2}, {"x": 3}, 4], "k": null});
        check("include", &["a.b"], of.clone(), json!({"a": {"b": 1}}));
        check("include", &["a", "a.b", "k"], of.clone(), json!({"a": {"b": 1, "c": 2}, "k": null}));
        check("include", &["l[].x"], of.clone(), json!({"l": [{"x": 1}, {"x": 3}]}));
        check("include", &["l[0].y"], of.clone(), json!({"l": [{"y": 2}]}));
        check("include", &["none", "a.none", "k.none"], of.clone(), json!({}));
        check("exclude", &["l", "a.b"], of.clone(), json!({"a": {"c": 2}, "k": null}));
        check("exclude", &[], of.clone(), of);
    }
}
