//! The OpenAPI document says what the router serves.

use std::collections::BTreeSet;

use dvse_server::rest::{Access, ROUTES};
use serde_json::Value;

use crate::schema::Document;

#[test]
fn document_lists_exactly_the_routes_that_are_available() {
    let document = Document::load();
    let described: BTreeSet<(String, String)> = document.0["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let served: BTreeSet<(String, String)> = ROUTES
        .iter()
        .filter(|route| route.is_available())
        .map(|route| (route.method.to_owned(), route.path.to_owned()))
        .collect();
    assert_eq!(described, served);
}

#[test]
fn document_opens_exactly_what_is_open_without_a_key() {
    let document = Document::load();
    for route in ROUTES.iter().filter(|route| route.is_available()) {
        let operation = document.operation(route.method, route.path).unwrap();
        assert_eq!(operation.get("security").is_some(), route.access == Access::Open, "{}", route.path);
    }
}

#[test]
fn document_has_no_dangling_reference_and_no_unused_schema() {
    let document = Document::load();
    let mut used = BTreeSet::new();
    collect_references(&document.0, &mut used);
    for reference in &used {
        assert!(document.0.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
    for name in document.0["components"]["schemas"].as_object().unwrap().keys() {
        assert!(used.contains(&format!("#/components/schemas/{name}")), "{name} is not used");
    }
}

fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                match (key.as_str(), inner) {
                    ("$ref", Value::String(reference)) => drop(found.insert(reference.clone())),
                    _ => collect_references(inner, found),
                }
            }
        }
        Value::Array(array) => array.iter().for_each(|inner| collect_references(inner, found)),
        _ => {}
    }
}
